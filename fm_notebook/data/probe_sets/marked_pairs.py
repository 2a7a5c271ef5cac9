"""Pairs of sentences with the characters of the person and of the attribute: BEC-Pro, and our seed set.

Columns: ``id``, ``axis``, ``first``, ``second``, ``group`` and ``other_group`` (whom the first and the second sentence name),
``cluster``, ``term``, ``attribute``; where the target and the attribute stand, in characters: ``first_target_start``,
``first_target_end``, ``first_attribute_start`` … and for ``second``; BEC-Pro also has ``kind``: ``female``, ``male`` or
``balanced``, for whom the profession is typical.

References
----------
Bartl, Nissim and Gatt (2020), *Unmasking contextual stereotypes*, GeBNLP.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from typing import Any

import pyarrow as pa

from fm_notebook.data import seed_sets
from fm_notebook.data.probe_sets.sentence_pairs import Pairs, check_columns
from fm_notebook.data.wording import listed
from fm_notebook.errors import DataError

BEC_PRO = ("Sentence", "Template", "Person", "Gender", "Profession", "Prof_Gender")
SIDES, MARKS, ENDS = ("first", "second"), ("target", "attribute"), ("start", "end")
_GENDERS = ("female", "male")
_TEXTS = ("id", "axis", "first", "second", "group", "other_group", "cluster", "term", "attribute")
_PLACES = tuple(f"{side}_{mark}_{end}" for side in SIDES for mark in MARKS for end in ENDS)
_SCHEMA = pa.schema([(name, pa.string()) for name in _TEXTS] + [(name, pa.int32()) for name in _PLACES])
_Row = dict[str, Any]


def bec_pro(table: pa.Table) -> Pairs:
    """The pairs of BEC-Pro: of each template and profession, each female person beside the male one named at the same turn.

    The sentence of the gender that the profession is typical of comes first, of balanced ones the female. Its own columns with
    masks are not read: they mask the *man* of *manager*.

    Raises
    ------
    DataError
        If a column is missing, or women and men are not equally many.
    """
    check_columns(table, BEC_PRO)
    dropped: Counter[str] = Counter()
    cells: dict[tuple[str, str], dict[str, list[_Row]]] = defaultdict(lambda: {gender: [] for gender in _GENDERS})
    for row in table.select(BEC_PRO).to_pylist():
        if any(not isinstance(value, str) or not value.strip() for value in row.values()) or row["Gender"] not in _GENDERS:
            dropped["empty"] += 1
            continue
        cells[row["Template"], row["Profession"]][row["Gender"]].append(row)
    rows = []
    for number, (cell, by_gender) in enumerate(cells.items()):
        women, men = (by_gender[gender] for gender in _GENDERS)
        if len(women) != len(men):
            raise DataError("probe.unpaired_persons", template=cell[0], profession=cell[1], women=len(women), men=len(men))
        for turn, (woman, man) in enumerate(zip(women, men, strict=True)):
            if made := _bec_pair(f"{number:03d}-{turn:02d}", woman, man):
                rows.append(made)
            else:
                dropped["target_not_found"] += 1
    return Pairs(pa.Table.from_pylist(rows, _SCHEMA.append(pa.field("kind", pa.string()))), tuple(dropped.items()))


def seed_pairs(language: str) -> Pairs:
    """Our own pairs in `language`."""
    rows = []
    for row in seed_sets.pairs(language).to_pylist():
        places = {
            f"{side}_{mark}_{end}": row[f"{prefix}{mark}_{end}"]
            for side, prefix in zip(SIDES, ("", "other_"), strict=True)
            for mark in MARKS
            for end in ENDS
        }
        told = {name: row[name] for name in ("id", "axis", "group", "other_group", "term", "attribute")}
        rows.append(told | {"first": row["stereotyped"], "second": row["other"], "cluster": row["template"]} | places)
    return Pairs(pa.Table.from_pylist(rows, _SCHEMA))


def _bec_pair(key: str, woman: _Row, man: _Row) -> _Row | None:
    kind = woman["Prof_Gender"].strip()
    both = (man, woman) if kind == "male" else (woman, man)
    places = [_places(each) for each in both]
    if None in places:
        return None
    found = {f"{side}_{name}": value for side, each in zip(SIDES, places, strict=True) for name, value in (each or {}).items()}
    return found | {
        "id": key, "axis": "gender", "first": both[0]["Sentence"], "second": both[1]["Sentence"], "group": both[0]["Gender"],
        "other_group": both[1]["Gender"], "cluster": woman["Profession"], "term": listed([woman["Person"], man["Person"]]),
        "attribute": woman["Profession"], "kind": kind,
    }  # fmt: skip


def _places(row: _Row) -> dict[str, int] | None:
    """Where the person and the profession stand, as whole words; None if one does not."""
    person = re.search(rf"\b{re.escape(row['Person'])}\b", row["Sentence"])
    profession = re.search(rf"\b{re.escape(row['Profession'])}\b", row["Sentence"])
    if person is None or profession is None:
        return None
    spans = {"target": person.span(), "attribute": profession.span()}
    return {f"{mark}_{end}": span[i] for mark, span in spans.items() for i, end in enumerate(ENDS)}
