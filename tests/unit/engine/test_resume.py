"""However often and however a run is stopped: the weights are those of one that never was, bit for bit."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fm_notebook.contracts import events as ev
from fm_notebook.engine import families
from fm_notebook.engine.kernels import bert_layer, switch
from fm_notebook.engine.kernels.compiled.operations import operations
from fm_notebook.engine.loop import finetune

pytestmark = pytest.mark.slow

numbers = itertools.count()

fields = st.fixed_dictionaries(
    {
        "batch_size": st.sampled_from([4, 7, 8]),
        "lr_schedule": st.sampled_from(["linear", "cosine", "constant"]),
        "warmup_steps": st.sampled_from([0, 3, 0.2]),
        "eval_every": st.sampled_from([None, 2, 3, 0.5]),
        "save_every": st.sampled_from([None, 1, 2, 5]),
        "keep_checkpoints": st.sampled_from([1, 2]),
        "weight_decay": st.sampled_from([0.0, 0.1]),
        "max_grad_norm": st.sampled_from([None, 0.5]),
        "seed": st.integers(0, 3),
        "early_stopping": st.sampled_from([None, 2]),
    }
)
stops = st.lists(st.tuples(st.integers(1, 12), st.sampled_from(["stop", "cancel", "died"])), min_size=1, max_size=3)


def until(parts: Any, step: int, how: str) -> Iterator[ev.Event]:
    """The run's events until `step` has ended, then its end by `how`; ``died`` is a generator that nobody pulls any more."""
    at = 0
    events = finetune(parts, lambda: how if how != "died" and at >= step else "run")  # pyright: ignore[reportArgumentType]
    for event in events:
        at = event.step if isinstance(event, ev.StepEnded) else at
        yield event
        if how == "died" and at >= step:
            events.close()  # type: ignore[attr-defined]
            return


def what_came_of(events: list[ev.Event], parts: Any) -> tuple[dict[int, tuple[float, float]], Any, Any, dict[str, torch.Tensor]]:
    """Loss and norm of each step as last seen, the end's metrics and best step, the weights."""
    steps = {event.step: (event.loss, event.grad_norm) for event in events if isinstance(event, ev.StepEnded)}
    end = events[-1]
    assert isinstance(end, ev.Ended)
    assert end.state == "finished"
    assert end.result is not None
    return steps, end.result.metrics, end.result.best_step, dict(parts.model.state_dict())


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(fields=fields, stops=stops)
def test_stopped_anywhere_and_anyhow_a_run_ends_in_the_same_bits(make_parts: Callable[..., Any], fields, stops):
    name = f"run-{next(numbers)}"
    whole = make_parts(f"{name}-whole", **fields)
    expected = what_came_of(list(finetune(whole)), whole)

    events: list[ev.Event] = []
    for step, how in stops:
        events += until(make_parts(name, **fields), step, how)
        if isinstance(events[-1], ev.Ended) and events[-1].state == "finished":
            break
        torch.manual_seed(999)  # whatever else happens in between
        random.seed(999)
    if not (isinstance(events[-1], ev.Ended) and events[-1].state == "finished"):
        parts = make_parts(name, **fields)
        events += finetune(parts)
        found = what_came_of(events, parts)
        assert found[:3] == expected[:3]
        for key, tensor in expected[3].items():
            assert torch.equal(found[3][key], tensor), key


@pytest.mark.parametrize("stop_at", [1, 6])
@pytest.mark.parametrize("which", [switch.ALL, switch.IN_TORCH], ids=["c", "torch"])
def test_faster_layers_in_bf16_repeat_their_bits(make_parts, stop_at, which):
    def parts(name: str) -> Any:
        made = make_parts(name, precision="bf16", layout="packed", save_every=2)
        families.enable(made.model)
        switch.enable(made.model, made.spec.seed, which)
        in_c = which is switch.ALL and operations() is not None
        assert bert_layer.way_of(made.model.bert.encoder.layer[0]) == ("c" if in_c else "torch")
        return made

    whole = parts("whole")
    expected = what_came_of(list(finetune(whole)), whole)
    events = list(until(parts("cut"), stop_at, "stop"))
    torch.manual_seed(999)
    resumed = parts("cut")
    events += finetune(resumed)
    found = what_came_of(events, resumed)
    assert found[:3] == expected[:3]
    for key, tensor in expected[3].items():
        assert torch.equal(found[3][key], tensor), key


@pytest.mark.parametrize("stop_at", [3, 7])
def test_what_a_step_draws_besides_is_drawn_again(make_parts, stop_at):
    """Plug-ins draw from Python's and NumPy's generators too."""
    import numpy as np

    def draw(into: list[float]) -> Callable[[Any], None]:
        return lambda model: into.append((random.random(), float(np.random.random())))  # noqa: NPY002

    def seeded() -> None:
        random.seed(5)
        np.random.seed(5)  # noqa: NPY002

    whole, parted = [], []
    seeded()
    list(finetune(make_parts("whole", between_steps=draw(whole))))
    seeded()
    list(until(make_parts("parted", between_steps=draw(parted)), stop_at, "stop"))
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    list(finetune(make_parts("parted", between_steps=draw(parted))))
    assert parted == whole
