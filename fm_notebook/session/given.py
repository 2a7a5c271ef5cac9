"""The fields of a cell or a call as the user gave them, and all that is found wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from fm_notebook.contracts import fields
from fm_notebook.errors import Fault, FMError, SpecError

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class Assigned:
    """One field as the user gave it: the value, the text it was written as, and its line of the cell (from 1).

    A setting has no line of the cell; `where` says in words where it was set.
    """

    value: Any
    source: str = ""
    line: int | None = None
    where: str = ""

    @property
    def written(self) -> str:
        """The text for messages: the source if there is one."""
        return self.source or repr(self.value)[:80]

    @property
    def reference(self) -> str:
        """The text that a reference keeps: a string as it is, an expression as it was written, else a run's name or the type.

        Never what the value holds: references stand on cards and in bundles, which promise to show no rows.
        """
        if isinstance(self.value, str | Path):
            return str(self.value)
        name = getattr(self.value, "name", "")
        return self.source or (name if isinstance(name, str) and name else type(self.value).__name__)


Fields = Mapping[str, Assigned]


class Faults:
    """Collects what is wrong, so that all of it can be told at once."""

    def __init__(self, given: Fields):
        self.lines: dict[str, int] = {}
        self.where: dict[str, str] = {}
        self.written: dict[str, str] = {}
        self.take(given)
        self.found: list[Fault] = []
        self.names: set[str] = set()
        self._kinds: list[type[FMError]] = []

    def take(self, given: Fields) -> None:
        """Know what the user wrote for the fields `given`, and where."""
        self.lines |= {name: each.line for name, each in given.items() if each.line is not None}
        self.where |= {name: each.where for name, each in given.items() if each.where}
        self.written |= {name: each.written for name, each in given.items()}

    def attempt(self, name: str, work: Callable[[], T]) -> T | None:
        """What `work` gives, or None with its error noted for the field `name`."""
        try:
            return work()
        except FMError as error:
            self.found += [fault if fault.line else replace(fault, where=self.where.get(name, "")) for fault in error.faults]
            self._kinds.append(type(error))
            self.names.add(name)
            return None

    def validate(self, kind: type[M], values: Mapping[str, Any]) -> M | None:
        """The spec that `values` make, or None with all its faults noted."""
        present = {name: value for name, value in values.items() if name not in self.names}
        try:
            return kind.model_validate(present)
        except ValidationError as error:
            found = [f for f in fields.faults(error, kind, self.lines, self.written) if f.values["field"] not in self.names]
            self.found += found
            self._kinds += [SpecError] if found else []  # a field that failed already is missing here
            self.names |= {str(fault.values["field"]) for fault in found}
            return None

    def raise_all(self) -> None:
        """Raise what was found: as its own kind if it is one thing, else as a SpecError of all."""
        if not self.found:
            return
        kind = self._kinds[0] if len(self._kinds) == 1 else SpecError
        found = [replace(fault, where=fault.where or self._where(fault)) for fault in self.found]
        error = kind(faults=sorted(found, key=lambda fault: fault.line or 10**6))
        self.found = []
        raise error

    def _where(self, fault: Fault) -> str:
        """Where the setting was set that `fault` is about; empty if it is about the cell."""
        about = (str(fault.values.get(key, "")).partition(".")[0] for key in ("role", "field"))
        return next((self.where[name] for name in about if name in self.where and not fault.line), "")
