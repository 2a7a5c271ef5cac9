"""Pictures of probes: measurements of groups beside the neutral value, and what was seen between steps of a training."""

import numpy as np
import pytest

from fm_notebook.contracts.probe_reports import Measurement
from fm_notebook.contracts.scores import Interval
from fm_notebook.figures import looks as figure_of_looks
from fm_notebook.figures import measurements
from fm_notebook.figures.looks import Looks, looks


def measured(value, group="", n=20, **fields):
    interval = Interval(low=value - 1, high=value + 1, method="t")
    return Measurement(name="d", group=group, value=value, n=n, interval=interval, neutral=0.0, **fields)


def test_one_measurement_needs_no_picture():
    assert measurements.measurements([measured(1.0)], "d") is None


def test_the_picture_is_told_to_those_who_cannot_see_it():
    found = measurements.measurements([measured(1.5), measured(-0.25, "age")], "effect size d")
    assert found.alt == "effect size d: all items 1.5, age -0.25"
    assert found.png[:4] == b"\x89PNG"
    assert 200 < found.width < 900


def test_a_measurement_is_filled_only_where_its_interval_leaves_out_the_neutral_value():
    assert measurements._face(measured(0.5)) == "none"
    assert measurements._face(measured(1.5)) == measurements.BLUE
    assert measurements._face(Measurement(name="d", value=1, n=2)) == measurements.BLUE


def test_of_many_groups_those_with_the_most_items_are_drawn():
    found = [measured(1.0, f"g{i}", n=i + 1) for i in range(measurements.MOST_GROUPS + 5)]
    alt = measurements.measurements(found, "d").alt
    assert "g0 " not in alt
    assert "g34 " in alt


def test_long_names_of_tests_that_begin_alike_stay_apart():
    names = ["female/male words: arts/science", "female/male words: weakness/strength"]
    assert measurements._names(names) == names
    assert len(measurements._names(["x" * 200])[0]) == measurements.MOST_LETTERS


def test_names_that_no_font_has_become_numbers(monkeypatch):
    monkeypatch.setattr(measurements, "is_drawable", str.isascii)
    assert measurements._names(["性别", "age"]) == ["0", "1"]


def seen(name="crows-pairs", neutral=50.0, gap=False):
    intervals = [Interval(low=v - 5, high=v + 5, method="wilson") for v in (55.0, 57.0, 58.0)]
    return Looks(name, "prefers", [0, 100, 200], [55.0, 57.0, 58.0], [None, *intervals[1:]] if gap else intervals, neutral)


def test_looks_are_a_plot_a_probe_with_band_and_neutral_line(monkeypatch):
    figures = []
    monkeypatch.setattr(figure_of_looks, "finish", lambda figure, alt: figures.append(figure) or alt)
    assert "crows-pairs, prefers: 55 at first, 58 at step 200." in looks([seen(), seen("weat", neutral=None)])
    first, second = figures[0].axes
    (band,) = first.collections
    assert np.isclose(band.get_paths()[0].vertices[:, 1].min(), 50.0)
    assert [line.get_linestyle() for line in first.lines] == ["--", "-"]
    assert len(second.lines) == 1


def test_a_look_without_an_interval_is_drawn_without_a_band():
    assert looks([seen(gap=True)]) is not None
    assert looks([Looks("a", "b", [0], [1.0], [None])]) is not None
    assert looks([]) is None


@pytest.mark.parametrize("n", [1, 4, 15])
def test_many_probes_stand_in_rows_of_three(n, monkeypatch):
    figures = []
    monkeypatch.setattr(figure_of_looks, "finish", lambda figure, _alt: figures.append(figure))
    looks([seen(f"probe {i}") for i in range(n)])
    assert sum(axes.get_visible() for axes in figures[0].axes) == min(n, figure_of_looks.MOST_PROBES)
