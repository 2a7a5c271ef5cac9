"""The curves of a run as float32 bytes, whole for a new page and as deltas for a page that has the rest."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from fm_notebook.contracts.events import EvalEnded
from fm_notebook.session.progress import Progress

MOST_EVALUATIONS = 400
NAMES = ("train", "loss", "metric")


def pack(points: Iterable[tuple[float, float]]) -> bytes:
    """Points ``(step, value)`` as little-endian float32, 8 bytes each: exact for steps below 2**24."""
    packed = array("f", [number for point in points for number in point])
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()


def whole(progress: Progress) -> dict[str, bytes]:
    """All that is to be drawn: training loss, held-out loss and held-out metric."""
    return {"train": pack(_train(progress, 0)), "loss": pack(_held_out(progress, "loss")), "metric": pack(_metric(progress))}


@dataclass
class Sent:
    """What the open pages have by now."""

    version: int = -1
    points: int = 0
    evaluations: int = 0
    _last: EvalEnded | None = field(default=None, repr=False)

    def delta(self, progress: Progress) -> tuple[list[tuple[str, int]], list[bytes]]:
        """What is new since the last call: ``(curve, index of its first point)`` and the bytes of each."""
        parts: list[tuple[str, int, bytes]] = []
        start = self.points if self.version == progress.curve_version else 0
        fresh = pack(_train(progress, start))
        if fresh or start < self.points:
            parts.append(("train", start, fresh))
        self.version, self.points = progress.curve_version, start + len(fresh) // 8
        last = progress.held_out[-1] if progress.held_out else None
        if last is not self._last or len(progress.held_out) != self.evaluations:
            self._last, self.evaluations = last, len(progress.held_out)
            parts += [("loss", 0, pack(_held_out(progress, "loss"))), ("metric", 0, pack(_metric(progress)))]
        return [(name, at) for name, at, _ in parts], [data for _, _, data in parts]


def thinned(evaluations: Sequence[EvalEnded], most: int = MOST_EVALUATIONS) -> list[EvalEnded]:
    """At most about `most` evaluations, evenly chosen; the newest and the best by the run's metric are kept."""
    stride = -(-len(evaluations) // most) or 1
    best = next((e for e in reversed(evaluations) if e.best), None)
    last = len(evaluations) - 1
    return [e for i, e in enumerate(evaluations) if i % stride == 0 or i == last or e is best]


def _train(progress: Progress, start: int) -> Iterable[tuple[float, float]]:
    # The watcher's thread may be appending: zip ends with the shorter of the two.
    return zip(progress.train.steps[start:], progress.train.values[start:], strict=False)


def _metric(progress: Progress) -> Iterable[tuple[float, float]]:
    name = progress.started.metric if progress.started else ""
    return _held_out(progress, name) if name and name != "loss" else ()


def _held_out(progress: Progress, name: str) -> Iterable[tuple[float, float]]:
    return [(e.step, e.metrics[name]) for e in thinned(progress.held_out) if name in e.metrics]
