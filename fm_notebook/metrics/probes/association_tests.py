"""Association tests as rows: a text each, of the target sets X and Y or the attribute sets A and B of a test.

A target's number is s(w, A, B), an attribute's s(w, X, Y), those of the second sets times -1: above 0 all are towards the
association under test, and the targets' alone tell effect size and p-value. Sentences of one word are not independent: the test
and the interval go by words, and the test over sentences, as published, stands beside.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from fm_notebook.contracts.probe_reports import Measurement, Summary
from fm_notebook.contracts.probe_specs import Remark
from fm_notebook.contracts.probing import SKIPPED, VALUE
from fm_notebook.metrics.permutations import p_value
from fm_notebook.metrics.probes import association
from fm_notebook.metrics.probes.preferences import adjusted_by_name

ROLES = ("X", "Y", "A", "B")
SCORES = pa.schema([(VALUE, pa.float64()), (SKIPPED, pa.string())])
_SEED = 0
_Z = 1.959964 + 0.841621
"""Standard errors that are found with power .8 at two-sided α = .05."""


def scored(tests: Sequence[str], roles: Sequence[str], vectors: np.ndarray) -> pa.Table:
    """The number of each text, by its test, its role in it (see `ROLES`) and its vector, shape ``(N, D)``.

    Raises
    ------
    ValueError
        If a test lacks a set.
    """
    tests_, roles_ = np.asarray(tests, object), np.asarray(roles, object)
    values = np.full(len(tests_), math.nan)
    for test in dict.fromkeys(tests):
        at = {role: np.flatnonzero((tests_ == test) & (roles_ == role)) for role in ROLES}
        if empty := [role for role, rows in at.items() if not len(rows)]:
            raise ValueError(f"{test} has nothing in {empty}")
        for role, others in zip(ROLES, ("AB", "AB", "XY", "XY"), strict=True):
            sign = 1 if role in "XA" else -1
            values[at[role]] = sign * association.associations(vectors[at[role]], *(vectors[at[other]] for other in others))
    skipped = [None if math.isfinite(value) else "no_vector" for value in values]
    return pa.table([pa.array(values, mask=~np.isfinite(values)), pa.array(skipped, pa.string())], schema=SCORES)


def summary(rows: pa.Table) -> Summary:
    """Effect sizes of the tests in scored `rows`: columns ``test``, ``role``, ``word`` and the number."""
    found = list(_tests(rows))
    tests = [each for each in found if each.is_defined]
    by_words = [each.by_words() for each in tests]
    measurements = [*_over_all(tests), *adjusted_by_name(by_words), *(each.by_texts() for each in tests)]
    kept = [each for each in measurements if each is not None]
    if kept:
        kept[0] = kept[0].model_copy(update={"is_main": True})
    return Summary(measurements=kept, remarks=list(_remarks(tests, len(found) - len(tests))))


@dataclass(frozen=True)
class _Test:
    """The associations of a test's targets, and the mean of each word."""

    name: str
    first: np.ndarray
    second: np.ndarray
    first_words: np.ndarray
    second_words: np.ndarray

    @property
    def is_defined(self) -> bool:
        return association.deviation(self.first, self.second) > 0

    @property
    def words(self) -> int:
        return len(self.first_words) + len(self.second_words)

    @property
    def texts(self) -> int:
        return len(self.first) + len(self.second)

    @property
    def has_clusters(self) -> bool:
        return self.words < self.texts

    @property
    def effect(self) -> float:
        return association.effect_size(self.first, self.second)

    def by_words(self) -> Measurement:
        """The effect size with the interval and the p-value over words."""
        n, m = len(self.first_words), len(self.second_words)
        p, _ = association.one_sided_p(self.first_words, self.second_words, seed=_SEED)
        least = _Z * math.sqrt(1 / n + 1 / m)
        return Measurement(
            name="effect_size", group=self.name, value=self.effect, n=self.words, neutral=0.0, p_value=p,
            interval=self._interval(), smallest=least / math.sqrt(1 + least * least * n * m / (n + m) ** 2),
        )  # fmt: skip

    def by_texts(self) -> Measurement | None:
        """The same effect size with the published p-value, which takes a word's sentences for independent; None of words."""
        if not self.has_clusters:
            return None
        p, _ = association.one_sided_p(self.first, self.second, seed=_SEED)
        return Measurement(name="effect_size_sentences", group=self.name, value=self.effect, n=self.texts, neutral=0.0, p_value=p)

    def _interval(self):
        """That of the words' means, in units of the texts' deviation and around the texts' effect size."""
        found = association.effect_interval(self.first_words, self.second_words)
        of_words = association.effect_size(self.first_words, self.second_words)
        if found is None or not math.isfinite(of_words):
            return None
        scale = association.deviation(self.first_words, self.second_words) / association.deviation(self.first, self.second)
        shift = self.effect - scale * of_words
        return found.model_copy(update={"low": scale * found.low + shift, "high": scale * found.high + shift})

    def by_chance(self, number: int) -> np.ndarray:
        """Effect sizes when the words change sets by chance, shape ``(DRAWS,)``."""
        both, n, m = np.concatenate([self.first_words, self.second_words]), len(self.first_words), len(self.second_words)
        sums = association.drawn_sums(both, n, seed=(_SEED, number))
        return (sums / n - (both.sum() - sums) / m) / association.deviation(self.first, self.second)


