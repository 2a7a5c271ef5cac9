"""What a classifier decided, and whether its probabilities may be believed: what the worker adds to a task's own report."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fm_notebook.contracts.calibration import Calibration, Curve, Temperature
from fm_notebook.contracts.protocols import Classifies, Outputs, Task
from fm_notebook.contracts.specs import EvaluateSpec
from fm_notebook.metrics import calibration, curves, temperature
from fm_notebook.metrics.predictions import Predictions


def decisions(spec: EvaluateSpec, task: Task, outputs: Outputs, labels: Sequence[str]) -> Predictions | None:
    """True and predicted classes with their probabilities, where rows have one class each; else None.

    Probabilities that are no numbers, as of a model that diverged, are refused where groups are asked for; elsewhere the
    task's own report has to do.
    """
    if not isinstance(task, Classifies) or spec.problem in ("multi-label", "regression"):
        return None
    truth, probabilities = task.classes(outputs, labels)
    if not spec.by and not np.isfinite(probabilities).all():
        return None
    return Predictions.of(
        truth.astype(np.int64), probabilities.argmax(1), labels, probabilities=probabilities, positive=spec.positive
    )


def trust(given: Predictions | None, *, seed: int) -> tuple[Calibration | None, Temperature | None, list[Curve]]:
    """Calibration, the best temperature for these rows, and ROC and precision-recall curves."""
    if given is None:
        return None, None, []
    return calibration.calibration(given, seed=seed), temperature.of_shares(given), curves.curves(given)
