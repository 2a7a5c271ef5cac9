"""Scoring many texts at once gives what one at a time gives."""

import numpy as np
import pytest
import torch

from fm_notebook.engine import evaluation
from fm_notebook.engine.batching import collate
from fm_notebook.errors import JobFailed

NEVER = frozenset()


def drained(generator):
    events = []
    try:
        while True:
            events.append(next(generator))
    except StopIteration as end:
        return events, end.value


def scored(parts, batch_size=5, command=lambda: "run", until=NEVER):
    return drained(
        evaluation.outputs(parts.model, parts.train.tokens, "fp32", batch_size=batch_size, command=command, until=until)
    )


def test_logits_come_in_the_order_of_the_texts(make_parts):
    parts = make_parts()
    _, logits = scored(parts)
    parts.model.eval()
    with torch.no_grad():
        for i in range(len(parts.train)):
            alone = parts.model(**collate(parts.train.tokens, np.array([i]), torch.device("cpu"))).logits[0]
            assert logits[i] == pytest.approx(alone.numpy(), abs=1e-5)


def test_dropout_is_off_and_the_mode_comes_back(make_parts):
    parts = make_parts(dropout=0.5)
    parts.model.train()
    assert np.array_equal(scored(parts)[1], scored(parts)[1])
    assert parts.model.training


def test_progress_ends_with_all_items(make_parts):
    events, _ = scored(make_parts())
    assert (events[-1].done, events[-1].total) == (40, 40)


def test_a_command_that_ends_it_gives_no_logits(make_parts):
    assert scored(make_parts(), command=lambda: "stop", until=frozenset({"stop"}))[1] is None
    assert scored(make_parts(), command=lambda: "stop", until=frozenset({"cancel"}))[1] is not None


def test_out_of_memory_makes_the_batches_smaller(make_parts, monkeypatch):
    parts, real, sizes = make_parts(), evaluation._logits, []
    expected = scored(parts)[1]

    def small_only(model, batch, device, precision):
        sizes.append(len(batch["input_ids"]))
        if sizes[-1] > 4:
            raise torch.OutOfMemoryError("no room")
        return real(model, batch, device, precision)

    monkeypatch.setattr(evaluation, "_logits", small_only)
    assert scored(parts, batch_size=16)[1] == pytest.approx(expected, abs=1e-5)
    assert sizes[:3] == [16, 8, 4]


def test_a_single_text_that_does_not_fit_is_said_in_words(make_parts, monkeypatch):
    def never(*args):
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(evaluation, "_logits", never)
    with pytest.raises(JobFailed, match="one text at a time"):
        scored(make_parts(), batch_size=1)


def test_loss_is_the_mean_over_examples(make_parts):
    parts = make_parts()
    logits = np.array([[2.0, 0.0], [0.0, 1.0]], np.float32)
    found = evaluation.held_out_scores(parts.task, logits, np.array([0, 0]), step=3, seed=0)
    expected = (np.log(1 + np.exp(-2)) + np.log(1 + np.exp(1))) / 2
    assert found.metrics["loss"] == pytest.approx(expected, abs=1e-6)
    assert (found.metrics["accuracy"], found.step) == (0.5, 3)
    assert set(found.intervals) == set(found.metrics)
