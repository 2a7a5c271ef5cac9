"""A dry run's steps change nothing, and begin with the fullest."""

import numpy as np
import torch

from fm_notebook.contracts import events as ev
from fm_notebook.engine.dry_run import FEWEST_STEPS, MOST_STEPS, try_steps
from fm_notebook.engine.run import Run


def tried(parts, command=lambda: "run"):
    run = Run(parts)
    events, walk = [*run.resume()], try_steps(run, command)
    while True:
        try:
            events.append(next(walk))
        except StopIteration as stop:
            return stop.value, events


def test_no_weight_changes(make_parts):
    parts = make_parts()
    before = {name: p.clone() for name, p in parts.model.named_parameters()}
    found, _ = tried(parts)
    assert len(found.step_seconds) == MOST_STEPS
    assert all(torch.equal(before[name], p) for name, p in parts.model.named_parameters())


def test_the_longest_texts_meet_in_the_first_step(make_parts):
    from fm_notebook.engine.step import accumulate

    seen = []

    def watched(model, task, batch, *rest):
        seen.append(batch.lengths)
        return accumulate(model, task, batch, *rest)

    parts = make_parts(step_function=watched)
    tried(parts)
    longest = np.sort(parts.train.tokens.lengths)[::-1][: parts.spec.batch_size]
    assert np.array_equal(seen[0], longest)
    assert np.array_equal(seen[1], longest)
    assert max(lengths.sum() for lengths in seen) == longest.sum()


def test_slow_steps_are_fewer(make_parts, monkeypatch):
    from fm_notebook.engine import dry_run

    monkeypatch.setattr(dry_run, "ENOUGH_SECONDS", 0.0)
    found, _ = tried(make_parts())
    assert len(found.step_seconds) == FEWEST_STEPS


def test_a_command_ends_it_without_a_result(make_parts):
    wishes = iter(["run", "run", "cancel"])
    found, events = tried(make_parts(), lambda: next(wishes))
    assert found is None
    assert [event.done for event in events if isinstance(event, ev.ItemsScored)] == [0, 1, 2]


def test_memory_that_runs_out_shrinks_the_micro_batch(make_parts):
    from fm_notebook.engine.step import accumulate

    def tight(model, task, batch, forward, budget, backward):
        if budget.texts > 4:
            raise torch.OutOfMemoryError("no room")
        return accumulate(model, task, batch, forward, budget, backward)

    found, events = tried(make_parts(step_function=tight))
    assert found.step_seconds
    assert [event.micro_batch_size for event in events if isinstance(event, ev.MemoryShrunk)] == [4]
