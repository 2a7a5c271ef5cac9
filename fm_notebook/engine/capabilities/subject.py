"""A loaded model as probes see it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from fm_notebook import messages
from fm_notebook.contracts.capabilities import Capability, MaskedQuery, Pooling, TokenLogProbs, TokenText
from fm_notebook.engine import families, models
from fm_notebook.engine.capabilities import (
    attention,
    classes,
    embedding,
    encoder_decoders,
    generating,
    likelihoods,
    masked,
    next_sentence,
)
from fm_notebook.engine.capabilities.reading import Reader
from fm_notebook.engine.capabilities.texts import Texts
from fm_notebook.engine.models import Loaded
from fm_notebook.engine.next_sentence import has_both
from fm_notebook.engine.precision import Precision
from fm_notebook.errors import ModelError


def subject_of(
    model: Any,
    tokenizer: Any,
    *,
    name: str,
    precision: Precision = "fp32",
    batch_tokens: int | None = None,
    fresh: Collection[str] = (),
    able: frozenset[Capability] | None = None,
) -> LoadedSubject:
    """`model`, on its device, as probes may ask it.

    Parameters
    ----------
    model : PreTrainedModel or PeftModel
    tokenizer : PreTrainedTokenizerBase
        With a token to pad with.
    name : str
        As the user called the model.
    precision : str
        ``fp32`` for figures that are to be compared with others'.
    batch_tokens : int, optional
        Tokens that go through the model at once; by default as suits the device.
    fresh : collection of str
        Parameters that were drawn at random, see `fm_notebook.engine.models.Loaded`: what hangs on them it is not able to.
    able : frozenset of str, optional
        What it is able to, where that is not to be told from its class.
    """
    limit = max(1, models.longest_text(model, tokenizer) - families.virtual_tokens(model))
    reader = Reader(model, tokenizer.pad_token_id or 0, limit, precision, batch_tokens)
    texts = Texts(tokenizer, limit)
    found = abilities(model, fresh) - (frozenset() if texts.mask_id is not None else {"masked_log_probs"})
    return LoadedSubject(reader, texts, name, found if able is None else able, has_pooler=_has_pooler(model, fresh))


def abilities(model: Any, fresh: Collection[str] = ()) -> frozenset[Capability]:
    """What `model` is able to by its class, but for what hangs on the random parameters `fresh`."""
    inner = families.unwrapped(model)
    if inner.config.is_encoder_decoder:
        return frozenset({"log_likelihoods"} if inner.get_output_embeddings() is not None else ())
    found: set[Capability] = {"embeddings", "attentions"}
    kind, heads = type(inner).__name__, [each for each in fresh if not each.startswith(f"{inner.base_model_prefix}.")]
    trained = not heads
    if kind.endswith(("ForCausalLM", "LMHeadModel")) and trained:
        found |= {"log_likelihoods", "generate"}
    if kind.endswith("ForSequenceClassification") and trained and classes.has_classes(inner.config):
        found.add("class_probabilities")
    if has_both(inner):
        trained = not any("predictions" in each for each in heads)
    if (kind.endswith("ForMaskedLM") or has_both(inner)) and trained:
        found.add("masked_log_probs")
    pairs = hasattr(getattr(inner, "cls", None), "seq_relationship") and _has_pooler(model, fresh)
    if pairs and not any("seq_relationship" in each for each in heads):
        found.add("next_sentence")
    return frozenset(found)


def _has_pooler(model: Any, fresh: Collection[str]) -> bool:
    base = families.unwrapped(model).base_model
    drawn = any("pooler." in each and "predictions" not in each for each in fresh)
    return getattr(base, "pooler", None) is not None and not drawn


class LoadedSubject:
    """A `fm_notebook.contracts.capabilities.Subject` over a model of transformers.

    What is longer than the model takes is never cut silently: its log-probabilities and attentions are NaN, and `truncated`
    counts the texts whose vectors, classes or continuations are those of a part.

    Attributes
    ----------
    labels : tuple of str
        Empty if it is no classifier.
    mask_id, unknown_id, lowercase
        See `fm_notebook.contracts.capabilities.Tokens`.
    """

    def __init__(
        self, reader: Reader, texts: Texts, name: str, able: frozenset[Capability], *, has_pooler: bool = False
    ):  # fmt: skip
        self.name, self.capabilities = name, able
        self.mask_id, self.unknown_id, self.lowercase = texts.mask_id, texts.unknown_id, texts.lowercase
        self.labels = tuple(Loaded(families.unwrapped(reader.model)).labels) if "class_probabilities" in able else ()
        self._reader, self._texts, self._has_pooler = reader, texts, has_pooler

    def anew(self) -> LoadedSubject:
        """The same model with nothing counted yet, for the next one who asks."""
        texts = Texts(self._texts.tokenizer, self._texts.limit)
        return LoadedSubject(self._reader, texts, self.name, self.capabilities, has_pooler=self._has_pooler)

    @property
    def model(self) -> Any:
        """The model itself."""
        return self._reader.model

    @property
    def tokenizer(self) -> Any:
        """Its tokenizer."""
        return self._texts.tokenizer

    @property
    def tokens_read(self) -> int:
        """Tokens read so far that are not special; those of a text that is asked twice count twice."""
        return self._texts.tokens_read

    @property
    def unknown_read(self) -> int:
        """Those of `tokens_read` that the vocabulary does not know."""
        return self._texts.unknown_read

    @property
    def truncated(self) -> int:
        """Texts of which only a part was read."""
        return self._texts.truncated

    def tokens(
        self, texts: Sequence[str], pairs: Sequence[str] | None = None, *, special: bool = True
    ) -> list[TokenText]:  # fmt: skip
        """See `fm_notebook.contracts.capabilities.Tokens`."""
        return self._texts.spelt(texts, pairs, special=special)

    def word_ids(self, words: Sequence[str]) -> list[tuple[int, ...]]:
        """See `fm_notebook.contracts.capabilities.Tokens`; empty for a word that the tokenizer makes nothing of."""
        return self._texts.word_ids(words)

    def log_likelihoods(
        self, texts: Sequence[str], contexts: Sequence[str] | None = None
    ) -> list[TokenLogProbs]:  # fmt: skip
        """See `fm_notebook.contracts.capabilities.LogLikelihoods`."""
        self._check("log_likelihoods")
        both = families.unwrapped(self._reader.model).config.is_encoder_decoder
        return (encoder_decoders if both else likelihoods).log_likelihoods(self._reader, self._texts, texts, contexts)

    def masked_log_probs(self, queries: Sequence[MaskedQuery]) -> list[np.ndarray]:
        """See `fm_notebook.contracts.capabilities.MaskedLogProbs`."""
        self._check("masked_log_probs")
        return masked.masked_log_probs(self._reader, self._texts, queries)

    def likeliest(self, queries: Sequence[MaskedQuery], k: int) -> list[list[tuple[str, float]]]:
        """See `fm_notebook.contracts.capabilities.MaskedLogProbs`; nothing where a text is longer than the model takes."""
        self._check("masked_log_probs")
        return masked.likeliest(self._reader, self._texts, queries, k)

    def class_probabilities(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> np.ndarray:
        """See `fm_notebook.contracts.capabilities.ClassProbabilities`."""
        self._check("class_probabilities")
        return classes.class_probabilities(self._reader, self._texts, texts, pairs)

    def embeddings(self, texts: Sequence[str], pooling: Pooling = "mean") -> np.ndarray:
        """See `fm_notebook.contracts.capabilities.Embeddings`.

        Raises
        ------
        ModelError
            If its own pooling layer is asked for and it has none, or none that is trained.
        """
        self._check("embeddings")
        if pooling == "pooler" and not self._has_pooler:
            raise ModelError("capabilities.no_pooler", name=self.name)
        return embedding.embeddings(self._reader, self._texts, texts, pooling)

    def attentions(self, texts: Sequence[TokenText]) -> list[np.ndarray]:
        """See `fm_notebook.contracts.capabilities.Attentions`."""
        self._check("attentions")
        return attention.attentions(self._reader, self._texts, texts)

    def next_sentence(self, firsts: Sequence[str], seconds: Sequence[str]) -> np.ndarray:
        """See `fm_notebook.contracts.capabilities.NextSentence`."""
        self._check("next_sentence")
        return next_sentence.next_sentence(self._reader, self._texts, firsts, seconds)

    def generate(self, prompts: Sequence[str], *, max_new_tokens: int, count: int, seed: int) -> list[list[str]]:
        """See `fm_notebook.contracts.capabilities.Generates`."""
        self._check("generate")
        return generating.generate(
            self._reader, self._texts, prompts, max_new_tokens=max_new_tokens, count=count, seed=seed
        )  # fmt: skip

    def _check(self, capability: Capability) -> None:
        if capability not in self.capabilities:
            raise lacking(self.name, capability, families.unwrapped(self._reader.model).config.model_type)


def lacking(name: str, capability: Capability, architecture: str) -> ModelError:
    """What to raise where a model is not able to what it is asked."""
    what = messages.text(f"capability.{capability}")
    return ModelError("capabilities.lacking", name=name, architecture=architecture, what=what)
