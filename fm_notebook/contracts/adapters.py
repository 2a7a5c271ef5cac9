"""What a spec says of adapters: small trainable parts beside frozen weights."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from fm_notebook.contracts.values import Count, Frozen, Positive

Dropout = Annotated[float, Field(ge=0, lt=1, strict=True)]
Suffix = Annotated[str, Field(min_length=1)]


class LoraSpec(Frozen):
    """Low-rank adapters: each targeted weight W becomes W + (alpha / rank) B A, and only A and B learn.

    Attributes
    ----------
    rank : int
        Rank of the update, from 1. A layer of n inputs and m outputs gets rank * (n + m) trainable weights.
    alpha : float, optional
        Numerator of the update's scale. None is twice the rank, the field's custom: the scale stays 2 whatever the rank, so
        that a learning rate found at one rank serves at another.
    dropout : float
        Share of an adapter's inputs that is dropped in training, from 0 (none).
    targets : tuple of str, optional
        Ends of the names of the linear modules that get an adapter, such as ``query``. None chooses by family: what peft knows
        to work (queries and values, mostly), else every linear layer below the head.
    dora : bool
        Whether the weights' magnitudes learn apart from their directions (DoRA): closer to full fine-tuning, and slower.

    References
    ----------
    Hu et al. 2022, *LoRA*, equation 3; Liu et al. 2024, *DoRA*, equation 5.
    """

    rank: Count = 8
    alpha: Positive | None = None
    dropout: Dropout = 0.0
    targets: Annotated[tuple[Suffix, ...], Field(min_length=1)] | None = None
    dora: bool = False

    @property
    def scale(self) -> float:
        """Factor of the update, alpha / rank."""
        return (2 * self.rank if self.alpha is None else self.alpha) / self.rank


class PromptTuningSpec(Frozen):
    """Virtual tokens before each text, whose embeddings learn while the model stays frozen.

    Attributes
    ----------
    tokens : int
        Number of virtual tokens, from 1. They count towards the model's longest text.

    References
    ----------
    Lester et al. 2021, *The Power of Scale for Parameter-Efficient Prompt Tuning*.
    """

    tokens: Count = 20
