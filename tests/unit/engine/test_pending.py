"""The host never waits for a step: proved with a device whose answers never come."""

import numpy as np
import pytest
import torch

from fm_notebook.contracts import events as ev
from fm_notebook.engine import families, pending, run
from fm_notebook.engine.loop import finetune
from fm_notebook.engine.pending import Pending

WAITING = ("item", "tolist", "cpu", "numpy", "__bool__", "__float__", "__int__")


class Event:
    """A CUDA event, done when it is waited for or when `there` says so."""

    there = False
    waited = 0

    def record(self):
        pass

    def query(self):
        return Event.there

    def synchronize(self):
        Event.waited += 1


@pytest.fixture
def on_a_device(monkeypatch):
    """Steps are reported as from CUDA, and every call that would wait for the device is counted."""
    calls = []
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(run, "Pending", lambda device: Pending(torch.device("cuda")))
    monkeypatch.setattr(Event, "there", False)
    monkeypatch.setattr(Event, "waited", 0)
    for name in WAITING:
        real = getattr(torch.Tensor, name)
        monkeypatch.setattr(torch.Tensor, name, lambda self, *a, name=name, real=real, **k: (calls.append(name), real(self, *a, **k))[1])
    return calls


def test_no_step_waits_for_the_device(make_parts, on_a_device):
    parts = make_parts(n=400, epochs=1.0, layout="packed")  # padded, transformers itself asks whether a mask is all true
    families.enable(parts.model)
    events = finetune(parts)
    assert isinstance(next(events), ev.Started)
    on_a_device.clear()
    first = next(events)  # comes when more than LAG steps are under way
    assert isinstance(first, ev.StepEnded)
    assert first.step == 1
    assert Event.waited == 1
    assert on_a_device == ["tolist"], on_a_device  # of the copy that has come, after 9 steps
    events.close()


def test_all_steps_are_told_before_anything_else_is(make_parts, on_a_device):
    kinds = [event.type for event in finetune(make_parts())]
    assert kinds.index("PhaseBegan") == 1 + 5  # started, the epoch's five steps, then the evaluation
    assert kinds.count("StepEnded") == 10


def test_numbers_that_are_there_are_told_at_once(monkeypatch, on_a_device):
    Event.there = True
    waiting = Pending(torch.device("cuda"))
    waiting.add(torch.tensor(1.5), torch.tensor(2.5), np.array([7]), {"step": 1})
    (found,) = waiting.ready()
    assert (found.loss, found.norm, found.rows.tolist(), found.facts) == (1.5, 2.5, [7], {"step": 1})
    assert list(waiting.ready()) == []
    assert Event.waited == 0


def test_on_the_cpu_a_step_is_told_at_once(make_parts):
    kinds = [event.type for event in finetune(make_parts(max_steps=2))]
    assert kinds[:3] == ["Started", "StepEnded", "StepEnded"]
    assert pending.LAG > 0
