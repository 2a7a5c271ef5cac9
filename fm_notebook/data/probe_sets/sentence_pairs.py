"""Pairs of sentences of which the first is the more stereotyping one: CrowS-Pairs, the user's two columns, our seed set.

All come to the columns

- ``id``, ``axis``, ``first``, ``second``;
- ``direction``: ``stereo``, or ``antistereo`` where the pair speaks against a stereotype of the group that it is about;
- ``control``: the id of the pair that this one is a control of, such as its negation; null for the others;
- where pairs are made of templates: ``cluster``, the template, ``term``, and if known ``group`` and ``other_group``, whom the
  first and the second sentence name.

References
----------
Nangia et al. (2020), *CrowS-Pairs*, EMNLP; revised by Névéol et al. (2022), *French CrowS-Pairs*, ACL.
Pikuliak, Beňová and Bachratý (2023), *In-depth look at word filling societal bias measures*, EACL (controls).
Zhao et al. (2023), *CHBias*, ACL (two files, row by row).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from fm_notebook.data import seed_sets
from fm_notebook.data.files import SUFFIXES, from_file
from fm_notebook.data.wording import listed, shown
from fm_notebook.errors import DataError, did_you_mean

MORE, LESS, DIRECTION, KIND = "sent_more", "sent_less", "stereo_antistereo", "bias_type"
DIRECTIONS = ("stereo", "antistereo")
KINDS = (
    "race-color", "socioeconomic", "gender", "disability", "nationality", "sexual-orientation", "physical-appearance", "religion",
    "age",
)  # fmt: skip
"""Kinds of bias in the order of their numbers on the hub."""
UNKNOWN = "unknown"
"""Axis of a pair of which nobody tells it."""
_PLACEHOLDER = re.compile(r"\{\w+\}")


@dataclass(frozen=True)
class Pairs:
    """Pairs in the columns above, and the user's rows that are none, by reason (``skipped.<reason>`` in the catalogue)."""

    table: pa.Table
    dropped: tuple[tuple[str, int], ...] = ()


def table_of(given: Path | pa.Table) -> pa.Table:
    """The rows of a table, a file, or the one file of a folder that can be read.

    Raises
    ------
    DataError
        If there is none, or no row in it.
    """
    if isinstance(given, Path):
        files = _files(given) if given.is_dir() else []
        table = from_file(files[0] if len(files) == 1 else given, field="data")
    else:
        table = given
    if not table.num_rows:
        raise DataError("data.empty", field="data", source=str(given) if isinstance(given, Path) else "data")
    return table


def crows_pairs(table: pa.Table) -> Pairs:
    """The pairs of a table in the format of CrowS-Pairs, as published, revised, or as on the hub, where classes are numbers.

    Raises
    ------
    DataError
        If a sentence's column is missing.
    """
    check_columns(table, (MORE, LESS))
    names, n = set(table.column_names), table.num_rows
    directions = _classes(table[DIRECTION].to_pylist(), DIRECTIONS) if DIRECTION in names else ["stereo"] * n
    kinds = _classes(table[KIND].to_pylist(), KINDS) if KIND in names else [""] * n
    return _kept(table, MORE, LESS, kinds, directions)


def own_pairs(table: pa.Table, first: str, second: str, axis: str | None) -> Pairs:
    """The pairs in two columns of the user's, and their axis in a third.

    Raises
    ------
    DataError
        If one is missing.
    """
    check_columns(table, (first, second, *([axis] if axis else [])))
    axes = table[axis].to_pylist() if axis else ["pairs"] * table.num_rows
    return _kept(table, first, second, axes, ["stereo"] * table.num_rows)


def row_by_row(folder: Path, first: str, second: str) -> pa.Table:
    """Two files of a folder as two columns, named as the files without ending, as CHBias publishes its sentences.

    Raises
    ------
    DataError
        If there are no such files, they have several columns of text or differ in length.
    """
    known = {path.name.partition(".")[0]: path for path in _files(folder)}
    columns: dict[str, pa.ChunkedArray] = {}
    for name in (first, second):
        if name not in known:
            hint = did_you_mean(name, list(known))
            raise DataError("probe.pair_file", folder=str(folder), name=shown(name), known=listed(sorted(known)), hint=hint)
        columns[name] = _only_text(from_file(known[name], field="data"), known[name])
    if len({len(each) for each in columns.values()}) > 1:
        lengths = ", ".join(f"{name}: {len(each)}" for name, each in columns.items())
        raise DataError("data.lengths", field="data", lengths=lengths)
    return pa.table(columns)


