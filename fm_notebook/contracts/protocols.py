"""What plug-ins promise. Structural: nothing is inherited, a fake of ten lines satisfies each."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import pyarrow as pa
    from pydantic import BaseModel

    from fm_notebook.contracts.events import Noted
    from fm_notebook.contracts.results import Report

Command = Literal["run", "pause", "stop", "cancel"]
ReadCommand = Callable[[], Command]
"""Asked at every step border for what the user wants now."""

Level = Literal["text", "token"]
"""Whether a text has one target, or each of its tokens may have one."""

IGNORED = -100
"""Target of a token from which nothing is learnt."""


@dataclass(frozen=True)
class Outputs:
    """What a task keeps of a model's answers, in the order of the examples.

    Attributes
    ----------
    values : dict of str to ndarray
        First dimension n: level ``text`` one entry a text, level ``token`` one for each token that has a target, text after text.
    targets : ndarray
        First dimension n.
    counts : ndarray of int64, shape (N,)
        Entries of each text.
    rows : ndarray of int64, shape (N,), optional
        Row of each example in the user's data; pieces of one long text share theirs and stand together.
    """

    values: dict[str, np.ndarray]
    targets: np.ndarray
    counts: np.ndarray
    rows: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def owners(self) -> np.ndarray:
        """Which row each entry belongs to, numbered from 0 in the order of the rows, shape ``(n,)``."""
        import numpy as np

        rows = np.arange(len(self)) if self.rows is None else self.rows
        return np.repeat(np.cumsum(np.diff(rows, prepend=rows[:1]) != 0), self.counts)


@runtime_checkable
class Task(Protocol):
    """One kind of problem, such as ``text-classification``. Importing its module loads no torch.

    Attributes
    ----------
    name : str
        The hub's pipeline tag.
    level : str
        See `Level`.
    metrics : Mapping
        Names of held-out metrics and whether ``max`` or ``min`` is better; the first is the default. ``loss`` is among them.
    fields : frozenset of str, optional
        Fields of a spec that mean something to it and not to every task. In a cell of another task they are refused.
    """

    name: str
    level: Level
    metrics: Mapping[str, Literal["max", "min"]]

    def configure(self, spec: Any) -> Task:
        """The task as `spec` wants it; itself, if the spec has nothing to say."""
        ...

    def reading(self, spec: Any) -> Any:
        """Which columns are read, and how they become targets: a `fm_notebook.data.targets.Reading`."""
        ...

    def load_model(self, source: Any, labels: Sequence[str] | None) -> Any:
        """The pretrained model with a head for `labels` (a fresh one where the weights have none); None keeps the model's own.

        `source` is a `fm_notebook.engine.models.ModelSource`, the answer a `Loaded`.
        """
        ...

    def has_head(self, source: Any) -> bool:
        """Whether the weights come with a head for this task."""
        ...

    def encode(self, rows: pa.Table, tokenizer: Any, labels: Sequence[str], *, max_length: int) -> Any:
        """The rows of a job folder as `fm_notebook.engine.batching.Examples`, cut at `max_length` tokens."""
        ...

    def losses(self, logits: Any, targets: Any) -> Any:
        """Loss of each target, a tensor of shape ``(n,)``, from logits ``(n, C)``; the engine weights and averages them."""
        ...

    def keep(self, logits: Any, targets: Any) -> Mapping[str, Any]:
        """What evaluation needs of the logits: tensors whose first dimension is n. ``logits`` themselves where C is small."""
        ...

    def report(self, outputs: Outputs, labels: Sequence[str], *, seed: int) -> Report:
        """All held-out scores, with intervals; those named in `metrics` at least."""
        ...

    def predictions(self, outputs: Outputs, rows: pa.Table, labels: Sequence[str]) -> pa.Table:
        """What the user is given for unlabelled rows: one row each, in their order."""
        ...


@runtime_checkable
class Classifies(Protocol):
    """A `Task` whose rows have one true class each, so that its decisions can be told apart by group."""

    def classes(self, outputs: Outputs, labels: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """True class numbers, shape ``(N,)``, and the probability of each class, float64, shape ``(N, C)``."""
        ...


@runtime_checkable
class Generates(Protocol):
    """A `Task` that predicts by writing a text for each row, a token at a time, and not by one pass over the rows."""

    def prompts(self, rows: pa.Table, tokenizer: Any, *, max_length: int) -> Any:
        """What is gone on from, as `fm_notebook.engine.tokens.Tokens`."""
        ...

    def generate(
        self, model: Any, tokenizer: Any, prompts: Any, *, batch_size: int, precision: Any, command: ReadCommand
    ) -> Generator[Any, None, pa.Table | None]:
        """What the user is given, one row each, in their order; None if a command came in between. Yields `ItemsScored`."""
        ...


@dataclass(frozen=True)
class TrainingRows:
    """Rows to learn from, as a `Mitigation` takes and gives them.

    Attributes
    ----------
    rows : pyarrow.Table
        In canonical columns; ``by.<name>`` is the group that each row has of a grouping.
    weights : ndarray of float64, shape (N,)
        How much each row's loss counts.
    labels : list of str
        The classes that the numbers of ``label`` mean.
    """

    rows: pa.Table
    weights: np.ndarray
    labels: list[str]


@runtime_checkable
class Mitigation(Protocol):
    """A way to lessen differences between groups while a model is fine-tuned. Importing its module loads no torch and no NumPy.

    Attributes
    ----------
    name, source : str
        `source` cites who described it.
    stage : str
        Where it acts: on rows before training (``pre-processing``), on the loss (``in-processing``), on answers
        (``post-processing``).
    kinds : frozenset of str
        Kinds of rows that it is for: see `fm_notebook.data.reading.Reading`.
    Spec : type
        Its fields, a pydantic model.
    """

    name: str
    stage: Literal["pre-processing", "in-processing", "post-processing"]
    kinds: frozenset[str]
    Spec: type[BaseModel]
    source: str

    @property
    def summary(self) -> str:
        """What it does, in a sentence of the reader's language."""
        ...

    def groups(self, spec: Any) -> tuple[str, ...]:
        """The columns of the training rows that it needs besides text and label, such as ``gender`` or ``mentions:gender``."""
        ...

    def apply(self, given: TrainingRows, spec: Any, *, seed: int) -> tuple[TrainingRows, list[Noted]]:
        """The rows with others added, or with other weights, and what is said of it.

        The same each time it is called with the same: a resumed run and each process of several derive the rows anew.
        """
        ...


