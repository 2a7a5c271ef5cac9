"""The cell that a form stands for: its text, what is typed into fields, and what is wrong with it.

The text is the one truth. A field that is filled in changes the text at the field's place and nowhere else; what is typed and is
no Python yet is kept beside it, so that nothing is lost.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from fm_notebook.contracts import fields
from fm_notebook.contracts.specs import FinetuneSpec
from fm_notebook.errors import ArgumentError, Fault, FMError, SpecError
from fm_notebook.magics import body, cell, names, rewriting, settings, trial
from fm_notebook.magics.arguments import Line as Asked
from fm_notebook.magics.finetune import FLAGS
from fm_notebook.panels.form import rows as form_rows
from fm_notebook.panels.form.layout import quoted
from fm_notebook.session import binding
from fm_notebook.session.given import Assigned, Fields

_PLAIN = (ast.Constant, ast.Name, ast.Attribute, ast.Tuple, ast.List, ast.Dict, ast.UnaryOp, ast.unaryop, ast.expr_context)
_MOST_LETTERS = 300


@dataclass(frozen=True)
class Told:
    """One thing that is wrong: the field it is about (empty if none), and the lines that say so, as under a cell."""

    field: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Checked:
    """A draft at one moment.

    Attributes
    ----------
    name : str
        Name of the run.
    readable : bool
        Whether the text can be read, so that fields can be filled in.
    written : dict
        What is written, or typed, for each field by its dotted name; texts in double quotes, so that they are found again.
    faults : tuple of Told
        What is wrong, as far as it is told without reading rows.
    """

    name: str = ""
    readable: bool = True
    written: dict[str, str] = field(default_factory=dict)
    faults: tuple[Told, ...] = ()


class Draft:
    """The text of a ``%%finetune`` cell in the making.

    Attributes
    ----------
    text : str
    typed : dict
        By field, what was typed there and is no Python (yet).
    """

    def __init__(self, text: str):
        self.text = text
        self.typed: dict[str, str] = {}
        self._known: dict[str, object] = {}  # values of expressions that are not plain, by their source
        self._left: set[str] = set()  # sources that stood there when the user last left a field
        with suppress(FMError):
            self._left = {line.source for line in body.parse(cell.read(text).body)}

    def write(self, text: str) -> None:
        """Take `text` as the whole cell."""
        self.text, self.typed = text.replace("\r\n", "\n"), {}

    def rename(self, name: str) -> None:
        """Give the run another name."""
        whole = cell.read(self.text)
        self.text = whole.with_name(_name_of(whole), name.strip()).text

    def fill(self, path: str, typed: str, namespace: Mapping[str, Any]) -> None:
        """Set the field `path` to what the user typed; nothing takes it away.

        Raises
        ------
        SpecError
            If the text itself is no Python, so that no field can be set.
        """
        whole = cell.read(self.text)
        rewriting.sources(whole.body)
        self.typed.pop(path, None)
        try:
            text = rewriting.with_field(whole.body, tuple(path.split(".")), _source(path, typed, namespace))
        except SpecError:
            self.typed[path] = typed
            return
        if text != whole.body:
            self.text = whole.with_body(text).text

    def sources(self) -> dict[str, str]:
        """The fields as they are written, by dotted name; empty if the text cannot be read."""
        try:
            return {".".join(path): text for path, text in rewriting.sources(cell.read(self.text).body).items()}
        except SpecError:
            return {}

    def fields(self, namespace: Mapping[str, Any]) -> tuple[str, Asked, Fields]:
        """Name, flags and fields, every expression evaluated now: what ``%%finetune`` would do with the text.

        Raises
        ------
        FMError
            If name, flags or text are wrong. An exception of the user's own expression is passed on.
        """
        whole = cell.read(self.text)
        name, asked = _named(whole, namespace)
        return name, asked, body.evaluate(body.parse(whole.body, first_line=whole.first_line), namespace)

    @property
    def name(self) -> str:
        """Name of the run as it is written; empty if there is none."""
        try:
            return _name_of(cell.read(self.text))
        except SpecError:
            return ""

    def only(self, names: Collection[str], namespace: Mapping[str, Any]) -> Fields:
        """The fields called `names` alone, evaluated now.

        Raises
        ------
        FMError
            If the text is wrong. An exception of the user's own expression is passed on.
        """
        whole = cell.read(self.text)
        lines = body.parse(whole.body, first_line=whole.first_line)
        return body.evaluate([line for line in lines if line.path[0] in names], namespace)

    def check(self, namespace: Mapping[str, Any], *, left: bool = False) -> Checked:
        """What can be told at once. Only names and literals are evaluated, and with `left` what has changed since the last time.

        Parameters
        ----------
        left : bool
            Whether the user has left the field or the text, so that it is not half written.
        """
        try:
            whole = cell.read(self.text)
            sources = rewriting.sources(whole.body)
        except SpecError as error:
            return Checked(readable=False, faults=tuple(_told(fault, {}) for fault in error.faults))
        faults = [*self._faults_of_line(whole, namespace), *self._faults_of_body(whole, namespace, left=left)]
        faults = [told for told in faults if told.field not in self.typed]
        values = {".".join(path): _canonical(source) for path, source in sources.items()} | self.typed
        return Checked(_name_of(whole), True, values, (*faults, *self._faults_of_typing()))

    def _faults_of_line(self, whole: cell.Cell, namespace: Mapping[str, Any]) -> list[Told]:
        try:
            _named(whole, namespace)
        except FMError as error:
            return [Told("name", tuple(error.faults[0].lines()))]
        return []

    def _faults_of_body(self, whole: cell.Cell, namespace: Mapping[str, Any], *, left: bool) -> list[Told]:
        try:
            lines = body.parse(whole.body, first_line=whole.first_line)
        except SpecError as error:
            return [_told(fault, {}) for fault in error.faults]
        where = {line.number: line.path[0] for line in lines}
        given, unknown, faults = self._evaluated(lines, namespace, left=left)
        spec, found = binding.check_finetune(given)
        faults += [fault for fault in found if not _is_unknown(fault, unknown)]
        if spec is not None and not faults:
            faults += form_rows.faults(spec, given, self.sources(), namespace)
        return [_told(fault, where) for fault in sorted(faults, key=lambda fault: fault.line or 10**6)]

    def _faults_of_typing(self) -> Iterator[Told]:
        for path, typed in self.typed.items():
            yield Told(path, tuple(Fault("form.typed", {"field": path, "text": typed[:_MOST_LETTERS]}).lines()))

    def _evaluated(
        self, lines: list[body.Line], namespace: Mapping[str, Any], *, left: bool
    ) -> tuple[Fields, set[str], list[Fault]]:
        """The fields whose values are known, the names of those that are not, and what evaluating them raised."""
        sources = {line.source for line in lines}
        changed = sources - self._left if left else set()
        self._left = sources if left else self._left
        self._known = {source: value for source, value in self._known.items() if source in sources and source not in changed}
        usable, values, unknown, faults = [], dict(namespace), {}, []
        for i, line in enumerate(lines):
            if _is_plain(line.expression) or line.source in changed or line.source in self._known:
                try:
                    values[f"_fm_{i}"] = self._value(line, namespace)
                    usable.append(replace(line, expression=ast.parse(f"_fm_{i}", mode="eval").body))
                    continue
                except Exception as error:  # noqa: BLE001 - the user's own expression
                    faults.append(_raised(line, error))
            unknown[line.path[0]] = line
        try:
            given = body.evaluate(usable, values)
        except SpecError as error:
            return {}, set(fields.names(FinetuneSpec)), [*faults, *error.faults]
        rows = {name: Assigned(line.source, line.source, line.number) for name, line in unknown.items() if name in form_rows.ROWS}
        return given | rows, set(unknown), faults

    def _value(self, line: body.Line, namespace: Mapping[str, Any]) -> object:
        if line.source in self._known:
            return self._known[line.source]
        value = body.evaluate([replace(line, path=line.path[:1])], namespace)[line.path[0]].value
        if not _is_plain(line.expression):
            self._known[line.source] = value
        return value


def _named(whole: cell.Cell, namespace: Mapping[str, Any]) -> tuple[str, Asked]:
    """Name and flags of the cell, as ``%%finetune`` would take them; a form does not try, it starts or estimates."""
    asked = settings.fill(whole.asked(FLAGS), FLAGS)
    if tried := trial.kind(asked):
        raise ArgumentError("form.trial", line=whole.first_line - 1, flag=f"--{tried}")
    return names.free_for_a_run(asked.words[0] if asked.words else "", namespace), asked


def _name_of(whole: cell.Cell) -> str:
    try:
        words = whole.asked(FLAGS).words
    except FMError:
        return ""
    return words[0] if words else ""


def _source(path: str, typed: str, namespace: Mapping[str, Any]) -> str | None:
    """What the cell says for what was typed: Python as it is; other words in quotes, where the field takes text."""
    typed = typed.strip()
    if not typed:
        return None
    kind = fields.takes(FinetuneSpec, path)
    return quoted(typed) if kind and not _is_python(typed, kind, namespace) else typed


def _is_python(typed: str, kind: str, namespace: Mapping[str, Any]) -> bool:
    """Whether `typed` is meant as Python: its names are known here. A lone word for rows is more likely a slip than a hub id."""
    try:
        tree = ast.parse(typed, mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return typed[:1] in "\"'" or typed[-1:] in "\"'"
    if isinstance(tree.body, ast.Name) and kind in {"rows", "column", "task", "metric"}:
        return kind == "rows"
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return all(name in namespace or hasattr(builtins, name) for name in used)


def _is_plain(expression: ast.expr) -> bool:
    """Whether evaluating it does nothing but look: names, attributes, literals, and signs of numbers."""
    return all(isinstance(node, _PLAIN) for node in ast.walk(expression))


def _canonical(source: str) -> str:
    try:
        value = ast.literal_eval(source)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return source
    return quoted(value) if isinstance(value, str) else source


def _raised(line: body.Line, error: Exception) -> Fault:
    told = {"field": ".".join(line.path), "type": type(error).__name__, "text": str(error)[:_MOST_LETTERS]}
    return Fault("form.raised", told, line.number)


def _is_unknown(fault: Fault, unknown: set[str]) -> bool:
    return fault.key == "spec.missing" and (fault.values["field"] in unknown or "base" in unknown)


def _told(fault: Fault, where: Mapping[int, str]) -> Told:
    named = [str(fault.values[key]) for key in ("role", "field") if key in fault.values]
    known = [name for name in named if name.partition(".")[0] in FinetuneSpec.model_fields]
    return Told(known[0] if known else where.get(fault.line or 0, ""), tuple(fault.lines()))
