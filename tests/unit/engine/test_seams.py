"""The joints where other methods of training hook in, each proved by a toy."""

import dataclasses

import numpy as np
import pytest
import torch

from fm_notebook.contracts import events as ev
from fm_notebook.engine import loop, optim
from fm_notebook.engine.loop import finetune
from fm_notebook.engine.step import accumulate, weighted_loss
from fm_notebook.errors import JobFailed


def losses(parts):
    return [event.loss for event in finetune(parts) if isinstance(event, ev.StepEnded)]


def test_a_task_may_weigh_its_losses_by_what_it_sees(make_parts):
    """Focal loss (Lin et al. 2017): with gamma 0 it is cross-entropy."""

    class Focal:
        def __init__(self, task, gamma):
            self.task, self.gamma = task, gamma

        def __getattr__(self, name):
            return getattr(self.task, name)

        def losses(self, logits, targets):
            plain = self.task.losses(logits, targets)
            return (1 - torch.exp(-plain)) ** self.gamma * plain

    def run(name, gamma):
        parts = make_parts(name, dropout=0.0, max_steps=3)
        return losses(dataclasses.replace(parts, task=Focal(parts.task, gamma)))

    plain = losses(make_parts("plain", dropout=0.0, max_steps=3))
    assert run("zero", 0.0) == pytest.approx(plain, abs=1e-6)
    assert all(focal < each for focal, each in zip(run("two", 2.0), plain, strict=True))


def test_a_sampler_of_groups_decides_who_meets(make_parts):
    class OneOfEachClass:
        steps_per_epoch = 4

        def __init__(self, targets):
            self.targets = targets

        def rows(self, step):
            rng = np.random.default_rng(step)
            return np.array([rng.choice(np.flatnonzero(self.targets == group)) for group in (0, 1)])

    seen = []

    def step(model, task, batch, forward, budget, backward):
        seen.append(batch.targets.tolist())
        return accumulate(model, task, batch, forward, budget, backward)

    parts = make_parts(step_function=step, max_steps=6)
    found = list(finetune(dataclasses.replace(parts, plan=OneOfEachClass(parts.train.targets))))
    assert seen == [[0, 1]] * 6
    assert [event.epoch for event in found if isinstance(event, ev.StepEnded)][-1] == 1.5


def test_a_step_may_go_back_twice(make_parts):
    """Sharpness-aware minimisation (Foret et al. 2021): with radius 0 it is the plain step."""

    def sharpness_aware(radius):
        def step(model, task, batch, forward, budget, backward):
            loss = accumulate(model, task, batch, forward, budget, backward)
            trained = [p for p in model.parameters() if p.grad is not None]
            norm = torch.nn.utils.get_total_norm([p.grad for p in trained])
            moves = [p.grad * (radius / norm) for p in trained]
            with torch.no_grad():
                for p, move in zip(trained, moves, strict=True):
                    p.add_(move)
                    p.grad = None
            accumulate(model, task, batch, forward, budget, backward)
            with torch.no_grad():
                for p, move in zip(trained, moves, strict=True):
                    p.sub_(move)
            return loss

        return step

    plain = losses(make_parts("plain", dropout=0.0, max_steps=4))
    zero = losses(make_parts("zero", dropout=0.0, max_steps=4, step_function=sharpness_aware(0.0)))
    aware = losses(make_parts("aware", dropout=0.0, max_steps=4, step_function=sharpness_aware(0.05)))
    assert zero == pytest.approx(plain, abs=1e-6)
    assert aware[0] == pytest.approx(plain[0], abs=1e-6)
    assert aware[3] != pytest.approx(plain[3], abs=1e-6)


def test_groups_of_parameters_may_decay_and_freeze_differently(make_parts):
    def head_alone(model, weight_decay):
        for name, p in model.named_parameters():
            p.requires_grad_(name.startswith("classifier"))
        return optim.parameter_groups(model, weight_decay)

    parts = make_parts(parameter_groups=head_alone, max_steps=2)
    before = {name: p.clone() for name, p in parts.model.named_parameters()}
    list(finetune(parts))
    changed = {name for name, p in parts.model.named_parameters() if not torch.equal(p, before[name])}
    assert changed == {"classifier.weight", "classifier.bias"}


def test_a_probe_between_steps_changes_nothing(make_parts):
    held = make_parts("held")

    def probe(model):
        with torch.inference_mode():
            measured.append(float(weighted_loss(model, held.task, held.held_out.batch(np.arange(4)), forward)))

    from fm_notebook.engine.forward import Forward

    forward, measured = Forward("fp32"), []
    plain = losses(make_parts("plain", dropout=0.0))
    probed = losses(make_parts("probed", dropout=0.0, between_steps=probe))
    assert probed == plain
    assert len(measured) == len(plain)


def test_packed_and_padded_steps_agree(make_parts):
    from fm_notebook.engine import families

    padded, packed = make_parts("padded", dropout=0.0), make_parts("packed", dropout=0.0, layout="packed")
    assert families.can_pack(packed.model)
    families.enable(packed.model)
    assert losses(packed) == pytest.approx(losses(padded), abs=1e-5)


def test_fp16_scales_losses_and_learns_as_fp32_does(make_parts):
    full = losses(make_parts("full", dropout=0.0, epochs=6.0))
    half = losses(make_parts("half", dropout=0.0, epochs=6.0, precision="fp16"))
    assert half == pytest.approx(full, abs=0.02)


def overflowing(when):
    calls = []

    def step(*parts):
        calls.append(None)
        loss = accumulate(*parts)
        if when(len(calls)):
            next(iter(parts[0].parameters())).grad.fill_(float("inf"))
        return loss

    return step


def test_a_step_that_overflows_in_fp16_is_skipped_and_the_run_goes_on(make_parts):
    parts = make_parts(step_function=overflowing(lambda n: n == 2), precision="fp16", max_steps=4)
    assert [event.step for event in finetune(parts) if isinstance(event, ev.StepEnded)] == [1, 2, 3, 4]
    assert all(p.isfinite().all() for p in parts.model.parameters())


def test_a_gradient_that_always_overflows_ends_the_run_in_words(make_parts, monkeypatch):
    monkeypatch.setattr(loop, "MOST_OVERFLOWS", 3)
    with pytest.raises(JobFailed, match="4 steps in a row"):
        list(finetune(make_parts(step_function=overflowing(lambda n: True), precision="fp16")))
