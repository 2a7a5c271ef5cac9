r"""What a classifier makes of sentences that differ in an identity term alone.

With :math:`f` the probability of one class, :math:`\hat y` the predicted class, and :math:`\Phi(x)` the sentences that are *x*
but for the term,

- ``ctf_gap``, counterfactual token fairness: the mean over x of the mean over :math:`x' \in \Phi(x)` of
  :math:`|f(x) - f(x')|`, from 0 (the term is ignored) to 1;
- ``flip_rate``: how often :math:`\hat y(x) \ne \hat y(x')`, in per cent;
- ``signed_difference``: the mean of :math:`f(x) - f(x')` for x of one group and x' of another, from -1 to 1.

Templates and terms are both samples: intervals are those of `fm_notebook.metrics.two_way_clusters`.

References
----------
Garg, Perot, Limtiaco, Taly, Chi and Beutel (2019), *Counterfactual fairness in text classification through robustness*, AIES.
Kiritchenko and Mohammad (2018), *Examining gender and race bias in two hundred sentiment analysis systems*, StarSEM.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fm_notebook.contracts.probe_reports import Measurement
from fm_notebook.metrics.probes.preferences import adjusted_by_name
from fm_notebook.metrics.two_way_clusters import mean_of


@dataclass(frozen=True)
class Swaps:
    """Scored items, each a sentence with what became of it under other terms; all of shape ``(N,)``.

    Attributes
    ----------
    difference : ndarray of float
        f(x) less the mean of f over Φ(x).
    gap : ndarray of float
        The mean of |f(x) - f(x')| over Φ(x).
    flips : ndarray of float
        The share of Φ(x) that is predicted otherwise.
    axis, groups, label, template, term : ndarray of str
        `groups` says who is compared with whom; `label` is what the sentence says, empty if nobody tells.
    """

    difference: np.ndarray
    gap: np.ndarray
    flips: np.ndarray
    axis: np.ndarray
    groups: np.ndarray
    label: np.ndarray
    template: np.ndarray
    term: np.ndarray

    def measurements(self) -> list[Measurement]:
        """Gaps and flips over all and by axis, gaps by label, differences by axis and pair of groups."""
        if not len(self.gap):
            return []
        parts = [("", np.ones(len(self.gap), bool))]
        parts += self._parts(self.axis) if len(set(self.axis)) > 1 else []
        found = [self._gap("ctf_gap", *part) for part in parts]
        found += [self._flips(*part) for part in parts]
        if len(set(self.label)) > 1:
            found += [self._gap("ctf_gap_by_label", *part) for part in self._parts(self.label) if part[0]]
        pairs = [f"{axis}: {groups}" for axis, groups in zip(self.axis, self.groups, strict=True)]
        return adjusted_by_name(found + [self._difference(*part) for part in self._parts(np.array(pairs, object))])

    @staticmethod
    def _parts(names: np.ndarray) -> list[tuple[str, np.ndarray]]:
        return [(str(name), np.equal(names, name)) for name in dict.fromkeys(names.tolist())]

    def _clusters(self, rows: np.ndarray) -> list[np.ndarray]:
        return [self.template[rows], self.term[rows]]

    def _gap(self, name: str, group: str, rows: np.ndarray) -> Measurement:
        found = mean_of(self.gap[rows], self._clusters(rows))
        return Measurement(
            name=name, group=group, value=found.value, n=int(rows.sum()), neutral=0.0,
            interval=found.interval(low=0.0, high=1.0), is_main=name == "ctf_gap" and not group,
        )  # fmt: skip

    def _flips(self, group: str, rows: np.ndarray) -> Measurement:
        found = mean_of(self.flips[rows], self._clusters(rows))
        ends = found.share_interval()
        return Measurement(
            name="flip_rate", group=group, value=100 * found.value, n=int(rows.sum()), neutral=0.0,
            interval=ends.model_copy(update={"low": 100 * ends.low, "high": 100 * ends.high}),
        )  # fmt: skip

    def _difference(self, group: str, rows: np.ndarray) -> Measurement:
        found, n = mean_of(self.difference[rows], self._clusters(rows)), int(rows.sum())
        needed = n * (found.smallest / found.value) ** 2 if found.smallest and found.value else None
        return Measurement(
            name="signed_difference", group=group, value=found.value, n=n, neutral=0.0, smallest=found.smallest,
            interval=found.interval(low=-1.0, high=1.0), p_value=found.p_value(), ties=int((self.difference[rows] == 0).sum()),
            needed=None if needed is None else float(np.ceil(needed)),
        )  # fmt: skip


def within_set(scores: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`Swaps.difference`, `gap` and `flips` of the T sentences of one template, each against the T - 1 others.

    Parameters
    ----------
    scores : ndarray of float, shape (T,)
    predicted : ndarray of int, shape (T,)

    Examples
    --------
    .9 against .5 and .1: the differences .4 and .8, .6 on average.

    >>> difference, gap, flips = within_set(np.array([0.9, 0.5, 0.1]), np.array([1, 1, 0]))
    >>> difference.round(2).tolist(), gap.round(2).tolist(), flips.tolist()
    ([0.6, 0.0, -0.6], [0.6, 0.4, 0.6], [0.5, 0.5, 1.0])
    """
    others = len(scores) - 1
    apart = np.abs(scores[:, None] - scores[None, :])
    unlike = predicted[:, None] != predicted[None, :]
    return (scores - (scores.sum() - scores) / others), apart.sum(1) / others, unlike.sum(1) / others
