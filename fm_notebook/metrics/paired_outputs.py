r"""What changed from one model to another where rows have no one class each: numbers, sets of labels, tags, tokens.

Values are those of `fm_notebook.metrics.regression`, `multilabel`, `tagging` and `language`; intervals and p-values those of
`fm_notebook.metrics.paired_sums`. The unit that is drawn or exchanged is a row: a text with all its labels, tags or tokens.
Spearman's ρ is Pearson's r of ranks in all rows, also in resamples.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fm_notebook.contracts.pairs import Change
from fm_notebook.metrics.paired_sums import sum_changes
from fm_notebook.metrics.regression import ranks
from fm_notebook.metrics.tagging import entity_counts

Tags = Sequence[Sequence[str]]
UNBOUNDED = frozenset({"rmse", "mae", "loss", "perplexity", "masked_perplexity", "r2"})


def number_changes(first: np.ndarray, second: np.ndarray, targets: np.ndarray, *, seed: int = 0) -> list[Change]:
    """Of RMSE, mean absolute error, R², both correlations and the loss, the mean squared error.

    Parameters
    ----------
    first, second, targets : numpy.ndarray
        Numbers that either model gave, and the true ones, shape ``(N,)``.
    seed : int

    Examples
    --------
    Errors 1, 1 against 0, 0.

    >>> found = number_changes(np.array([1.0, 2]), np.array([0.0, 1]), np.array([0.0, 1]))
    >>> {each.name: each.difference for each in found if each.name in ("rmse", "mae")}
    {'rmse': -1.0, 'mae': -1.0}
    """
    one, other = (_number_units(each, targets) for each in (first, second))
    return sum_changes(one, other, _number_scores, unbounded=UNBOUNDED, seed=seed)


def _number_units(given: np.ndarray, targets: np.ndarray) -> np.ndarray:
    errors, middle = given - targets, targets.mean()
    parts = [np.ones_like(errors), errors**2, np.abs(errors)]
    for x, y in ((given - middle, targets - middle), (ranks(given), ranks(targets))):
        parts += [x, x**2, y, y**2, x * y]
    return np.column_stack(parts)


def _number_scores(sums: np.ndarray) -> dict[str, np.ndarray]:
    n, squares, absolute = sums[..., 0], sums[..., 1], sums[..., 2]
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = sums[..., 6] - sums[..., 5] ** 2 / n
        spread = np.where(spread > 1e-9 * np.maximum(sums[..., 6], 1e-300), spread, np.nan)
        return {
            "rmse": np.sqrt(squares / n),
            "mae": absolute / n,
            "r2": 1 - squares / spread,
            "pearson": _correlation(n, sums[..., 3:8]),
            "spearman": _correlation(n, sums[..., 8:13]),
            "loss": squares / n,
        }


def _correlation(n: np.ndarray, sums: np.ndarray) -> np.ndarray:
    """From sums of x, x², y, y² and xy."""
    x, xx, y, yy, xy = np.moveaxis(sums, -1, 0)
    spreads = (xx - x**2 / n) * (yy - y**2 / n)
    spreads = np.where(spreads > 1e-12 * xx * yy, spreads, np.nan)
    return np.clip((xy - x * y / n) / np.sqrt(spreads), -1, 1)


def label_set_changes(
    first: np.ndarray, second: np.ndarray, targets: np.ndarray, *, seed: int = 0, threshold: float = 0.5
) -> list[Change]:
    """Of micro and macro F1, exact match, Hamming loss and loss.

    Parameters
    ----------
    first, second : numpy.ndarray
        Probability of each label with either model, shape ``(N, C)``.
    targets : numpy.ndarray
        Whether the row has the label, bool, shape ``(N, C)``.
    seed : int
    threshold : float
        Probability from which on a label is given.

    Examples
    --------
    >>> found = label_set_changes(np.array([[0.9, 0.1]]), np.array([[0.9, 0.9]]), np.array([[True, True]]))
    >>> {each.name: each.difference for each in found if each.name in ("subset_accuracy", "hamming_loss")}
    {'subset_accuracy': 1.0, 'hamming_loss': -0.5}
    """
    one, other = (_label_units(each, targets, threshold) for each in (first, second))
    width = targets.shape[1]

    def scores(sums: np.ndarray) -> dict[str, np.ndarray]:
        counts = sums[..., : 3 * width].reshape(*sums.shape[:-1], width, 3)
        n, wrong, exact, loss = np.moveaxis(sums[..., 3 * width :], -1, 0)
        return {
            "micro_f1": _f1(counts.sum(-2)), "macro_f1": _f1(counts).mean(-1), "subset_accuracy": exact / n,
            "hamming_loss": wrong / (n * width), "loss": loss / n,
        }  # fmt: skip

    return sum_changes(one, other, scores, unbounded=UNBOUNDED, seed=seed)


def _label_units(given: np.ndarray, targets: np.ndarray, threshold: float) -> np.ndarray:
    chosen = given >= threshold
    counts = np.stack([targets & chosen, targets, chosen], axis=-1).reshape(len(targets), -1)
    likely = np.clip(np.where(targets, given, 1 - given), np.finfo(np.float64).eps, 1)
    wrong = (targets != chosen).sum(1)
    return np.column_stack([counts, np.ones(len(targets)), wrong, wrong == 0, -np.log(likely).mean(1)])


def tag_changes(first: Tags, second: Tags, true: Tags, *, seed: int = 0) -> list[Change]:
    """Of entity F1, precision and recall, macro F1 and token accuracy.

    Parameters
    ----------
    first, second, true : sequence of sequence of str
        Tags by sentence, see `fm_notebook.metrics.tagging.entities`.
    seed : int

    Examples
    --------
    >>> found = tag_changes([["O", "O"]], [["B-PER", "O"]], [["B-PER", "O"]])
    >>> found[0].name, found[0].difference
    ('entity_f1', 1.0)
    """
    counted = [entity_counts(true, each) for each in (first, second)]
    names = sorted({name for _, own, _, _ in counted for name in own})
    units = []
    for counts, own, right, words in counted:
        whole = np.zeros((len(words), len(names), 3))
        whole[:, [names.index(name) for name in own]] = counts
        units.append(np.column_stack([whole.reshape(len(words), -1), right, words]))

    def scores(sums: np.ndarray) -> dict[str, np.ndarray]:
        counts = sums[..., :-2].reshape(*sums.shape[:-1], len(names), 3)
        hits, there, given = np.moveaxis(counts.sum(-2), -1, 0)
        seen = (counts[..., 1] + counts[..., 2]) > 0
        macro = (_f1(counts) * seen).sum(-1) / np.maximum(seen.sum(-1), 1)
        return {
            "entity_f1": _f1(counts.sum(-2)), "entity_precision": hits / np.maximum(given, 1),
            "entity_recall": hits / np.maximum(there, 1), "macro_f1": macro,
            "token_accuracy": sums[..., -2] / np.maximum(sums[..., -1], 1),
        }  # fmt: skip

    return sum_changes(units[0], units[1], scores, seed=seed)


def token_changes(
    first: np.ndarray, second: np.ndarray, tokens: np.ndarray, *, perplexity: str = "perplexity", seed: int = 0
) -> list[Change]:
    """Of the mean loss over tokens and of e to its power.

    Parameters
    ----------
    first, second : numpy.ndarray
        Mean loss of each text's tokens with either model, in nats, shape ``(N,)``; of any value where there are none.
    tokens : numpy.ndarray
        Tokens of each text, shape ``(N,)``, the same with both models.
    perplexity : str
        What the latter is called.
    seed : int

    Examples
    --------
    >>> found = token_changes(np.log([4.0, 4]), np.log([2.0, 2]), np.array([1, 3]))
    >>> round(found[1].first, 6), round(found[1].second, 6)
    (4.0, 2.0)
    """
    one, other = (np.column_stack([np.where(tokens > 0, each, 0) * tokens, tokens]) for each in (first, second))

    def scores(sums: np.ndarray) -> dict[str, np.ndarray]:
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            loss = sums[..., 0] / sums[..., 1]
            return {"loss": loss, perplexity: np.exp(loss)}

    return sum_changes(one, other, scores, unbounded=UNBOUNDED, seed=seed)


def _f1(counts: np.ndarray) -> np.ndarray:
    """From hits, support and predictions, shape ``(..., 3)``; 0 where there are none."""
    hits, there, given = np.moveaxis(counts, -1, 0)
    return 2 * hits / np.maximum(there + given, 1)
