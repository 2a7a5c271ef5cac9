"""A run with mitigations trains on the rows and weights that they give, each time the same, and differences grow smaller."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file
from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

from fm_notebook.contracts import events as ev
from fm_notebook.contracts.results import DataFacts
from fm_notebook.contracts.specs import DataRef, DryRunSpec, FinetuneSpec, ModelRef
from fm_notebook.data.swapping import swapper
from fm_notebook.engine import token_files
from fm_notebook.engine.batching import Examples
from fm_notebook.engine.tokens import tokenize
from fm_notebook.jobs import folder as jobs
from fm_notebook.jobs.folder import Identity, JobFolder
from fm_notebook.mitigations import mitigations
from fm_notebook.worker import models_loaded, training
from fm_notebook.worker.execute import execute
from fm_notebook.worker.mitigating import mitigated, weighted

LABELS = ["n", "p"]
FILL = ["film", "plot", "scene", "music", "was", "the", "a"]
VOCABULARY = ["he", "she", "man", "woman", "good", "bad", *FILL]
AUGMENTATION = {"counterfactual-augmentation": {"axis": "gender", "names": True}}
REWEIGHING = {"reweighing": {"by": "gender", "variant": "independence"}}

HEAVIER = """
from dataclasses import replace
from fm_notebook.contracts.values import Frozen

class Spec(Frozen):
    factor: float

class Heavier:
    name, summary, source, stage, kinds, Spec = "heavier", "Counts more.", "", "pre-processing", frozenset({"single-label"}), Spec
    def groups(self, spec): return ()
    def apply(self, given, spec, *, seed): return replace(given, weights=given.weights * spec.factor), []

mitigation = Heavier()
"""


@pytest.fixture(autouse=True)
def _one_thread_and_nothing_kept():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
    models_loaded.free()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> ModelRef:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *VOCABULARY]
    BertTokenizerFast(vocab={word: i for i, word in enumerate(words)}, model_max_length=32).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=32,
    )  # fmt: skip
    BertForSequenceClassification(config).save_pretrained(folder)
    return ModelRef(source="tiny", kind="folder", location=str(folder))


def planted(n, seed, *, share=0.9, clear=0.7):
    """Rows whose label is told by *good* or *bad* in the share `clear` of them, and goes with the gender in the share `share`."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    female = np.where(rng.random(n) < share, labels == 1, rng.random(n) < 0.5)
    told = np.where(rng.random(n) < clear, np.where(labels == 1, "good", "bad"), rng.choice(FILL, n))
    fill = rng.choice(FILL, (n, 3))
    texts = [f"{'she' if f else 'he'} {' '.join(words)} {word}" for f, words, word in zip(female, fill, told, strict=True)]
    return table(texts, labels, np.where(female, "w", "m"))


def table(texts, labels, gender):
    return pa.table({
        "text": pa.array(list(texts), pa.large_string()), "label": pa.array(labels, pa.int32()), "row": range(len(texts)),
        "by.gender": pa.array(list(gender), pa.large_string()),
    })  # fmt: skip


@pytest.fixture
def make_job(tmp_path, tiny):
    def make(name="run", *, train=None, spec=None, **fields) -> JobFolder:
        job = jobs.create(tmp_path / name)
        rows = {
            job.train_rows: planted(64, 0) if train is None else train,
            job.eval_rows: planted(32, 1).drop_columns(["by.gender"]),
        }
        for path, each in rows.items():
            with pa.ipc.new_file(str(path), each.schema) as writer:
                writer.write_table(each)
        settings = {
            "epochs": 2.0, "batch_size": 8, "learning_rate": 5e-3, "dropout": 0.0, "max_length": 16, "precision": "fp32",
            "model": tiny, "train": DataRef(source="rows", kind="value"), "device": "cpu", **fields,
        }  # fmt: skip
        facts = DataFacts(labels=LABELS, train_rows=64, eval_rows=32, train_label_counts=[], eval_label_counts=[])
        spec = FinetuneSpec(**settings)
        job.write(spec=DryRunSpec(run=spec) if name == "trial" else spec, identity=Identity(name=name), facts=facts)
        return job

    return make