@dataclass(frozen=True)
class TrackedRun:
    """A run as a `Tracker` is told of it.

    Attributes
    ----------
    name, project : str
        Name and number of the run, such as ``sentiment.2``; name of the folder that holds the project's runs.
    folder : Path
        For the tracker's own files; it is there.
    id : str
        What `Tracker.begin` gave when the run was begun, to go on with it after a resume; empty the first time.
    config : Mapping
        The spec, and under ``run`` what was chosen when it started: plain JSON.
    started : float
        When the run started, in seconds since the epoch.
    """

    name: str
    project: str
    folder: Path
    id: str
    config: Mapping[str, Any]
    started: float = 0.0


@runtime_checkable
class Tracker(Protocol):
    """A place outside that keeps the curves of runs. Importing its module loads nothing.

    It is told of one run, in a process of its own: it may raise, hang or end that, and the run does not notice.

    Attributes
    ----------
    name, source : str
    package, extra : str
        Module that has to be installed, and the extra of ours that installs it; empty if there is none.
    """

    name: str
    source: str
    package: str
    extra: str

    def begin(self, run: TrackedRun) -> str:
        """Begin the run there, or go on with it; gives the tracker's own id of it, which is kept."""
        ...

    def log(self, step: int, values: Mapping[str, float], time: float) -> None:
        """Take `values` such as ``train/loss`` or ``eval/accuracy`` of a step that ended at `time`; steps never decrease."""
        ...

    def end(self, state: str) -> None:
        """The run is ``finished``, ``stopped``, ``cancelled``, ``failed`` or ``died``; it may still be resumed."""
        ...
