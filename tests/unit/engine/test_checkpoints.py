"""Checkpoints are whole or not there, whatever happens while they are written."""

import errno
import os
import sys

import pytest
import torch
from safetensors import SafetensorError

from fm_notebook.engine import checkpoints
from fm_notebook.engine.run import Run
from fm_notebook.engine.state import Scores
from fm_notebook.errors import JobFailed


@pytest.fixture
def begun(make_parts):
    return Run(make_parts())


def save(run, step):
    run.state.step = step
    return checkpoints.save(run.parts.checkpoints, run.state, run.parts.model, run.optimizer)


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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("moment", ["first file", "before the rename"])
def test_killed_while_saving_leaves_the_one_before(begun, moment):
    save(begun, 5)
    child = os.fork()
    if not child:
        try:
            if moment == "first file":
                checkpoints.save_file = lambda tensors, path: (path.write_bytes(b"half"), os._exit(0))
            else:
                checkpoints._sync = lambda folder: os._exit(0)
            save(begun, 10)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    assert any(path.name.endswith(".tmp") for path in begun.parts.checkpoints.iterdir())
    assert checkpoints.newest(begun.parts.checkpoints).state.step == 5
    checkpoints.prune(begun.parts.checkpoints, begun.state, keep=2)
    assert [path.name for path in begun.parts.checkpoints.iterdir()] == ["step-00000005"]


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
    assert "stale" not in names
    assert (parts.checkpoints / "best-00000004" / "model.safetensors").is_file()


@pytest.mark.skipif(sys.platform == "win32", reason="modes of POSIX")
def test_checkpoints_are_private(begun):
    assert save(begun, 1).stat().st_mode & 0o077 == 0


def test_no_file_of_a_checkpoint_is_a_pickle(begun):
    assert {path.suffix for path in save(begun, 1).iterdir()} == {".safetensors", ".json"}
