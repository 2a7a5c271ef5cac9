"""One item of a probe, opened: its texts with what the model said of each, its numbers, and its tokens' contributions.

What is shown follows from the columns that the item has, whichever probe wrote them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fm_notebook.contracts.probing import CHOICE, OTHER_PIECES, PIECES, SKIPPED, VALUE
from fm_notebook.panels import attribution, text
from fm_notebook.panels.probe_items.words import column, word

LONGEST_TEXT = 20_000
LONGEST_FACT = 400
Row = Mapping[str, Any]
_ANSWERS = {"answer": "is_answer", "target": "is_target", "label": "is_right"}
"""Columns with the number of one of a question's answers, and what that answer then is called."""
_GROUPS = {"first": ("first_group", "group"), "second": ("second_group", "other_group")}
"""Columns with the group that a text is of."""
_OF_ONE = ("for_number", "against_number", "means_number")
_OF_TWO = ("for_stereotype", "against_stereotype", "means_stereotype")
"""Words for the two colours and for what is coloured, of one text and of a pair."""
_HIDDEN = frozenset({"id", "axis", "block", "lexicon", VALUE, CHOICE, SKIPPED, PIECES, OTHER_PIECES})


def texts(row: Row, columns: Sequence[str]) -> list[dict[str, Any]]:
    """The texts that the model read, each with its title and what is to be told of it."""
    return [
        {"title": title(row, name), "text": str(row[name])[:LONGEST_TEXT], "badges": list(_badges(row, name, columns))}
        for name in columns
        if row[name] is not None
    ]


def title(row: Row, name: str) -> str:
    """The name of a text's column, with the group that it is of."""
    group = next((row[each] for each in _GROUPS.get(name, ()) if row.get(each)), None)
    return f"{column(name)} ({group})" if group else column(name)


def facts(row: Row, columns: Sequence[str]) -> list[tuple[str, str]]:
    """Name and value of all other columns that say something."""
    told = {*columns, *(f"{name}_score" for name in columns)} | _HIDDEN
    told |= {each for name in columns for each in _GROUPS.get(name, ())}
    told |= {*_ANSWERS, "unknown"} if _has_answers(columns) else set()
    told |= {"score"} if _probabilities(row) else set()
    rest = [name for name in row if name not in told and not name.endswith(("_start", "_end"))]
    return [(column(name), _brief(row[name])) for name in rest if row[name] not in (None, "", [])]


def coloured(row: Row, columns: Sequence[str]) -> dict[str, Any] | None:
    """``data`` for ``attributionView`` of ``static/attribution.js``; None if the item has no contributions of tokens."""
    parts = [row[name] for name in (PIECES, OTHER_PIECES) if row.get(name) is not None][: len(columns)]
    if not any(parts):
        return None
    names, scores = [title(row, name) for name in columns], [float(piece["value"]) for of in parts for piece in of]
    sums = [(name, sum(piece["value"] for piece in of)) for name, of in zip(names, parts, strict=False)]
    sums += [(word("difference"), sum(scores))] if len(parts) > 1 else []
    toward, against, means = _OF_TWO if len(parts) > 1 else _OF_ONE
    method = {"name": "contributions", "title": word("contribution"), "what": word(means), "scores": scores,
              "shown": [signed(score) for score in scores], "top": attribution.strongest(scores)}  # fmt: skip
    return {
        "words": _words(names, toward, against), "title": word("contributions"), "methods": [method],
        "text": row[columns[0]], "text_pair": row[columns[1]] if len(parts) > 1 else None,
        "pieces": [_piece(piece, is_second=at == 1) for at, of in enumerate(parts) for piece in of],
        "answers": [{"name": name, "value": value, "shown": signed(value)} for name, value in sums], "are_sums": True,
        "label": word("difference"), "labels": [], "facts": [], "notices": [], "cut": [None, None], "edits": [], "busy": False,
        "fault": "",
    }  # fmt: skip


def _words(names: Sequence[str], toward: str, against: str) -> dict[str, str]:
    own = {"answers": "sums", "answer": "sum", "table": "all_tokens", "for": toward, "against": against}
    texts = {"text": names[0], "pair": names[1] if len(names) > 1 else ""}
    return attribution.words() | {key: word(name) for key, name in own.items()} | texts


def _piece(piece: Row, *, is_second: bool) -> dict[str, Any]:
    place = {"start": piece["start"], "end": piece["end"], "second": is_second}
    return {**place, "token": piece["text"], "unknown": False, "target": False, "log_probability": ""}


def signed(value: float | None) -> str:
    """An item's number with its sign, which is U+2212 below 0; a dash if it has none."""
    return "–" if value is None or math.isnan(value) else f"{value:+.3f}".replace("-", "−")


def _badges(row: Row, name: str, columns: Sequence[str]) -> Iterator[str]:
    if (score := row.get(f"{name}_score")) is not None:
        yield word("score", value=text.score(score).replace("-", "−"))
        scores = [row[f"{each}_score"] for each in columns if row.get(f"{each}_score") is not None]
        if len(scores) > 1 and score == max(scores) and scores.count(score) == 1:
            yield word("likeliest")
    if (chance := _probabilities(row).get(name)) is not None:
        yield word("probability", label=row.get("target_class") or "", value=text.score(chance))
    if _has_answers(columns) and name.startswith("ans"):
        place = int(name.removeprefix("ans"))
        yield from (word(said) for key, said in _ANSWERS.items() if row.get(key) == place)
        if row.get("unknown") == place:
            yield word("is_unknown")


def _probabilities(row: Row) -> dict[str, float]:
    """Of a pair that a classifier read: the probability of the class for each of the two texts."""
    if row.get("target_class") is None or row.get("score") is None:
        return {}
    found = {"first": float(row["score"])}
    if row.get("second") is not None and row.get(VALUE) is not None:
        found["second"] = float(row["score"]) - float(row[VALUE])
    return found


def _has_answers(columns: Sequence[str]) -> bool:
    return "ans0" in columns


def _brief(value: Any) -> str:
    if isinstance(value, float):
        return text.score(value).replace("-", "−")
    if isinstance(value, bool):
        return word("yes" if value else "no")
    shown = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return shown if len(shown) <= LONGEST_FACT else shown[: LONGEST_FACT - 1] + "…"
