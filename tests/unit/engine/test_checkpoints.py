"""Checkpoints are whole or not there, whatever happens while they are written."""

import errno
import sys

import pytest
import torch
from safetensors import SafetensorError

from fm_notebook import messages
from fm_notebook.engine import checkpoints, manifests
from fm_notebook.engine.run import Run
from fm_notebook.engine.state import Scores
from fm_notebook.errors import JobFailed


@pytest.fixture
def begun(make_parts):
    return Run(make_parts())


def save(run, step):
    run.state.step = step
    return checkpoints.save(run.parts.checkpoints, run.state, run.parts.model, run.optimizer)


def names(run):
    return sorted(path.name for path in run.parts.checkpoints.iterdir())


def test_what_was_saved_comes_back(begun):
    for p in begun.parts.model.parameters():
        begun.optimizer.state[p]["exp_avg"].normal_()
        begun.optimizer.state[p]["exp_avg_sq"].uniform_()
        begun.optimizer.state[p]["step"].fill_(7)
    expected = {name: p.detach().clone() for name, p in begun.parts.model.named_parameters()}
    moments = [begun.optimizer.state[p]["exp_avg"].clone() for p in begun.parts.model.parameters()]
    save(begun, 7)
    drawn = torch.rand(3)
    with torch.no_grad():
        for p in begun.parts.model.parameters():
            p.zero_()
            begun.optimizer.state[p]["exp_avg"].zero_()
            begun.optimizer.state[p]["step"].zero_()
    found = checkpoints.newest(begun.parts.checkpoints)
    checkpoints.restore(found, begun.parts.model, begun.optimizer)
    assert found.state == begun.state
    for (name, p), moment in zip(begun.parts.model.named_parameters(), moments, strict=True):
        assert torch.equal(p, expected[name])
        assert torch.equal(begun.optimizer.state[p]["exp_avg"], moment)
        assert begun.optimizer.state[p]["step"] == 7
    assert torch.equal(torch.rand(3), drawn)


def test_the_state_survives_with_its_best_evaluation(begun):
    begun.state.record(Scores(step=0, metrics={"macro_f1": 0.25, "loss": float("nan")}), "macro_f1", "max")
    checkpoints.save_best(begun.parts.checkpoints, 0, begun.parts.model, begun.parts.tokenizer)
    save(begun, 3)
    assert checkpoints.newest(begun.parts.checkpoints).state.best.metrics["macro_f1"] == 0.25


@pytest.mark.parametrize("file", ["weights.safetensors", "exp_avg_sq.safetensors", "manifest.json"])
@pytest.mark.parametrize("harm", ["cut", "lost"])
def test_a_torn_checkpoint_is_passed_over_for_the_one_before(begun, file, harm):
    save(begun, 5)
    path = save(begun, 10) / file
    if harm == "cut":
        path.write_bytes(path.read_bytes()[:-10])
    else:
        path.unlink()
    assert checkpoints.newest(begun.parts.checkpoints).state.step == 5


def test_nothing_saved_means_none(tmp_path):
    assert checkpoints.newest(tmp_path) is None
    assert checkpoints.newest(tmp_path / "absent") is None


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device"), SafetensorError("I/O error: No space left on device (os error 28)")],
)
def test_a_full_disk_is_said_in_words_and_the_last_checkpoint_stays(begun, monkeypatch, error):
    save(begun, 5)

    def full(tensors, path):
        path.write_bytes(b"half")
        raise error

    monkeypatch.setattr(checkpoints, "save_file", full)
    with pytest.raises(JobFailed, match="disk is full") as caught:
        save(begun, 10)
    assert caught.value.faults[0].values["step"] == 5
    assert checkpoints.newest(begun.parts.checkpoints).state.step == 5
    assert [path.name for path in begun.parts.checkpoints.iterdir()] == ["step-00000005"]


def test_other_errors_of_the_disk_are_not_called_full(begun, monkeypatch):
    def broken(tensors, path):
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(checkpoints, "save_file", broken)
    with pytest.raises(OSError, match="broken"):
        save(begun, 1)


@pytest.mark.parametrize(("harm", "note"), [("cut", "checkpoint_torn"), ("flipped", "checkpoint_corrupted")])
def test_what_was_passed_over_is_named_and_put_out_of_the_way(begun, harm, note):
    save(begun, 5)
    file = save(begun, 10) / "exp_avg.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content if harm == "flipped" else content[:-1])
    found = checkpoints.find(begun.parts.checkpoints)
    assert found.checkpoint.state.step == 5
    assert [(each.note, each.values) for each in found.passed_over] == [
        (note, {"name": "step-00000010", "file": "exp_avg.safetensors"})
    ]
    assert messages.text(f"note.{note}", **found.passed_over[0].values).count("step-00000010") == 1
    checkpoints.set_aside(found)
    assert checkpoints.find(begun.parts.checkpoints).passed_over == ()
    save(begun, 7)
    checkpoints.prune(begun.parts.checkpoints, begun.state, keep=2)
    assert names(begun) == ["step-00000005", "step-00000007"]


