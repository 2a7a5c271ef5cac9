"""The folder of one job and where everything in it lies.

::

    runs/<name>.<n>/        0700, ignored by git
      job.json              name, key and time of creation
      spec.json             what was asked, pure JSON
      facts.json            what was counted in the data (fine-tuning)
      data/                 train.arrow, eval.arrow: the rows used, as Arrow; tokens-<hash>.arrow: their tokens, if making them
                            took long, one file linked by all runs that have the same; people's data
      events.jsonl          the journal
      control               what the user wants now
      lock                  held by the worker that executes the job
      attempt.<rank>.json   there while an attempt lives, or if it was killed: how many the system had killed for lack of memory
      log.txt               the worker's output
      trackers/             of each tracker its files, what it was told (<name>.json), its process's output (<name>.log)
      checkpoints/ model/   weights and all that resuming needs; the best by `metric`
      evaluations/<n>/ predictions/<n>/ explanations/<n>/ embeddings/<n>/ probes/<n>/     jobs of their own, in the same form;
                            a probe's items are data/probe.arrow, what was scored so far scores/, both together items.arrow
      row_notes.jsonl       what the user noted on single rows
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated

from pydantic import Field

from fm_notebook.contracts.results import DataFacts
from fm_notebook.contracts.specs import Frozen, Spec, read_spec
from fm_notebook.jobs import atomic
from fm_notebook.jobs.locks import is_held


class Identity(Frozen):
    """Who a job is.

    Attributes
    ----------
    name : str
        The run's name without its number.
    key : str
        SHA-256 of spec, data, model and versions: equal jobs have equal keys.
    created : float
        Seconds since the epoch.
    device : str
        Name of the worker's queue that it was put in, such as ``cpu`` or ``cuda:0``.
    language : str
        Language of the notebook that asked.
    task_files : tuple of str
        Files of plug-ins (tasks, mitigations, probes) that the user registered by hand.
    """

    name: str
    key: str = ""
    created: float = 0.0
    device: Annotated[str, Field(pattern=r"^(cpu|mps|cuda(:\d+)?)$")] = "cpu"  # names a folder, and bundles come from others
    language: str = "en"
    task_files: tuple[str, ...] = ()


PATIENCE_SECONDS = 5.0
"""For a worker or tracker that is about to leave a folder."""


@dataclass(frozen=True)
class JobFolder:
    """Paths and small files of the job in `path` (absolute)."""

    path: Path

    @property
    def events(self) -> Path:
        """The journal."""
        return self.path / "events.jsonl"

    @property
    def control(self) -> Path:
        """The user's wish."""
        return self.path / "control"

    @property
    def lock(self) -> Path:
        """Held by the worker."""
        return self.path / "lock"

    @property
    def log(self) -> Path:
        """The worker's output."""
        return self.path / "log.txt"

    @property
    def model(self) -> Path:
        """The best weights, as a transformers folder."""
        return self.path / "model"

    @property
    def checkpoints(self) -> Path:
        """Folders to resume from."""
        return self.path / "checkpoints"

    @property
    def data(self) -> Path:
        """The rows used."""
        return self.path / "data"

    @property
    def train_rows(self) -> Path:
        """Training rows: columns ``text``, ``text_pair`` (pairs only), ``label`` (int32) and ``row`` (int64)."""
        return self.data / "train.arrow"

    @property
    def eval_rows(self) -> Path:
        """Rows to evaluate or predict, in the same columns."""
        return self.data / "eval.arrow"

    @property
    def predictions(self) -> Path:
        """What an evaluation or prediction answered: Arrow with a ``probabilities`` column (list of C float32) and ``row``."""
        return self.path / "predictions.arrow"

    @cached_property
    def spec(self) -> Spec:
        """What was asked."""
        return read_spec((self.path / "spec.json").read_bytes())

    @cached_property
    def identity(self) -> Identity:
        """Who the job is."""
        return Identity.model_validate_json((self.path / "job.json").read_bytes())

    @cached_property
    def facts(self) -> DataFacts:
        """What was counted in the data."""
        return DataFacts.model_validate_json((self.path / "facts.json").read_bytes())

    def write(self, *, spec: Spec, identity: Identity, facts: DataFacts | None = None) -> None:
        """Write the small files; ``job.json`` last, so that a folder with one is whole."""
        atomic.write(self.path / "spec.json", spec.model_dump_json(indent=1).encode())
        if facts is not None:
            atomic.write(self.path / "facts.json", facts.model_dump_json(indent=1).encode())
        atomic.write(self.path / "job.json", identity.model_dump_json().encode())


def create(path: Path) -> JobFolder:
    """Make a new private job folder; its parents too.

    Raises
    ------
    FileExistsError
        If `path` exists.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=0o700)
    (path / ".gitignore").write_text("*\n")
    (path / "data").mkdir(mode=0o700)
    return JobFolder(path.resolve())


def delete(folder: JobFolder) -> None:
    """Remove the job and its data. A worker's last word comes a moment before it lets go; a tracker may still be closing files.

    Raises
    ------
    OSError
        If something is still written there after `PATIENCE_SECONDS`.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while is_held(folder.lock) and time.monotonic() < deadline:
        time.sleep(0.02)
    while folder.path.exists():
        try:
            shutil.rmtree(folder.path)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