def do(job, command=lambda: "run"):
    events = []
    execute(job, events.append, command)
    assert isinstance(events[-1], ev.Ended)
    assert events[-1].error is None, events[-1].error
    return events


def notes(events):
    return {event.key: event.values for event in events if isinstance(event, ev.Noted)}


def started(events):
    return next(event for event in events if isinstance(event, ev.Started))


def state(job):
    return load_file(job.model / "model.safetensors")


def drained(generator):
    """What a generator yields, and what it returns."""
    found = []
    try:
        while True:
            found.append(next(generator))
    except StopIteration as end:
        return found, end.value


def spec_with(tiny, mitigation):
    return FinetuneSpec(model=tiny, train=DataRef(source="rows", kind="value"), mitigation=mitigation)


def test_mitigations_follow_each_other_in_their_order(tiny):
    rows = planted(200, 0)
    first, one = drained(mitigated(rows, spec_with(tiny, AUGMENTATION | REWEIGHING), LABELS))
    second, other = drained(mitigated(rows, spec_with(tiny, REWEIGHING | AUGMENTATION), LABELS))
    assert [note.key for note in first] == ["mitigation.augmented", "mitigation.reweighed"]
    assert [note.key for note in second] == ["mitigation.reweighed", "mitigation.augmented"]
    assert len(one.rows) == len(other.rows) == 400
    assert np.array_equal(other.weights[:200], other.weights[200:])


def test_without_mitigations_rows_and_weights_are_as_they_were(tiny):
    rows = planted(20, 0)
    found, given = drained(mitigated(rows, spec_with(tiny, None), LABELS))
    assert found == []
    assert given.rows is rows
    assert (given.weights == 1).all()


def test_weights_are_times_those_that_examples_have(tiny):
    tokenizer = BertTokenizerFast.from_pretrained(tiny.location)
    own = np.array([1, 2, 1], np.float32)
    examples = Examples(tokenize(tokenizer, ["a film"] * 3, None, 16), np.array([0, 1, 1]), own, np.arange(3))
    assert weighted(examples, np.ones(3)) is examples
    found = weighted(examples, np.array([1.0, 0.5, 3.0]))
    assert found.weights.tolist() == [1, 1, 3]
    assert found.weights.dtype == np.float32


@pytest.mark.slow
def test_added_rows_are_trained_on_counted_and_said(make_job):
    plain, more = do(make_job("plain")), do(make_job("more", mitigation=AUGMENTATION))
    assert notes(more)["mitigation.augmented"] == {"n": 64, "rows": 64, "axis": "gender"}
    assert started(more).examples == 2 * started(plain).examples == 128
    assert started(more).total_steps == 2 * started(plain).total_steps


@pytest.mark.slow
def test_a_dry_run_counts_the_added_rows(make_job):
    events = do(make_job("trial", mitigation=AUGMENTATION))
    assert events[-1].estimate.total_steps == 32
    assert "mitigation.augmented" in notes(events)


@pytest.mark.slow
def test_added_texts_count_as_texts_that_it_was_trained_on(make_job):
    do(plain := make_job("plain"))
    do(more := make_job("more", mitigation=AUGMENTATION))
    sizes = [len(np.load(job.path / training.TRAINED)) for job in (plain, more)]
    assert sizes[0] < sizes[1] <= 2 * sizes[0]


@pytest.mark.slow
@pytest.mark.parametrize("mitigation", [AUGMENTATION, REWEIGHING, AUGMENTATION | REWEIGHING], ids=["rows", "weights", "both"])
def test_a_resumed_run_has_the_same_weights_bit_for_bit(make_job, mitigation):
    do(whole := make_job("whole", mitigation=mitigation))
    calls = iter(["run"] * 6 + ["stop"] * 1000)
    ended = do(part := make_job("part", mitigation=mitigation), lambda: next(calls))[-1]
    assert (ended.state, 0 < ended.step < 16) == ("stopped", True)
    do(part)
    assert same(state(whole), state(part))