def test_all_that_is_damaged_is_named_even_if_nothing_is_left(begun):
    for step in (5, 10):
        (save(begun, step) / "manifest.json").unlink()
    found = checkpoints.find(begun.parts.checkpoints)
    assert found.checkpoint is None
    assert [each.folder.name for each in found.passed_over] == ["step-00000010", "step-00000005"]


def test_a_checkpoint_of_another_version_is_passed_over(begun, monkeypatch):
    save(begun, 5)
    monkeypatch.setattr(manifests, "FORMAT_VERSION", 99)
    assert [each.note for each in checkpoints.find(begun.parts.checkpoints).passed_over] == ["checkpoint_version"]


def test_a_damaged_best_model_costs_the_best_and_not_the_training(begun):
    begun.state.record(Scores(step=5, metrics={"macro_f1": 0.25}), "macro_f1", "max")
    best = checkpoints.save_best(begun.parts.checkpoints, 5, begun.parts.model, begun.parts.tokenizer)
    save(begun, 5)
    (best / "model.safetensors").write_bytes(b"")
    found = checkpoints.find(begun.parts.checkpoints)
    assert (found.checkpoint.state.step, found.checkpoint.state.best, found.checkpoint.state.last) == (5, None, None)
    assert [(each.note, each.file) for each in found.passed_over] == [("best_model_lost", "model.safetensors")]


def test_later_checkpoints_that_a_resume_passed_over_do_not_count_when_pruning(begun):
    save(begun, 5)
    save(begun, 20)
    save(begun, 10)
    checkpoints.prune(begun.parts.checkpoints, begun.state, keep=1)
    assert names(begun) == ["step-00000010"]


def test_pruning_reads_no_weights(begun, monkeypatch):
    for step in (5, 10):
        save(begun, step)
    monkeypatch.setattr(manifests, "_checksum", lambda path: pytest.fail("read"))
    checkpoints.prune(begun.parts.checkpoints, begun.state, keep=1)
    assert names(begun) == ["step-00000010"]


def test_best_models_stay_as_long_as_a_checkpoint_refers_to_them(begun):
    parts, state = begun.parts, begun.state
    for step, score in ((2, 0.1), (4, 0.2), (6, 0.1), (8, 0.3)):
        state.step = step
        if state.record(Scores(step=state.step, metrics={"macro_f1": score}), "macro_f1", "max"):
            checkpoints.save_best(parts.checkpoints, step, parts.model, parts.tokenizer)
        save(begun, step)
        checkpoints.prune(parts.checkpoints, state, keep=2)
    found = sorted(path.name for path in parts.checkpoints.iterdir())
    assert found == ["best-00000004", "best-00000008", "step-00000006", "step-00000008"]


def test_publishing_replaces_the_result_and_leaves_the_checkpoints_best(begun):
    parts = begun.parts
    checkpoints.save_best(parts.checkpoints, 4, parts.model, parts.tokenizer)
    parts.result.mkdir()
    (parts.result / "stale").touch()
    checkpoints.publish(parts.checkpoints, 4, parts.result)
    names = {path.name for path in parts.result.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= names
    assert not {"stale", "manifest.json"} & names
    assert (parts.checkpoints / "best-00000004" / "model.safetensors").is_file()


@pytest.mark.skipif(sys.platform == "win32", reason="modes of POSIX")
def test_checkpoints_are_private(begun):
    assert save(begun, 1).stat().st_mode & 0o077 == 0


def test_no_file_of_a_checkpoint_is_a_pickle(begun):
    assert {path.suffix for path in save(begun, 1).iterdir()} == {".safetensors", ".json"}


def test_the_generator_of_mps_is_saved_and_put_back(monkeypatch):
    there = [torch.tensor([7], dtype=torch.uint8)]
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.mps, "get_rng_state", lambda: there[0].clone())
    monkeypatch.setattr(torch.mps, "set_rng_state", lambda state: there.__setitem__(0, state))
    before = checkpoints.generators()
    there[0] = torch.tensor([9], dtype=torch.uint8)
    checkpoints.set_generators(before)
    assert there[0].tolist() == [7]
