"""Reliability, ROC and precision-recall: drawn where the numbers are, small, clear, and described."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from fm_notebook.figures import calibration as reliability_module
from fm_notebook.figures import roc as roc_module
from fm_notebook.figures.calibration import reliability
from fm_notebook.figures.roc import roc
from fm_notebook.metrics.calibration import calibration
from fm_notebook.metrics.curves import curves
from fm_notebook.metrics.predictions import Predictions


@pytest.fixture(autouse=True)
def english(monkeypatch):
    monkeypatch.setenv("FM_NOTEBOOK_LANGUAGE", "en")


def made(classes=2, n=400, positive=None, labels=None):
    rng = np.random.default_rng(0)
    truth = rng.integers(0, classes, n)
    logits = 2 * rng.normal(size=(n, classes)) + np.eye(classes)[truth]
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return Predictions.of(
        truth, shares.argmax(1), labels or [f"c{i}" for i in range(classes)], probabilities=shares, positive=positive
    )


def is_small_and_clear(picture):
    image = Image.open(io.BytesIO(picture.png)).convert("RGBA")
    return len(picture.png) <= 60_000 and image.getpixel((0, 0))[3] == 0 and np.asarray(image)[..., 3].any()


@pytest.mark.parametrize("n", [1, 400])
@pytest.mark.parametrize("classes", [2, 8])
def test_pictures_are_small_and_transparent(classes, n):
    given = made(classes, n)
    assert is_small_and_clear(reliability(calibration(given)))
    found = roc(curves(given))
    assert found is None if n == 1 else is_small_and_clear(found)


def drawn(monkeypatch, module, draw, what):
    seen = []
    monkeypatch.setattr(module, "finish", lambda figure, alt: seen.append((figure, alt)))
    draw(what)
    return seen[0]


def test_points_stand_at_mean_score_and_rate_over_a_histogram_of_all_rows(monkeypatch):
    found = calibration(made(positive="c1"))
    figure, alt = drawn(monkeypatch, reliability_module, reliability, found)
    above, below = figure.axes
    filled = [each for each in found.bins if each.n]
    assert above.lines[-1].get_xdata().tolist() == pytest.approx([each.mean_score for each in filled])
    assert above.lines[-1].get_ydata().tolist() == pytest.approx([each.rate for each in filled])
    assert [list(line.get_ydata()) for line in above.lines[1:-1]] == [[each.interval.low, each.interval.high] for each in filled]
    assert sum(bar.get_height() for bar in below.patches) == 400
    assert f"of {filled[0].n} rows given {filled[0].mean_score:.2f} on average {filled[0].rate:.2f} came true" in alt


def test_curves_are_drawn_as_they_are_with_the_lines_of_chance(monkeypatch):
    found = curves(made(positive="c1"))
    figure, alt = drawn(monkeypatch, roc_module, roc, found)
    left, right = figure.axes
    assert list(left.lines[-1].get_xdata()) == found[0].x
    assert list(right.lines[0].get_ydata()) == found[1].y
    assert right.lines[1].get_ydata() == pytest.approx([found[1].base_rate] * 2)
    assert alt.endswith(f"c1: AUC {found[0].area.value:.3f}, average precision {found[1].area.value:.3f}.")


def test_curves_of_many_labels_differ_in_colour_or_dash_and_are_named(monkeypatch):
    figure, _ = drawn(monkeypatch, roc_module, roc, curves(made(8)))
    styles = [(line.get_color(), json.dumps(line._unscaled_dash_pattern)) for line in figure.axes[0].lines[1:]]
    assert len(set(styles)) == len(styles) == 8
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [f"c{i}" for i in range(8)]


def test_labels_that_no_font_has_are_numbered(monkeypatch):
    figure, alt = drawn(monkeypatch, roc_module, roc, curves(made(2, labels=["ทดสอบ", "b"])))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["0", "1"]
    assert "ทดสอบ" in alt


def test_pictures_speak_chinese(monkeypatch):
    monkeypatch.setenv("FM_NOTEBOOK_LANGUAGE", "zh")
    assert "可靠性" in reliability(calibration(made())).alt
    assert "平均精确率" in roc(curves(made())).alt


def test_without_curves_there_is_no_picture():
    assert roc([]) is None
