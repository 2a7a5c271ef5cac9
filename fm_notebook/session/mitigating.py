"""The mitigations of a run: whether they are ones and fit its rows, and the columns that these need for them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from fm_notebook.contracts import fields
from fm_notebook.contracts.protocols import Mitigation
from fm_notebook.contracts.specs import FinetuneSpec
from fm_notebook.data.reading import Reading
from fm_notebook.errors import Fault, FMError, SpecError
from fm_notebook.mitigations import mitigations
from fm_notebook.tasks import tasks

if TYPE_CHECKING:
    import pyarrow as pa

    from fm_notebook.jobs.folder import JobFolder


def checked(given: Any, line: int | None) -> Any:
    """The field ``mitigation`` with every field of each written out, so that equal runs are seen to be equal.

    What is no dict of dicts is left for the spec to refuse.

    Raises
    ------
    SpecError
        With every unknown mitigation, and every field of one that is wrong.
    """
    if not isinstance(given, Mapping) or not all(isinstance(each, Mapping) for each in given.values()):
        return given
    found: list[Fault] = []
    written: dict[str, Any] = {}
    for name, each in given.items():
        try:
            written[name] = _plugin(name, line).Spec.model_validate(each).model_dump(mode="json")
        except ValidationError as error:
            found += _faults(error, name, each, line)
        except FMError as error:
            found += error.faults
    if found:
        raise SpecError(faults=found)
    return written or None


def reading(spec: FinetuneSpec, line: int | None) -> Reading:
    """What the run's task reads of the user's rows, and the groups that its mitigations need.

    Raises
    ------
    SpecError
        If one is not for rows of this kind, as far as that is known before they are read.
    """
    plain: Reading = tasks[spec.task].reading(spec)
    if plain.kind not in {"auto", "generation"}:
        check_rows(spec, plain.kind, line)
    return replace(plain, groups=tuple(dict.fromkeys((*plain.groups, *_groups(spec)))))


def check_rows(spec: FinetuneSpec, kind: str, line: int | None) -> None:
    """See that the mitigations of `spec` are for rows of this `kind`.

    Raises
    ------
    SpecError
        If one is not.
    """
    for name in spec.mitigation or {}:
        kinds = _plugin(name, line).kinds
        if kind not in kinds:
            raise SpecError("mitigation.kind", line=line, name=name, kind=kind, kinds=", ".join(sorted(kinds)))


def kind_of(spec: FinetuneSpec, names: Collection[str]) -> str:
    """The kind of stored rows with the columns `names`."""
    found = tasks[spec.task].reading(spec).kind
    return Reading(kind="generation").among(names).kind if found == "generation" else found


def lacks(spec: FinetuneSpec, names: Collection[str]) -> str:
    """A column that a mitigation needs, which is neither among the stored `names` nor told by texts; empty if there is none."""
    from fm_notebook.data.derived_groups import is_derived
    from fm_notebook.data.grouped import PREFIX

    return next((name for name in _groups(spec) if PREFIX + name not in names and not is_derived(name)), "")


def must_read(spec: FinetuneSpec, base: JobFolder) -> bool:
    """Whether `spec` needs a column that the stored rows of `base` have not, and that can be read again."""
    from fm_notebook.data.stored import load

    train = getattr(base.spec, "train", None)
    if not spec.mitigation or train is None or train.kind == "value" or not base.train_rows.exists():
        return False
    return bool(lacks(spec, load(base.train_rows).column_names))


def with_groups(rows: pa.Table, spec: FinetuneSpec, base: str, line: int | None) -> pa.Table:
    """The stored `rows` of the run called `base` with the groups that `spec` needs: those told by the texts are made now.

    Raises
    ------
    SpecError
        If a column would have to be read from the user's rows, or a mitigation is not for rows of their kind.
    """
    from fm_notebook.data.derived_groups import derived
    from fm_notebook.data.grouped import PREFIX

    check_rows(spec, kind_of(spec, rows.column_names), line)
    if missing := lacks(spec, rows.column_names):
        raise SpecError("mitigation.base_rows", line=line, base=base, column=missing)
    texts = [rows[name] for name in ("text", "text_pair", "prompt", "completion") if name in rows.column_names]
    for name in _groups(spec):
        if PREFIX + name not in rows.column_names:
            rows = rows.append_column(PREFIX + name, derived(name, texts))
    return rows


def _groups(spec: FinetuneSpec) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for name, given in (spec.mitigation or {}).items():
        plugin = mitigations[name]
        found |= dict.fromkeys(plugin.groups(plugin.Spec.model_validate(given)))
    return tuple(found)


def _plugin(name: str, line: int | None) -> Mitigation:
    try:
        return mitigations[name]
    except FMError as error:
        fault = error.faults[0]
    raise SpecError(fault.key, line=line, **fault.values)


def _faults(error: ValidationError, name: str, given: Mapping[str, Any], line: int | None) -> list[Fault]:
    """As a cell's own fields are told, each with the mitigation's name before it."""
    spec: type[BaseModel] = mitigations[name].Spec
    lines = dict.fromkeys([*given, *spec.model_fields], line) if line else {}
    found = fields.faults(error, spec, lines, {key: repr(value) for key, value in given.items()})  # type: ignore[arg-type]
    return [_named(fault, name, line) for fault in found]


def _named(fault: Fault, name: str, line: int | None) -> Fault:
    field = fault.values["field"]
    if fault.key == "spec.missing":  # a key of the dict, no line of the cell
        return Fault("mitigation.missing", {"name": name, "field": field, "expected": fault.values["expected"]}, line)
    return replace(fault, line=line, values=fault.values | {"field": f"{name}.{field}"})
