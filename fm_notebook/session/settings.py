"""Settings: what a field or flag is where a cell says nothing of it.

A flag on the line goes before the cell's body, that before ``%config FMNotebook``, that before ``[tool.fm_notebook]`` of the
project's ``pyproject.toml``, that before the user's file, that before the default of the spec. Nothing that breaks in a file
breaks a run: it is told once and left out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from html import escape
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from fm_notebook import messages
from fm_notebook.contracts import fields
from fm_notebook.contracts.specs import EvaluateSpec, FinetuneSpec
from fm_notebook.contracts.values import Frozen
from fm_notebook.errors import Fault, FMError, SpecError
from fm_notebook.jobs import placement
from fm_notebook.session import settings_files
from fm_notebook.session.given import Assigned, Fields
from fm_notebook.session.settings_files import File

RIVALS = (frozenset({"lora", "prompt_tuning", "freeze"}), frozenset({"epochs", "max_steps"}))
"""Fields that decide the same: a cell that gives one of them means none of the others that are set elsewhere."""
_ONLY_IN_A_CELL = frozenset({"train", "eval", "data", "model", "tokenizer", "base", "run", "trust_remote_code", "allow_pickle"})
"""Data and models, and what the user must say by name each time."""
_STAND_IN: Mapping[str, Any] = {
    "train": {"source": "", "kind": "value"},
    "data": {"source": "", "kind": "value"},
    "model": {"source": "", "kind": "value", "location": ""},
}


class Options(Frozen):
    """What can be set that is no field of a spec.

    Attributes
    ----------
    on : str
        Where jobs are executed: the flag ``--on``.
    quiet, wait : bool
        The flags of the same names.
    language : str, optional
        Of messages: ``en`` or ``zh``; None is the system's.
    """

    on: str = "process"
    quiet: bool = False
    wait: bool = False
    language: Literal["en", "zh"] | None = None


_SPECS: tuple[type[BaseModel], ...] = (FinetuneSpec, EvaluateSpec, Options)
_configured: dict[str, Any] = {}
_told: set[tuple[str, str, str]] = set()


@dataclass(frozen=True)
class Setting:
    """One field that is set: its value, and in words where."""

    name: str
    value: Any
    where: str


@dataclass(frozen=True)
class Settings(Mapping[str, Any]):
    """What is set, by field; shows itself as a table of fields, values and where they are set.

    Attributes
    ----------
    entries : tuple of Setting
        In the order of the specs' fields.
    faults : tuple of str
        What was left out, and why.
    """

    entries: tuple[Setting, ...]
    faults: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Any:
        for entry in self.entries:
            if entry.name == name:
                return entry.value
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return (entry.name for entry in self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __repr__(self) -> str:
        rows = [_head(), *((entry.name, repr(entry.value), entry.where) for entry in self.entries)]
        widths = [max(len(row[place]) for row in rows) for place in range(3)]
        table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([*(table if self.entries else [messages.text("settings.none")]), *self.faults, *_places()])

    def _repr_html_(self) -> str:
        left = ' align="left" style="text-align: left"'
        head = "".join(f'<th scope="col"{left}>{escape(name)}</th>' for name in _head())
        rows = "".join(
            f'<tr><th scope="row"{left}>{escape(entry.name)}</th><td{left}>{escape(repr(entry.value))}</td>'
            f"<td{left}>{escape(entry.where)}</td></tr>"
            for entry in self.entries
        )
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        none = f"<p>{escape(messages.text('settings.none'))}</p>"
        return f"{table if rows else none}<p>{'<br>'.join(map(escape, (*self.faults, *_places())))}</p>"


@cache
def names() -> tuple[str, ...]:
    """The fields that can be set: all of the specs' but those that only a cell may give."""
    found = dict.fromkeys(name for spec in _SPECS for name in fields.names(spec))
    return tuple(name for name in found if name not in _ONLY_IN_A_CELL)


def expected(name: str) -> str:
    """What the field `name` accepts, in words."""
    return fields.expected(_specs_of(name)[0], name)


