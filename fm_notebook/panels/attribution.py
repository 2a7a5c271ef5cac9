"""An `Attribution` as the text that the reader wrote, coloured, with its numbers: for a page, for a saved notebook, and as text.

`state_of` and `edited` are what ``static/attribution.js`` draws, in whichever panel it stands.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

from fm_notebook import messages
from fm_notebook.contracts.attributions import Attribution, MethodScores
from fm_notebook.panels import markup, text

BLUE, ORANGE = (59, 130, 196), (207, 116, 32)
"""For and against: told apart by all common kinds of colour blindness, and by sign and line besides."""
DEEPEST = 0.5
"""Opacity of the strongest piece: on white and on black the text above keeps a contrast of 4.5 and more."""
MOST_ANSWERS, MOST_NAMED, MOST_ROWS, MUCH_UNKNOWN, LARGE_ERROR = 20, 8, 500, 0.05, 1e-3
WORDS = (
    "region", "label", "method", "text", "pair", "answers", "answer", "before", "after", "change", "table", "piece", "token",
    "for", "against", "no_score", "edit", "edit_pair", "apply", "reset", "edit_hint", "history", "no_flip", "edited",
    "busy", "silent", "target", "log_probability", "unknown",
)  # fmt: skip


def words() -> dict[str, str]:
    """The words of the page, in the reader's language; templates unfilled."""
    catalogue = messages.catalogue(messages.language())
    return {key: catalogue[f"attribution.{key}"] for key in WORDS}


def state_of(attribution: Attribution) -> dict[str, Any]:
    """`attribution` as plain JSON for ``attributionView`` of ``static/attribution.js``: its ``data``.

    Edits go into the list ``edits`` (see `edited`), a fault of the last wish into ``fault``, and ``busy`` says that one is
    being done.
    """
    return {
        "words": words(), "title": _title(attribution), "text": attribution.text, "text_pair": attribution.text_pair,
        "pieces": [
            {
                "start": piece.start, "end": piece.end, "second": piece.second, "token": piece.token, "unknown": piece.unknown,
                "target": i in attribution.target, "log_probability": _shown(piece.log_probability),
            }
            for i, piece in enumerate(attribution.pieces)
        ],
        "methods": [_method(each) for each in attribution.methods],
        "label": attribution.label, "labels": attribution.labels if len(attribution.labels) > 1 else [],
        "answers": answers(attribution), "facts": facts(attribution), "notices": notices(attribution),
        "cut": [attribution.cut_at, attribution.cut_pair_at], "edits": [], "busy": False, "fault": "",
    }  # fmt: skip


def answers(attribution: Attribution) -> list[dict[str, Any]]:
    """The model's answers: the likeliest labels, and the one explained, with what is shown of each."""
    order = sorted(range(len(attribution.labels)), key=lambda i: -attribution.probabilities[i])
    chosen = [i for n, i in enumerate(order) if n < MOST_ANSWERS or attribution.labels[i] == attribution.label]
    given = attribution.probabilities
    return [{"name": attribution.labels[i], "value": given[i], "shown": _answer(attribution, given[i])} for i in chosen]


def edited(attribution: Attribution, text: str, text_pair: str | None = None) -> dict[str, Any]:
    """What the model says of an edited text, beside what it said of that of `attribution`: one entry of ``edits``.

    Waits for the worker; to be called in a thread.

    Raises
    ------
    FMError
        If the text is empty, or the model is not there any more.
    """
    from fm_notebook.session.explaining import explained_again

    target = _target(attribution)
    again = {"text": text, "text_pair": text_pair, "methods": (), "label": None} | ({"target": target} if target else {})
    return compared(attribution, explained_again(attribution, **again))


def compared(before: Attribution, after: Attribution) -> dict[str, Any]:
    """An edit: the new text, each answer before and after, and whether the model's own answer is another one."""
    was, now = (dict(zip(each.labels, each.probabilities, strict=True)) for each in (before, after))
    rows = [
        {
            "name": name, "before": _answer(before, was.get(name)), "after": _answer(after, now.get(name)),
            "value": now.get(name), "change": _change(before, was.get(name), now.get(name)),
        }
        for name in [each["name"] for each in answers(before)]
    ]  # fmt: skip
    first, second = _said(before), _said(after)
    flip = messages.text("attribution.flipped", before=first, after=second) if first != second and _has_classes(before) else ""
    return {"text": after.text, "text_pair": after.text_pair, "answers": rows, "said": second, "flip": flip}


