"""The sweep takes the run's own steps, and puts back what it changed to the bit."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from fm_notebook.contracts import events as ev
from fm_notebook.engine import families
from fm_notebook.engine.forward import Forward
from fm_notebook.engine.kernels import switch
from fm_notebook.engine.range_test import range_test
from fm_notebook.engine.run import Run
from fm_notebook.engine.step import weighted_loss


def swept(parts, command=lambda: "run", *, lowest=1e-5, highest=0.5, steps=12):
    events, walk = [], range_test(parts, command, lowest=lowest, highest=highest, steps=steps)
    while True:
        try:
            events.append(next(walk))
        except StopIteration as stop:
            return stop.value, events


def bits(model):
    return {name: tensor.detach().clone() for name, tensor in [*model.named_parameters(), *model.named_buffers()]}


@pytest.mark.parametrize("command", ["run", "stop", "cancel"])
def test_weights_and_generators_are_as_they_were_to_the_bit(make_parts, command):
    parts = make_parts(dropout=0.1)
    before, generator = bits(parts.model), torch.get_rng_state()
    calls = iter([*["run"] * 5, *[command] * 100])
    curve, _ = swept(parts, lambda: next(calls))
    assert (curve is None) == (command == "cancel")
    after = bits(parts.model)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(p.grad is None for p in parts.model.parameters())


def test_a_compact_vocabulary_comes_back_to_the_bit(make_parts, tokenizer):
    parts = make_parts(layout="packed")
    families.enable(parts.model)
    before = bits(parts.model)
    techniques = switch.enable_for(parts.model, (parts.train, parts.held_out), tokenizer, 0)
    parts = replace(parts, vocabulary=techniques.vocabulary)
    swept(parts)
    techniques.undo()
    assert all(torch.equal(before[name], p) for name, p in parts.model.named_parameters())


def test_at_a_rate_of_nothing_losses_are_those_of_the_untouched_model(make_parts):
    parts = make_parts(dropout=0.0)
    curve, _ = swept(parts, lowest=1e-30, highest=2e-30, steps=10)
    run = Run(parts)
    parts.model.eval()
    with torch.no_grad():
        expected = [float(weighted_loss(parts.model, parts.task, run.batch(i), Forward("fp32"))) for i in range(10)]
    assert curve.losses == pytest.approx(expected, rel=1e-5)
    assert curve.examples == sum(len(run.batch(i)) for i in range(10))


def test_the_first_step_is_that_of_adamw(make_parts):
    """AdamW's first step moves each weight by the learning rate: the second loss is that of weights moved so."""
    parts = make_parts(dropout=0.0, weight_decay=0.0, max_grad_norm=None)
    curve, _ = swept(parts, lowest=1e-3, highest=1e-2, steps=10)
    run = Run(parts)
    loss = weighted_loss(parts.model, parts.task, run.batch(0), Forward("fp32"))
    loss.backward()
    torch.optim.AdamW(parts.model.parameters(), 1e-3, weight_decay=0.0).step()
    with torch.no_grad():
        expected = weighted_loss(parts.model, parts.task, run.batch(1), Forward("fp32"))
    assert curve.losses[1] == pytest.approx(float(expected), rel=1e-4)


def test_progress_is_told_step_by_step(make_parts):
    _, events = swept(make_parts(), steps=12)
    assert [event.done for event in events if isinstance(event, ev.ItemsScored)] == list(range(1, 13))
    assert next(event for event in events if isinstance(event, ev.Started)).total_steps == 12


def test_a_loss_that_is_no_number_ends_the_sweep(make_parts):
    def broken(model, task, batch, forward, budget, backward):
        loss = weighted_loss(model, task, batch, forward)
        backward(loss)
        return loss.detach() * next(factors)

    factors = iter([1.0] * 4 + [np.nan] * 9)
    curve, _ = swept(make_parts(step_function=broken), steps=12)
    assert (curve.ended, len(curve.losses)) == ("diverged", 5)
