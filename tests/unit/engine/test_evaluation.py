"""Scoring many texts at once gives what one at a time gives."""

import dataclasses

import numpy as np
import pytest
import torch

from fm_notebook.contracts.protocols import Outputs
from fm_notebook.engine import evaluation
from fm_notebook.engine.batching import Budget, collate
from fm_notebook.engine.forward import Forward
from fm_notebook.engine.kernels import reduced_weights
from fm_notebook.engine.loop import finetune
from fm_notebook.errors import JobFailed
from fm_notebook.tasks.text_classification import TextClassification

NEVER = frozenset()


def drained(generator):
    events = []
    try:
        while True:
            events.append(next(generator))
    except StopIteration as end:
        return events, end.value


def scored(parts, texts=5, command=lambda: "run", until=NEVER):
    """The events, and the logits in order; None if they were cut short."""
    events, found = drained(
        evaluation.outputs(
            parts.model,
            parts.task,
            parts.train,
            Forward(parts.precision, parts.layout),
            Budget(texts, 10**6),
            command=command,
            until=until,
        )
    )
    return events, found and found.values["logits"]


def test_logits_come_in_the_order_of_the_texts(make_parts):
    parts = make_parts()
    _, logits = scored(parts)
    parts.model.eval()
    with torch.no_grad():
        for i in range(len(parts.train)):
            alone = parts.model(**collate(parts.train.batch(np.array([i])), torch.device("cpu"))).logits[0]
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
    parts, real, sizes = make_parts(), Forward.logits, []
    expected = scored(parts)[1]

    def small_only(self, model, batch):
        sizes.append(len(batch))
        if sizes[-1] > 4:
            raise torch.OutOfMemoryError("no room")
        return real(self, model, batch)

    monkeypatch.setattr(Forward, "logits", small_only)
    assert scored(parts, texts=16)[1] == pytest.approx(expected, abs=1e-5)
    assert sizes[:3] == [16, 8, 4]


def test_a_single_text_that_does_not_fit_is_said_in_words(make_parts, monkeypatch):
    def never(*args):
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(Forward, "logits", never)
    with pytest.raises(JobFailed, match="one text at a time"):
        scored(make_parts(), texts=1)


def sure(parts, precision):
    given = Forward(precision), Budget(8, 10**6)
    run = evaluation.sure_outputs(parts.model, parts.task, parts.train, *given, command=lambda: "run", until=NEVER)
    return drained(run)[1].values["logits"]


def test_in_bf16_texts_whose_label_could_turn_are_scored_again_in_fp32(make_parts, monkeypatch):
    parts = make_parts(n=200, dropout=0.0, learning_rate=5e-3, epochs=2.0)
    list(finetune(parts))
    exact = sure(parts, "fp32")
    with reduced_weights.while_scoring(parts.model, "bf16"):
        rounded = scored(dataclasses.replace(parts, precision="bf16"))[1]
    distances = np.abs(np.subtract(*rounded.T))
    monkeypatch.setattr(evaluation, "CLOSE", np.quantile(distances, 0.2))
    close, mixed = distances < evaluation.CLOSE, sure(parts, "bf16")
    assert 0 < close.sum() < 100
    assert mixed[close] == pytest.approx(exact[close], abs=1e-4)
    assert mixed[~close] == pytest.approx(rounded[~close], abs=0.02)
    assert np.abs(mixed[~close] - exact[~close]).max() > 1e-4  # those were left as they were


def test_where_most_texts_are_doubtful_all_are_scored_in_fp32(make_parts):
    parts = make_parts()
    with torch.no_grad():
        parts.model.classifier.weight.mul_(1e-3)
    assert sure(parts, "bf16") == pytest.approx(sure(parts, "fp32"), abs=1e-6)


def test_a_label_of_several_is_doubtful_near_its_own_border_and_not_near_the_next_label(make_parts, monkeypatch):
    logits = np.array([[3.0, 3.01], [3.0, 0.01], [2.0, -2.0]], np.float32)
    calls = []

    def outputs(model, task, examples, *args, **kwargs):
        calls.append(examples.rows.tolist())
        yield from ()
        found = logits if len(calls) == 1 else np.full((len(examples), 2), 9.0, np.float32)
        return Outputs({"logits": found}, np.zeros(len(examples)), np.ones(len(examples), np.int64))

    parts = make_parts(task=TextClassification("multi-label"))
    monkeypatch.setattr(evaluation, "outputs", outputs)
    given = parts.model, parts.task, parts.train.only(np.arange(3)), Forward("bf16"), Budget(8, 10**6)
    found = drained(evaluation.sure_outputs(*given, command=lambda: "run", until=NEVER))[1].values["logits"]
    assert calls == [[100, 101, 102], [101]]
    assert found[1].tolist() == [9.0, 9.0]
    assert np.array_equal(found[[0, 2]], logits[[0, 2]])
