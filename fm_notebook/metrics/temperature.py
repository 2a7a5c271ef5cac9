"""The one number by which logits are best divided: which way, and how far, a model's sureness is off."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from fm_notebook.contracts.calibration import Temperature
from fm_notebook.contracts.results import Interval
from fm_notebook.errors import DataError
from fm_notebook.metrics.predictions import Predictions

LOG_TEMPERATURE = math.log(100)
"""Temperatures are searched from 1/100 to 100."""
MOST_FITTED = 200_000
"""Rows that a temperature is fitted on: it is then known to a few thousandths."""


def temperature(logits: np.ndarray, truth: np.ndarray, *, level: float = 0.95) -> Temperature:
    r"""The temperature T that makes :math:`-\frac1N \sum_i \ln softmax(z_i / T)_{y_i}` least, searched over ln T.

    It changes no predicted label. Scores after it are to be reported on rows that it was not fitted on. Its interval is
    normal in ln T, with the variance :math:`\overline{\ell'^2} / N \bar{\ell''}^2` of an M-estimator, from each row's first and
    second derivative of the loss by ln T.

    Parameters
    ----------
    logits : numpy.ndarray
        Or logarithms of probabilities, which give the same. Shape ``(N, C)``, N at least 1.
    truth : numpy.ndarray
        Class numbers, shape ``(N,)``.
    level : float
        Of the interval.

    Raises
    ------
    DataError
        If a logit is not a number.

    References
    ----------
    Guo, Pleiss, Sun and Weinberger (2017), *On calibration of modern neural networks*, ICML, section 4.2.

    Examples
    --------
    Three of four rows are right, whatever the row, so that the best probability is 3/4: 4 / T = ln 3.

    >>> found = temperature(np.array([[4.0, 0.0]] * 4), np.array([0, 0, 0, 1]))
    >>> round(found.temperature, 3), round(4 / math.log(3), 3)
    (3.641, 3.641)
    """
    from scipy.optimize import minimize_scalar

    logits = np.asarray(logits, np.float64)
    bad = ~np.isfinite(logits).all(1)
    if bad.any():
        raise DataError("groups.logits", rows=int(bad.sum()), n=len(logits))

    def loss(log_t: float) -> float:
        return _loss(logits / math.exp(log_t), truth)

    # A golden section over the whole range: in 1/T the loss is convex, so in ln T it has a single valley.
    found = minimize_scalar(loss, bounds=(-LOG_TEMPERATURE, LOG_TEMPERATURE), method="bounded", options={"xatol": 1e-6})
    best, least = float(found["x"]), float(found["fun"])  # pyright: ignore[reportIndexIssue]
    at_bound = min(loss(-LOG_TEMPERATURE), loss(LOG_TEMPERATURE)) <= least + 1e-9
    return Temperature(
        temperature=math.exp(best),
        interval=None if at_bound else _of_temperature(logits, truth, best, level),
        loss_before=loss(0.0),
        loss_after=least,
        n=len(truth),
        at_bound=at_bound,
    )


def of_shares(predictions: Predictions, *, level: float = 0.95) -> Temperature | None:
    """`temperature` of predictions whose logits are not at hand, from their probabilities.

    Labels that the model has no output for are left out, with the rows that have them: no temperature makes them likelier.
    None where no row, or a single label, is left. Of more than `MOST_FITTED` rows, every so many-th is taken.
    """
    if predictions.probabilities is None:
        raise DataError("groups.no_probabilities")
    known: np.ndarray = np.any(predictions.probabilities > 0, axis=0)
    rows = known[predictions.truth]
    if known.sum() < 2 or not rows.any():
        return None
    some = np.flatnonzero(rows)
    some = some[:: -(-len(some) // MOST_FITTED)]
    shares = predictions.probabilities[some][:, known]
    # A share that underflowed is that of logits hundreds apart, and stays the least there is.
    logits = np.log(np.maximum(shares, np.finfo(np.float64).tiny))
    return temperature(logits, (np.cumsum(known) - 1)[predictions.truth[some]], level=level)


def _of_temperature(logits: np.ndarray, truth: np.ndarray, log_t: float, level: float) -> Interval | None:
    scaled = logits / math.exp(log_t)
    powers = np.exp(scaled - scaled.max(1, keepdims=True))
    shares = powers / powers.sum(1, keepdims=True)
    means = (shares * scaled).sum(1)
    slopes = scaled[np.arange(len(truth)), truth] - means
    # At the least loss the slopes add up to 0, so that of the second derivative only the variance of the logits is left.
    curvature = float(((shares * scaled**2).sum(1) - means**2).mean())
    if curvature <= 0:
        return None
    half = NormalDist().inv_cdf((1 + level) / 2) * math.sqrt(float((slopes**2).mean()) / len(truth)) / curvature
    return Interval(low=math.exp(log_t - half), high=math.exp(log_t + half), level=level, method="sandwich")


def _loss(logits: np.ndarray, truth: np.ndarray) -> float:
    top = logits.max(1)
    raised = np.log(np.exp(logits - top[:, None]).sum(1)) + top
    return float((raised - logits[np.arange(len(truth)), truth]).mean())
