"""Evaluation jobs: from the fields of a cell or a call to a folder, and from a finished one to its value."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from fm_notebook.contracts.results import Evaluation
from fm_notebook.errors import RunError
from fm_notebook.jobs.placement import Where
from fm_notebook.session import binding, launch, store
from fm_notebook.session.binding import Assigned, Fields
from fm_notebook.session.job import Job
from fm_notebook.session.launch import Launched
from fm_notebook.session.launchers import process
from fm_notebook.session.progress import Progress
from fm_notebook.session.run import Run

T = TypeVar("T")


def prepare_evaluation(fields: Fields, *, again: bool = False, on: Where = "process") -> Launched:
    """Check `fields` (``model`` and ``data`` among them) and write the job folder, or find the equal evaluation."""
    launch.placed(on, "evaluate")
    bound = binding.bind_evaluate(with_model(fields, on))
    spec = bound.spec
    assert spec.kind == "evaluate"
    name = Path(spec.run).name if spec.run else spec.model.source
    return launch.evaluate(name, bound, spec.model, again=again)


def finish_evaluation(launched: Launched) -> Evaluation:
    """Wait for an evaluation that has begun.

    Raises
    ------
    FMError
        Why it failed.
    """
    return finished(launched.job, lambda progress: progress.evaluation)


def finished(job: Job, result: Callable[[Progress], T | None]) -> T:
    """What `result` finds in the progress of `job`, at its end.

    Raises
    ------
    FMError
        Why it failed.
    """
    job.wait()
    if failure := job.failure():
        raise failure
    found = result(job.progress)
    if found is None:
        raise RunError("run.no_result", name=job.name, state=job.state_in_words)
    return found


def with_model(fields: Fields, on: Where) -> Fields:
    """`fields` with the run that ``model`` names, which has finished; the worker loads its libraries meanwhile."""
    given = fields["model"]
    model = run_of(given.value) or given.value
    if isinstance(model, Run):
        model._needs_model()
    process.warm(device_of(fields, like=model), on=on)
    return {**fields, "model": Assigned(model, given.written, given.line)}


def run_of(value: object) -> Run | None:
    """The run that `value` is, or names; None if it is another model."""
    if isinstance(value, Run):
        return value
    found = store.lookup(value) if isinstance(value, str) else None
    return Run.open(found.path) if found else None


def device_of(fields: Fields, *, like: object = None) -> object:
    """The device that a job of `fields` will ask for, as far as that is known before they are checked."""
    return fields["device"].value if "device" in fields else getattr(getattr(like, "spec", None), "device", "auto")
