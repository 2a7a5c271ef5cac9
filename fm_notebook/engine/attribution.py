"""Integrated gradients and occlusion: how much each part of a text adds to a model's answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from fm_notebook.contracts.attributions import MethodScores, Quantity
from fm_notebook.engine.questions import TOKENS_AT_ONCE, Question
from fm_notebook.engine.tokens import stand_in

Tokens = Sequence[int]
FIRST_STEPS, MOST_STEPS = 32, 1024
MOST_WORK = 10**12
"""Weights times tokens of the last doubling: about a minute on two cores, the same on every device so that scores are too."""
TOLERANCE = 1e-3
"""Completeness error at which doubling the steps ends: 0.001 of log-odds moves no probability by more than 0.00025."""


@dataclass(frozen=True)
class Baseline:
    """What stands for "nothing was written here": the token numbered `token`, or embeddings of zeros."""

    name: str
    token: int | None

    @classmethod
    def of(cls, tokenizer: Any, layer: torch.nn.Module, asked: Literal["auto", "mask", "pad", "zero"]) -> Baseline:
        """As `asked`; ``auto``, and what the tokenizer lacks, is the first of its tokens for mask, padding, end and unknown.

        Zeros only if they are asked for, not where a token has them in the embedding `layer`: many decoders begin with a norm
        that takes all of a line from zero for one point, so that the integral along it sees nothing.
        """
        if asked == "zero":
            return cls("zero", None)
        kinds = ("pad",) if asked == "pad" else ("mask", "pad", "eos", "unk")
        known = [(getattr(tokenizer, f"{kind}_token"), getattr(tokenizer, f"{kind}_token_id")) for kind in kinds]
        there = [cls(name, token) for name, token in known if token is not None]
        weights: Any = layer.weight
        return next((each for each in there if weights[each.token].any()), there[0] if there else cls("zero", None))


def integrated_gradients(
    model: Any, question: Question, label: int, groups: Sequence[Tokens], baseline: Baseline, *, steps: int | None = None,
    check: Callable[[], None] = lambda: None,
) -> MethodScores:  # fmt: skip
    r"""Scores of pieces by integrated gradients on the input embeddings.

    With the embeddings :math:`x` of the text's tokens, those of the baseline :math:`x'` and the explained number :math:`F`,
    token i has :math:`\sum_d (x_{id} - x'_{id}) \int_0^1 \partial_{id} F(x' + \alpha (x - x'))\, d\alpha`; a piece has the sum of
    its tokens. Special tokens are the same in both. The scores add up to :math:`F(x) - F(x')`, but for the error of the integral
    (Gauss-Legendre), which is reported.

    Parameters
    ----------
    model : PreTrainedModel
        Inside `fm_notebook.engine.questions.plainly`.
    label : int
        Column of the answers that is explained.
    groups : sequence of sequences of int
        Free tokens of each piece.
    steps : int, optional
        Points of the integral; by default `FIRST_STEPS`, doubled until the error is below `TOLERANCE`, at most to
        `MOST_STEPS` and `MOST_WORK`.
    check : callable
        Called before each pass; what it raises ends the work.

    References
    ----------
    Sundararajan, Taly and Yan (2017), *Axiomatic attribution for deep networks*, ICML, equation 1 and proposition 1.
    """
    embeddings, nothing = _ends(model, question, baseline)

    def measured(values: torch.Tensor) -> torch.Tensor:
        check()
        return question.measure(question.embedded(model, values), label)

    with torch.no_grad():
        there, here = measured(torch.stack([embeddings, nothing])).tolist()
    used, most = steps or FIRST_STEPS, min(MOST_STEPS, MOST_WORK // _work(model, question))
    while True:
        by_token = _integral(measured, embeddings, nothing, used, _at_once(question))
        error = abs(float(by_token.sum()) - (there - here))
        if steps or error < TOLERANCE or 2 * used > most:
            break
        used *= 2
    return MethodScores(
        method="integrated-gradients", scores=[float(by_token[list(group)].sum()) for group in groups],
        quantity=_quantity(question), baseline=baseline.name, output=there, baseline_output=here, steps=used,
        completeness_error=error,
    )  # fmt: skip


def occlusion(
    model: Any, tokenizer: Any, question: Question, label: int, groups: Sequence[Tokens],
    *, check: Callable[[], None] = lambda: None,
) -> MethodScores:  # fmt: skip
    """Scores of pieces by how much of the label's probability (or of the number) goes with each, all else in place.

    A piece is replaced by the mask token, or taken out where the tokenizer has none.
    """
    mask = tokenizer.mask_token_id
    nothing = stand_in(tokenizer)

    def hidden(group: Tokens) -> tuple[Any, ...]:
        return tuple(s.replaced(group, mask) if mask is not None else s.without(group, nothing) for s in question.sentences)

    check()
    logits = question.answers(model, [question.sentences, *map(hidden, groups)])
    whole, *parts = question.probabilities(logits)[:, label].tolist()
    return MethodScores(
        method="occlusion", scores=[whole - part for part in parts], output=whole, baseline_output=whole,
        quantity="value" if question.kind == "regression" else "probability",
        baseline="removal" if mask is None else str(tokenizer.mask_token),
    )  # fmt: skip


def _integral(
    measured: Callable[[torch.Tensor], torch.Tensor], there: torch.Tensor, here: torch.Tensor, steps: int, at_once: int
) -> np.ndarray:
    """Integrated gradients of each token, float64, shape ``(n,)``."""
    from captum.attr import IntegratedGradients  # takes a second to load

    values = there[None].clone().requires_grad_()
    found = IntegratedGradients(measured).attribute(
        values, here[None], n_steps=steps, method="gausslegendre", internal_batch_size=at_once
    )
    return found[0].detach().double().sum(dim=-1).cpu().numpy()


def _ends(model: Any, question: Question, baseline: Baseline) -> tuple[torch.Tensor, torch.Tensor]:
    """Embeddings of the free tokens, shape ``(n, D)``, and what stands for nothing instead."""
    sentence, layer = question.sentences[0], model.get_input_embeddings()
    device = next(model.parameters()).device
    with torch.no_grad():
        values = layer(torch.from_numpy(sentence.ids[sentence.free]).to(device))
        if baseline.token is None:
            return values, torch.zeros_like(values)
        return values, layer(torch.tensor([baseline.token], device=device)).expand_as(values)


def _work(model: Any, question: Question) -> int:
    """Weights times tokens of one step."""
    return sum(p.numel() for p in model.parameters()) * sum(len(sentence.ids) for sentence in question.sentences)


def _at_once(question: Question) -> int:
    return max(1, TOKENS_AT_ONCE // max(len(sentence.ids) for sentence in question.sentences))


def _quantity(question: Question) -> Quantity:
    return {"regression": "value", "next-token": "log-probability"}.get(question.kind, "log-odds")  # type: ignore[return-value]
