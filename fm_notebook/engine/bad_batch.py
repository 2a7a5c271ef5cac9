"""The batch whose loss was not finite, kept for inspection."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fm_notebook.jobs import atomic

if TYPE_CHECKING:
    from fm_notebook.engine.batching import Batch

FORMAT_VERSION = 1


def save_bad_batch(folder: Path, step: int, batch: Batch) -> Path | None:
    """Write ``bad-batch-<step>.json`` into `folder`: row number, token ids, targets and weights of each text; mode 0600.

    Read it by ``tokenizer.decode(example["ids"])``. It holds people's data, as the run's folder does, and goes with it.

    Parameters
    ----------
    step : int
        The step that it would have been, counted from 1.
    batch : Batch
        The whole step: B texts.

    Returns
    -------
    Path or None
        None if it could not be written: what went wrong before is the news.
    """
    examples = [
        {"row": int(row), "ids": ids.tolist(), "target": _plain(target), "weight": _plain(weight)}
        for row, ids, target, weight in zip(
            batch.rows, _by_text(batch.ids, batch), _targets(batch.targets, batch), _targets(batch.weights, batch), strict=True
        )
    ]
    path = folder / f"bad-batch-{step}.json"
    content = {"format_version": FORMAT_VERSION, "step": step, "level": batch.level, "examples": examples}
    try:
        atomic.write(path, json.dumps(content).encode())
    except OSError:
        return None
    return path


def _targets(values: np.ndarray, batch: Batch) -> list[Any]:
    return _by_text(values, batch) if batch.level == "token" else list(values)


def _by_text(flat: np.ndarray, batch: Batch) -> list[np.ndarray]:
    return np.split(flat, np.cumsum(batch.lengths)[:-1])


def _plain(value: Any) -> Any:
    return np.asarray(value).tolist()
