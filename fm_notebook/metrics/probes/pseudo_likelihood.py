r"""How likely a model finds a sentence: one number under several names, which are different metrics.

With :math:`s_1 \dots s_T` the sentence's tokens without special ones and :math:`S_{\setminus M}` the sentence with the tokens M
masked:

``pll``
    :math:`\sum_t \ln P(s_t \mid S_{\setminus t})`, the pseudo-log-likelihood (Salazar 2020).
``pll-word-l2r``
    :math:`\sum_t \ln P(s_t \mid S_{\setminus m(t)})`, where m(t) is t and what follows it in its word: the other pieces of a rare
    word do not give it away (Kauf and Ivanova 2023).
``cps``
    The same as ``pll`` over the tokens alone that both sentences of a pair share (Nangia 2020, CrowS-Pairs).
``cps-mod``
    The *mean* over the tokens that they do not share (Meade 2022, in Bias Bench's code, where it is called CrowS-Pairs).
``aul``
    :math:`\frac1T \sum_t \ln P(s_t \mid S)`: nothing is masked (Kaneko and Bollegala 2022).
``aula``
    :math:`\frac1T \sum_t \alpha_t \ln P(s_t \mid S)`, with :math:`\alpha_t` the mean attention that token t receives.
``causal``
    :math:`\sum_t \ln P(s_t \mid s_{<t})` after the model's beginning of a text, as in lm-evaluation-harness.

References
----------
Salazar, Liang, Nguyen and Kirchhoff (2020), *Masked language model scoring*, ACL.
Nangia, Vania, Bhalerao and Bowman (2020), *CrowS-Pairs*, EMNLP.
Meade, Poole-Dayan and Reddy (2022), *An empirical survey of the effectiveness of debiasing techniques*, ACL.
Kaneko and Bollegala (2022), *Unmasking the mask*, AAAI.
Kauf and Ivanova (2023), *A better way to do masked language model scoring*, ACL.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, pairwise
from typing import Literal, cast

import numpy as np

from fm_notebook.contracts.capabilities import Capability, MaskedQuery, Subject, TokenText
from fm_notebook.errors import ModelError
from fm_notebook.metrics.probes.pair_alignment import Places

Variant = Literal["cps", "cps-mod", "aul", "aula", "pll", "pll-word-l2r", "causal"]
ROUNDED = frozenset({"cps", "cps-mod"})
"""Variants whose reference code rounds each score to three decimals before it compares."""
OF_PAIRS = frozenset({"cps", "cps-mod"})
"""Variants that are defined for the two sentences of a pair only."""
_UNMASKED, _MEANS = frozenset({"aul", "aula"}), frozenset({"aul", "aula", "cps-mod"})


@dataclass(frozen=True)
class Likelihood:
    """A sentence's score, token by token.

    Attributes
    ----------
    text : TokenText
    positions : tuple of int
        Tokens that count.
    parts : ndarray of float64, shape (S,)
        What each of them adds to the score, in nats.
    """

    text: TokenText
    positions: Places
    parts: np.ndarray

    @property
    def total(self) -> float:
        """The score; NaN if the text is longer than the model takes."""
        return float(self.parts.sum())


def needs(variant: str) -> frozenset[Capability]:
    """What a model must be able to for `variant`; ``auto`` is told by `chosen`."""
    if variant == "causal":
        return frozenset({"log_likelihoods"})
    return frozenset({"masked_log_probs", "attentions"}) if variant == "aula" else frozenset({"masked_log_probs"})


def chosen(able: frozenset[Capability], masked: Variant) -> Variant:
    """What ``auto`` means for a model that is `able`: `masked` if it predicts masked words, else ``causal`` if it can."""
    return "causal" if "log_likelihoods" in able and "masked_log_probs" not in able else masked


def resolved(variant: str, subject: Subject, masked: Variant) -> Variant:
    """`variant`, or for ``auto`` what is `chosen` for `subject`: it was not known before it was loaded."""
    return chosen(subject.capabilities, masked) if variant == "auto" else cast(Variant, variant)


def likelihoods(subject: Subject, texts: Sequence[str], variant: Variant) -> list[Likelihood]:
    """The scores of sentences, each for itself.

    Raises
    ------
    ValueError
        If `variant` is defined for pairs only.
    ModelError
        If it needs to know words and the tokenizer cannot tell them.
    """
    if variant in OF_PAIRS:
        raise ValueError(f"{variant} is defined for pairs")
    if variant == "causal":
        found = subject.log_likelihoods(texts)
        return [Likelihood(each.text, tuple(each.positions.tolist()), each.log_probs) for each in found]
    spelt = subject.tokens(texts)
    return of_tokens(subject, spelt, [plain_places(each) for each in spelt], variant)


def plain_places(text: TokenText) -> Places:
    """Positions of all tokens but the special ones."""
    return tuple(place for place, special in enumerate(text.special) if not special)


def of_tokens(subject: Subject, texts: Sequence[TokenText], places: Sequence[Places], variant: Variant) -> list[Likelihood]:
    """The scores of texts by a masked language model, of which the tokens at `places` count.

    Raises
    ------
    ModelError
        If `variant` needs to know words and the tokenizer cannot tell them.
    """
    if variant == "pll-word-l2r" and not all(map(_tells_words, texts, places)):
        raise ModelError("capabilities.no_words", name=subject.name)
    queries = [_queries(text, asked, variant) for text, asked in zip(texts, places, strict=True)]
    answers = subject.masked_log_probs(list(chain.from_iterable(queries)))
    ends = accumulate(map(len, queries), initial=0)
    found = [np.concatenate([np.zeros(0), *answers[begin:end]]) for begin, end in pairwise(ends)]
    if variant == "aula":
        attentions = subject.attentions(texts)
        found = [each * told[list(asked)] for each, told, asked in zip(found, attentions, places, strict=True)]
    if variant in _MEANS:
        found = [each / max(1, len(each)) for each in found]
    return [Likelihood(*each) for each in zip(texts, places, found, strict=True)]


def _tells_words(text: TokenText, places: Places) -> bool:
    return all(text.words[place] is not None for place in places)


def _queries(text: TokenText, places: Places, variant: Variant) -> list[MaskedQuery]:
    """One a token, but if nothing is masked one in all; in the order of `places`."""
    if variant in _UNMASKED:
        return [MaskedQuery(text, (), tuple((place, text.ids[place]) for place in places))]
    masked: Callable[[TokenText, int], Places] = _rest_of_word if variant == "pll-word-l2r" else _alone
    return [MaskedQuery(text, masked(text, place), ((place, text.ids[place]),)) for place in places]


def _alone(text: TokenText, place: int) -> Places:
    del text
    return (place,)


def _rest_of_word(text: TokenText, place: int) -> Places:
    own = (text.words[place], text.types[place])
    return (place, *(later for later in range(place + 1, len(text)) if (text.words[later], text.types[later]) == own))