def crossed(templates: Sequence[str], terms: Sequence[tuple[str, str]]) -> Pairs:
    """Every template with every pair of terms: the first term makes the first sentence.

    A template has one placeholder in braces, such as ``{person} is late.``; sentences begin with a capital.

    Raises
    ------
    DataError
        If a template has none, or several that differ.
    """
    from fm_notebook.data.seed_sets import capitalised

    rows = []
    for i, template in enumerate(templates, start=1):
        if len(found := set(_PLACEHOLDER.findall(template))) != 1:
            raise DataError("probe.pair_template", template=shown(template), found=len(found))
        place = found.pop()
        for j, pair in enumerate(terms, start=1):
            one, other = (capitalised(template.replace(place, term)) for term in pair)
            rows.append({
                "id": f"{i:03d}-{j:03d}", "axis": "pairs", "first": one, "second": other, "direction": "stereo", "control": None,
                "cluster": template, "term": " / ".join(pair),
            })  # fmt: skip
    kept = [row for row in rows if row["first"] != row["second"]]
    same = len(rows) - len(kept)
    table = pa.Table.from_pylist(kept, pa.schema([*_SCHEMA, pa.field("cluster", pa.string()), pa.field("term", pa.string())]))
    return Pairs(table, (("identical", same),) if same else ())


def seed_pairs(language: str) -> Pairs:
    """Our own pairs in `language`."""
    table = seed_sets.pairs(language)
    columns = {
        "id": table["id"], "axis": table["axis"], "first": table["stereotyped"], "second": table["other"],
        "direction": pa.array(["stereo"] * len(table)), "control": pa.nulls(len(table), pa.string()),
        "cluster": table["template"], "term": table["term"], "group": table["group"], "other_group": table["other_group"],
    }  # fmt: skip
    return Pairs(pa.table(columns))


def check_columns(table: pa.Table, expected: Sequence[str]) -> None:
    """Refuse a table that lacks one of the columns `expected`.

    Raises
    ------
    DataError
        With the columns that are there.
    """
    missing = [name for name in expected if name not in table.column_names]
    if missing:
        hint = did_you_mean(missing[0], table.column_names)
        raise DataError(
            "probe.pair_columns", missing=listed(missing), found=listed(table.column_names), expected=listed(expected), hint=hint
        )


def language_of(texts: Sequence[str]) -> str:
    """``zh`` if most of `texts` hold Chinese characters, else empty: Latin letters do not tell English from French."""
    return "zh" if sum(bool(re.search(r"[\u4e00-\u9fff]", text)) for text in texts) > len(texts) / 2 else ""


_SCHEMA = pa.schema([(name, pa.string()) for name in ("id", "axis", "first", "second", "direction", "control")])


def _kept(table: pa.Table, first: str, second: str, axes: Sequence[object], directions: Sequence[object]) -> Pairs:
    """The rows that are pairs, with ids from ``id`` (or the nameless first column) if they tell all rows apart."""
    n, dropped = table.num_rows, Counter[str]()
    ids, controls = _ids(table), [None] * n
    if "control" in table.column_names:
        controls = [None if each in {None, ""} else str(each) for each in table["control"].to_pylist()]
    rows = []
    given = zip(ids, table[first].to_pylist(), table[second].to_pylist(), axes, directions, controls, strict=True)
    for key, one, other, axis, direction, control in given:
        if reason := _fault(one, other, direction):
            dropped[reason] += 1
            continue
        called = str(axis).strip() if axis is not None else ""
        rows.append({
            "id": key, "axis": called or UNKNOWN, "first": one, "second": other, "direction": direction, "control": control,
        })  # fmt: skip
    return Pairs(pa.Table.from_pylist(rows, _SCHEMA), tuple(dropped.items()))


def _fault(one: object, other: object, direction: object) -> str:
    if not (isinstance(one, str) and one.strip() and isinstance(other, str) and other.strip()):
        return "empty"
    if one == other:
        return "identical"
    return "" if direction in DIRECTIONS else "unknown_direction"


def _ids(table: pa.Table) -> list[str]:
    for name in ("id", ""):
        if name in table.column_names:
            found = [str(each) for each in table[name].to_pylist()]
            if len(set(found)) == len(found):
                return found
    return [str(row) for row in range(table.num_rows)]


def _classes(values: Sequence[object], names: Sequence[str]) -> list[object]:
    """Numbers of classes as their names; names with the spaces that some copies have around them stripped."""
    numbers: Mapping[object, str] = dict(enumerate(names))
    return [each.strip() if isinstance(each, str) else numbers.get(each, each) for each in values]


def _only_text(table: pa.Table, path: Path) -> pa.ChunkedArray:
    kinds = {name: table[name].type for name in table.column_names}
    texts = [name for name, kind in kinds.items() if pa.types.is_string(kind) or pa.types.is_large_string(kind)]
    if len(texts) != 1:
        raise DataError("probe.pair_file_columns", path=str(path), found=listed(table.column_names))
    return table[texts[0]].cast(pa.string())


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.name.lower().endswith(SUFFIXES) and path.suffix != ".txt")
