"""Do the job of a folder, whatever its kind, and always end its journal."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from fm_notebook.contracts.events import Ended, ErrorRecord, Event, PhaseBegan
from fm_notebook.contracts.protocols import ReadCommand
from fm_notebook.contracts.specs import (
    DryRunSpec,
    EmbedSpec,
    EvaluateSpec,
    ExplainSpec,
    FindLearningRateSpec,
    FinetuneSpec,
    PredictSpec,
    ProbeSpec,
)
from fm_notebook.jobs.folder import JobFolder


def execute(folder: JobFolder, append: Callable[[Event], None], command: ReadCommand, *, together: bool = False) -> None:
    """Do the job in `folder`; whatever happens, the last event is one `Ended`.

    Parameters
    ----------
    folder : JobFolder
        With its spec and rows; a fine-tuning with checkpoints is continued.
    append : callable
        Takes each event, in order.
    command : callable
        What the user wants now.
    together : bool
        Whether this process is one of several that were started for the job and meet first.
    """
    step, ended = 0, False
    try:
        append(PhaseBegan(phase="loading_libraries"))
        for event in events(folder, command, together=together):
            step, ended = getattr(event, "step", step), isinstance(event, Ended)
            append(event)
    except BaseException as error:
        if not ended:
            append(Ended(state="failed", step=step, error=ErrorRecord.of(error)))
        if not isinstance(error, Exception):
            raise
    finally:
        _give_back()


def events(folder: JobFolder, command: ReadCommand, *, together: bool = False) -> Iterator[Event]:
    """The job in `folder` as a stream of events, from after its libraries are loaded; the last is `Ended`."""
    from fm_notebook.contracts.registry import registry_of
    from fm_notebook.mitigations import mitigations
    from fm_notebook.probes import probes
    from fm_notebook.tasks import tasks
    from fm_notebook.worker import explaining, scoring, training, trials

    for path in folder.identity.task_files:
        registry_of(path, (tasks, mitigations, probes)).register(path)
    match folder.spec:
        case FinetuneSpec() as spec:
            yield from _with_others(folder, spec, command) if together else training.finetune(folder, spec, command)
        case EvaluateSpec() as spec:
            yield from scoring.evaluate(folder, spec, command)
        case PredictSpec() as spec:
            yield from scoring.predict(folder, spec, command)
        case EmbedSpec() as spec:
            from fm_notebook.worker import embedding

            yield from embedding.embed(folder, spec, command)
        case ExplainSpec() as spec:
            yield from explaining.explain(folder, spec, command)
        case ProbeSpec() as spec:
            from fm_notebook.worker import probing

            yield from probing.probe(folder, spec, command)
        case DryRunSpec() as spec:
            yield from trials.dry_run(folder, spec, command)
        case FindLearningRateSpec() as spec:
            yield from trials.find_lr(folder, spec, command)


def _with_others(folder: JobFolder, spec: FinetuneSpec, command: ReadCommand) -> Iterator[Event]:
    from fm_notebook.engine import distributed
    from fm_notebook.worker import training

    yield from training.finetune(folder, spec, command, distributed.join(spec.device))
    distributed.leave()


def _give_back() -> None:
    import sys

    if "torch" in sys.modules:
        from fm_notebook.engine import memory

        memory.free()
