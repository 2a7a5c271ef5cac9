"""The host never waits for a step: proved with a device whose answers never come."""

from itertools import count
from typing import ClassVar

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
    streams: ClassVar[list] = []

    def record(self, stream):
        Event.streams.append(stream)

    def query(self):
        return Event.there

    def synchronize(self):
        Event.waited += 1


@pytest.fixture
def on_a_device(monkeypatch):
    """Steps are reported as from CUDA, and every call that would wait for the device is counted."""
    calls = []
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device=None: f"stream of {device}")
    monkeypatch.setattr(Event, "streams", [])
    monkeypatch.setattr(run, "Pending", lambda device: Pending(torch.device("cuda")))
    monkeypatch.setattr(Event, "there", False)
    monkeypatch.setattr(Event, "waited", 0)
    for name in WAITING:
        real = getattr(torch.Tensor, name)
        monkeypatch.setattr(
            torch.Tensor, name, lambda self, *a, name=name, real=real, **k: (calls.append(name), real(self, *a, **k))[1]
        )
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


def test_a_step_is_awaited_on_the_device_that_runs_it(on_a_device):
    Pending(torch.device("cuda:1")).add(torch.tensor(1.5), torch.tensor(2.5), np.array([7]), {"step": 1})
    assert Event.streams == ["stream of cuda:1"]


def test_time_spent_waiting_for_the_device_counts_as_training(make_parts, monkeypatch, on_a_device):
    parts = make_parts(n=160, epochs=1.0, batch_size=8)
    clock = count(0, 100)
    monkeypatch.setattr(pending, "perf_counter", lambda: next(clock))  # each wait takes 100 s
    events = list(finetune(parts))
    steps = [event for event in events if isinstance(event, ev.StepEnded)]
    assert len(steps) == 20
    assert sum(step.seconds for step in steps) > 100 * (20 - pending.LAG - 1)
    assert events[-1].result.seconds["train"] > 100 * 20


def test_on_the_cpu_a_step_is_told_at_once(make_parts):
    kinds = [event.type for event in finetune(make_parts(max_steps=2))]
    assert kinds[:3] == ["Started", "StepEnded", "StepEnded"]
    assert pending.LAG > 0
