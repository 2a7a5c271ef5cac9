"""Trials of a run without doing it: from the fields of a cell or a call to a folder, and from a finished one to its value."""

from __future__ import annotations

import math

from fm_notebook.contracts.specs import FEWEST_STEPS, DryRunSpec, FindLearningRateSpec, FinetuneSpec
from fm_notebook.contracts.trials import Estimate, LearningRateCurve
from fm_notebook.errors import SpecError
from fm_notebook.jobs.placement import Where
from fm_notebook.session import binding, launch, store
from fm_notebook.session.binding import Bound, Fields
from fm_notebook.session.evaluating import device_of, finished
from fm_notebook.session.launch import Launched
from fm_notebook.session.launchers import process


def prepare_dry_run(name: str, fields: Fields, *, again: bool = False, on: Where = "process") -> Launched:
    """Check `fields` and write the job folder of a dry run, or find the equal one; `launch.begin` starts it.

    At the job's end its ``progress.estimate`` is the `Estimate`.
    """
    bound, spec = _tried("dry-run", fields, on)
    return launch.trial(store.check_name(name), bound, DryRunSpec(run=spec), again=again)


def prepare_find_lr(
    name: str, fields: Fields, *, lowest: float = 1e-7, highest: float = 1.0, steps: int = 100, again: bool = False,
    on: Where = "process",
) -> Launched:  # fmt: skip
    """Check `fields` and write the job folder of a learning-rate range test, or find the equal one; `launch.begin` starts it.

    At the job's end its ``progress.learning_rates`` is the `LearningRateCurve`; the command ``stop`` ends it with what there is.
    """
    if not 0 < lowest < highest < math.inf or steps < FEWEST_STEPS:
        raise SpecError("trial.sweep", lowest=lowest, highest=highest, steps=steps, fewest=FEWEST_STEPS)
    bound, spec = _tried("find-lr", fields, on)
    asked = FindLearningRateSpec(run=spec, lowest=lowest, highest=highest, steps=steps)
    return launch.trial(store.check_name(name), bound, asked, again=again)


def finish_trial(launched: Launched) -> Estimate | LearningRateCurve:
    """Wait for a dry run or a range test that has begun.

    Raises
    ------
    FMError
        Why it failed.
    """
    return finished(launched.job, lambda progress: progress.estimate or progress.learning_rates)


def _tried(kind: str, fields: Fields, on: Where) -> tuple[Bound, FinetuneSpec]:
    launch.placed(on, kind)
    process.warm(device_of(fields), on=on)
    bound = binding.bind_finetune(fields)
    assert isinstance(bound.spec, FinetuneSpec)
    return bound, bound.spec
