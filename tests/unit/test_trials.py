"""Dry runs and learning-rate range tests from the verb to the value: what they say, and that they leave nothing behind."""

import hashlib
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fm_notebook
from fm_notebook import verbs
from fm_notebook.contracts.trials import LearningRateCurve
from fm_notebook.errors import ArgumentError, SpecError
from fm_notebook.jobs.control import write_command
from fm_notebook.session import launch, store
from fm_notebook.session.binding import Assigned
from fm_notebook.session.job import Job

pytestmark = pytest.mark.slow

FILL = ["a", "the", "it", "was", "film", "plot"]
H, INNER, LAYERS, PLACES = 32, 64, 2, 64  # of `tiny_bert`
TASKS = {
    "classification": {},
    "LoRA": {"lora": {"rank": 2}},
    "frozen": {"freeze": "backbone"},
    "padded": {"packing": "off"},
    "bf16": {"precision": "bf16"},
    "tags": {"task": "token-classification", "text": "words", "label": "tags"},
    "masked": {"task": "fill-mask"},
}


@pytest.fixture(autouse=True)
def _here(home):
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def rows(n, seed=0):
    rng = np.random.default_rng(seed)
    found = []
    for truth in rng.integers(0, 2, n).tolist():
        words = [["bad", "good"][truth], *rng.choice(FILL, rng.integers(1, 9)).tolist()]
        found.append({"text": " ".join(words), "label": "np"[truth], "words": words, "tags": ["B-X", *["O"] * (len(words) - 1)]})
    return found


@pytest.fixture
def asked(tiny_bert):
    """Fields of a run on the tiny model, whose texts have repetitions."""

    def ask(**fields):
        return {
            "model": str(tiny_bert), "train": rows(60), "eval": rows(20, seed=1), "epochs": 4.0, "batch_size": 8,
            "max_length": 16, "dropout": 0.0, "device": "cpu", "precision": "fp32", "on": "kernel", **fields,
        }  # fmt: skip

    return ask


def files(folder: Path):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.is_file()}


def bert_parameters(words, labels):
    """From the configuration alone: embeddings with their norm, layers, pooler and head."""
    embeddings = (words + PLACES + 2) * H + 2 * H
    layer = 4 * (H * H + H) + (H * INNER + INNER) + (INNER * H + H) + 2 * 2 * H
    return embeddings + LAYERS * layer + (H * H + H) + (labels * H + labels)


def words_of(folder: Path):
    import json

    return json.loads((folder / "config.json").read_text())["vocab_size"]


def test_parameters_and_steps_follow_from_the_configuration(asked, tiny_bert):
    found = fm_notebook.dry_run("run", **asked())
    expected = bert_parameters(words_of(tiny_bert), labels=2)
    assert (found.parameters, found.trainable_parameters) == (expected, expected)
    assert (found.steps_per_epoch, found.total_steps) == (math.ceil(60 / 8), 4 * math.ceil(60 / 8))
    assert found.memory["gradients"] == found.memory["weights"]
    assert found.memory["optimizer"] == 2 * found.memory["weights"]
    assert found.model_bytes == 4 * expected


def test_an_adapter_trains_what_its_rank_says(asked):
    found = fm_notebook.dry_run("run", **asked(lora={"rank": 2, "targets": ["query", "value"]}))
    adapters = LAYERS * 2 * 2 * (H + H) * 1
    head = 2 * H + 2
    assert found.trainable_parameters in {adapters + head, adapters + head + H * H + H}  # the pooler is new where there was none
    assert found.checkpoint_bytes == 3 * 4 * found.trainable_parameters


def test_data_facts_are_those_of_counting_by_hand(asked, tiny_bert):
    from transformers import AutoTokenizer

    train, held = rows(60), rows(20, seed=1)
    found = fm_notebook.dry_run("run", **asked(train=train, eval=held))
    texts, others = ([row["text"].lower() for row in each] for each in (train, held))
    lengths = sorted(len(ids) for ids in AutoTokenizer.from_pretrained(tiny_bert)(texts)["input_ids"])
    assert found.data.duplicate_texts == sum(n - 1 for n in Counter(texts).values())
    assert found.data.shared_texts == sum(text in set(texts) for text in others)
    assert dict(zip(found.data.labels, found.data.train_label_counts, strict=True)) == Counter(row["label"] for row in train)
    assert found.token_percentiles[100] == lengths[-1]
    assert found.token_percentiles[50] == lengths[math.ceil(0.5 * 59)]
    assert found.data.truncated_share == 0.0


