"""The text of scripts: what stands in them, what does not, and how it is set; that they run is tests/notebooks' matter."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fm_notebook.contracts import events as ev
from fm_notebook.contracts.specs import DataRef, FinetuneSpec, ModelRef
from fm_notebook.errors import RunError
from fm_notebook.jobs import placement
from fm_notebook.session import source
from fm_notebook.session.job import Job
from fm_notebook.session.run import Run

ROWS = DataRef(source="rows", kind="value")
FOLDER = ModelRef(source="m", kind="folder", location="/m")
STARTED = ev.Started(total_steps=9, device="cpu", precision="fp32", micro_batch_size=32)


@pytest.fixture
def script(make_folder):
    """Writes the script of a run that was asked for as `fields` say and reported `events`."""

    def write(*events, model=FOLDER, prepare=lambda folder: None, **fields):
        folder = make_folder("mine", *events, spec=FinetuneSpec(model=model, train=ROWS, **fields))
        prepare(folder)
        return Run(Job(folder)).code()

    return write


def flat(text):
    return re.sub(r"\s+", " ", text)


def formatted(text):
    ruff = [sys.executable, "-m", "ruff", "format", "--isolated", "--no-cache", "-"]
    return subprocess.run(ruff, input=text, capture_output=True, text=True, check=True).stdout


TASKS = [
    {"task": "text-classification"},
    {"problem": "multi-label", "class_weight": "balanced", "text_pair": "b"},
    {"problem": "regression", "batching": "length-grouped", "gradient_checkpointing": True},
    {"task": "token-classification", "freeze": "backbone", "class_weight": {"n": 2.0}},
    {"task": "fill-mask", "metric": "top5_accuracy", "whole_words": True, "early_stopping": 3},
    {"task": "text-generation", "lora": {"rank": 2, "targets": [f"{'q' * i}_proj" for i in range(1, 20)]}},
    {"task": "text-generation", "prompt": "p", "completion": "c", "prompt_tuning": {"tokens": 3}},
    {"task": "text-generation", "messages": "m", "completion_only_loss": True, "dropout": 0.0, "max_grad_norm": None},
]


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("fields", TASKS, ids=lambda fields: "-".join(map(str, fields)))
def test_every_script_is_valid_python_as_ruff_sets_it(script, fields, language, monkeypatch):
    monkeypatch.setenv("FM_NOTEBOOK_LANGUAGE", language)
    text = script(**fields)
    assert formatted(text) == text
    assert "fm_notebook" not in {name.partition(".")[0] for name in imported(text)}
    assert "{{" not in text.replace('"{{ bos_token }}"', "").replace("{{ message", "").replace("{{ eos_token", "")


def imported(text):
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def test_only_what_the_run_needs_is_there(script):
    plain = script(STARTED, packing="off", dropout=0.0)
    assert not [
        word for word in ("peft", "class_weight", "EARLY_STOPPING", "permutation(rng)", "OPTIONS", "freeze") if word in plain
    ]
    assert "MAX_STEPS = 7" in script(max_steps=7)
    assert "EPOCHS" not in script(max_steps=7)
    assert "eval_every = 20" in script(eval_every=20)
    assert "max(1, round(0.25 * steps_per_epoch))" in script(eval_every=0.25)


def test_the_rows_are_read_from_the_runs_folder_and_one_is_told_how_to_take_others(script, home):
    text = script(prepare=lambda folder: folder.train_rows.touch())
    assert f'"{home}/runs/mine.1/data"' in text
    assert "stay in its folder" in flat(text)
    assert 'Dataset.from_csv("my.csv")' in text
    assert "a bundle has none" in flat(script())


def test_what_the_run_chose_by_measurement_is_taken_from_its_journal(script):
    lowered = ev.Noted(key="max_length_lowered", values={"max_length": 256, "limit": 64})
    bf16 = STARTED.model_copy(update={"precision": "bf16", "device": "cuda:0"})
    text = script(lowered, bf16, ev.MemoryShrunk(step=2, micro_batch_size=4))
    assert "MAX_LENGTH = 64" in text
    assert "MICRO_BATCH = 4" in text
    assert 'Accelerator(mixed_precision="bf16")' in text
    assert "rounding depends" in flat(text)
    assert 'Accelerator(cpu=True, mixed_precision="no")' in script(STARTED)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"dropout": 0.1}, "Dropout draws other masks"),
        ({}, "packed texts into one row"),
        ({"task": "fill-mask"}, "transformers' collator draws them"),
        ({"task": "fill-mask", "next_sentence": True}, "learnt next sentences along"),
        ({"task": "token-classification"}, "seqeval"),
        ({"lora": {"rank": 2}}, "merge_and_unload()"),
        ({"task": "text-generation", "messages": "m", "completion_only_loss": True}, "goes by its marks"),
    ],
)
def test_what_plain_libraries_have_not_is_said_at_the_top(script, fields, words):
    head = script(STARTED, **fields).partition("\nimport ")[0]
    assert words in flat(head)
    assert words not in flat(script(STARTED, packing="off", dropout=0.0))


def test_an_unfinished_an_unstarted_and_a_shared_run_say_so(script):
    assert "before its last step" in flat(script(STARTED, ev.Ended(state="stopped", step=3)))
    assert "before its last step" not in flat(script(STARTED, ev.Ended(state="finished", step=9)))
    assert "has not started yet" in flat(script())
    two = placement.Placement(launcher="torchrun", processes=2)
    assert "several processes" in flat(script(STARTED, prepare=lambda folder: placement.write(folder.path, two)))


def test_a_model_is_loaded_from_where_the_run_loaded_it(script):
    hub = ModelRef(source="a/b", kind="hub", location="a/b", revision="c0ffee")
    text = script(model=hub, trust_remote_code=True, tokenizer=ModelRef(source="t", kind="folder", location="/t"))
    assert 'OPTIONS = {"revision": "c0ffee", "trust_remote_code": True}' in text
    assert 'TOKENIZER = "/t"' in text
    assert 'TOKENIZER_OPTIONS = {"trust_remote_code": True}' in text
    assert "AutoTokenizer.from_pretrained(TOKENIZER, **TOKENIZER_OPTIONS)" in text
    assert "AutoTokenizer.from_pretrained(MODEL, **OPTIONS)" in script(model=hub)
    own = ModelRef(source="m", kind="value", location="/m", class_path="mine.models:Mine")
    assert "from mine.models import Mine" in script(model=own)
    assert "model = Mine.from_pretrained(" in script(model=own)
    gguf = ModelRef(source="g", kind="folder", location="/g", file="w.gguf")
    assert '"gguf_file": "w.gguf"' in script(model=gguf, task="text-generation")


def test_what_an_adapter_was_put_on_is_read_from_the_result(script):
    def prepare(folder):
        (folder.model / "adapter").mkdir(parents=True)
        written = '{"target_modules": ["value", "query"], "modules_to_save": ["classifier"], "fan_in_fan_out": false}'
        (folder.model / "adapter" / "adapter_config.json").write_text(written)

    text = script(lora={"rank": 4}, prepare=prepare)
    assert '"target_modules": ["query", "value"],' in text
    assert '"modules_to_save": ["classifier"],' in text
    assert "fan_in_fan_out" not in text
    assert "target_modules" not in script(lora={"rank": 4})


def test_there_is_no_script_for_what_plain_transformers_has_not(script, tmp_path):
    with pytest.raises(RunError, match="its task own-task is none"):
        script(task="own-task")
    (tmp_path / "tuned" / "adapter").mkdir(parents=True)
    (tmp_path / "tuned" / "adapter" / "adapter_config.json").write_text("{}")
    with pytest.raises(RunError, match="tuned prompt"):
        script(model=ModelRef(source="t", kind="run", location=str(tmp_path / "tuned")))


def test_the_template_for_chats_is_the_engines():
    from fm_notebook.engine import chat
    from fm_notebook.session import code

    assert code._CHAT == chat.PLAIN


def test_literals_are_set_as_ruff_does():
    values = {
        "SHORT": ["a", 'b"c', "d'e"],
        "LONG": [f"label number {i}" for i in range(9)],
        "NESTED": {"names": [f"layer.{i}.attention" for i in range(9)], "n": 3, "empty": []},
        "FITS_BELOW": "x" * 80,
        "FITS_NOWHERE": "x" * 100,
        "NUMBERS": [0.1, 1e-05, None, True],
        "A_PATH": Path("/a"),
        "A_LONG_PATH": Path("/a/very/long/path/to/a/folder/in/a/folder/in/a/folder/in/a/folder/in/one"),
        "A_LONGER_PATH": Path("/" + "long" * 30),
        "CHINESE": ["标签甲" * 5, "标签乙" * 5, "标签丙" * 5],
    }
    text = source.assignments(values) + "\n"
    assert formatted(text) == text
    found = {}
    exec(text, {"Path": Path}, found)
    assert found == values