def facts(attribution: Attribution) -> list[str]:
    """How far the numbers can be relied on, a sentence each."""
    found = [line for each in attribution.methods for line in _reliability(each)]
    if attribution.agreement is not None:
        found.append(messages.text("attribution.agreement", value=_signed(attribution.agreement, 2)))
    return found


def notices(attribution: Attribution) -> list[str]:
    """What a reader must know before believing the colours."""
    found = []
    likely = attribution.problem == "multi-label" and attribution.probability >= 0.5
    if attribution.label != attribution.predicted and not likely:
        found.append(messages.text("attribution.not_predicted", label=attribution.label, predicted=attribution.predicted))
    cuts = ((attribution.cut_at, attribution.text), (attribution.cut_pair_at, attribution.text_pair or ""))
    for cut, whole in cuts:
        if cut is not None:
            rest = whole[cut:].strip()
            shown = rest if len(rest) <= 40 else rest[:40] + "…"
            found.append(messages.text("attribution.cut", tokens=attribution.tokens, characters=len(whole) - cut, rest=shown))
    if attribution.unknown_share > MUCH_UNKNOWN:
        found.append(messages.text("attribution.much_unknown", share=text.share(attribution.unknown_share)))
    off = [each for each in attribution.methods if (each.completeness_error or 0.0) > LARGE_ERROR]
    return found + [messages.text("attribution.incomplete", error=_error(each), steps=each.steps) for each in off]


def html(attribution: Attribution) -> str:
    """The attribution as HTML that survives sanitizers: where colours are taken away, numbers stay beside the strongest."""
    from fm_notebook.panels import explain

    title, whole = _title(attribution), "".join(_parts(attribution))
    return markup.details(title, whole) if explain.is_shown(attribution) else markup.paragraph(title) + whole


def plain(attribution: Attribution) -> str:
    """The attribution as text."""
    said = (*notices(attribution), *map(_in_words, attribution.methods), *facts(attribution))
    lines = [_title(attribution), *(f"  {line}" for line in said)]
    lines += [f"  {each['name']}  {each['shown']}" for each in answers(attribution)]
    rows = list(_rows(attribution))[:MOST_ROWS]
    width = max((len(row[0]) for row in rows), default=0)
    lines += [f"  {row[0]:<{width}}  " + "  ".join(f"{cell:>10}" for cell in row[1:]) for row in [_heads(attribution), *rows]]
    return "\n".join(lines)


def _parts(attribution: Attribution) -> Iterator[str]:
    yield markup.bullets(notices(attribution))
    yield markup.table(
        [messages.text("attribution.answer"), messages.text("attribution.probability")],
        [(each["name"], each["shown"]) for each in answers(attribution)],
    )
    for each in attribution.methods:
        yield markup.paragraph(_in_words(each), _legend(each))
        yield "".join(f"<p>{part}</p>" for part in _coloured(attribution, each))
    yield markup.bullets(facts(attribution))
    rows = list(_rows(attribution))
    more = [("…", *[""] * (len(rows[0]) - 1))] if len(rows) > MOST_ROWS else []
    table = markup.table(_heads(attribution), [*rows[:MOST_ROWS], *more])
    yield markup.details(messages.text("attribution.table"), table)


def _coloured(attribution: Attribution, method: MethodScores) -> Iterator[str]:
    """The text as HTML, the pieces coloured; of the strongest also their numbers."""
    top = strongest(method.scores)
    named = sorted(range(len(method.scores)), key=lambda i: -abs(method.scores[i] or 0.0))[:MOST_NAMED]
    for second, whole in ((False, attribution.text), (True, attribution.text_pair)):
        if whole is None:
            continue
        made, at = "", 0
        for i, piece in enumerate(attribution.pieces):
            if piece.second != second:
                continue
            score = method.scores[i]
            inside = escape(whole[max(at, piece.start) : piece.end])
            number = f"<sub>{_signed(score)}</sub>" if i in named and score else ""
            shown = f"<b>{inside}</b>" if i in attribution.target else inside
            made += escape(whole[at : piece.start]) + f"<span{_ground(score, top)}>{shown}</span>{number}"
            at = max(at, piece.end)
        yield (made + escape(whole[at:])).replace("\n", "<br>")


def strongest(scores: Sequence[float | None]) -> float:
    """The largest absolute score, which has the deepest colour."""
    return max((abs(score) for score in scores if score is not None), default=0.0)


def _ground(score: float | None, top: float) -> str:
    if not score or not top:
        return ""
    red, green, blue = BLUE if score > 0 else ORANGE
    return f' style="background-color: rgba({red}, {green}, {blue}, {DEEPEST * abs(score) / top:.2f})"'


