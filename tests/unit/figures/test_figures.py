"""Pictures: decodable, transparent, small, and honest about what they leave out."""

import io
import subprocess
import sys

import pytest
from PIL import Image

from fm_notebook.contracts import events as ev
from fm_notebook.figures.confusion import MOST_CLASSES, confusion, most_confused, names, shorten
from fm_notebook.figures.learning_curve import learning_curve, smooth
from fm_notebook.figures.picture import is_drawable


def evaluations(count):
    return [
        ev.EvalEnded(step=10 * i, epoch=1.0, metrics={"accuracy": i / 20, "loss": 1.0}, n=50, seconds=1.0, best=i == 3)
        for i in range(1, count)
    ]


def opened(picture):
    return Image.open(io.BytesIO(picture.png)).convert("RGBA")


def test_a_curve_is_small_transparent_and_described(monkeypatch):
    monkeypatch.setenv("FM_NOTEBOOK_LANGUAGE", "en")
    steps = list(range(1, 2001))
    picture = learning_curve(steps, [1 + (s % 7) / 9 for s in steps], evaluations(10), metric="accuracy")
    image = opened(picture)
    assert len(picture.png) <= 40_000
    assert image.getpixel((0, 0))[3] == 0
    assert image.width == pytest.approx(2 * picture.width, abs=1)
    assert "accuracy 0.150 at step 30" in picture.alt


def test_nothing_to_draw_is_no_picture():
    assert learning_curve([], [], []) is None
    assert confusion([], []) is None
    assert confusion([[0, 0], [0, 0]], ["a", "b"]) is None


def test_a_loss_that_is_not_a_number_leaves_a_gap():
    assert learning_curve([1, 2, 3], [float("nan"), 1.0, float("inf")], []) is not None


def test_smoothing_keeps_a_constant_and_skips_what_is_not_finite():
    assert smooth([2.0, float("nan"), 2.0, 2.0]) == pytest.approx([2.0] * 4)


@pytest.mark.parametrize("classes", [1, 2, 12, 60])
def test_a_confusion_matrix_is_small_and_transparent(classes):
    matrix = [[30 if i == j else (i * j) % 5 for j in range(classes)] for i in range(classes)]
    picture = confusion(matrix, [f"a rather long label {i}" for i in range(classes)])
    assert len(picture.png) <= 40_000
    assert opened(picture).getpixel((0, 0))[3] == 0


def test_of_many_classes_the_most_confused_are_shown():
    matrix = [[0] * 40 for _ in range(40)]
    matrix[38][39] = 9
    chosen = most_confused(matrix)
    assert len(chosen) == MOST_CLASSES
    assert chosen[-2:] == [38, 39]


def test_long_labels_are_shortened_by_their_width():
    assert shorten("short") == "short"
    assert len(shorten("x" * 100)) <= 18
    assert len(shorten("宽" * 100)) <= 9
    assert shorten("two\nlines") == "two lines"


def test_labels_without_a_font_become_numbers():
    assert not is_drawable("ทดสอบ")
    assert names(["ทดสอบ", "b"], [0, 1]) == ["0", "1"]


def test_a_label_is_no_formula():
    assert confusion([[3, 1], [1, 3]], [r"$\frac{", "$x$"]) is not None


def test_pyplot_stays_unloaded():
    draw = "from fm_notebook.figures.confusion import confusion; confusion([[2, 1], [1, 2]], 'ab')"
    code = f"import sys; {draw}; print('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
