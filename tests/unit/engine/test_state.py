"""What a run remembers of its evaluations."""

import json
import math

import pytest

from fm_notebook.engine.state import RunState, Scores


@pytest.mark.parametrize(
    ("goal", "scores", "best"),
    [
        ("max", [0.1, 0.3, 0.3, 0.2], 1),
        ("min", [0.5, 0.4, 0.4], 1),
        ("max", [math.nan, 0.1, math.nan], 1),
        ("max", [math.nan], 0),
    ],
)
def test_the_best_is_the_earliest_of_equals_and_never_nan_if_it_can_be_helped(goal, scores, best):
    state = RunState(8, 100, "fp32", "padded", 1)
    for step, score in enumerate(scores):
        state.step = step
        state.record(Scores(step=state.step, metrics={"m": score}), "m", goal)
    assert state.best.step == best
    assert state.last.step == len(scores) - 1
    assert state.without_gain == len(scores) - 1 - best


def test_the_state_survives_json():
    state = RunState(8, 100, "bf16", "packed", 2, step=4)
    state.record(Scores(step=state.step, metrics={"m": 0.5}), "m", "max")
    state.spend("train", 1.5)
    assert RunState.from_json(json.loads(json.dumps(state.to_json()))) == state
