"""A probe's report as a card and as text: the headline with what so many items show, warnings first, no number without its n."""

import re

import pytest

from fm_notebook.contracts.probe_reports import Measurement, ProbeReport, ProbeReports
from fm_notebook.contracts.probe_specs import Remark
from fm_notebook.contracts.references import DataRef
from fm_notebook.contracts.scores import Interval
from fm_notebook.panels import probe_report, probe_tables

HOSTILE = "<img src=x onerror=alert(1)>"


def measured(value=54.0, group="", name="stereotype_preference", **fields):
    interval = Interval(low=value - 7, high=value + 7, method="wilson")
    given = {"n": 200, "neutral": 50.0, "p_value": 0.291, "smallest": 10.5, "interval": interval}
    return Measurement(name=name, group=group, value=value, **{**given, **fields})


def report(*found, **fields):
    given = {
        "model": "tiny", "probe": "crows-pairs", "variant": "cps", "language": "en", "data": DataRef(source="", kind="seed"),
        "licence": "Apache-2.0", "citation": "Nangia 2020", "items": 200, "scored": 200, "folder": "/no/where",
        "measurements": list(found),
    }  # fmt: skip
    return ProbeReport(**{**given, **fields})


@pytest.fixture
def whole():
    groups = [measured(61.5, "gender", n=39, adjusted_p=1.0), measured(43.6, "age", n=39, adjusted_p=1.0)]
    return report(measured(is_main=True, needed=1435), *groups)


def test_the_headline_has_value_interval_neutral_value_p_and_what_so_many_items_show(whole):
    first, meaning, power = probe_report.headline(whole)
    assert first.endswith("54.0 (95 %: 47.0 – 61.0) · no preference: 50 · p = 0.291")
    assert "50 is no preference" in meaning
    assert "1,435 items; here are 200" in power


def test_a_report_without_measurements_says_so():
    assert "Nothing could be measured." in probe_report.plain(report())
    assert "%panel inspect" in probe_report.plain(report())
    assert "%panel inspect" not in probe_report.plain(report(scored=0))


def test_numbers_of_a_measurement_have_as_many_decimals_and_a_real_minus():
    small = measured(-0.5, interval=Interval(low=-1.25, high=0.25, method="t"), neutral=0.0)
    assert probe_tables.number(small.value, small) == "−0.500"
    assert probe_tables.between(small) == "−1.250 – 0.250"
    share = measured(9.0, interval=Interval(low=2.0, high=16.0, method="wilson"))
    assert probe_tables.number(share.value, share) == "9.0"
    assert probe_tables.neutral(share) == "50"


def test_groups_stand_in_a_table_of_their_measure_after_what_is_over_all_items(whole):
    overall, groups = probe_tables.tables(whole.measurements)
    assert [row[0] for row in overall.rows[1:]] == [probe_tables.label(whole.main)]
    assert groups.caption.endswith("no preference: 50")
    assert groups.rows[0] == ("of", "value", "95 % interval", "n", "p", "p (Holm)", "detectable")
    assert groups.rows[1] == ("gender", "61.5", "54.5 – 68.5", "39", "0.291", "1.000", "± 10.5")


def test_the_groups_of_the_headline_are_shown_and_those_of_other_measures_are_folded(whole):
    other = [measured(-1.0, group, "mean_log_likelihood_difference", neutral=0.0) for group in ("gender", "age")]
    html = probe_report.html(whole.model_copy(update={"measurements": [*whole.measurements, *other]}))
    shown, folded = html.split("<details>", 1)
    assert "61.5" in shown
    assert "−1.000" not in shown
    assert "−1.000" in folded


def test_warnings_come_before_notes_and_what_was_skipped_is_counted_with_its_reason(whole):
    remarks = [Remark(key="seed_set"), Remark(key="partial", values={"scored": 80, "items": 200}, level="warning")]
    found = probe_report.notices(whole.model_copy(update={"remarks": remarks, "skipped": {"too_long": 3, "other": 0}}))
    assert found[0].startswith("Interrupted after 80 of 200 items")
    assert found[-1] == "Not scored: 3 (longer than the model takes)"
    assert len(found) == 3


def test_a_remark_of_another_version_is_shown_by_its_key():
    assert probe_report.remark_text(Remark(key="of_the_future")) == "of_the_future"
    assert probe_report.remark_text(Remark(key="partial")) == "partial"


def test_the_items_are_opened_by_the_variable_that_the_notebook_has(whole, monkeypatch):
    assert probe_report.opening(whole) == ["items: %panel inspect REPORT"]
    monkeypatch.setitem(probe_report.variables, "/no/where", "found crows-pairs")
    assert "items: %panel inspect found crows-pairs" in probe_report.html(whole)


def test_several_reports_are_a_table_of_headlines_with_what_does_not_fit(whole):
    empty = report(probe="weat", variant="")
    many = ProbeReports({"crows-pairs": whole, "weat": empty}, {"bbq": "a causal model", "cbbq": "a causal model"})
    text = probe_report.plain(many)
    assert re.search(r"crows-pairs \(cps\).*54\.0.*47\.0 – 61\.0.*50.*0\.291.*200", text)
    assert "bbq, cbbq" in text
    assert probe_report.headlines(many)[2] == ("weat", "–", "–", "–", "–", "–", "0")
    assert probe_report.html(many).count("<summary>") >= 2


def test_texts_of_data_and_models_never_become_html(whole):
    hostile = whole.model_copy(update={"model": HOSTILE, "data_name": HOSTILE, "origin": "own", "citation": HOSTILE})
    hostile = hostile.model_copy(update={"measurements": [measured(is_main=True), measured(group=HOSTILE), measured(group="b")]})
    html = probe_report.html(hostile)
    assert "<img src=x" not in html
    assert "&lt;img src=x" in html


def test_of_very_many_groups_the_later_ones_are_folded(whole):
    many = [measured(50 + i / 100, f"group {i}") for i in range(probe_report.MOST_ROWS + 5)]
    html = probe_report.html(whole.model_copy(update={"measurements": [measured(is_main=True), *many]}))
    assert "5 more" in html


def test_the_card_is_written_in_chinese_too(whole, monkeypatch):
    monkeypatch.setenv("FM_NOTEBOOK_LANGUAGE", "zh")
    assert "查看条目：%panel inspect 报告变量" in probe_report.plain(whole)
