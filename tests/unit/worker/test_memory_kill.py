"""A job that the system killed for lack of memory comes back with smaller micro-batches."""

from pathlib import Path

import pyarrow as pa
import pytest

from fm_notebook.contracts import events as ev
from fm_notebook.contracts.results import DataFacts
from fm_notebook.contracts.specs import DataRef, FinetuneSpec, ModelRef
from fm_notebook.engine import token_files
from fm_notebook.jobs import folder as jobs
from fm_notebook.jobs.folder import Identity
from fm_notebook.tasks import tasks
from fm_notebook.worker import memory_kill, models_loaded
from fm_notebook.worker.execute import execute

pytestmark = pytest.mark.slow


@pytest.fixture
def counter(tmp_path, monkeypatch) -> Path:
    """A kernel that has killed nobody yet."""
    vmstat, boot = tmp_path / "vmstat", tmp_path / "boot_id"
    vmstat.write_text("pgfault 12\noom_kill 0\noom_kill_other 7\n")
    boot.write_text("monday\n")
    monkeypatch.setattr(memory_kill, "COUNTERS", (tmp_path / "no such file", vmstat))
    monkeypatch.setattr(memory_kill, "BOOT", boot)
    return vmstat


def die(folder: Path, kills: int = 0, rank: int = 0) -> None:
    """Begin an attempt that never comes to its end."""
    memory_kill.Attempt(folder / f"attempt.{rank}.json", kills).note()


def kill(counter: Path, times: int = 1) -> None:
    counter.write_text(f"pgfault 15\noom_kill {times}\noom_kill_other 7\n")


def test_a_first_attempt_was_not_killed(tmp_path, counter):
    assert memory_kill.kills(tmp_path) == 0


def test_an_attempt_that_did_not_end_while_the_system_killed_counts(tmp_path, counter):
    die(tmp_path)
    kill(counter)
    assert memory_kill.kills(tmp_path) == 1


def test_an_attempt_that_died_of_something_else_does_not_count(tmp_path, counter):
    die(tmp_path)
    assert memory_kill.kills(tmp_path) == 0


def test_kills_before_the_attempt_do_not_count(tmp_path, counter):
    kill(counter, 5)
    die(tmp_path)
    assert memory_kill.kills(tmp_path) == 0


def test_an_attempt_that_told_its_end_does_not_count(tmp_path, counter):
    with pytest.raises(ValueError), memory_kill.attempt(tmp_path, 0):  # noqa: PT011, PT012
        kill(counter)
        raise ValueError
    assert memory_kill.kills(tmp_path) == 0


def test_each_kill_in_a_row_counts(tmp_path, counter):
    for times in (1, 2, 3):
        die(tmp_path, memory_kill.kills(tmp_path))
        kill(counter, times)
    assert memory_kill.kills(tmp_path) == 3


def test_a_checkpoint_holds_the_smaller_budget_so_that_kills_before_it_no_longer_count(tmp_path, counter):
    die(tmp_path)
    kill(counter)
    this = memory_kill.Attempt(tmp_path / "attempt.0.json", memory_kill.kills(tmp_path))
    this.note()
    this.see(ev.PhaseBegan(phase="saving"))
    this.see(ev.CheckpointSaved(step=3, folder="c"))
    kill(counter, 2)
    assert memory_kill.kills(tmp_path) == 1


def test_a_restarted_machine_counts_anew(tmp_path, counter):
    die(tmp_path)
    kill(counter)
    memory_kill.BOOT.write_text("tuesday\n")
    assert memory_kill.kills(tmp_path) == 0


def test_the_kill_of_any_process_counts(tmp_path, counter):
    die(tmp_path, rank=1)
    kill(counter)
    assert memory_kill.kills(tmp_path) == 1
    assert not list(tmp_path.glob("attempt.*"))


def test_a_torn_note_is_no_note(tmp_path, counter):
    (tmp_path / "attempt.0.json").write_text('{"boot": "mon')
    assert memory_kill.kills(tmp_path) == 0


