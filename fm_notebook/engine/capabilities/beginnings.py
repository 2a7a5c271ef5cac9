"""Texts after what stands before them: a causal model's own beginning of a text, or a context."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fm_notebook.contracts.capabilities import TokenText
from fm_notebook.engine.capabilities.texts import Texts
from fm_notebook.engine.pieces import frame
from fm_notebook.engine.tokens import stand_in


@dataclass(frozen=True)
class Continuation:
    """A text as the model reads it, of which the tokens from number `first` on are scored."""

    text: TokenText
    first: int


def after_beginning(texts: Texts, given: Sequence[str]) -> list[Continuation]:
    """Texts after the tokenizer's BOS, or its EOS where it has none; if a text's own first token is that one, it is the context.

    A tokenizer with neither has nothing to put before a text, whose first token then is the context.

    References
    ----------
    lm-evaluation-harness, ``TemplateLM.loglikelihood`` for an empty context.
    """
    tokenizer = texts.tokenizer
    prefix = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    spelt = texts.spelt(given, special=False)
    put = [] if prefix is None else [prefix]
    return [Continuation(text if text.ids and text.ids[0] == prefix else _before(put, text, tokenizer), 1) for text in spelt]


def after_contexts(texts: Texts, contexts: Sequence[str], given: Sequence[str]) -> list[Continuation]:
    """Texts after their contexts, spelt as one where the context's tokens come out as they do for the context alone.

    Spaces at the end of a context go to the text, where most vocabularies have them. A text whose context holds nothing else is
    one after the model's beginning.
    """
    bare = [context.rstrip() for context in contexts]
    rest = [context[len(kept) :] + text for context, kept, text in zip(contexts, bare, given, strict=True)]
    some = [i for i, context in enumerate(bare) if context]
    none = [i for i, context in enumerate(bare) if not context]
    found = dict(zip(none, after_beginning(texts, [rest[i] for i in none]), strict=True))
    found |= dict(zip(some, _joined(texts, [bare[i] for i in some], [rest[i] for i in some]), strict=True))
    return [_shifted(found[i], len(rest[i]) - len(given[i])) for i in range(len(given))]


def _joined(texts: Texts, contexts: list[str], rest: list[str]) -> Iterator[Continuation]:
    different = list(dict.fromkeys(contexts))
    alone = dict(zip(different, texts.spelt(different, special=False), strict=True))
    whole = texts.spelt([context + text for context, text in zip(contexts, rest, strict=True)], special=False)
    before = frame(texts.tokenizer)[0]
    for context, text, both in zip(contexts, rest, whole, strict=True):
        shown = alone[context]
        if both.ids[: len(shown)] == shown.ids:
            ending = _part(both, len(shown), len(context))
        else:  # a token reaches over the border
            (ending,) = texts.spelt([text], special=False)
        joined = _before(before, _chained(shown, ending), texts.tokenizer)
        yield Continuation(joined, len(joined) - len(ending))


def _part(text: TokenText, start: int, characters: int) -> TokenText:
    """The tokens from `start` on, `characters` behind the text's beginning."""
    first = next((word for word in text.words[start:] if word is not None), 0)
    return TokenText(
        text.ids[start:], text.tokens[start:],
        tuple((max(0, low - characters), max(0, high - characters)) for low, high in text.offsets[start:]),
        tuple(None if word is None else word - first for word in text.words[start:]), text.special[start:], text.types[start:],
    )  # fmt: skip


def _chained(context: TokenText, text: TokenText) -> TokenText:
    return TokenText(
        context.ids + text.ids, context.tokens + text.tokens, context.offsets + text.offsets, context.words + text.words,
        context.special + text.special, (0,) * len(context) + (1,) * len(text),
    )  # fmt: skip


def _before(prefix: Sequence[int], text: TokenText, tokenizer: Any) -> TokenText:
    """`text` with special tokens before it; with a stand-in where there would be no token at all."""
    ids = list(prefix) or ([] if text.ids else [stand_in(tokenizer)])
    n = len(ids)
    return TokenText(
        tuple(ids) + text.ids, tuple(tokenizer.convert_ids_to_tokens(ids)) + text.tokens, ((0, 0),) * n + text.offsets,
        (None,) * n + text.words, (True,) * n + text.special, (0,) * n + text.types,
    )  # fmt: skip


def _shifted(found: Continuation, by: int) -> Continuation:
    """With offsets in the text itself, before which `by` spaces of the context were put."""
    if not by:
        return found
    offsets, first = found.text.offsets, found.first
    moved = tuple((max(0, low - by), max(0, high - by)) for low, high in offsets[first:])
    return replace(found, text=replace(found.text, offsets=offsets[:first] + moved))
