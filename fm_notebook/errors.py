"""What can go wrong through the user's doing, one screen each.

::

    FMError                     anything a user can cause or mend
    ├── ArgumentError           the line of a magic: flag, name, value
    ├── SpecError               the fields of a cell
    ├── DataError               rows, columns, labels, files
    ├── ModelError              weights, tokenizers, hub ids
    ├── RunError                names, states and folders of runs
    └── JobFailed               the worker reports why a job ended
    WaitInterrupted             (KeyboardInterrupt) waiting was interrupted, the job goes on

Every fault is a catalogue key with values, so that a worker's error is shown in the reader's language. The
key names a table of three messages: ``problem`` (what is wrong), ``allowed`` and ``remedy`` (either may be left out).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from fm_notebook import messages

RED, BOLD, RESET = "\x1b[31m", "\x1b[1m", "\x1b[0m"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong: a catalogue key, the values it names and the line of the cell (from 1), or `where` it was set."""

    key: str
    values: dict[str, Any] = field(default_factory=dict)
    line: int | None = None
    where: str = ""

    def lines(self) -> list[str]:
        """What is wrong, what is allowed and what to do, a line each."""
        where = messages.text("error.where", where=self.where) + " " if self.where else ""
        if self.line:
            where = messages.text("error.line", line=self.line) + " "
        found = [where + messages.text(f"error.{self.key}.problem", **self.values)]
        keys = [key for part in ("allowed", "remedy") if messages.has(key := f"error.{self.key}.{part}")]
        return found + ["  " + messages.text(key, **self.values) for key in keys]


class FMError(Exception):
    """An error the user can mend, shown on one screen without a traceback.

    Parameters
    ----------
    key : str
        Catalogue key below ``error.``, such as ``"data.empty"``.
    line : int, optional
        Line of the cell, counted from 1.
    **values
        What the message names.
    """

    kind: ClassVar[str] = "FMError"

    def __init__(self, key: str = "", /, *, line: int | None = None, faults: Iterable[Fault] = (), **values: object):
        self.faults: tuple[Fault, ...] = tuple(faults) or (Fault(key, values, line),)
        super().__init__(key)

    def __init_subclass__(cls) -> None:
        cls.kind = cls.__name__
        KINDS[cls.__name__] = cls

    def __str__(self) -> str:
        return "\n".join(line for fault in self.faults for line in fault.lines())

    def _render_traceback_(self) -> list[str]:
        """Lines that IPython shows in place of a traceback."""
        shown = []
        for fault in self.faults:
            first, *rest = fault.lines()
            shown += [f"{RED}{BOLD}{first}{RESET}", *rest]
        return shown


KINDS: dict[str, type[FMError]] = {"FMError": FMError}


class ArgumentError(FMError):
    """A flag, a name or a value on the line of a magic is wrong."""


class SpecError(FMError):
    """One or more fields of a cell are wrong; all are reported at once."""


class DataError(FMError):
    """Rows, columns or labels are not what the task needs."""


class ModelError(FMError):
    """A model or tokenizer cannot be used."""


class RunError(FMError):
    """A run is unknown, or not in a state that allows what was asked."""


class JobFailed(FMError):  # noqa: N818 - the event it stands for
    """A job ended with an error in its worker; `detail` is the worker's traceback, if it was our bug."""

    detail: str = ""


class WaitInterrupted(KeyboardInterrupt):
    """Waiting was interrupted; the job goes on, or was `given_up`. Shown as one line, still ends *Run All*."""

    def __init__(self, name: str, *, given_up: bool = False):
        self.name, self.given_up = name, given_up
        super().__init__(name)

    def __str__(self) -> str:
        return messages.text("wait.given_up" if self.given_up else "wait.interrupted", name=self.name)

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """A sentence such as *Did you mean 'epochs'?*, or an empty string if nothing is close."""
    folded = {name.casefold(): name for name in known}
    close = [folded[name] for name in difflib.get_close_matches(word.casefold(), list(folded), n=3, cutoff=0.6)]
    return messages.text("error.did_you_mean", names=", ".join(close)) if close else ""
