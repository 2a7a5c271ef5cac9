"""The question that is asked of a model about a text, by kind of task, with the pieces of the text that may matter to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch

from fm_notebook.contracts.attributions import Piece
from fm_notebook.engine.questions import Kind, Question, Sentence
from fm_notebook.engine.spelling import Group, Spelling, pieces, spell
from fm_notebook.errors import DataError, SpecError, did_you_mean

Target = int | str | None
OUTSIDE = "O"
"""The tag of what is no entity, in every scheme."""
_NO_PLACES = np.zeros(0, np.int64)


@dataclass(frozen=True)
class Written:
    """The text as the reader wrote it, what counts as a piece of it, and which piece's answer is meant, where it has several."""

    text: str
    pair: str | None = None
    unit: Literal["token", "word"] = "token"
    target: Target = None


@dataclass(frozen=True)
class Asked:
    """A question with P pieces.

    Attributes
    ----------
    question : Question
    pieces : list of Piece
    groups : dict of int to sequence of int
        By number of a piece the free tokens that it holds, for the pieces that may matter to the answer.
    target : list of int
        Numbers of the pieces that the answer is about; empty: it is about the whole text.
    spelling : Spelling
    labels : tuple of str
        Names of the answers, where they are none of the model's labels.
    """

    question: Question
    pieces: list[Piece]
    groups: dict[int, Sequence[int]]
    target: list[int]
    spelling: Spelling
    labels: tuple[str, ...] = ()


def of_text(tokenizer: Any, written: Written, max_length: int, kind: Kind) -> Asked:
    """The answer to the whole text, or to the pair."""
    spelling = spell(tokenizer, written.text, written.pair, max_length)
    found = pieces(tokenizer, spelling, written.text, written.pair, written.unit)
    sentence = Sentence(spelling.ids, spelling.types, spelling.own, _NO_PLACES)
    return Asked(Question((sentence,), kind), [p for p, _ in found], dict(enumerate(_groups(found))), [], spelling)


def of_word(model: Any, tokenizer: Any, written: Written, max_length: int, labels: Sequence[str]) -> Asked:
    """The tag of one word, read where it begins; by default of the first word that has another than the outside tag."""
    asked = of_text(tokenizer, written, max_length, "single-label")
    groups, places = list(asked.groups.values()), asked.spelling.own
    firsts = [int(places[group[0]]) for group in groups]
    chosen = _chosen(written, asked.pieces)
    (sentence,) = asked.question.sentences
    if chosen is None:
        each = replace(asked.question, sentences=(sentence,))
        variants = [(replace(sentence, read=np.array([first])),) for first in firsts]
        best = each.answers(model, variants).argmax(dim=1).tolist()
        chosen = next((i for i, tag in enumerate(best) if labels[tag] != OUTSIDE), 0)
    sentence = replace(sentence, read=np.array([firsts[chosen]]))
    return replace(asked, question=Question((sentence,), "single-label"), target=[chosen])


def of_next_tokens(model: Any, tokenizer: Any, written: Written, max_length: int) -> Asked:
    """The log-probability of one piece after all before it, by default of the last; of a pair, of the whole second text."""
    spelling = _joined(tokenizer, written, max_length)
    found = pieces(tokenizer, spelling, written.text, written.pair, written.unit)
    if written.pair:
        target = [i for i, (piece, _) in enumerate(found) if piece.second]
        if not target:
            raise DataError("explain.continuation_cut", limit=max_length)
    else:
        chosen = _chosen(written, [piece for piece, _ in found])
        target = [len(found) - 1 if chosen is None else chosen]
    places = spelling.own[[token for i in target for token in found[i][1]]]
    if places[0] == 0:
        raise DataError("explain.nothing_before", piece=found[target[0]][0].token)
    before = [token for _, group in found[: target[0]] for token in group]
    sentence = Sentence(
        spelling.ids[: places[-1] + 1], None, spelling.own[before], places - 1, spelling.ids[places]
    )  # fmt: skip
    groups = dict(enumerate(_groups(found[: target[0]])))
    told = _with_probabilities(model, spelling, found)
    whole = written.pair or "".join(_text_of(written, told[i]) for i in target)
    return Asked(Question((sentence,), "next-token"), told, groups, target, spelling, (whole,))


