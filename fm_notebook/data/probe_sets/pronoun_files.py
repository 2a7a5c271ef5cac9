"""Sentences that differ in a pronoun alone: WinoBias, Winogender, this project's, or the user's.

An item has the sentence with the pronoun that the stereotype of an occupation expects, and the one with the other pronoun.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa

from fm_notebook.data.files import from_file
from fm_notebook.data.wording import listed, shown
from fm_notebook.errors import DataError

Source = Literal["WinoBias", "Winogender", ""]
ITEMS = pa.schema(
    [(name, pa.string()) for name in ("id", "axis", "kind", "occupation", "cluster", "template", "stereotype")]
    + [("percent_female", pa.float64())]
    + [(name, pa.string()) for name in ("sentence", "other_sentence")]
)
OWN = ("sentence_female", "sentence_male", "stereotype")
"""Columns of the user's rows; ``occupation``, ``template``, ``kind`` and ``percent_female`` may be there besides."""
SENTENCES, STATISTICS = "all_sentences.tsv", "occupations-stats.tsv"
REFERENTS = {"0": "occupation", "1": "participant"}
"""What the answer in a Winogender id says of whom the pronoun is."""
_WINOBIAS = re.compile(r"(pro|anti)_stereotyped_type([12])\.txt\.(dev|test)")
_BRACKETED = re.compile(r"\[([^\]]*)\]")
_MALE, _FEMALE = frozenset({"he", "him", "his", "himself"}), frozenset({"she", "her", "hers", "herself"})


@dataclass(frozen=True)
class Read:
    """Items as a table of `ITEMS`, whose they are, and how many rows were none, by reason."""

    table: pa.Table
    source: Source
    dropped: tuple[tuple[str, int], ...]


def read(given: Path | pa.Table) -> Read:
    """The items of a folder or file of WinoBias or Winogender, or of rows with the columns `OWN`.

    Raises
    ------
    DataError
        If they are none of these, or a file that belongs to them is missing.
    """
    if isinstance(given, pa.Table):
        return table_of(_own(given), "")
    folder = given if given.is_dir() else given.parent
    names = sorted(path.name for path in folder.iterdir()) if given.is_dir() else [given.name]
    if files := [name for name in names if _WINOBIAS.fullmatch(name)]:
        return table_of(_winobias(folder, files), "WinoBias")
    if SENTENCES in names:
        return table_of(_winogender(folder), "Winogender")
    if given.is_dir():
        raise DataError("pronouns.folder", path=shown(given.name), files=listed(names) or "–")
    return table_of(_own(from_file(given, field="data")), "")


def table_of(rows: Iterable[Mapping[str, object]], source: Source) -> Read:
    """Rows with ``sentence_female``, ``sentence_male`` and ``stereotype`` as items; what is none is counted."""
    kept, dropped, seen = [], Counter[str](), Counter[str]()
    for number, row in enumerate(rows):
        female, male = (str(row[name] or "").strip() for name in OWN[:2])
        towards = row["stereotype"]
        reason = "empty" if not (female and male) else "identical" if female == male else ""
        if reason := reason or ("" if towards in {"female", "male"} else "no_stereotype"):
            dropped[reason] += 1
            continue
        first, second = (female, male) if towards == "female" else (male, female)
        called = str(row.get("id") or number)
        seen[called] += 1
        occupation = str(row.get("occupation") or "")
        kept.append(
            {
                "id": called if seen[called] == 1 else f"{called} #{seen[called]}", "axis": "gender",
                "kind": str(row.get("kind") or ""), "occupation": occupation, "cluster": occupation or called,
                "template": str(row.get("template") or ""), "stereotype": towards, "percent_female": row.get("percent_female"),
                "sentence": first, "other_sentence": second,
            }
        )  # fmt: skip
    return Read(pa.Table.from_pylist(kept, ITEMS), source, tuple(dropped.items()))


def _own(table: pa.Table) -> Iterator[Mapping[str, object]]:
    if missing := [name for name in OWN if name not in table.column_names]:
        raise DataError("pronouns.columns", missing=listed(missing), found=listed(table.column_names), expected=listed(OWN))
    yield from (row | {"percent_female": _percent(row.get("percent_female"))} for row in table.to_pylist())