def test_a_system_without_counters_tells_nothing(tmp_path, counter, monkeypatch):
    monkeypatch.setattr(memory_kill, "COUNTERS", ())
    die(tmp_path)
    assert memory_kill.kills(tmp_path) == 0


@pytest.fixture
def job(tmp_path, tiny_bert):
    made = jobs.create(tmp_path / "run")
    for path, n in ((made.train_rows, 16), (made.eval_rows, 4)):
        words, numbers = ["good film", "bad plot"] * (n // 2), pa.array(range(n), pa.int64())
        table = pa.table({"text": words, "label": pa.array([1, 0] * (n // 2), pa.int32()), "row": numbers})
        with pa.ipc.new_file(str(path), table.schema) as writer:
            writer.write_table(table)
    spec = FinetuneSpec(
        train=DataRef(source="rows", kind="value", fingerprint="f" * 64), batch_size=8, max_steps=2, max_length=32,
        precision="fp32",
        model=ModelRef(source="tiny", kind="folder", location=str(tiny_bert)), dropout=0.0, device="cpu",
    )  # fmt: skip
    facts = DataFacts(labels=["n", "p"], train_rows=16, eval_rows=4, train_label_counts=[], eval_label_counts=[], missing_rows=0)
    made.write(spec=spec, identity=Identity(name="run"), facts=facts)
    yield made
    models_loaded.free()


def done(job) -> list[ev.Event]:
    events: list[ev.Event] = []
    execute(job, events.append, lambda: "run")
    assert isinstance(events[-1], ev.Ended)
    assert events[-1].state == "finished", events[-1].error
    return events


def test_a_killed_job_is_resumed_with_half_the_micro_batch_and_says_so(job, counter):
    die(job.path)
    kill(counter)
    events = done(job)
    assert next(event.key for event in events if isinstance(event, ev.Noted) and event.level == "warning") == "killed_for_memory"
    assert [event.micro_batch_size for event in events if isinstance(event, ev.MemoryShrunk)] == [4]
    assert next(event for event in events if isinstance(event, ev.Started)).micro_batch_size == 4
    assert not list(job.path.glob("attempt.*"))


def test_a_job_that_was_not_killed_keeps_its_micro_batch(job, counter):
    die(job.path)
    events = done(job)
    assert not any(isinstance(event, ev.MemoryShrunk) for event in events)
    assert next(event for event in events if isinstance(event, ev.Started)).micro_batch_size == 8


def test_the_attempt_is_noted_while_it_lives(job, counter):
    noted = []
    execute(
        job, lambda event: noted.append((job.path / "attempt.0.json").exists() and isinstance(event, ev.StepEnded)), lambda: "run"
    )
    assert any(noted)


def test_a_micro_batch_of_one_text_is_tried_again(job, counter):
    die(job.path, kills=20)
    events = done(job)
    assert [event.micro_batch_size for event in events if isinstance(event, ev.MemoryShrunk)] == [4, 2, 1]


def test_a_second_job_on_the_same_rows_trains_the_same_from_the_first_ones_tokens(job, counter, monkeypatch):
    monkeypatch.setattr(token_files, "SECONDS_WORTH", 0.0)
    monkeypatch.setattr(token_files, "FEWEST", 0)
    first = [event.loss for event in done(job) if isinstance(event, ev.StepEnded)]
    assert len(list(job.data.glob("tokens-*.arrow"))) == 2
    monkeypatch.setattr(type(tasks["text-classification"]), "encode", _only_a_few(type(tasks["text-classification"]).encode))
    monkeypatch.setattr(token_files, "SAMPLE", 2)
    assert [event.loss for event in done(job) if isinstance(event, ev.StepEnded)] == first


def _only_a_few(encode):
    def stand_in(task, rows, *args, **kwargs):
        assert len(rows) <= 2, "rows were encoded anew"
        return encode(task, rows, *args, **kwargs)

    return stand_in


def test_smaller_micro_batches_train_the_same_weights(job, counter):
    def losses() -> list[float]:
        return [event.loss for event in done(job) if isinstance(event, ev.StepEnded)]

    expected = losses()
    die(job.path)
    kill(counter)
    assert losses() == pytest.approx(expected, rel=1e-5)
