"""How numbers are worded."""

from fm_notebook.panels import text


def test_epochs_are_plain_numbers():
    assert [text.epochs(value) for value in (3.0, 0.25, 6.6667, 11111.111)] == ["3", "0.25", "6.67", "11,111.11"]