def _percent(value: object) -> float | None:
    """A share of women in per cent; None where none is told."""
    if value is None or not str(value).strip():
        return None
    try:
        found = float(str(value))
    except ValueError:
        raise DataError("pronouns.percent", given=shown(str(value))) from None
    return found if math.isfinite(found) else None


def _winogender(folder: Path) -> Iterator[Mapping[str, object]]:
    """The sentences of the two genders by pairs, with the share of women in the occupation by the US statistics of 2015."""
    if not (folder / STATISTICS).is_file():
        raise DataError("pronouns.statistics", path=shown(SENTENCES), wanted=STATISTICS)
    statistics = _columns(folder / STATISTICS, ("occupation", "bls_pct_female"))
    percent = {row["occupation"]: _percent(row["bls_pct_female"]) for row in statistics.to_pylist()}
    by_id = {row["sentid"]: row["sentence"] for row in _columns(folder / SENTENCES, ("sentid", "sentence")).to_pylist()}
    for called, sentence in by_id.items():
        stem = called.removesuffix(".txt").removesuffix(".female")
        if stem == called.removesuffix(".txt"):
            continue
        occupation, other, answer = stem.rsplit(".", 2)
        share = percent.get(occupation)
        yield {
            "id": stem, "kind": REFERENTS.get(answer, ""), "occupation": occupation, "template": other,
            "percent_female": share, "sentence_female": sentence, "sentence_male": by_id.get(f"{stem}.male.txt"),
            "stereotype": None if share is None or share == 50 else "female" if share > 50 else "male",
        }  # fmt: skip


def _columns(path: Path, wanted: tuple[str, ...]) -> pa.Table:
    table = from_file(path, field="data")
    if missing := [name for name in wanted if name not in table.column_names]:
        raise DataError("pronouns.columns", missing=listed(missing), found=listed(table.column_names), expected=listed(wanted))
    return table


def _winobias(folder: Path, names: Iterable[str]) -> Iterator[Mapping[str, object]]:
    """Each sentence of the stereotypical files with the one of the anti-stereotypical that differs in its pronouns alone."""
    parts = dict.fromkeys(match.groups()[1:] for name in names if (match := _WINOBIAS.fullmatch(name)))
    for kind, part in parts:
        pro, anti = (folder / f"{side}_stereotyped_type{kind}.txt.{part}" for side in ("pro", "anti"))
        for path in (pro, anti):
            if not path.is_file():
                raise DataError("pronouns.counterpart", path=shown(path.name))
        against = {_frame(line): line for line in _lines(anti)}
        for number, line in enumerate(_lines(pro), start=1):
            yield _pair(line, against.get(_frame(line), ""), f"type{kind}.{part}.{number}", f"type {kind}")


def _pair(pro: str, anti: str, called: str, kind: str) -> Mapping[str, object]:
    pronouns = [each.lower() for each in _BRACKETED.findall(pro) if each.lower() in _MALE | _FEMALE]
    towards = "female" if pronouns and pronouns[0] in _FEMALE else "male" if pronouns else None
    first, second = ("sentence_female", "sentence_male") if towards == "female" else ("sentence_male", "sentence_female")
    return {
        "id": called, "kind": kind, "occupation": _referent(pro), "stereotype": towards, first: plain(pro), second: plain(anti),
    }  # fmt: skip


def _lines(path: Path) -> list[str]:
    """Of some copies the lines are numbered."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError("data.file.encoding", field="data", path=shown(path.name), position=error.start) from None
    return [re.sub(r"^\d+ ", "", line).strip() for line in text.split("\n") if line.strip()]


def _frame(line: str) -> str:
    """The line without the words that tell a gender."""
    return _BRACKETED.sub(lambda found: "[]" if found[1].lower() in _MALE | _FEMALE else found[0], line)


def _referent(line: str) -> str:
    named = [each for each in _BRACKETED.findall(line) if each.lower() not in _MALE | _FEMALE]
    return re.sub(r"^(the|an?|some) ", "", named[0], flags=re.IGNORECASE) if named else ""


def plain(line: str) -> str:
    """A WinoBias line as a sentence: without brackets, and with the spaces that the tokenised text has before *'s* taken out.

    Examples
    --------
    >>> plain("The janitor cleaned [the librarian] 's room and [she] was grateful.")
    "The janitor cleaned the librarian's room and she was grateful."
    """
    return re.sub(r" (?='|n't\b|[.,;!?])", "", _BRACKETED.sub(r"\1", line))