def of_names(model: Any, tokenizer: Any, written: Written, max_length: int, task: Any, labels: Sequence[str]) -> Asked:
    """Which label's name is the likeliest after the text, see `fm_notebook.tasks.zero_shot_classification`."""
    import pyarrow as pa

    pair = written.pair or ""
    columns = {"text": [written.text], "row": [0]} | ({"text_pair": [pair]} if written.pair is not None else {})
    encoded = task.encode(pa.table(columns), tokenizer, labels, max_length=max_length)
    tokens, learnt = encoded.tokens, encoded.targets > 0
    parts = [slice(*bounds) for bounds in zip(tokens.offsets[:-1], tokens.offsets[1:], strict=True)]
    drafts = [_named(tokens.ids[part].astype(np.int64), learnt[part]) for part in parts]
    mine, empty = drafts[-len(labels) :], drafts[: -len(labels)]
    prompt, start = task.prompt(written.text, pair, labels)
    shown = spell(tokenizer, prompt.rstrip(), None, 10**9, bare=True)
    end, shift = start + len(written.text), len(shown.ids) - int(mine[0].read[0]) - 1  # how much was cut on the left
    inside = (shown.spans[:, 0] < end) & (shown.spans[:, 1] > start) & (shown.own - shift >= shown.own[0])
    if not inside.any():
        raise DataError("explain.nothing_read")
    own = shown.own[inside] - shift
    spelling = replace(
        shown, own=shown.own[inside], seconds=shown.seconds[inside], words=shown.words[inside],
        spans=np.clip(shown.spans[inside] - start, 0, len(written.text)),
    )  # fmt: skip
    found = pieces(tokenizer, spelling, written.text, None, written.unit)
    weights = np.array([1 / len(draft.read) for draft in mine], np.float32) if task.score == "mean" else None
    question = Question(tuple(replace(draft, free=own) for draft in mine), "single-label", weights)
    if empty:
        prior = Question(tuple(empty), "single-label").answers(model, [tuple(empty)])
        question = replace(question, prior=prior[0].float().cpu().numpy())
    return Asked(question, [piece for piece, _ in found], dict(enumerate(_groups(found))), [], spelling, tuple(labels))


def _named(ids: np.ndarray, learnt: np.ndarray) -> Sentence:
    places = np.flatnonzero(learnt)
    return Sentence(ids, None, _NO_PLACES, places - 1, ids[places])


def _groups(found: Sequence[Group]) -> list[Sequence[int]]:
    return [group for _, group in found]


def _text_of(written: Written, piece: Piece) -> str:
    return ((written.pair or "") if piece.second else written.text)[piece.start : piece.end]


def _chosen(written: Written, found: Sequence[Piece]) -> int | None:
    """The number of the piece that the reader named: by number, or the first that holds its first character."""
    target = written.target
    if target is None:
        return None
    if isinstance(target, int):
        if not -len(found) <= target < len(found):
            raise SpecError("explain.target_number", target=target, pieces=len(found))
        return target % len(found)
    start = written.text.find(target) if target else -1
    holding = [i for i, piece in enumerate(found) if not piece.second and piece.start <= start < piece.end]
    if start < 0 or not holding:
        known = [_text_of(written, piece) for piece in found]
        raise SpecError("explain.target_text", target=target, hint=did_you_mean(target, known))
    return holding[0]


def _joined(tokenizer: Any, written: Written, max_length: int) -> Spelling:
    """Text and what follows it, as one text; the tokens of each apart where one would reach over the border."""
    if not written.pair:
        return spell(tokenizer, written.text, None, max_length, bare=True)
    border = len(written.text)
    whole = spell(tokenizer, written.text + written.pair, None, max_length, bare=True)
    if ((whole.spans[:, 0] < border) & (whole.spans[:, 1] > border)).any():
        whole = _apart(tokenizer, written, max_length)
    else:
        seconds = whole.spans[:, 0] >= border
        whole = replace(whole, seconds=seconds, spans=whole.spans - border * seconds[:, None])
    reach = whole.cuts[0]
    cuts = (None, None) if reach is None else (reach, 0) if reach < border else (None, reach - border)
    return replace(whole, cuts=cuts)


def _apart(tokenizer: Any, written: Written, max_length: int) -> Spelling:
    first = spell(tokenizer, written.text, None, max_length, bare=True)
    second = spell(tokenizer, written.pair or "", None, max_length, bare=True)
    added = second.ids[second.own]
    room = max(0, max_length - len(first.ids))
    places = len(first.ids) + np.arange(min(room, len(added)))
    return Spelling(
        np.concatenate([first.ids, added[:room]]), None, np.concatenate([first.own, places]),
        np.concatenate([first.seconds, np.ones(len(places), bool)]), np.concatenate([first.spans, second.spans[:room]]),
        np.concatenate([first.words, second.words[:room]]), (None, None),
    )  # fmt: skip


def _with_probabilities(model: Any, spelling: Spelling, found: Sequence[Group]) -> list[Piece]:
    """Pieces with their log-probabilities after all before them."""
    foretold = spelling.own[spelling.own > 0]
    logs = dict.fromkeys(spelling.own.tolist(), float("nan"))
    if len(foretold):
        sentence = Sentence(spelling.ids, None, _NO_PLACES, _NO_PLACES)
        with torch.inference_mode():
            logits = model(**sentence.inputs(next(model.parameters()).device)).logits[0].float()
            chosen = logits.log_softmax(-1)[foretold - 1, spelling.ids[foretold]]
        logs |= dict(zip(foretold.tolist(), chosen.tolist(), strict=True))
    told = []
    for piece, group in found:
        total = sum(logs[place] for place in spelling.own[list(group)].tolist())
        told.append(piece.model_copy(update={"log_probability": total if total == total else None}))  # noqa: PLR0124 - nan
    return told
