"""Finished evaluations of the same rows, held against the first one. Loads numpy, no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from fm_notebook.contracts.comparisons import (
    Compared,
    Comparison,
    Cost,
    GroupingChanges,
    LearningCurve,
    OverSeeds,
    RunChanges,
    Setting,
)
from fm_notebook.contracts.pairs import GroupChanges
from fm_notebook.contracts.results import Evaluation, Score
from fm_notebook.contracts.specs import EvaluateSpec, FinetuneSpec
from fm_notebook.errors import DataError
from fm_notebook.jobs.folder import JobFolder
from fm_notebook.metrics.gap_changes import gap_changes
from fm_notebook.metrics.grouping import of_rows
from fm_notebook.metrics.groups import MIN_POSITIVES, scores_of
from fm_notebook.metrics.pairs import adjusted_together, changes, changes_by_group
from fm_notebook.metrics.predictions import Predictions
from fm_notebook.session.differences import flat, is_same_content
from fm_notebook.session.job import Job
from fm_notebook.session.paired_rows import paired_changes
from fm_notebook.session.progress import Progress
from fm_notebook.session.scored import has_classes, predictions, scored_rows
from fm_notebook.session.seeds import Entry, over_seeds

MOST_POINTS = 300
"""Of each curve that a comparison keeps."""


@dataclass(frozen=True)
class Side:
    """One of the models: the folder of its evaluation, and what is read from it when it is asked for."""

    folder: JobFolder

    @cached_property
    def evaluation(self) -> Evaluation:
        """What was found."""
        found = Job(self.folder).progress.evaluation
        assert found is not None, "finished ones only"
        return found

    @property
    def spec(self) -> EvaluateSpec:
        """What was asked."""
        spec = self.folder.spec
        assert isinstance(spec, EvaluateSpec)
        return spec

    @cached_property
    def run(self) -> JobFolder | None:
        """The run, if the model is one's and it is still there."""
        found = JobFolder(Path(self.spec.run)) if self.spec.run else None
        return found if found and (found.path / "job.json").is_file() else None

    @property
    def trained_as(self) -> FinetuneSpec | None:
        """The run's own spec."""
        spec = self.run.spec if self.run else None
        return spec if isinstance(spec, FinetuneSpec) else None

    @cached_property
    def training(self) -> Progress | None:
        """How the run went."""
        return Job(self.run).progress if self.run else None

    def predictions(self, labels: Sequence[str]) -> Predictions:
        """What the model said, with the classes in the order of `labels`."""
        return predictions(self.folder, positive=self.spec.positive).with_labels(labels)


def comparison(folders: Sequence[JobFolder]) -> Comparison:
    """What changed from the model evaluated in the first of `folders` to each other one.

    Raises
    ------
    DataError
        If the rows that were scored are not the same.
    """
    sides = [Side(folder) for folder in folders]
    first = sides[0]
    for other in sides[1:]:
        _check_rows(first, other)
    spec, evaluation = first.spec, first.evaluation
    compared = [_compared(side, name) for side, name in zip(sides, _names(sides), strict=True)]
    classes = has_classes(first.folder)
    found = _classes_changes(sides, compared) if classes else _other_changes(sides, compared)
    return Comparison(
        data=evaluation.data,
        task=evaluation.task,
        n=evaluation.n,
        missing_rows=evaluation.missing_rows,
        labels=evaluation.labels,
        positive=spec.positive,
        runs=compared,
        changes=_adjusted(found),
        over_seeds=_over_seeds(sides, compared) if classes else [],
        settings=_settings(sides),
        seed=spec.seed,
    )


def _check_rows(first: Side, other: Side) -> None:
    one, two = (scored_rows(each.folder)["row"] for each in (first, other))
    if not one.equals(two):
        told = {"first": first.folder.identity.name, "rows": len(two), "first_rows": len(one)}
        raise DataError("compare.rows", name=other.folder.identity.name, **told)


def _names(sides: Sequence[Side]) -> list[str]:
    """A name for each; what is called alike is numbered."""
    plain = [each.evaluation.run or each.evaluation.model for each in sides]
    return [name if plain.count(name) == 1 else f"{name} ({plain[: at + 1].count(name)})" for at, name in enumerate(plain)]


def _compared(side: Side, name: str) -> Compared:
    found = side.evaluation
    return Compared(
        name=name,
        run=found.run,
        scores=_scores(side),
        groups=found.groups,
        trained_rows=found.trained_rows,
        untrained_head=found.untrained_head,
        cost=_cost(side),
        curve=_curve(side.training) if side.training else None,
    )


