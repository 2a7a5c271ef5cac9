"""What the form offers to choose from at this moment: the notebook's variables, samples, models, runs and columns.

Nothing is computed and nothing is imported for it: frames are recognised by what their owner has imported.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from fm_notebook import messages
from fm_notebook.contracts import fields
from fm_notebook.contracts.specs import FinetuneSpec
from fm_notebook.magics import known, tables
from fm_notebook.panels.form.layout import quoted
from fm_notebook.panels.text import metric
from fm_notebook.session import models
from fm_notebook.session.run import Run

_MOST_COLUMNS = 6
_MOST_LETTERS = 60


@dataclass(frozen=True)
class Offer:
    """One thing to choose: the `source` that the cell would have, what is shown for it, and the group that it stands in."""

    source: str
    label: str
    group: str = ""

    def to_json(self) -> list[str]:
        """For the page."""
        return [self.source, self.label, self.group]


def offers(sources: Mapping[str, str], namespace: Mapping[str, Any]) -> dict[str, list[Offer]]:
    """What there is now of each kind of thing that fields take, see `fm_notebook.contracts.fields.takes`.

    Parameters
    ----------
    sources : Mapping
        The cell's fields as they are written, by dotted name: columns are those of ``train``, metrics those of ``task``.
    namespace : Mapping
        The notebook's variables.
    """
    return {
        "rows": [*_variables(namespace), *_named(known.rows(), "samples")],
        "model": [*_live_models(namespace), *_named(known.models(), "models")],
        "column": _columns(sources.get("train", ""), namespace),
        "run": _named([*known.runs(), *known.runs(".")]),
        "task": _named(known.plugins("task")),
        "metric": _metrics(sources),
    }


def _variables(namespace: Mapping[str, Any]) -> Iterator[Offer]:
    group = messages.text("form.variables")
    splits = getattr(sys.modules.get("datasets"), "DatasetDict", None)
    for name in known.variables(namespace):
        value = namespace[name]
        with suppress(Exception):  # the user's own objects: whatever they raise, the others are offered
            if splits is not None and isinstance(value, splits):
                for split, rows in value.items():
                    yield Offer(f"{name}[{quoted(split)}]", _described(f"{name}[{quoted(split)}]", rows), group)
            elif tables.is_table(value) and not isinstance(value, type):
                yield Offer(name, _described(name, value), group)


def _described(source: str, value: Any) -> str:
    columns = [_short(name) for name in tables.of_value(value)]
    names = ", ".join(columns[:_MOST_COLUMNS]) + (", …" if columns[_MOST_COLUMNS:] else "")
    return messages.text(
        "form.variable", name=source, type=type(value).__name__, rows=f"{len(value):,}", columns=len(columns), names=names
    )


def _named(names: Iterable[str], group: str = "") -> list[Offer]:
    return [Offer(quoted(name), _short(name), messages.text(f"form.{group}") if group else "") for name in names]


def _live_models(namespace: Mapping[str, Any]) -> Iterator[Offer]:
    for name in known.variables(namespace):
        value, group = namespace[name], messages.text("form.variables")
        with suppress(Exception):
            if models.is_live(value) and hasattr(value, "config"):  # a tokenizer has none
                yield Offer(name, f"{name} ({type(value).__name__})", group)
            elif isinstance(value, Run) and (value.folder / "model" / "config.json").exists():
                yield Offer(name, f"{name} ({value.folder.name})", group)


def _columns(source: str, namespace: Mapping[str, Any]) -> list[Offer]:
    group, found = messages.text("form.text_columns"), tables.of_source(source, namespace)
    return [Offer(quoted(name), _short(name), group if is_text else "") for name, is_text in found.items()]


def _metrics(sources: Mapping[str, str]) -> list[Offer]:
    task, problem = (_text(sources.get(name, "")) for name in ("task", "problem"))
    found = known.metrics(task or str(fields.default(FinetuneSpec, "task")), problem)
    return [Offer(quoted(name), f"{name} ({metric(name)})") for name in found]


def _text(source: str) -> str:
    """The text that `source` is a literal of; empty if it is none."""
    with suppress(ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        value = ast.literal_eval(source)
        return value if isinstance(value, str) else ""
    return ""


def _short(text: str) -> str:
    return text if len(text) <= _MOST_LETTERS else text[: _MOST_LETTERS - 1] + "…"
