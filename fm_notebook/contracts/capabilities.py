"""What a probe may ask of a model: texts in, NumPy out. A probe never loads one; a fake of ten lines satisfies it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np

Capability = Literal[
    "log_likelihoods", "masked_log_probs", "class_probabilities", "embeddings", "attentions", "next_sentence", "generate"
]  # fmt: skip
Pooling = Literal["mean", "cls", "first", "pooler"]
"""How a text's vector is made of the last hidden states: their mean over all tokens, special ones included; that of the first
token of the text with special tokens (``cls``) or without any (``first``); or what the model's own pooling layer makes of it."""


@dataclass(frozen=True)
class TokenText:
    """One text (or pair of texts) as the model's tokenizer spells it, T tokens with the special ones.

    Attributes
    ----------
    ids : tuple of int
    tokens : tuple of str
        As the vocabulary writes them, such as ``##ing``.
    offsets : tuple of (int, int)
        Characters ``text[start:end]`` of each token in its own text; (0, 0) for special tokens.
    words : tuple of int or None
        Which word of the text each token is part of (None: special), as fast tokenizers tell; all None if it cannot tell.
    special : tuple of bool
        Whether the tokenizer put it there.
    types : tuple of int
        0 for the first text and 1 for the second.
    """

    ids: tuple[int, ...]
    tokens: tuple[str, ...]
    offsets: tuple[tuple[int, int], ...]
    words: tuple[int | None, ...]
    special: tuple[bool, ...]
    types: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class MaskedQuery:
    """One pass of a masked language model over one text.

    Attributes
    ----------
    text : TokenText
        What stands there.
    masked : tuple of int
        Positions in it that are replaced by the mask token; may be empty.
    asked : tuple of (int, int)
        Position and token id: the logarithm of that token's probability there is wanted, given the text so masked.
    """

    text: TokenText
    masked: tuple[int, ...]
    asked: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class TokenLogProbs:
    """What a causal language model gives each token of a text, given all before it.

    Attributes
    ----------
    text : TokenText
    positions : ndarray of int64, shape (S,)
        Which tokens of `text` are scored; a token that is the model's own beginning of a text is context and is not.
    log_probs : ndarray of float64, shape (S,)
        Natural logarithms.
    """

    text: TokenText
    positions: np.ndarray
    log_probs: np.ndarray

    @property
    def total(self) -> float:
        """The text's log-likelihood."""
        return float(self.log_probs.sum())


class Tokens(Protocol):
    """What every subject can tell of its tokenizer.

    Attributes
    ----------
    mask_id, unknown_id : int or None
        None where the vocabulary has no such token.
    lowercase : bool
        Whether it reads capitals as small letters.
    """

    mask_id: int | None
    unknown_id: int | None
    lowercase: bool

    def tokens(self, texts: Sequence[str], pairs: Sequence[str] | None = None, *, special: bool = True) -> list[TokenText]:
        """The texts as the model reads them."""
        ...

    def word_ids(self, words: Sequence[str]) -> list[tuple[int, ...]]:
        """The token ids of each word as it stands within a text: after a space, where the tokenizer tells that apart."""
        ...


class LogLikelihoods(Protocol):
    """Causal language models, and encoder-decoders of what follows a context."""

    def log_likelihoods(self, texts: Sequence[str], contexts: Sequence[str] | None = None) -> list[TokenLogProbs]:
        """Ln p of each token of each text; after its context, which is not scored, or after the model's beginning of a text."""
        ...


class MaskedLogProbs(Protocol):
    """Encoders with a trained head for masked words."""

    def masked_log_probs(self, queries: Sequence[MaskedQuery]) -> list[np.ndarray]:
        """Ln p of what each query asks, float64, one array of shape ``(len(asked),)`` a query."""
        ...

    def likeliest(self, queries: Sequence[MaskedQuery], k: int) -> list[list[tuple[str, float]]]:
        """The `k` likeliest words, with ln p, at the one position that each query masks: whole words, no special tokens."""
        ...


class ClassProbabilities(Protocol):
    """Classifiers of texts.

    Attributes
    ----------
    labels : tuple of str
        In the order of the probabilities.
    """

    labels: tuple[str, ...]

    def class_probabilities(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> np.ndarray:
        """Of each label, float64, shape ``(N, C)``."""
        ...


class Embeddings(Protocol):
    """All but encoder-decoders."""

    def embeddings(self, texts: Sequence[str], pooling: Pooling = "mean") -> np.ndarray:
        """A vector for each text, float64, shape ``(N, D)``, not normalised."""
        ...


class Attentions(Protocol):
    """Models whose attention can be read."""

    def attentions(self, texts: Sequence[TokenText]) -> list[np.ndarray]:
        """The mean attention that each token receives over layers, heads and queries, shape ``(T,)``; it adds up to 1."""
        ...


class NextSentence(Protocol):
    """BERT with its trained head for next sentences."""

    def next_sentence(self, firsts: Sequence[str], seconds: Sequence[str]) -> np.ndarray:
        """P(the second follows the first), float64, shape ``(N,)``."""
        ...


class Generates(Protocol):
    """Causal language models."""

    def generate(self, prompts: Sequence[str], *, max_new_tokens: int, count: int, seed: int) -> list[list[str]]:
        """`count` continuations of each prompt: by beams if ``seed`` is below 0, else sampled."""
        ...


@runtime_checkable
class Subject(
    Tokens, LogLikelihoods, MaskedLogProbs, ClassProbabilities, Embeddings, Attentions, NextSentence, Generates, Protocol
):
    """A loaded model with those capabilities that it has; the other methods raise `fm_notebook.errors.ModelError`.

    Batched, in inference mode, without gradients; the model is left as it was found: mode, dtype, device, random state.

    Attributes
    ----------
    name : str
        As the user called the model.
    capabilities : frozenset of str
        Those it has.
    tokens_read, unknown_read, truncated : int
        Tokens of texts read so far (special ones apart), those that the vocabulary does not know, and texts that were cut.
    """

    name: str
    capabilities: frozenset[Capability]

    @property
    def tokens_read(self) -> int:
        """See above."""
        ...

    @property
    def unknown_read(self) -> int:
        """See above."""
        ...

    @property
    def truncated(self) -> int:
        """See above."""
        ...