def current() -> Settings:
    """What is set now; files are looked at anew, and what is wrong with one is said once."""
    found = {name: Setting(name, value, "%config") for name, value in _configured.items()}
    faults: list[str] = []
    for file in filter(None, (settings_files.project(), settings_files.user())):
        for name, each in file.values.items():
            if fault := _fault(name, each):
                faults.append(_tell(file, name, fault))
            else:
                found.setdefault(name, Setting(name, each, file.where(name)))
        if file.broken:
            faults.append(_tell(file, "", None))
    order = {name: place for place, name in enumerate(names())}
    settings = Settings(tuple(sorted(found.values(), key=lambda entry: order[entry.name])), tuple(faults))
    _choose_language(settings)
    return settings


def value(name: str) -> Any:
    """The value of the field or flag `name`: what is set, else its default.

    Raises
    ------
    SpecError
        If nothing of that name can be set.
    """
    if name not in names():
        raise SpecError(faults=[_unknown(name)])
    set_now = current()
    return set_now[name] if name in set_now else fields.default(_specs_of(name)[0], name)


def configure(name: str, new: Any) -> None:
    """Set `name` for this process, as ``%config FMNotebook`` does; an ellipsis takes that back.

    Raises
    ------
    SpecError
        If there is no such setting, or its value is none that a cell would accept.
    """
    if new is not ... and (fault := _fault(name, new)):
        raise SpecError(faults=[fault])
    _configured.pop(name, None)
    if new is not ...:
        _configured[name] = new
    current()


def forget() -> None:
    """Take back all that was set for this process."""
    _configured.clear()
    current()


def below(given: Fields, spec: type[BaseModel], *, but: Collection[str] = ()) -> dict[str, Assigned]:
    """`given`, and below it what is set for the other fields of `spec`, except `but`."""
    known = set(fields.names(spec)) - set(but)
    silent = {rival for rivals in RIVALS if rivals & set(given) for rival in rivals}
    kept = [entry for entry in current().entries if entry.name in known - silent]
    return {entry.name: Assigned(entry.value, where=entry.where) for entry in kept} | dict(given)


def _fault(name: str, new: Any) -> Fault | None:
    """What is wrong with a value, in the words that a cell would be told."""
    if name not in names():
        return _unknown(name)
    for spec in _specs_of(name):
        try:
            stand_in = {key: each for key, each in _STAND_IN.items() if key in spec.model_fields}
            spec.model_validate(stand_in | {name: new})
            if name == "on":
                placement.parse(new)
        except ValidationError as error:
            return fields.faults(error, spec, {}, {name: repr(new)})[0]
        except FMError as error:
            return error.faults[0]
    return None


def _unknown(name: str) -> Fault:
    in_cells = {each for spec in _SPECS for each in fields.names(spec)}
    if name in in_cells:
        return Fault("settings.only_in_a_cell", {"field": name})
    hint = fields.unknown(name, FinetuneSpec, None).values["hint"]
    return Fault("spec.unknown_field", {"field": name, "hint": hint, "known": ", ".join(names())})


def _specs_of(name: str) -> list[type[BaseModel]]:
    return [spec for spec in _SPECS if name in spec.model_fields]


def _tell(file: File, name: str, fault: Fault | None) -> str:
    """Say what is wrong with a file's field, or with the file, the first time; that in one line."""
    words = fault.lines() if fault else [messages.text("settings.broken", reason=file.broken)]
    left_out = messages.text("settings.left_out" if fault else "settings.file_left_out")
    first = messages.text("error.where", where=file.where(name)) + " " + words[0]
    what = (str(file.path), name, file.broken or repr(file.values[name]))
    if what not in _told:
        _told.add(what)
        messages.say("settings.warning", text="\n".join([first, *words[1:], f"  {left_out}"]))
    return f"{first} {left_out}"


def _choose_language(settings: Settings) -> None:
    messages.prefer(settings.get("language"), over_environment="language" in _configured)


def _head() -> tuple[str, str, str]:
    return (messages.text("settings.head.name"), messages.text("settings.head.value"), messages.text("settings.head.where"))


def _places() -> list[str]:
    """How and where to set something."""
    project = settings_files.project()
    shown = settings_files.shown(project.path if project else settings_files.store.project_folder() / "pyproject.toml")
    return [messages.text("settings.places", project=shown, user=settings_files.shown(settings_files.user_path()))]