def test_the_truncated_share_counts_texts_beyond_the_limit(asked, tiny_bert):
    from transformers import AutoTokenizer

    train = rows(60)
    found = fm_notebook.dry_run("run", **asked(train=train, max_length=6))
    lengths = [len(ids) for ids in AutoTokenizer.from_pretrained(tiny_bert)([row["text"] for row in train])["input_ids"]]
    assert found.data.truncated_share == sum(n > 6 for n in lengths) / 60
    assert (found.token_percentiles[100], found.max_length) == (6, 6)


def test_time_follows_from_the_measured_steps(asked):
    found = fm_notebook.dry_run("run", **asked())
    each = np.asarray(found.step_seconds)
    assert 3 <= len(each) <= 10
    assert found.seconds["train"] == pytest.approx(found.total_steps * each.mean())
    assert found.total_seconds == pytest.approx(sum(found.seconds.values()))
    half = 2.262157 * each.std(ddof=1) / math.sqrt(10) * found.total_steps  # Student's t with 9 degrees of freedom
    assert found.interval is not None
    assert found.total_seconds is not None
    assert found.interval.high - found.total_seconds == pytest.approx(half, rel=1e-4)
    assert {"load", "tokenize", "evaluate"} < set(found.seconds)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("fields", TASKS.values(), ids=TASKS)
