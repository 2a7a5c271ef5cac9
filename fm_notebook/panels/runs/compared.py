"""What ``%runs diff`` and ``%runs curves`` give: values that show themselves as tables, in HTML and plain text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from fm_notebook import messages
from fm_notebook.contracts.specs import Spec
from fm_notebook.panels import curves, markup, text
from fm_notebook.panels.runs import table as runs_table
from fm_notebook.session.differences import Difference, differences
from fm_notebook.session.progress import Progress

MOST_ROWS = 20


@dataclass(frozen=True)
class SpecDiff:
    """What the specs of two runs say differently, field by field."""

    names: tuple[str, str]
    differences: tuple[Difference, ...]

    @classmethod
    def of(cls, names: tuple[str, str], specs: tuple[Spec, Spec]) -> SpecDiff:
        """The difference of two specs by the names of their runs."""
        return cls(names, tuple(differences(*specs)))

    @property
    def rows(self) -> list[list[str]]:
        """Field, value in the first and value in the second, a dash where it has none."""
        return [[each.field, each.left or "–", each.right or "–"] for each in self.differences]

    @property
    def heads(self) -> list[str]:
        """Of the three columns."""
        return [messages.text("runs.diff.field"), *self.names]

    @property
    def title(self) -> str:
        """What the table tells, or that the two are equal."""
        key = "some" if self.differences else "none"
        return messages.text(f"runs.diff.{key}", left=self.names[0], right=self.names[1])

    def __repr__(self) -> str:
        return f"{self.title}\n{runs_table.columns([self.heads, *self.rows])}" if self.rows else self.title

    def _repr_html_(self) -> str:
        return runs_table.words_table(self.heads, self.rows, self.title) or markup.paragraph(self.title)


@dataclass(frozen=True)
class CurveTable:
    """The curves of a run in at most about twenty rows: step, training loss, held-out loss and the run's metric."""

    name: str
    variable: str
    metric: str
    rows: list[list[str]] = field(default_factory=list)

    @classmethod
    def of(cls, progress: Progress, name: str) -> CurveTable:
        """The curves of `progress`: at its evaluations, or if it has none at even steps."""
        metric = progress.started.metric if progress.started else ""
        return cls(name, progress.name, metric, list(_rows(progress, metric)))

    @property
    def heads(self) -> list[str]:
        """Of the four columns."""
        axis = {key: messages.text(f"panel.axis.{key}") for key in ("step", "loss", "train", "held_out")}
        return [axis["step"], f"{axis['loss']}, {axis['train']}", f"{axis['loss']}, {axis['held_out']}", text.metric(self.metric)]

    @property
    def hint(self) -> str:
        """How to get every step."""
        return messages.text("runs.curves.all", name=self.variable)

    def __repr__(self) -> str:
        if not self.rows:
            return messages.text("runs.curves.none", name=self.name)
        return f"{self.name}\n{runs_table.columns([self.heads, *self.rows])}\n{self.hint}"

    def _repr_html_(self) -> str:
        if not self.rows:
            return markup.paragraph(messages.text("runs.curves.none", name=self.name))
        return markup.table(self.heads, self.rows, self.name) + markup.paragraph(self.hint)


def _rows(progress: Progress, metric: str) -> Iterable[list[str]]:
    train = list(zip(progress.train.steps, progress.train.values, strict=True))
    if not progress.held_out:
        stride = -(-len(train) // MOST_ROWS) or 1
        yield from ([f"{step:,.0f}", text.number(loss), "", ""] for step, loss in train[stride - 1 :: stride])
        return
    for each in curves.thinned(progress.held_out, MOST_ROWS):
        losses = [loss for step, loss in train if step <= each.step]
        shown = [each.metrics.get("loss"), each.metrics.get(metric) if metric != "loss" else None]
        yield [f"{each.step:,}", text.number(losses[-1]) if losses else "", *_scores(shown)]


def _scores(values: Sequence[float | None]) -> list[str]:
    return ["" if value is None else text.score(value) for value in values]