def _scores(side: Side) -> list[Score]:
    """Those of the evaluation; where each row has one class, also those that the groups have."""
    own = side.evaluation.scores
    if not has_classes(side.folder):
        return own
    settled = {"min_n": side.spec.min_n, "min_positives": MIN_POSITIVES, "seed": side.spec.seed}
    found = scores_of(side.predictions(side.evaluation.labels), (), **settled).scores
    known = {score.name for score in found}
    return [*found, *(score for score in own if score.name not in known)]


def _cost(side: Side) -> Cost | None:
    if side.training is None or (result := side.training.result) is None:
        return None
    started = side.training.started
    return Cost(
        seconds=sum(result.seconds.values()),
        training_seconds=result.seconds.get("train", 0.0),
        steps=result.steps,
        tokens_per_second=result.tokens_per_second,
        peak_memory_bytes=result.peak_memory_bytes,
        peak_of="process" if started is None or started.device == "cpu" else "device",
    )


def _curve(progress: Progress) -> LearningCurve:
    metric = progress.started.metric if progress.started else ""
    every = -(-len(progress.train.steps) // MOST_POINTS) or 1
    train = list(zip(progress.train.steps, progress.train.values, strict=False))[::every]
    held = progress.held_out[:: -(-len(progress.held_out) // MOST_POINTS) or 1]

    def of(name: str) -> list[tuple[float, float]]:
        return [(e.step, e.metrics[name]) for e in held if name in e.metrics]

    return LearningCurve(metric=metric, train=train, held_out=of("loss"), scores=of(metric) if metric != "loss" else [])


def _classes_changes(sides: Sequence[Side], compared: Sequence[Compared]) -> Iterator[RunChanges]:
    first, rows = sides[0], scored_rows(sides[0].folder)
    base, seed = first.predictions(first.evaluation.labels), first.spec.seed
    groupings = {name: of_rows(rows, name) for name in first.spec.by}
    for side, own in zip(sides[1:], compared[1:], strict=True):
        other, by = side.predictions(first.evaluation.labels), []
        for number, grouping in enumerate(groupings.values()):
            tables = (compared[0].groups[number].table, own.groups[number].table)
            by.append(
                GroupingChanges(
                    columns=list(grouping.columns),
                    groups=changes_by_group(base, other, grouping, min_n=first.spec.min_n, seed=seed),
                    gaps=gap_changes(base, other, grouping, tables, seed=seed),
                )
            )
        yield RunChanges(name=own.name, overall=changes(base, other, seed=seed), by=by)


def _over_seeds(sides: Sequence[Side], compared: Sequence[Compared]) -> list[OverSeeds]:
    first, rows = sides[0], scored_rows(sides[0].folder)
    entries = [
        Entry(own.name, side.trained_as, side.predictions(first.evaluation.labels))
        for side, own in zip(sides, compared, strict=True)
    ]
    return over_seeds(entries, [of_rows(rows, name) for name in first.spec.by], seed=first.spec.seed)


def _other_changes(sides: Sequence[Side], compared: Sequence[Compared]) -> Iterator[RunChanges]:
    first = sides[0]
    for side, own in zip(sides[1:], compared[1:], strict=True):
        found = paired_changes(first.folder, side.folder, first.evaluation, side.evaluation)
        overall = GroupChanges(group=(), n=first.evaluation.n, changes=found.changes)
        yield RunChanges(name=own.name, overall=overall, unpaired=found.unpaired)


def _adjusted(found: Iterator[RunChanges]) -> list[RunChanges]:
    """All runs, groupings, groups and scores are one family."""
    runs = list(found)
    parts = iter(adjusted_together([part for run in runs for part in (run.overall, *(g for by in run.by for g in by.groups))]))
    return [
        run.model_copy(
            update={
                "overall": next(parts),
                "by": [by.model_copy(update={"groups": [next(parts) for _ in by.groups]}) for by in run.by],
            }
        )
        for run in runs
    ]


def _settings(sides: Sequence[Side]) -> list[Setting]:
    """What the runs' specs say differently, with references by what they hold; of models that are no runs there is no spec."""
    specs = [side.trained_as for side in sides]
    known = [spec for spec in specs if spec]
    if len(known) < 2:
        return []
    flats = [flat(spec) if spec else {} for spec in specs]
    same = {
        name for name in FinetuneSpec.model_fields
        if all(is_same_content(getattr(known[0], name), getattr(each, name)) for each in known[1:])
    }  # fmt: skip
    order = {name: place for place, name in enumerate(FinetuneSpec.model_fields)}
    names = sorted(dict.fromkeys(name for each in flats for name in each), key=lambda name: order[name.partition(".")[0]])
    rows = [Setting(field=name, values=[each.get(name, "") for each in flats]) for name in names if name not in same]
    shown = [at for at, spec in enumerate(specs) if spec is not None]
    return [row for row in rows if len({row.values[at] for at in shown}) > 1]
