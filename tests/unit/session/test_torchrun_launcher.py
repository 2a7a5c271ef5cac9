"""By how many processes a job is executed: what the user writes, what the folder keeps, and what the worker makes of it."""

import os
import subprocess
import sys

import pytest

from fm_notebook import extras, verbs
from fm_notebook.contracts import events as ev
from fm_notebook.contracts.events import ErrorRecord
from fm_notebook.errors import ArgumentError, FMError, JobFailed
from fm_notebook.jobs import placement
from fm_notebook.jobs.journal import replay
from fm_notebook.jobs.locks import Lock
from fm_notebook.jobs.placement import Placement
from fm_notebook.magics import arguments
from fm_notebook.session import launch
from fm_notebook.session.job import Job
from fm_notebook.worker import distributed, runtime, together

pytestmark = pytest.mark.slow

TWO = Placement(launcher="torchrun", processes=2)


@pytest.mark.parametrize(
    ("on", "launcher", "processes"),
    [("process", "process", 1), ("kernel", "kernel", 1), ("torchrun:2", "torchrun", 2), ("ray:16", "ray", 16)],
)
def test_a_placement_is_a_word_or_a_word_and_a_number(on, launcher, processes):
    assert placement.parse(on) == Placement(launcher=launcher, processes=processes)
    assert arguments.parse(f"a --on {on}", [arguments.ON_SEVERAL], most_words=1).values["on"] == on


@pytest.mark.parametrize("on", ["torchrun", "torchrun:0", "torchrun:-1", "torchrun:two", "process:2", "ray:", "somewhere", ""])
def test_what_is_no_placement_is_refused_with_what_is(on):
    with pytest.raises(ArgumentError, match="torchrun:N"):
        placement.parse(on)
    with pytest.raises(ArgumentError):
        arguments.parse(f"a --on={on}", [arguments.ON_SEVERAL], most_words=1)


def test_a_wrong_placement_is_refused_before_anything_is_read_or_written(home):
    with pytest.raises(ArgumentError, match="torchrun:N"):
        verbs.finetune("a", model="absent", train="absent", on="torchrun:0")
    assert not (home / "runs").exists()


def test_one_process_scores(home):
    with pytest.raises(ArgumentError, match="done by one process"):
        verbs.evaluate("absent", "absent", on="torchrun:2")


def test_a_missing_ray_names_the_extra(monkeypatch):
    monkeypatch.setattr(extras.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FMError, match=r"\[ray\]|ray"):
        launch.placed("ray:2")
    launch.placed("torchrun:2")


def test_a_resume_takes_as_many_processes_as_before_or_as_asked(make_folder, no_workers):
    folder = make_folder("a", ev.Ended(state="stopped"))
    folder.train_rows.touch()
    job = Job(folder)
    placement.write(folder.path, TWO)
    launch.resume(job)
    assert placement.read(folder.path) == TWO
    job.queue.withdraw(folder.path)
    job.refresh()
    launch.resume(job, on="torchrun:3")
    assert placement.read(folder.path).processes == 3
    job.queue.withdraw(folder.path)
    job.refresh()
    launch.resume(job, on="process")
    assert placement.read(folder.path) == Placement()


def test_a_job_of_an_earlier_version_is_the_workers_own(make_folder):
    assert placement.read(make_folder("a").path) == Placement()


def test_the_processes_meet_by_a_file_and_speak_over_loopback(make_folder, monkeypatch, tmp_path):
    monkeypatch.delenv("GLOO_SOCKET_IFNAME", raising=False)
    command, added = together._command(make_folder("a"), TWO, tmp_path)
    assert command[command.index("--nproc-per-node") + 1] == "2"
    assert added["FM_NOTEBOOK_STORE"] == str(tmp_path / "ranks")
    assert "--standalone" not in command
    if os.name != "nt":
        assert added["GLOO_SOCKET_IFNAME"].startswith("lo")


def test_the_processes_share_the_cores_but_a_users_own_number_stands(monkeypatch):
    monkeypatch.setattr(runtime, "cores", lambda: 8)
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "8")  # as the launcher sets it for one process
    assert together._environment(2)["OMP_NUM_THREADS"] == "4"
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert together._environment(2)["OMP_NUM_THREADS"] == "3"