@pytest.mark.slow
def test_each_mitigation_changes_what_is_learnt(make_job):
    states = []
    for name, mitigation in {"plain": None, "more": AUGMENTATION, "weights": REWEIGHING}.items():
        do(job := make_job(name, mitigation=mitigation))
        states.append(state(job))
    assert not same(states[0], states[1])
    assert not same(states[0], states[2])


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.slow
def test_tokens_on_disk_are_never_those_of_another_mitigation(make_job, monkeypatch):
    monkeypatch.setattr(token_files, "FEWEST", 0)
    monkeypatch.setattr(token_files, "SECONDS_WORTH", 0.0)
    made = {}
    for name, mitigation in {"plain": None, "more": AUGMENTATION, "weights": REWEIGHING}.items():
        do(job := make_job(name, mitigation=mitigation))
        made[name] = {path.name for path in job.data.glob("tokens-*")}
        assert len(made[name]) == 2
    assert not made["plain"] & made["more"]
    do(again := make_job("again", mitigation=REWEIGHING))  # read from the file: the weights are not in it
    assert {path.name for path in again.data.glob("tokens-*")} == made["weights"]
    assert same(state(again), state(JobFolder(again.path.parent / "weights")))


@pytest.mark.slow
def test_a_mitigation_of_a_registered_file_is_found_by_the_worker(make_job, tmp_path, monkeypatch):
    monkeypatch.setattr(mitigations, "_files", {})
    monkeypatch.setattr(mitigations, "_loaded", {})
    (tmp_path / "heavier.py").write_text(HEAVIER)
    job = make_job(mitigation={"heavier": {"factor": 3.0}})
    job.write(spec=job.spec, identity=Identity(name="run", task_files=(str(tmp_path / "heavier.py"),)), facts=job.facts)
    assert do(JobFolder(job.path))[-1].state == "finished"
    assert "heavier" in mitigations


def outputs_of(job, texts) -> np.ndarray:
    """Probability of ``p`` of each text, by the run's model through transformers itself."""
    tokenizer = BertTokenizerFast.from_pretrained(job.model)
    model = BertForSequenceClassification.from_pretrained(job.model).eval()
    with torch.inference_mode():
        return model(**tokenizer(texts, padding=True, return_tensors="pt")).logits.softmax(1)[:, 1].numpy()


def tpr_gap(job, rows):
    says = outputs_of(job, rows["text"].to_pylist()) > 0.5
    yes, gender = rows["label"].to_numpy() == 1, np.array(rows["by.gender"].to_pylist())
    return says[yes & (gender == "w")].mean() - says[yes & (gender == "m")].mean()


@pytest.mark.slow
def test_a_planted_correlation_is_learnt_less_with_either(make_job):
    """Over two seeds: gender and label go together in training, and not where it is tested."""
    test = planted(1000, 99, share=0.0, clear=0.5)
    texts = test["text"].to_pylist()
    gaps, flips = {"plain": [], "weights": [], "more": []}, {"plain": [], "weights": [], "more": []}
    for seed in range(2):
        for name, mitigation in {"plain": None, "weights": REWEIGHING, "more": AUGMENTATION}.items():
            train = planted(800, seed, share=0.8)
            fields = {"mitigation": mitigation, "epochs": 2.0, "batch_size": 32, "seed": seed}
            do(job := make_job(f"{name}{seed}", train=train, **fields))
            gaps[name].append(abs(tpr_gap(job, test)))
            one, other = (outputs_of(job, each) > 0.5 for each in (texts, list(map(swapper(), texts))))
            flips[name].append((one != other).mean())
    mean = {name: (np.mean(gaps[name]), np.mean(flips[name])) for name in gaps}
    assert mean["plain"][0] > 0.2, mean
    assert mean["weights"][0] < mean["plain"][0] / 2, mean
    assert mean["more"][0] < mean["plain"][0] / 2, mean
    assert mean["more"][1] < mean["plain"][1] / 2, mean
