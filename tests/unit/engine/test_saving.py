"""Saving beside training: the same bits as saving at once, in order, told when whole, and loud when it fails."""

import errno
import threading

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, BertConfig, BertForMaskedLM

from fm_notebook.contracts.adapters import LoraSpec
from fm_notebook.engine import adapters, checkpoints, memory, snapshots
from fm_notebook.engine.run import Run
from fm_notebook.engine.saving import Writer
from fm_notebook.engine.state import Scores
from fm_notebook.errors import JobFailed


@pytest.fixture
def begun(make_parts):
    return Run(make_parts())


@pytest.fixture
def writer(begun):
    made = Writer(begun.parts.checkpoints, keep=2)
    yield made
    made.close()


@pytest.fixture
def gate(monkeypatch):
    """Holds the writer's thread before each file or model until it is set."""
    opened = threading.Event()
    for name in ("save_file", "write_best"):
        write = getattr(checkpoints, name)
        monkeypatch.setattr(checkpoints, name, lambda *arguments, write=write: (opened.wait(10), write(*arguments)))
    yield opened
    opened.set()


def save(writer, run, step):
    run.state.step = step
    writer.save(run.state, run.parts.model, run.optimizer)


def disturb(run):
    with torch.no_grad():
        for p in run.parts.model.parameters():
            p.add_(1.0)
            run.optimizer.state[p]["exp_avg"].add_(1.0)
    torch.rand(5)


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix == ".safetensors"}


def test_the_bits_are_those_of_saving_at_once_though_training_goes_on(begun, writer, gate):
    begun.state.step = 5
    gate.set()
    at_once = files(checkpoints.save(begun.parts.checkpoints.with_name("other"), begun.state, begun.parts.model, begun.optimizer))
    gate.clear()
    save(writer, begun, 5)
    disturb(begun)
    begun.state.step = 6
    gate.set()
    (saved,) = writer.drain()
    assert files(saved.folder) == at_once
    assert checkpoints.newest(begun.parts.checkpoints).state.step == 5


def test_a_checkpoint_is_told_once_it_is_whole_and_not_before(begun, writer, gate):
    save(writer, begun, 5)
    assert writer.taken_step == 5
    assert writer.finished() == []
    assert checkpoints.newest(begun.parts.checkpoints) is None
    gate.set()
    assert [saved.step for saved in writer.drain()] == [5]
    assert writer.finished() == []
    assert checkpoints.newest(begun.parts.checkpoints).state.step == 5


def test_a_best_model_and_its_checkpoint_wait_for_nothing_and_a_third_save_waits_for_the_first(begun, writer, gate):
    writer.save_best(5, begun.parts.model, begun.parts.tokenizer)
    save(writer, begun, 5)
    third = threading.Thread(target=save, args=(writer, begun, 6))
    third.start()
    third.join(0.2)
    assert third.is_alive()
    gate.set()
    third.join(10)
    assert [saved.step for saved in writer.drain()] == [5, 6]


def test_the_best_model_is_that_of_its_step(begun, writer, gate):
    expected = {name: tensor.clone() for name, tensor in begun.parts.model.state_dict().items()}
    writer.save_best(5, begun.parts.model, begun.parts.tokenizer)
    disturb(begun)
    gate.set()
    writer.drain()
    loaded = AutoModelForSequenceClassification.from_pretrained(begun.parts.checkpoints / "best-00000005").state_dict()
    assert all(torch.equal(loaded[name], expected[name]) for name in expected)


def test_tied_weights_are_written_once(tmp_path):
    tiny = {"vocab_size": 30, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    model = BertForMaskedLM(BertConfig(**tiny))
    plain, copied = (snapshots.snapshot_best(1, model, copy=copy) for copy in (False, True))
    for name, taken in (("plain", plain), ("copied", copied)):
        (tmp_path / name).mkdir()
        taken.write(tmp_path / name)
    assert files(tmp_path / "plain") == files(tmp_path / "copied")
    assert len(load_file(tmp_path / "copied" / "model.safetensors")) < len(model.state_dict())


def test_of_a_frozen_backbone_nothing_is_copied(begun):
    model = begun.parts.model
    model.bert.requires_grad_(False)
    live = {tensor.data_ptr() for tensor in model.state_dict().values()}
    taken = snapshots.snapshot_best(1, model)
    state_dict = taken.write.args[1]
    copied = [name for name, tensor in state_dict.items() if tensor.data_ptr() not in live]
    assert copied == ["classifier.weight", "classifier.bias"]


def test_the_best_of_a_model_with_an_adapter_is_that_of_its_step_too(begun, tmp_path):
    model, written = adapters.adapt(begun.parts.model, LoraSpec(rank=2)), {}
    for name in ("at_once", "beside"):
        (tmp_path / name).mkdir()
        taken = snapshots.snapshot_best(1, model)
        if name == "at_once":
            adapters.save(model, tmp_path / name)
        else:
            with torch.no_grad():
                for p in model.parameters():
                    p.add_(1.0 if p.requires_grad else 0.0)
            taken.write(tmp_path / name)
        written[name] = files(tmp_path / name) | files(tmp_path / name / "adapter")
    assert written["beside"] == written["at_once"]


@pytest.mark.parametrize("call", ["finished", "drain", "save"])
def test_a_full_disk_is_raised_by_the_next_call_and_nothing_more_is_written(begun, writer, monkeypatch, call):
    def full(*_):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(checkpoints, "save_file", full)
    save(writer, begun, 5)
    begun.state.record(Scores(step=5, metrics={"macro_f1": 0.5}), "macro_f1", "max")
    writer.save_best(5, begun.parts.model, begun.parts.tokenizer)
    writer._pool.submit(lambda: None).result()
    with pytest.raises(JobFailed, match="disk is full"):
        save(writer, begun, 6) if call == "save" else getattr(writer, call)()
    writer.close()
    assert list(begun.parts.checkpoints.iterdir()) == []


def test_defects_are_not_hidden(begun, writer, monkeypatch):
    monkeypatch.setattr(checkpoints, "write", lambda *_: 1 / 0)
    save(writer, begun, 5)
    with pytest.raises(ZeroDivisionError):
        writer.drain()


def test_without_memory_for_a_copy_it_is_saved_at_once(begun, writer, monkeypatch):
    def lacking(self, tensor):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    real = snapshots._Copies._one
    monkeypatch.setattr(snapshots._Copies, "_one", lambda self, tensor: (lacking if self._copy else real)(self, tensor))
    assert memory.is_out_of_memory(RuntimeError("can't allocate memory"))
    save(writer, begun, 5)
    assert checkpoints.newest(begun.parts.checkpoints).state.step == 5
    assert [saved.step for saved in writer.finished()] == [5]


def test_closing_writes_what_is_pending(begun, writer):
    save(writer, begun, 5)
    writer.close()
    assert checkpoints.newest(begun.parts.checkpoints).state.step == 5
    assert [saved.step for saved in writer.drain()] == [5]


def test_old_checkpoints_go_once_the_new_one_is_whole(begun, writer):
    for step in (2, 4, 6):
        save(writer, begun, step)
    writer.drain()
    assert sorted(path.name for path in begun.parts.checkpoints.iterdir()) == ["step-00000004", "step-00000006"]