def test_every_task_can_be_tried(asked, fields):
    found = fm_notebook.dry_run("run", **asked(**fields))
    assert found.step_seconds
    assert found.measured_memory_bytes is not None
    assert found.trainable_parameters <= found.parameters
    curve = fm_notebook.find_lr("run", steps=12, **asked(**fields))
    assert len(curve.losses) == len(curve.learning_rates) <= 12


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    """A Llama of two layers, and a tokenizer whose tokens are words."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("llama")
    words = ["<pad>", "<s>", "</s>", "<unk>", "good", "bad", *FILL]
    tokens = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokens.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=tokens, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>", model_max_length=32
    ).save_pretrained(folder)
    torch.manual_seed(0)
    sizes: Any = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    special: Any = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=len(words), **special, **sizes)).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("fields", [{}, {"lora": {"rank": 2}}, {"gradient_checkpointing": True}], ids=["full", "LoRA", "spare"])
def test_a_causal_model_can_be_tried(asked, llama, fields):
    fields = asked(model=str(llama), task="text-generation", dropout=None, **fields)
    found = fm_notebook.dry_run("run", **fields)
    words, head = len(FILL) + 6, 0 if found.trainable_parameters < found.parameters else (len(FILL) + 6) * 32
    layer = 4 * 32 * 32 + 3 * 32 * 64 + 2 * 32
    if not fields.get("lora"):
        assert found.parameters == words * 32 + head + 2 * layer + 32
    assert found.step_seconds
    assert found.memory["logits"] == 4 * 4 * words * round(found.memory["logits"] / 16 / words)
    assert len(fm_notebook.find_lr("run", steps=10, **fields).losses) == 10


def test_a_trial_leaves_no_run_no_rows_and_no_changed_model(asked, tiny_bert):
    before = files(tiny_bert)
    fm_notebook.dry_run("run", **asked())
    fm_notebook.find_lr("run", steps=12, **asked())
    assert files(tiny_bert) == before
    assert fm_notebook.runs() == []
    left = [path for path in store.runs_folder().rglob("*") if path.suffix in {".arrow", ".npy", ".safetensors"}]
    assert not left


def test_equal_trials_are_done_once_unless_asked_again(asked):
    first = fm_notebook.dry_run("run", **asked())
    assert fm_notebook.dry_run("run", **asked()) == first
    assert fm_notebook.dry_run("run", again=True, **asked()).step_seconds != first.step_seconds
    assert fm_notebook.dry_run("run", **asked(batch_size=4)).batch_size == 4


def test_old_trials_are_removed(asked, monkeypatch):
    monkeypatch.setattr(launch, "MOST_TRIALS", 2)
    for size in (4, 5, 6, 7):
        fm_notebook.dry_run("run", **asked(batch_size=size))
    assert len(list((store.runs_folder() / ".trials").glob("[0-9]*"))) == 2


def test_what_does_not_fit_is_told_and_not_tried(asked, monkeypatch):
    from fm_notebook.engine import estimate

    monkeypatch.setattr(estimate, "free_bytes", lambda device: 1)
    found = fm_notebook.dry_run("run", **asked())
    assert not found.fits
    assert (found.step_seconds, found.total_seconds, found.measured_memory_bytes) == ([], None, None)


def test_the_disk_is_never_fuller_than_foreseen(asked, monkeypatch):
    fields = asked(eval_every=2, keep_checkpoints=2)
    found = fm_notebook.dry_run("run", **fields)
    from fm_notebook.engine import checkpoints

    sizes = []

    def pruned(folder, *rest):
        sizes.append(sum(path.stat().st_size for path in folder.rglob("*.safetensors")))
        return prune(folder, *rest)

    prune = checkpoints.prune
    monkeypatch.setattr(checkpoints, "prune", pruned)
    fm_notebook.finetune("run", **fields)
    assert max(sizes) <= found.disk_bytes + 200_000  # headers, generators
    assert max(sizes) > 0.5 * found.disk_bytes


def test_a_range_test_grows_the_rate_by_the_same_factor_and_is_repeatable(asked):
    first = fm_notebook.find_lr("run", lowest=1e-5, highest=1e-1, steps=20, **asked())
    ratios = np.diff(np.log(first.learning_rates))
    assert first.learning_rates[0] == pytest.approx(1e-5)
    assert np.allclose(ratios, np.log(1e4) / 19)
    again = fm_notebook.find_lr("run", lowest=1e-5, highest=1e-1, steps=20, again=True, **asked())
    assert again.losses == first.losses
    assert first.learning_rate == 5e-5


def test_the_loss_of_a_learnable_task_falls_where_rates_are_useful(asked):
    found = fm_notebook.find_lr("run", lowest=1e-6, highest=0.1, steps=60, **asked(train=rows(600), batch_size=16))
    assert found.suggestions
    assert min(found.smoothed) < found.smoothed[6]
    assert 1e-6 < found.suggestions["valley"] < 0.1


def test_a_sweep_ends_when_the_loss_diverges(asked):
    found = fm_notebook.find_lr("run", lowest=1e-4, highest=1e4, steps=60, **asked())
    assert found.ended == "diverged"
    assert len(found.losses) < 60


def test_a_stopped_sweep_keeps_its_curve_and_says_that_it_is_partial(asked, monkeypatch):
    from fm_notebook.engine import range_test

    fields = {name: Assigned(value) for name, value in asked().items() if name != "on"}
    launched = verbs.prepare_find_lr("run", fields, steps=30, on="kernel")
    step = range_test._step

    def stop_at_the_fifth(run, curve, rate):
        yield from step(run, curve, rate)
        if len(curve.losses) == 5:
            write_command(launched.job.jobfolder.control, "stop")

    monkeypatch.setattr(range_test, "_step", stop_at_the_fifth)
    launch.begin(launched.job, on="kernel")
    found = verbs.finish_trial(launched)
    assert isinstance(found, LearningRateCurve)
    assert (len(found.losses), found.ended, found.partial, found.suggestions) == (5, "interrupted", True, {})
    assert Job(launched.job.jobfolder).progress.state == "stopped"


def test_a_cancelled_trial_has_no_value(asked):
    fields = {name: Assigned(value) for name, value in asked().items() if name != "on"}
    launched = verbs.prepare_dry_run("run", fields, on="kernel")
    from fm_notebook.worker.execute import execute

    events = []
    execute(launched.job.jobfolder, events.append, lambda: "cancel")
    assert (events[-1].state, events[-1].estimate) == ("cancelled", None)
    assert not launched.job.jobfolder.data.exists()


@pytest.mark.parametrize("sweep", [{"lowest": 0.0}, {"lowest": 2.0}, {"highest": math.inf}, {"steps": 9}])
def test_a_sweep_that_cannot_be_is_refused_in_words(asked, sweep):
    with pytest.raises(SpecError, match="sweep"):
        fm_notebook.find_lr("run", **sweep, **asked())


def test_a_trial_is_one_process(asked):
    with pytest.raises(ArgumentError):
        fm_notebook.dry_run("run", **{**asked(), "on": "torchrun:2"})


def test_estimate_and_curve_are_tables(asked):
    table = fm_notebook.dry_run("run", **asked()).to_pandas()
    assert table[(table.part == "memory") & (table.what == "weights")].value.item() > 0
    assert list(table.columns) == ["part", "what", "value", "unit"]
    curve = fm_notebook.find_lr("run", steps=12, **asked())
    assert curve.to_pandas().columns.tolist() == ["learning_rate", "loss", "smoothed"]