@pytest.fixture
def work(make_folder, monkeypatch):
    """Has a job done by a child that runs the given code, with the folder's path as its argument; gives the journal's end."""

    def do(code: str) -> ev.Ended:
        folder = make_folder("a")
        monkeypatch.setattr(together, "_command", lambda *_: ([sys.executable, "-c", code, str(folder.path)], {}))
        from fm_notebook.jobs.journal import JournalWriter

        journal = JournalWriter(folder.events)
        together.execute(folder, TWO, journal.append)
        journal.close()
        (end,) = [event for event in replay(folder.events) if isinstance(event, ev.Ended)]
        assert not together.reports_of(folder).exists()
        return end

    return do


REPORT = "import sys; from pathlib import Path; from fm_notebook.contracts.events import *; folder = Path(sys.argv[1]);"
LOST = "ErrorRecord(kind='JobFailed', faults=[{'key': 'distributed.peer_lost', 'values': {'message': 'x'}}]).model_dump_json()"
OWN = "ErrorRecord(kind='JobFailed', faults=[{'key': 'engine.no_rows', 'values': {}}]).model_dump_json()"


def test_an_end_that_the_first_process_wrote_stands(work):
    code = f"{REPORT} (folder / 'events.jsonl').open('a').write(Ended(state='stopped', step=7).model_dump_json() + chr(10))"
    assert work(code).state == "stopped"


def test_the_cause_is_told_and_not_what_it_did_to_the_others(work):
    end = work(f"{REPORT} (folder / 'processes/0.json').write_text({LOST}); (folder / 'processes/1.json').write_text({OWN})")
    assert end.state == "failed"
    assert end.error.faults[0]["key"] == "engine.no_rows"


def test_a_process_that_ended_without_a_word_is_named(work):
    code = f"{REPORT} (folder / 'events.jsonl').open('a').write(PhaseBegan(phase='saving').model_dump_json() + chr(10));"
    end = work(f"{code} (folder / 'processes/0.json').write_text({LOST})")
    assert (end.error.faults[0]["key"], end.error.faults[0]["values"]["named"]) == ("distributed.died", "2")


def test_an_end_without_any_word_is_told_too(work):
    assert work("import sys; sys.exit(3)").error.faults[0]["key"] == "distributed.ended"


def test_a_process_reports_its_error_and_keeps_a_lost_peer_out_of_the_journal(tmp_path):
    written = []

    class Journal:
        append = staticmethod(written.append)

    lost = ErrorRecord(kind="JobFailed", faults=[{"key": placement.PEER_LOST, "values": {}}])
    for name, error, told in (("0", lost, 0), ("1", ErrorRecord(kind="bug", detail="x"), 1)):
        report = distributed.Report(tmp_path / f"{name}.json", Journal())  # type: ignore[arg-type]
        report(ev.Ended(state="failed", error=error))
        assert report.failed
        assert ErrorRecord.model_validate_json(report.path.read_bytes()) == error
        assert len(written) == told
    calm = distributed.Report(tmp_path / "2.json", None)
    calm(ev.Ended(state="finished"))
    assert not calm.failed
    assert not calm.path.exists()


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_process_does_not_outlive_the_worker_that_started_it(tmp_path):
    lock = Lock(tmp_path / "lock")
    assert lock.acquire()
    code = "import sys, time; from pathlib import Path; from fm_notebook.worker import distributed as d; "
    code += "d.leave_with_worker(Path(sys.argv[1])); print('up', flush=True); time.sleep(60)"
    child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "lock")], stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"up\n"
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(timeout=2 * distributed.WATCH_SECONDS)
    lock.release()
    assert lock.acquire()  # the next worker is there already
    try:
        assert child.wait(timeout=20) < 0
    finally:
        child.kill()
        child.stdout.close()
        lock.release()


def test_what_ray_could_not_do_is_a_failed_job(work):
    own = "ErrorRecord(kind='JobFailed', faults=[{'key': 'distributed.not_shared', 'values': {'folder': 'f', 'host': 'h'}}])"
    end = work(f"{REPORT} (folder / 'processes/launcher.json').write_text({own}.model_dump_json())")
    assert "cannot be seen from h" in str(JobFailed(faults=[ev_fault(end)]))


def ev_fault(end: ev.Ended):
    from fm_notebook.errors import Fault

    assert end.error is not None
    fault = end.error.faults[0]
    return Fault(fault["key"], fault["values"])
