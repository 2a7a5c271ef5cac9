"""Scatter, bars and perplexities: small, transparent, described, and honest about what they leave out."""

import io
import itertools
import math
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from fm_notebook.contracts.results import ClassScores, Interval, Score
from fm_notebook.figures import bars as bars_module
from fm_notebook.figures import perplexities as perplexities_module
from fm_notebook.figures.bars import MOST_BARS, bars, most_supported
from fm_notebook.figures.perplexities import perplexities
from fm_notebook.figures.picture import Picture
from fm_notebook.figures.scatter import MOST_POINTS, scatter


@pytest.fixture(autouse=True)
def english(monkeypatch):
    monkeypatch.setenv("FM_NOTEBOOK_LANGUAGE", "en")


def scored(label, f1, support=10, n=10):
    interval = Interval(low=max(0, f1 - 0.1), high=min(1, f1 + 0.1), method="bootstrap") if n else None
    score = Score(name="f1", value=f1, n=n, interval=interval)
    return ClassScores(label=label, precision=score, recall=score, f1=score, support=support)


def is_small_and_clear(picture):
    image = Image.open(io.BytesIO(picture.png)).convert("RGBA")
    return len(picture.png) <= 40_000 and image.getpixel((0, 0))[3] == 0 and np.asarray(image)[..., 3].any()


@pytest.mark.parametrize("n", [1, 2, 50, 20_000])
def test_a_scatter_is_small_and_transparent(n):
    true = np.random.default_rng(0).normal(size=n)
    assert is_small_and_clear(scatter(true, true * 0.8))


def test_a_scatter_says_what_it_shows():
    true = np.linspace(0, 5, 10_001)
    assert scatter(true, true / 2).alt == (
        f"Predicted against true values of 10,001 rows ({MOST_POINTS:,} shown): true from 0 to 5, predicted from 0 to 2.5; "
        "the line marks where both are equal."
    )


def test_a_scatter_leaves_out_what_is_not_finite():
    assert "values of 1 rows" in scatter([1.0, math.nan, 2.0], [1.0, 2.0, math.inf]).alt
    assert scatter([], []) is None
    assert scatter([math.nan], [1.0]) is None


@pytest.mark.parametrize("value", [0.0, 3.0, 1e9])
def test_a_collapsed_regression_can_be_drawn(value):
    assert is_small_and_clear(scatter([value] * 5, [value] * 5))


@pytest.mark.parametrize("classes", [1, 12, 60])
def test_bars_are_small_and_transparent(classes):
    assert is_small_and_clear(bars([scored(f"a rather long label {i}", i / classes) for i in range(classes)]))


def test_bars_name_the_lowest_and_the_highest():
    alt = bars([scored("PER", 0.9), scored("LOC", 0.25), scored("ORG", 0.5)]).alt
    assert alt == "F1 of 3 classes (3 shown) with confidence intervals, from 0.250 (LOC) to 0.900 (PER)."


def test_of_many_classes_the_most_frequent_are_shown():
    classes = [scored(str(i), 0.5, support=i) for i in range(40)]
    assert most_supported(classes) == list(range(40 - MOST_BARS, 40))
    assert f"40 classes ({MOST_BARS} shown)" in bars(classes).alt


def test_a_class_that_nothing_is_known_of_has_no_bar():
    assert "2 classes (1 shown)" in bars([scored("a", 0.5), scored("b", 0.0, support=0, n=0)]).alt
    assert bars([scored("b", 0.0, support=0, n=0)]) is None
    assert bars([]) is None


def test_bars_draw_values_and_intervals_from_the_top(monkeypatch):
    drawn = []
    monkeypatch.setattr(bars_module, "finish", lambda figure, alt: drawn.append(figure.axes[0]))
    bars([scored("first", 0.9), scored("second", 0.3)])
    [axes] = drawn
    assert [bar.get_width() for bar in axes.patches] == [0.9, 0.3]
    assert np.array([line.get_xdata() for line in axes.lines]) == pytest.approx(np.array([[0.8, 1], [0.2, 0.4]]))
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["first", "second"]
    assert axes.yaxis_inverted()


def test_a_label_is_no_formula():
    assert bars([scored(r"$\frac{", 0.5)]) is not None


@pytest.mark.parametrize("values", [[20.0], [20.0, 20.0], [30.0, 41.0], [1.0, 1e300], list(np.geomspace(2, 900, 5000))])
def test_perplexities_are_small_and_transparent(values):
    assert is_small_and_clear(perplexities(values))


def test_perplexities_are_described_and_infinite_ones_left_out():
    assert perplexities([10.0, 20.0, 30.0, math.inf]).alt == "Perplexity of 3 texts: median 20, half of them from 15 to 25."
    assert perplexities([math.inf]) is None
    assert perplexities([]) is None


@pytest.mark.parametrize("high", [6, 40, 299, 301, 5e4, 2e6, 1e12])
def test_the_words_of_the_perplexity_axis_do_not_overlap(high, monkeypatch):
    seen = {}
    monkeypatch.setattr(perplexities_module, "finish", lambda figure, alt: seen.update(figure=figure) or Picture(b"", alt))
    perplexities(np.geomspace(1, high, 50).tolist())
    figure = seen["figure"]
    figure.draw_without_rendering()
    low, top = figure.axes[0].get_xlim()
    boxes = [tick.label1.get_window_extent() for tick in figure.axes[0].xaxis.get_major_ticks() if low <= tick.get_loc() <= top]
    assert len(boxes) > 1
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))


def test_chinese_words_are_drawn_or_replaced(monkeypatch):
    monkeypatch.setenv("FM_NOTEBOOK_LANGUAGE", "zh")
    assert "真实值" in scatter([1.0, 2.0], [1.0, 2.0]).alt
    assert "困惑度" in perplexities([10.0, 20.0]).alt
    assert "置信区间" in bars([scored("人名", 0.5)]).alt


def test_pyplot_stays_unloaded():
    draw = "from fm_notebook.figures.scatter import scatter; scatter([1, 2], [2, 1])"
    code = f"import sys; {draw}; print('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
