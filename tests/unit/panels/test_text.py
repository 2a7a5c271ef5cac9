"""How numbers are worded."""

from fm_notebook.panels import text


def test_epochs_are_plain_numbers():
    assert [text.epochs(value) for value in (3.0, 0.25, 6.6667, 11111.111)] == ["3", "0.25", "6.67", "11,111.11"]


def test_large_scores_have_no_decimals_that_nobody_reads():
    values = (0.8761, 53.2049, 427.6671, 53911.852, float("inf"))
    assert [text.score(value) for value in values] == ["0.876", "53.205", "427.7", "53,912", "inf"]


def test_scores_stand_in_columns_however_long_their_names():
    lines = text.score_lines([("perplexity of masked tokens", "53,912", "50,404 – 57,664", "9"), ("loss", "10.895", "", "9")])
    assert len({line.index("n = ") for line in lines}) == 1
    assert lines[1].startswith("  loss  ")
