"""The journal: append-only, replayable, and not harmed by a writer that was killed."""

import math
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fm_notebook.contracts import events as ev
from fm_notebook.jobs.journal import JournalReader, JournalWriter, replay


def step(number: int, loss: float = 1.0) -> ev.StepEnded:
    return ev.StepEnded(
        step=number,
        epoch=0.1,
        loss=loss,
        learning_rate=1e-5,
        grad_norm=math.inf,
        examples=8,
        tokens=64,
        seconds=0.1,
        memory_bytes=1,
    )


@pytest.fixture
def path(tmp_path):
    return tmp_path / "events.jsonl"


@pytest.fixture
def writer(path):
    writer = JournalWriter(path)
    yield writer
    writer.close()


def test_what_was_appended_is_replayed_in_order(path, writer):
    for event in (ev.PhaseBegan(phase="loading_model"), step(1), ev.Ended(state="finished")):
        writer.append(event)
    assert [event.type for event in replay(path)] == ["PhaseBegan", "StepEnded", "Ended"]
    assert path.stat().st_mode & 0o077 == 0


def test_a_journal_that_is_not_there_has_no_events(path):
    assert replay(path) == []


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf, 0.1 + 0.2])
def test_numbers_survive_to_the_last_bit(path, writer, loss):
    writer.append(step(1, loss))
    (read,) = replay(path)
    assert isinstance(read, ev.StepEnded)
    assert read.loss == loss or (math.isnan(read.loss) and math.isnan(loss))
    assert read.grad_norm == math.inf


def test_ten_thousand_steps_are_replayed_in_order(path, writer):
    for number in range(10_000):
        writer.append(step(number))
    assert [event.step for event in replay(path)] == list(range(10_000))  # type: ignore[union-attr]


def test_a_reader_gives_each_event_once(path, writer):
    reader = JournalReader(path)
    assert reader.new_events() == []
    writer.append(step(1))
    assert [event.step for event in reader.new_events()] == [1]  # type: ignore[union-attr]
    writer.append(step(2))
    writer.append(step(3))
    assert [event.step for event in reader.new_events()] == [2, 3]  # type: ignore[union-attr]
    assert reader.new_events() == []


def test_a_line_still_being_written_is_left_for_the_next_look(path, writer):
    line = step(1).model_dump_json().encode() + b"\n"
    reader = JournalReader(path)
    with path.open("ab", buffering=0) as file:
        file.write(line[:40])
        assert reader.new_events() == []
        file.write(line[40:])
    assert len(reader.new_events()) == 1


@pytest.mark.parametrize("cut", [1, 40, -2])
def test_a_torn_last_line_is_left_out_and_what_comes_after_it_is_read(path, cut):
    first = JournalWriter(path)
    first.append(step(1))
    first.close()
    with path.open("ab") as file:
        file.write(step(2).model_dump_json().encode()[:cut])
    reader = JournalReader(path)
    assert [event.step for event in reader.new_events()] == [1]  # type: ignore[union-attr]
    second = JournalWriter(path)
    second.append(step(3))
    second.close()
    assert [event.step for event in reader.new_events()] == [3]  # type: ignore[union-attr]
    assert [event.step for event in replay(path)] == [1, 3]  # type: ignore[union-attr]


@given(st.binary(max_size=60))
def test_no_bytes_in_the_file_break_the_reader(tmp_path_factory, noise):
    path = tmp_path_factory.mktemp("noise") / "events.jsonl"
    path.write_bytes(noise)
    writer = JournalWriter(path)
    writer.append(step(7))
    writer.close()
    assert [event.step for event in replay(path)][-1] == 7  # type: ignore[union-attr]


def test_steps_are_not_synced_but_ends_are(path, writer, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", synced.append)
    writer.append(step(1))
    assert synced == []
    writer.append(ev.CheckpointSaved(step=1, folder="x"))
    writer.append(ev.Ended(state="stopped"))
    assert len(synced) == 2


def test_an_event_of_a_newer_version_is_read_as_far_as_it_is_known(path, writer):
    writer.append(ev.Ended(state="finished", step=3))
    newer = path.read_text("utf-8").replace('"step":3', '"step":3,"verdict":"fine"')
    path.write_text(newer, "utf-8")
    assert "verdict" in newer
    assert [(event.type, event.step) for event in replay(path)] == [("Ended", 3)]
