"""Quality against gap, and curves one over another: small, transparent, described."""

import io

import numpy as np
import pytest
from PIL import Image

from fm_notebook.contracts.comparisons import LearningCurve
from fm_notebook.contracts.scores import Interval
from fm_notebook.figures.overlay import overlay
from fm_notebook.figures.pareto import MOST_GROUPINGS, Plane, Point, pareto
from fm_notebook.figures.series import MARKERS, styles


@pytest.fixture(autouse=True)
def english(monkeypatch):
    monkeypatch.setenv("FM_NOTEBOOK_LANGUAGE", "en")


def between(low, high):
    return Interval(low=low, high=high, method="bootstrap")


def plane(columns="gender", n=2):
    points = [Point(f"run.{at}", 0.8 - at / 50, between(0.7, 0.9), 0.1, between(-0.05, 0.2)) for at in range(n)]
    return Plane(columns, "macro F1", "gap: TPR", points)


def is_clear(picture):
    image = Image.open(io.BytesIO(picture.png)).convert("RGBA")
    return len(picture.png) <= 60_000 and image.getpixel((0, 0))[3] == 0 and np.asarray(image)[..., 3].any()


def test_a_point_a_model_is_described_with_both_intervals():
    found = pareto([plane()])
    assert is_clear(found)
    assert found.alt == (
        "macro F1 against gap: TPR by gender, with 95 % intervals; better is up and to the left: "
        "run.0 0.800 (0.700 – 0.900) at a gap of 0.100 (0.000 – 0.200), "
        "run.1 0.780 (0.700 – 0.900) at a gap of 0.100 (0.000 – 0.200)."
    )


def test_without_points_there_is_no_picture():
    assert pareto([]) is None
    assert pareto([plane(n=0)]) is None


def test_more_groupings_than_fit_are_left_out():
    alt = pareto([plane(str(at)) for at in range(MOST_GROUPINGS + 2)]).alt
    assert alt.count("better is up") == MOST_GROUPINGS


def test_runs_are_told_apart_without_colour():
    each = styles([f"r{at}" for at in range(len(MARKERS))])
    assert len({style.marker for style in each}) == len(each)
    assert len({(style.colour, style.line) for style in each}) == len(each)


def test_curves_lie_over_one_another_and_their_newest_losses_are_said():
    curve = LearningCurve(metric="accuracy", train=[(1, 0.9), (4, 0.5)], held_out=[(4, 0.6)], scores=[(4, 0.7)])
    found = overlay([("a", curve), ("b", LearningCurve(train=[(1, 0.8), (9, 0.3)])), ("no run", LearningCurve())])
    assert is_clear(found)
    assert found.alt == "Loss over steps of 2 runs; the newest: a 0.6 at step 4, b 0.3 at step 9."
    assert overlay([("a", LearningCurve())]) is None


def test_names_that_no_font_has_become_numbers():
    assert [style.name for style in styles(["ทดสอบ", "b"])] == ["0", "1"]
