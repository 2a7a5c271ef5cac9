r"""How well a language model foretells tokens.

For the targets t = 1 … T of all texts, a token each, with :math:`p_t` the model's probability of the true token:

.. math:: loss = -\frac1T \sum_t \ln p_t, \qquad perplexity = e^{loss}

so that long texts count for more, as in the training loss, and perplexity is that of the whole, not a mean over texts. Both
depend on the tokenizer and can be compared between models only if they share it; for a masked language model the targets are
the masked tokens, and the number is not the perplexity of a causal model.

Tokens of a text are not independent, so that the intervals stand on *texts*: loss is a ratio of sums over texts, its interval
the delta method's with Student's t (linearised, as survey statistics do for clusters: Cochran 1977, eq. 6.13); that of
perplexity is the same, carried over by :math:`e^x`; top-k accuracies have the percentile bootstrap of texts. Of a single text,
each token is taken for a text of its own: too narrow, and the best that one text allows.

References
----------
Cochran (1977), *Sampling Techniques*, 3rd ed., chapter 6.
"""

from __future__ import annotations

import math

import numpy as np

from fm_notebook.contracts.results import Interval, Score
from fm_notebook.errors import ModelError
from fm_notebook.metrics.resampling import clustered_share


def evaluate(losses: np.ndarray, ranks: np.ndarray, owner: np.ndarray, *, seed: int, level: float = 0.95) -> list[Score]:
    """Loss, perplexity, top-1 and top-5 accuracy over tokens, each with an interval over texts (see the module).

    Parameters
    ----------
    losses : numpy.ndarray
        Negative log-likelihood of each true token in nats, from 0 upwards, shape ``(T,)``, T at least 1.
    ranks : numpy.ndarray
        How many tokens the model puts before the true one, shape ``(T,)``: 0 if it is the likeliest, 5 and more if it is not
        among the first five. Of equally likely tokens that with the smaller number is put first, as ``argmax`` does; else a
        model that finds all tokens alike would be always right.
    owner : numpy.ndarray
        Number of the text that each token is from, int, shape ``(T,)``.
    seed : int
        Of the bootstrap.
    level : float
        Coverage of the intervals, above 0 and below 1.

    Returns
    -------
    list of Score
        ``loss``, ``perplexity``, ``top1_accuracy``, ``top5_accuracy``; ``n`` is the number of tokens. Perplexity is infinite
        where it exceeds the largest float (a loss above 709) or the loss is infinite; there it has no interval.

    Raises
    ------
    ModelError
        If a loss is not a number, as a diverged model gives.
    ValueError
        If the shapes do not fit or there are no tokens.

    Examples
    --------
    Probabilities 1/2, 1/8, 1/4: the mean loss is (1 + 3 + 2) / 3 · ln 2 = 2 ln 2, the perplexity 4.

    >>> found = evaluate(np.log([2.0, 8.0, 4.0]), np.array([0, 6, 1]), np.array([0, 0, 1]), seed=0)
    >>> [(score.name, round(score.value, 4), score.n) for score in found]
    [('loss', 1.3863, 3), ('perplexity', 4.0, 3), ('top1_accuracy', 0.3333, 3), ('top5_accuracy', 0.6667, 3)]
    """
    losses, ranks, texts = _checked(losses, ranks, owner)
    sizes = np.bincount(texts)
    loss = float(losses.mean())
    interval = ratio_interval(np.bincount(texts, losses), sizes, level)
    scores = [
        Score(name="loss", value=loss, n=len(losses), interval=interval),
        Score(name="perplexity", value=_exp(loss), n=len(losses), interval=_carried_over(interval)),
    ]
    for name, k in (("top1_accuracy", 1), ("top5_accuracy", 5)):
        hits = np.bincount(texts[ranks < k], minlength=len(sizes))
        scores.append(clustered_share(name, hits, sizes, seed=seed, level=level))
    return scores


def text_perplexities(losses: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """The perplexity of each text by itself, in order of the numbers in `owner`, shape ``(texts,)``; a picture's matter.

    Examples
    --------
    >>> text_perplexities(np.log([2.0, 8.0, 3.0]), np.array([4, 4, 9])).round(6).tolist()
    [4.0, 3.0]
    """
    _, texts = np.unique(owner, return_inverse=True)
    with np.errstate(over="ignore"):
        return np.exp(np.bincount(texts, losses) / np.bincount(texts))


def ratio_interval(sums: np.ndarray, sizes: np.ndarray, level: float = 0.95) -> Interval | None:
    r"""Interval of a mean of items that come in clusters, by the delta method.

    With M clusters, sums :math:`s_m` over sizes :math:`n_m`, :math:`r = \sum s_m / \sum n_m`:

    .. math:: r ± t_{M-1} \frac{\sqrt{\frac{M}{M-1} \sum_m (s_m - r n_m)^2}}{\sum_m n_m}

    Student's t interval of a mean where every cluster holds one item.

    Parameters
    ----------
    sums, sizes : numpy.ndarray
        Sum of a value that is never negative, and number of items of each cluster, shape ``(M,)``.
    level : float
        Coverage aimed at, above 0 and below 1.

    Returns
    -------
    Interval or None
        Not below 0; None for fewer than two clusters, and where a sum is not finite.

    Examples
    --------
    Sums 2 and 6 over sizes 1 and 3: both have the mean 2, which leaves no spread.

    >>> ratio_interval(np.array([2.0, 6.0]), np.array([1, 3]))
    Interval(low=2.0, high=2.0, level=0.95, method='t')
    """
    from scipy.special import stdtrit

    count, total = len(sums), int(sizes.sum())
    if count < 2 or not np.isfinite(sums).all():
        return None
    mean = float(sums.sum() / total)
    error = math.sqrt(count / (count - 1) * float(((sums - mean * sizes) ** 2).sum())) / total
    half = float(stdtrit(count - 1, (1 + level) / 2)) * error
    return Interval(low=max(0.0, mean - half), high=mean + half, level=level, method="t")


def _carried_over(interval: Interval | None) -> Interval | None:
    if interval is None:
        return None
    return Interval(low=_exp(interval.low), high=_exp(interval.high), level=interval.level, method=interval.method)


def _exp(value: float) -> float:
    try:
        return math.exp(value)
    except OverflowError:
        return math.inf


def _checked(losses: np.ndarray, ranks: np.ndarray, owner: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As float64, and texts numbered from 0 without gaps, or the tokens if there is one text only."""
    losses, ranks, owner = np.asarray(losses, np.float64), np.asarray(ranks), np.asarray(owner)
    if not losses.size or not losses.shape == ranks.shape == owner.shape == (losses.size,):
        raise ValueError(f"losses, ranks and owner must be one row of tokens, not {losses.shape}, {ranks.shape}, {owner.shape}")
    names, texts = np.unique(owner, return_inverse=True)
    broken = np.unique(texts[np.isnan(losses)])
    if len(broken):
        raise ModelError("metrics.not_finite", rows=len(broken), n=len(names))
    return losses, ranks, texts if len(names) > 1 else np.arange(len(losses))
