"""Experiment trackers that a run is told to, one file each: `trackers["tensorboard"]`.

They are fed from the run's journal, by a process of their own for each (``python -m fm_notebook.trackers``), so that nothing they
do can slow, hang or end a run.
"""

from fm_notebook.contracts.protocols import Tracker
from fm_notebook.contracts.registry import Registry

trackers: Registry[Tracker] = Registry("tracker", "fm_notebook.trackers")

__all__ = ["trackers"]