def _tests(rows: pa.Table) -> Iterator[_Test]:
    """Those of which both target sets are there."""
    test, role, word = (np.asarray(rows[column].to_pylist(), str) for column in ("test", "role", "word"))
    values = rows[VALUE].to_numpy()
    for name in dict.fromkeys(test.tolist()):
        x, y = ((test == name) & (role == side) for side in "XY")
        if x.any() and y.any():
            first, second = values[x], -values[y]
            words = association.unit_means(first, word[x]), association.unit_means(second, word[y])
            yield _Test(name, first, second, *words)


def _over_all(tests: Sequence[_Test]) -> Iterator[Measurement]:
    """The mean absolute effect size of several tests against that of exchanged words, which is above 0."""
    if len(tests) < 2:
        return
    value = float(np.mean([abs(test.effect) for test in tests]))
    chance = np.mean([np.abs(test.by_chance(number)) for number, test in enumerate(tests)], axis=0)
    yield Measurement(
        name="mean_absolute_effect_size", value=value, n=len(tests), neutral=float(chance.mean()), p_value=p_value(value, chance)
    )


def _remarks(tests: Sequence[_Test], undefined: int) -> Iterator[Remark]:
    if tests:
        yield Remark(key="one_sided")
    if any(test.has_clusters for test in tests):
        yield Remark(key="sentences_of_a_word")
    if len(tests) > 1:
        yield Remark(key="mean_of_absolute_values")
    if undefined:
        yield Remark(key="no_spread", values={"n": undefined}, level="warning")


def rows_of_vectors(tests: Mapping[str, Mapping[str, np.ndarray]]) -> pa.Table:
    """Scored rows from published vectors: of each test the vectors by role, each shape ``(N, D)``; every text its own word.

    Examples
    --------
    >>> one = {"X": np.eye(2)[:1], "Y": np.eye(2)[1:], "A": np.eye(2)[:1], "B": np.eye(2)[1:]}
    >>> rows_of_vectors({"t": one})["value"].to_pylist()
    [1.0, 1.0, 1.0, 1.0]
    """
    parts = [(test, role, vectors) for test, sets in tests.items() for role, vectors in sets.items()]
    names = [test for test, _, vectors in parts for _ in vectors]
    roles = [role for _, role, vectors in parts for _ in vectors]
    keys = pa.table({"test": names, "role": roles, "word": [str(number) for number in range(len(names))]})
    scores = scored(names, roles, np.concatenate([vectors for *_, vectors in parts]))
    return keys.append_column(VALUE, scores[VALUE]).append_column(SKIPPED, scores[SKIPPED])
