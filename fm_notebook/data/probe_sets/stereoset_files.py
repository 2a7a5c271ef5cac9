"""StereoSet in the forms in which it is passed on: the original ``dev.json``, the hub's rows, EditBias' lists, flat JSON lines.

An item has a target, a domain, a context, and three sentences: a stereotypical, an anti-stereotypical and an unrelated one. In
an intra-sentence item the context has the gap ``BLANK``; what the sentences fill it with is told by the difference.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from fm_notebook.data.wording import listed, shown
from fm_notebook.errors import DataError

Kind = Literal["intrasentence", "intersentence"]
KINDS: tuple[Kind, ...] = ("intrasentence", "intersentence")
GAP = "BLANK"
CHOICES = ("stereotype", "anti_stereotype", "unrelated")
COLUMNS = ("id", "axis", "kind", "target", "cluster", "context", *CHOICES, *(f"{choice}_fill" for choice in CHOICES))
_HUB_LABELS = ("anti-stereotype", "stereotype", "unrelated")
"""By their numbers in the hub's data set."""
_KEYS = ("target", "bias_type", "context", "stereotype", "anti-stereotype", "unrelated")


@dataclass(frozen=True)
class Read:
    """Items as a table with `COLUMNS`, and how many rows were none, by reason."""

    table: pa.Table
    dropped: tuple[tuple[str, int], ...]


def read(given: Path | pa.Table) -> Read:
    """The items of a file or of rows.

    Rows whose sentences are empty or alike, or whose fill words cannot be told, are counted and are no items.

    Raises
    ------
    DataError
        If the file cannot be read, or its rows have other keys.
    """
    source = shown(given.name) if isinstance(given, Path) else "data"
    found = _rows(_parsed(given), source) if isinstance(given, Path) else given.to_pylist()
    return table_of(_flat(row, source) for row in found)


def table_of(rows: Iterable[Mapping[str, str]]) -> Read:
    """Flat rows as items: ids made unique, fill words found, what is no item counted."""
    kept: dict[str, list[str | None]] = {name: [] for name in COLUMNS}
    dropped, seen = Counter[str](), Counter[str]()
    for number, row in enumerate(rows):
        if reason := _fault(row):
            dropped[reason] += 1
            continue
        fills = [filled_in(row["context"], row[choice]) if row["kind"] == "intrasentence" else None for choice in CHOICES]
        if row["kind"] == "intrasentence" and not all(fills):
            dropped["no_fill"] += 1
            continue
        called = row["id"] or str(number)
        seen[called] += 1
        called = called if seen[called] == 1 else f"{called} #{seen[called]}"
        values = [called, *(row[name] for name in ("axis", "kind", "target")), row["target"].casefold(), row["context"]]
        for name, value in zip(COLUMNS, [*values, *(row[choice] for choice in CHOICES), *fills], strict=True):
            kept[name].append(value)
    return Read(pa.table({name: pa.array(column, pa.string()) for name, column in kept.items()}), tuple(dropped.items()))


def filled_in(context: str, sentence: str) -> str | None:
    """What `sentence` has in place of the gap of `context`; None if that cannot be told.

    Capitals may differ, as they do in the published sentences.

    Examples
    --------
    >>> filled_in("The Bible is very BLANK.", "The bible is very strict.")
    'strict'
    """
    pieces = [re.escape(piece) for piece in context.split(GAP)]
    pattern = "(.+?)".join(pieces[:2]) + "".join(rf"\1{piece}" for piece in pieces[2:])
    if len(pieces) > 1 and (found := re.fullmatch(pattern, sentence, re.IGNORECASE | re.DOTALL)):
        return found[1].strip() or None
    return _by_words(context.split(), sentence.split())


def _by_words(context: Sequence[str], sentence: Sequence[str]) -> str | None:
    """The words of `sentence` at the gap's place, if the same stand before and behind it; punctuation means nothing."""
    place = next((number for number, word in enumerate(context) if GAP in word), None)
    if place is None:
        return None
    end = len(sentence) - (len(context) - place - 1)
    around = [*zip(context[:place], sentence[:place], strict=False), *zip(context[place + 1 :], sentence[end:], strict=False)]
    if end <= place or any(_bare(one).casefold() != _bare(other).casefold() for one, other in around):
        return None
    return _bare(" ".join(sentence[place:end])) or None


def _bare(word: str) -> str:
    return re.sub(r"^\W+|\W+$", "", word)


def _fault(row: Mapping[str, str]) -> str:
    texts = [row[choice].strip() for choice in CHOICES]
    if not all(texts) or not row["context"].strip() or not row["target"].strip():
        return "empty"
    if row["kind"] not in KINDS:
        return "unknown_kind"
    return "identical" if len(set(texts)) < len(texts) else ""


def _parsed(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8-sig")
        try:
            return json.loads(text)
        except json.JSONDecodeError:
            return [json.loads(line) for line in text.split("\n") if line.strip()]
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError("stereoset.unreadable", source=shown(path.name), reason=str(error)) from error


def _rows(value: Any, source: str) -> Iterator[Mapping[str, Any]]:
    """Rows, of the original form with their kind."""
    data = value.get("data") if isinstance(value, Mapping) else None
    if isinstance(data, Mapping) and data.keys() & {"intrasentence", "intersentence"}:
        for kind, rows in data.items():
            yield from ({"type": kind, **_checked(row, source)} for row in rows)
        return
    rows = value if isinstance(value, list) else [value]
    yield from (_checked(row, source) for row in rows)


def _checked(row: Any, source: str) -> Mapping[str, Any]:
    if not isinstance(row, Mapping):
        raise DataError("stereoset.keys", source=source, found=shown(type(row).__name__), keys=", ".join(_KEYS))
    return row


def _flat(row: Mapping[str, Any], source: str) -> dict[str, str]:
    """One row, whatever form it has."""
    try:
        choices = _choices(row)
        context = str(row["context"] or "")
        kind = str(row.get("type") or ("intrasentence" if GAP in context else "intersentence"))
        return {
            "id": str(row.get("id", "") if row.get("id") is not None else ""),
            "axis": str(row.get("bias_type") or row.get("axis") or "other"),
            "kind": kind,
            "target": str(row["target"] or ""),
            "context": context,
            **{name: str(choices[name.replace("_", "-")] or "") for name in CHOICES},
        }
    except (KeyError, TypeError, ValueError, IndexError, AttributeError):
        raise DataError("stereoset.keys", source=source, found=listed(list(row)), keys=", ".join(_KEYS)) from None


def _choices(row: Mapping[str, Any]) -> dict[str, Any]:
    """The three sentences by their label, ``anti-stereotype`` with a hyphen."""
    if isinstance(sentences := row.get("sentences"), Mapping):  # the hub's: lists of values side by side
        labels = [_HUB_LABELS[label] if isinstance(label, int) else label for label in sentences["gold_label"]]
        return dict(zip(labels, sentences["sentence"], strict=True))
    if isinstance(sentences, list):
        return {each["gold_label"]: each["sentence"] for each in sentences}
    inner = row["data"] if isinstance(row.get("data"), Mapping) else row
    named = {key.replace("_", "-"): value for key, value in inner.items()}
    told = {label: named[label] for label in _HUB_LABELS}
    return {label: value["sentence"] if isinstance(value, Mapping) else value for label, value in told.items()}
