"""What a run does, step by step, against `transformers.Trainer` and against itself."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from fm_notebook.contracts import events as ev
from fm_notebook.contracts.results import Report, Score
from fm_notebook.engine import checkpoints, memory, run
from fm_notebook.engine import loop as module
from fm_notebook.engine.batching import Budget, collate
from fm_notebook.engine.forward import Forward
from fm_notebook.engine.loop import finetune
from fm_notebook.engine.run import Run
from fm_notebook.engine.step import accumulate
from fm_notebook.errors import JobFailed, SpecError


def steps(events):
    return [event for event in events if isinstance(event, ev.StepEnded)]


def of(events, kind):
    return [event for event in events if isinstance(event, kind)]


def weights(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def assert_same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


class Wishes:
    """Answers ``run`` until step `at` has ended, then what is in `then`, the last one for ever."""

    def __init__(self, at, *then):
        self.at, self.then, self.step = at, list(then), 0

    def __call__(self):
        if self.step < self.at:
            return "run"
        return self.then.pop(0) if len(self.then) > 1 else self.then[0]

    def drive(self, parts):
        for event in finetune(parts, self):
            if isinstance(event, ev.StepEnded):
                self.step = event.step
            yield event


def test_a_run_begins_steps_evaluates_and_ends(make_parts):
    parts = make_parts()
    events = list(finetune(parts))
    assert isinstance(events[0], ev.Started)
    assert isinstance(events[-1], ev.Ended)
    assert [step.step for step in steps(events)] == list(range(1, 11))
    assert [each.step for each in of(events, ev.EvalEnded)] == [5, 10]
    assert events[-1].state == "finished"
    assert events[0].total_steps == 10
    assert steps(events)[-1].epoch == 2.0


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_losses_and_gradients_are_those_of_trainer(make_parts, tmp_path, schedule):
    from torch.utils.data import DataLoader
    from transformers import Trainer, TrainingArguments

    parts = make_parts(dropout=0.0, epochs=4.0, lr_schedule=schedule, warmup_steps=0.1, weight_decay=0.1, max_grad_norm=0.5)
    plain = dataclasses.replace(parts.train, weights=np.ones(len(parts.train), np.float32))
    parts = dataclasses.replace(parts, train=plain)
    plan = Run(parts).plan
    batches = [plan.rows(step) for step in range(20)]

    class SameBatches(Trainer):
        def get_train_dataloader(self):
            def batch(rows):
                rows = rows[0]
                return {**collate(plain.batch(rows), torch.device("cpu")), "labels": torch.from_numpy(plain.targets[rows])}

            return DataLoader(batches, batch_size=1, collate_fn=batch)

    arguments = TrainingArguments(
        output_dir=str(tmp_path / "hf"), max_steps=20, learning_rate=1e-3, lr_scheduler_type=schedule, warmup_steps=2,
        weight_decay=0.1, max_grad_norm=0.5, logging_steps=1, save_strategy="no", report_to=[], use_cpu=True, disable_tqdm=True,
        seed=0,
    )  # fmt: skip
    theirs_parts = make_parts("theirs", dropout=0.0)
    trainer = SameBatches(theirs_parts.model, arguments, train_dataset=[{}] * 8)
    trainer.train()
    theirs = [entry for entry in trainer.state.log_history if "loss" in entry]
    ours = steps(finetune(parts))
    assert len(ours) == len(theirs) == 20
    assert [o.loss for o in ours] == pytest.approx([t["loss"] for t in theirs], abs=1e-5)
    assert [o.grad_norm for o in ours] == pytest.approx([t["grad_norm"] for t in theirs], abs=1e-4)
    assert [o.learning_rate for o in ours] == pytest.approx([t["learning_rate"] for t in theirs], abs=1e-12)


@pytest.mark.parametrize("budget", [Budget(1, 10**6), Budget(3, 10**6), Budget(8, 40)])
def test_micro_batches_add_up_to_one_big_batch(make_parts, budget):
    parts = make_parts(dropout=0.0)
    batch = parts.train.batch(np.arange(8))

    def gradient(budget):
        parts.model.zero_grad()
        loss = accumulate(parts.model, parts.task, batch, Forward("fp32"), budget, torch.Tensor.backward)
        return float(loss), [p.grad.clone() for p in parts.model.parameters()]

    whole, pieces = gradient(Budget(8, 10**6)), gradient(budget)
    assert pieces[0] == pytest.approx(whole[0], abs=1e-6)
    for a, b in zip(whole[1], pieces[1], strict=True):
        torch.testing.assert_close(b, a, atol=1e-6, rtol=1e-5)


def test_weights_of_examples_are_those_of_weighted_cross_entropy(make_parts):
    parts = make_parts(dropout=0.0)
    rows = np.arange(6)
    targets = torch.from_numpy(parts.train.targets[rows])
    by_class = torch.tensor([0.5, 3.0])
    train = dataclasses.replace(parts.train, weights=by_class.numpy()[parts.train.targets])
    with torch.no_grad():
        logits = parts.model(**collate(train.batch(rows), torch.device("cpu"))).logits
    expected = torch.nn.functional.cross_entropy(logits, targets, weight=by_class)
    found = accumulate(parts.model, parts.task, train.batch(rows), Forward("fp32"), Budget(6, 10**6), torch.Tensor.backward)
    assert float(found) == pytest.approx(float(expected), abs=1e-6)


@pytest.mark.parametrize("stop_at", [3, 5, 7])
def test_a_resumed_run_has_the_weights_of_one_that_never_stopped(make_parts, stop_at):
    whole = make_parts("whole")
    straight = list(finetune(whole))

    first = list(Wishes(stop_at, "stop").drive(make_parts("parted")))
    assert first[-1].state == "stopped"
    torch.manual_seed(999)  # whatever else happens in between
    second_parts = make_parts("parted")
    second = list(finetune(second_parts))

    assert of(second, ev.Started)[0].step == stop_at
    assert_same(weights(whole.model), weights(second_parts.model))
    assert [s.loss for s in steps(straight)] == [s.loss for s in steps(first) + steps(second)]
    assert straight[-1].result.metrics == second[-1].result.metrics
    assert straight[-1].result.best_step == second[-1].result.best_step


def test_twice_the_same_run_gives_the_same_bits(make_parts):
    a, b = make_parts("a"), make_parts("b")
    list(finetune(a))
    list(finetune(b))
    assert_same(weights(a.model), weights(b.model))


def test_the_first_forward_leaves_no_trace(make_parts):
    parts = make_parts()
    begun = Run(parts)
    before, generators = weights(parts.model), checkpoints.generators()
    begun.try_first_batch()
    assert_same(before, weights(parts.model))
    assert_same(generators, checkpoints.generators())
    assert parts.model.training


def test_stop_saves_first_and_then_scores_what_was_never_scored(make_parts):
    parts = make_parts()
    events = list(Wishes(2, "stop").drive(parts))
    kinds = [event.type for event in events if event.type not in ("StepEnded", "ItemsScored", "PhaseBegan")]
    assert kinds == ["Started", "Stopping", "CheckpointSaved", "EvalEnded", "Ended"]
    assert events[-1].state == "stopped"
    assert events[-1].result.best_step == 2
    assert (parts.result / "model.safetensors").is_file()
    assert checkpoints.newest(parts.checkpoints).state.step == 2


def test_a_stop_right_after_a_save_does_not_save_again(make_parts):
    saving = lambda: any(getattr(event, "phase", "") == "saving" for event in events)  # noqa: E731
    events = []
    for event in finetune(make_parts(eval_every=4), lambda: "stop" if saving() else "run"):
        events.append(event)  # noqa: PERF402 - the command reads it meanwhile
    seen = [event.type for event in events]
    assert seen.count("CheckpointSaved") == 1
    assert "Stopping" in seen


def test_a_stop_does_not_start_a_long_evaluation(make_parts, monkeypatch):
    monkeypatch.setattr(module, "QUICK_SECONDS", 0.0)
    events = list(Wishes(7, "stop").drive(make_parts()))
    assert [each.step for each in of(events, ev.EvalEnded)] == [5]
    assert events[-1].result.best_step == 5


def test_pause_waits_and_goes_on(make_parts, monkeypatch):
    waited = []
    monkeypatch.setattr(module, "sleep", waited.append)
    events = list(Wishes(3, "pause", "pause", "pause", "run").drive(make_parts()))
    assert [type(event) for event in events if isinstance(event, ev.Paused | ev.Unpaused)] == [ev.Paused, ev.Unpaused]
    assert waited == [0.1, 0.1]
    assert events[-1].state == "finished"


@pytest.mark.parametrize("wish", ["stop", "cancel"])
def test_stop_and_cancel_work_while_paused(make_parts, monkeypatch, wish):
    monkeypatch.setattr(module, "sleep", lambda seconds: None)
    events = list(Wishes(3, "pause", "pause", wish).drive(make_parts()))
    assert events[-1].state == {"stop": "stopped", "cancel": "cancelled"}[wish]
    assert not of(events, ev.Unpaused)


def test_cancel_ends_at_once_and_keeps_earlier_checkpoints(make_parts):
    parts = make_parts()
    events = list(Wishes(7, "cancel").drive(parts))
    assert [event.type for event in events if event.type != "CheckpointSaved"][-2:] == ["StepEnded", "Ended"]
    assert (events[-1].state, events[-1].step, events[-1].result) == ("cancelled", 7, None)
    assert checkpoints.newest(parts.checkpoints).state.step == 5


def test_cancel_reaches_an_evaluation_under_way(make_parts):
    kinds, events = [], []
    for event in finetune(make_parts(), lambda: "cancel" if "PhaseBegan" in kinds else "run"):
        kinds.append(event.type)
        events.append(event)
    assert not of(events, ev.EvalEnded)
    assert events[-1].state == "cancelled"


def test_the_result_is_the_best_step_and_not_the_last(make_parts):
    class Worsening:
        def __init__(self, task):
            self.metrics = {"macro_f1": "max"}
            self.task, self.scores = task, iter([0.5, 0.9, 0.9, 0.2])

        def __getattr__(self, name):
            return getattr(self.task, name)

        def report(self, outputs, labels, *, seed):
            return Report(scores=[Score(name=name, value=next(self.scores), n=len(outputs)) for name in ["macro_f1"]])

    parts = make_parts(eval_every=2, max_steps=8)
    parts = dataclasses.replace(parts, task=Worsening(parts.task))
    seen = {}
    for event in finetune(parts):
        if isinstance(event, ev.EvalEnded):
            seen[event.step] = weights(parts.model)
    assert [event.result.best_step for event in [event]] == [4]  # of two equals the earlier
    published = type(parts.model).from_pretrained(parts.result)
    assert_same(seen[4], weights(published))
    assert published.config.id2label == {0: "n", 1: "p"}


def test_early_stopping_ends_after_so_many_evaluations_without_gain(make_parts):
    class Flat:
        def __init__(self, task):
            self.metrics = {"macro_f1": "max"}
            self.task = task

        def __getattr__(self, name):
            return getattr(self.task, name)

        def report(self, outputs, labels, *, seed):
            return Report(scores=[Score(name="macro_f1", value=0.5, n=len(outputs))])

    parts = make_parts(eval_every=2, epochs=10.0, early_stopping=3)
    events = list(finetune(dataclasses.replace(parts, task=Flat(parts.task))))
    assert [each.step for each in of(events, ev.EvalEnded)] == [2, 4, 6, 8]
    assert (events[-1].state, events[-1].step, events[-1].result.best_step) == ("finished", 8, 2)


def test_a_metric_that_is_better_when_small_is_taken_so(make_parts):
    events = list(finetune(make_parts(metric="loss", eval_every=3)))
    scored = {each.step: each.metrics["loss"] for each in of(events, ev.EvalEnded)}
    assert events[-1].result.best_step == min(scored, key=scored.get)


def test_an_unknown_metric_is_named_before_any_work(make_parts):
    with pytest.raises(SpecError, match="rouge"):
        next(iter(finetune(make_parts(metric="rouge"))))


@pytest.mark.parametrize(("eval_every", "expected"), [(None, [5, 10]), (3, [3, 6, 9, 10]), (0.4, [2, 4, 6, 8, 10])])
def test_evaluations_come_at_steps_or_shares_of_an_epoch_and_at_the_end(make_parts, eval_every, expected):
    assert [each.step for each in of(finetune(make_parts(eval_every=eval_every)), ev.EvalEnded)] == expected


def test_saves_come_when_asked_and_old_ones_go(make_parts):
    parts = make_parts(save_every=2, keep_checkpoints=2)
    saved = [e.step for e in Wishes(9, "cancel").drive(parts) if isinstance(e, ev.CheckpointSaved)]
    assert saved == [2, 4, 6, 8]
    assert sorted(path.name for path in parts.checkpoints.glob("step-*")) == ["step-00000006", "step-00000008"]


def test_a_finished_run_has_no_checkpoints_left(make_parts):
    parts = make_parts()
    list(finetune(parts))
    assert not parts.checkpoints.exists()
    assert (parts.result / "config.json").is_file()


def test_max_steps_outweighs_epochs(make_parts):
    assert len(steps(finetune(make_parts(max_steps=3)))) == 3


def out_of_memory_above(size, calls):
    def step(model, task, batch, forward, budget, backward):
        calls.append(budget.texts)
        torch.rand(3)  # dropout moved the generator before memory ran out
        if budget.texts > size:
            raise torch.OutOfMemoryError("no room")
        return accumulate(model, task, batch, forward, budget, backward)

    return step


def test_out_of_memory_halves_micro_batches_and_repeats_the_same_step(make_parts):
    calls = []
    shrunk = make_parts("shrunk", dropout=0.0, step_function=out_of_memory_above(2, calls))
    events = list(finetune(shrunk))
    assert [(e.step, e.micro_batch_size) for e in of(events, ev.MemoryShrunk)] == [(1, 4), (1, 2)]
    assert calls[:4] == [8, 4, 2, 2]
    plain = make_parts("plain", dropout=0.0)
    assert [s.loss for s in steps(events)] == pytest.approx([s.loss for s in steps(finetune(plain))], abs=1e-4)


def test_out_of_memory_puts_the_generators_back(make_parts):
    states = []

    def step(model, task, batch, forward, budget, backward):
        states.append(torch.get_rng_state())
        torch.rand(3)
        if budget.texts > 4:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
        return accumulate(model, task, batch, forward, budget, backward)

    list(finetune(make_parts(step_function=step, max_steps=1)))
    assert torch.equal(states[0], states[1])


def test_out_of_memory_with_one_example_is_said_in_words(make_parts):
    parts = make_parts(step_function=out_of_memory_above(0, []))
    with pytest.raises(JobFailed, match="one example at a time") as caught:
        list(finetune(parts))
    assert caught.value.faults[0].values["step"] == 1


def test_other_runtime_errors_are_not_taken_for_lack_of_memory(make_parts):
    def step(*args):
        raise RuntimeError("a defect")

    with pytest.raises(RuntimeError, match="a defect"):
        list(finetune(make_parts(step_function=step)))


def test_a_loss_that_is_no_number_ends_the_run_before_it_spoils_the_weights(make_parts):
    def step(*parts):
        loss = accumulate(*parts)
        done.append(None)
        return loss * math.nan if len(done) == 7 else loss

    done = []
    parts = make_parts(step_function=step)
    with pytest.raises(JobFailed, match="step 7") as caught:
        list(finetune(parts))
    assert caught.value.faults[0].values["saved"] == 5
    rows = [int(row) for row in caught.value.faults[0].values["rows"].split(", ")]
    assert rows == (Run(make_parts("again")).plan.rows(6) + 100).tolist()
    assert checkpoints.newest(parts.checkpoints).state.step == 5
    assert all(tensor.isfinite().all() for tensor in weights(parts.model).values())


def test_a_loss_that_is_no_number_ends_the_run_in_fp16_too(make_parts):
    def step(*parts):
        return accumulate(*parts) * math.nan

    with pytest.raises(JobFailed, match="step 1"):
        list(finetune(make_parts(step_function=step, precision="fp16")))


def test_a_gradient_that_overflows_in_fp16_costs_a_step_and_not_the_run(make_parts):
    def step(model, task, batch, forward, budget, backward):
        loss = accumulate(model, task, batch, forward, budget, backward)
        done.append(None)
        if len(done) == 2:
            model.classifier.weight.grad.fill_(math.inf)
        return loss

    done = []
    events = list(finetune(make_parts(step_function=step, precision="fp16")))
    assert events[-1].state == "finished"
    assert [math.isinf(event.grad_norm) for event in steps(events)] == [False, True, *[False] * 8]


def test_measured_choices_of_a_checkpoint_are_used_again(make_parts):
    list(Wishes(3, "stop").drive(make_parts(step_function=out_of_memory_above(2, []))))
    started = of(finetune(make_parts()), ev.Started)[0]
    assert started.micro_batch_size == 2


def test_a_resume_under_other_conditions_says_so(make_parts, monkeypatch):
    list(Wishes(3, "stop").drive(make_parts()))
    monkeypatch.setattr(run.checkpoints, "versions", lambda model: {"torch": "9.9", "device": "cpu", "cpu": "x"})
    noted = of(finetune(make_parts()), ev.Noted)
    assert [note.key for note in noted] == ["resumed_elsewhere"]
    assert "9.9" in noted[0].values["changed"]


def test_between_steps_sees_the_model_after_every_step(make_parts):
    seen = []
    parts = make_parts(between_steps=seen.append, max_steps=4)
    list(finetune(parts))
    assert seen == [parts.model] * 4


def test_closing_the_generator_ends_the_run_at_a_step_border(make_parts):
    parts = make_parts()
    events = finetune(parts)
    while not isinstance(next(events), ev.StepEnded):
        pass
    events.close()
    assert not parts.result.exists()


def test_the_result_counts_examples_tokens_seconds_and_memory(make_parts):
    parts = make_parts()
    events = list(finetune(dataclasses.replace(parts, seconds={"load": 1.5, "tokenize": 0.5})))
    result = events[-1].result
    spent = sum(s.seconds for s in steps(events))
    assert result.examples_per_second == pytest.approx(80 / spent)
    assert result.tokens_per_second == pytest.approx(2 * len(parts.train.tokens.ids) / spent)
    assert result.seconds["train"] == pytest.approx(spent)
    assert result.seconds["load"] == 1.5
    assert result.peak_memory_bytes >= memory.used(torch.device("cpu")) // 2
    assert result.n_eval == 16
