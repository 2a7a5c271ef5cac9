"""What changed between two models in their answers: before, after, paired interval, Holm's p, and who moved where."""

from fm_notebook.contracts.probe_changes import ModelChanges, ProbeChange, ProbeComparison, ProbeComparisons
from fm_notebook.contracts.probe_reports import Measurement
from fm_notebook.contracts.scores import Interval
from fm_notebook.panels import probe_changes


def comparisons():
    change = ProbeChange(
        what="choices", n=80, first=55.0, second=45.0, difference=-10.0, p_value=0.0352, adjusted_p=0.0704, up=4, down=12,
        interval=Interval(low=-19.5, high=-0.5, method="bootstrap"),
    )  # fmt: skip
    values = ProbeChange(what="values", group="<b>gender</b>", n=40, first=0.5, second=0.25, difference=-0.25)
    main = Measurement(name="stereotype_preference", value=55.0, n=80, interval=Interval(low=44, high=66, method="wilson"))
    changed = ModelChanges(name="fairer", changes=[change, values], unpaired=3)
    return ProbeComparisons(
        probes=[
            ProbeComparison(
                probe="crows-pairs", variant="pll", models=["base", "fairer"], headlines=[main, None], changes=[changed]
            )
        ]
    )


def test_a_row_has_before_after_the_difference_with_its_interval_and_the_flips():
    header, first, second = probe_changes.changes(comparisons().probes[0])
    assert header[0] == "model"
    assert first == (
        "fairer",
        "% that prefer the stereotype",
        "all items",
        "80",
        "55.0",
        "45.0",
        "−10.0 (−19.5 – −0.5)",
        "0.035",
        "0.070",
        "+4 −12",
    )
    assert second[2:7] == ("<b>gender</b>", "40", "0.500", "0.250", "−0.250")
    assert second[-1] == ""


def test_a_model_without_a_measurement_is_in_the_table_and_unpaired_items_are_counted():
    found = comparisons().probes[0]
    assert probe_changes.headlines(found)[2] == ("fairer", "–", "–", "–", "0")
    assert probe_changes.unpaired(found) == [
        "3 items were scored with one of fairer and the first model alone, and are left out."
    ]


def test_names_are_escaped_and_both_twins_say_the_same():
    html, text = probe_changes.html(comparisons()), probe_changes.plain(comparisons())
    assert "<b>gender" not in html
    for part in ("crows-pairs (pll)", "+4 −12", "all items"):
        assert part in html
        assert part in text
    assert "Goldfarb-Tarrant" in html


def test_a_probe_whose_items_choose_no_stereotype_says_what_they_choose():
    (of_pairs,) = comparisons().probes
    of_swaps = of_pairs.model_copy(update={"probe": "identity-swap"})
    assert probe_changes.changes(of_pairs)[1][1] == "% that prefer the stereotype"
    assert probe_changes.changes(of_swaps)[1][1] == "% of exchanges that change the answer"