def _title(attribution: Attribution) -> str:
    if attribution.problem == "next-token":
        key = "title_continuation" if attribution.text_pair else "title_token"
    else:
        key = "title_number" if attribution.problem == "regression" else "title_word" if attribution.target else "title"
    label, value = attribution.label, _answer(attribution, attribution.probability)
    where = "".join(attribution.written(attribution.pieces[i]) for i in attribution.target)
    return messages.text(
        f"attribution.{key}", model=attribution.run or attribution.model, label=label, value=value, where=where
    )  # fmt: skip


def _method(each: MethodScores) -> dict[str, Any]:
    return {
        "name": each.method, "title": messages.text(f"attribution.name.{each.method}"),
        "what": messages.text(f"attribution.what.{each.method}", quantity=_quantity(each), baseline=each.baseline),
        "scores": each.scores, "shown": [_shown(score) for score in each.scores], "top": strongest(each.scores),
    }  # fmt: skip


def _in_words(each: MethodScores) -> str:
    """The method and what its scores are."""
    what = messages.text(f"attribution.what.{each.method}", quantity=_quantity(each), baseline=each.baseline)
    return messages.text("attribution.method_line", method=messages.text(f"attribution.name.{each.method}"), what=what)


def _legend(each: MethodScores) -> str:
    top = strongest(each.scores)
    return messages.text("attribution.legend", low=_signed(-top), high=_signed(top), quantity=_quantity(each))


def _quantity(each: MethodScores) -> str:
    return messages.text(f"attribution.quantity.{each.quantity}")


def _reliability(each: MethodScores) -> Iterator[str]:
    if each.completeness_error is not None:
        relative = each.relative_error or 0.0
        yield messages.text(
            "attribution.completeness", total=_signed(each.output - each.baseline_output), error=_error(each),
            relative=f"{relative:.0e}", steps=each.steps,
        )  # fmt: skip


def _error(each: MethodScores) -> str:
    return f"{each.completeness_error or 0.0:.1e}"


def _heads(attribution: Attribution) -> tuple[str, ...]:
    names = [messages.text(f"attribution.name.{each.method}") for each in attribution.methods]
    likely = [messages.text("attribution.log_probability")] if _has_likelihoods(attribution) else []
    return (messages.text("attribution.piece"), messages.text("attribution.token"), *names, *likely)


def _rows(attribution: Attribution) -> Iterator[tuple[str, ...]]:
    for i, piece in enumerate(attribution.pieces):
        scores = [_shown(each.scores[i]) for each in attribution.methods]
        likely = [_shown(piece.log_probability)] if _has_likelihoods(attribution) else []
        yield (attribution.written(piece), piece.token, *scores, *likely)


def _has_likelihoods(attribution: Attribution) -> bool:
    return any(piece.log_probability is not None for piece in attribution.pieces)


def _has_classes(attribution: Attribution) -> bool:
    return attribution.problem in {"single-label", "multi-label"}


def _said(attribution: Attribution) -> str:
    """The model's own answer in one word or a few."""
    if attribution.problem == "multi-label":
        found = [name for name, p in zip(attribution.labels, attribution.probabilities, strict=True) if p >= 0.5]
        return ", ".join(found) or messages.text("attribution.none")
    return attribution.predicted if _has_classes(attribution) else _answer(attribution, attribution.probabilities[0])


def _target(attribution: Attribution) -> str:
    """The word whose tag is explained, to be found again in an edited text; empty where it finds itself."""
    if attribution.task != "token-classification" or not attribution.target:
        return ""
    return attribution.written(attribution.pieces[attribution.target[0]])


def _answer(attribution: Attribution, value: float | None) -> str:
    if value is None:
        return "–"
    if attribution.problem == "regression":
        return text.number(value)
    if attribution.problem == "next-token" and value < 0.0005:
        return f"{value:.1e}"
    return text.share(value)


def _change(attribution: Attribution, before: float | None, after: float | None) -> str:
    if before is None or after is None:
        return ""
    if attribution.problem == "regression":
        return _signed(after - before)
    return messages.text("attribution.points", points=_signed(100 * (after - before), 1))


def _shown(score: float | None) -> str:
    return "" if score is None else _signed(score)


def _signed(value: float, decimals: int = 3) -> str:
    """With its sign, which is U+2212 below 0; too small for its decimals as a power of ten."""
    if value and abs(value) < 0.5 * 10**-decimals:
        return f"{value:+.0e}".replace("-", "−", 1) if value < 0 else f"{value:+.0e}"
    return f"{value:+.{decimals}f}".replace("-", "−", 1)
