"""Weights & Biases, offline unless ``WANDB_MODE`` says otherwise: files in the run's folder, for ``wandb sync``."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fm_notebook import extras

if TYPE_CHECKING:
    from fm_notebook.contracts.protocols import TrackedRun


class WeightsAndBiases:
    """A `fm_notebook.contracts.protocols.Tracker`. W&B's own variables, such as ``WANDB_PROJECT``, are in force."""

    name = "wandb"
    source = "https://docs.wandb.ai"
    package, extra = "wandb", "wandb"
    _run: Any = None

    def begin(self, run: TrackedRun) -> str:
        """Begin or go on with W&B's run of that id; of the machine and the code it takes no note of its own."""
        wandb = extras.require("wandb", extra=self.extra)
        quiet = wandb.Settings(
            console="off", silent=True, disable_git=True, disable_code=True, save_code=False, x_disable_stats=True,
            x_disable_meta=True,
        )  # fmt: skip
        self._run = wandb.init(
            mode=os.environ.get("WANDB_MODE", "offline"), project=os.environ.get("WANDB_PROJECT", run.project), name=run.name,
            id=run.id or uuid.uuid4().hex[:8], resume="allow", dir=str(run.folder), config=dict(run.config), settings=quiet,
        )  # fmt: skip
        return self._run.id

    def log(self, step: int, values: Mapping[str, float], time: float) -> None:
        """Log at `step`; when it was is W&B's own."""
        del time
        self._run.log(dict(values), step=step)

    def end(self, state: str) -> None:
        """Finish; a run that failed or died is one there too."""
        self._run.summary["state"] = state
        self._run.finish(exit_code=int(state in {"failed", "died"}))


tracker = WeightsAndBiases()
