"""Trackers of a run: looked for before it starts, and each fed by a process of its own that outlives the notebook."""

from __future__ import annotations

import subprocess
import sys
import traceback
from collections.abc import Sequence

from fm_notebook import extras
from fm_notebook.jobs.folder import JobFolder
from fm_notebook.session.launchers.process import worker_environment
from fm_notebook.trackers import trackers

FOLDER = "trackers"

_started: list[subprocess.Popen[bytes]] = []
"""Those not seen to end yet: dropping one that runs is a ResourceWarning, and leaves a zombie."""


def check(names: Sequence[str]) -> None:
    """See that there are trackers called `names` and that their packages are installed; loads none of these.

    Raises
    ------
    FMError
        If one is missing, with the extra that installs it.
    """
    for name in names:
        tracker = trackers[name]
        if tracker.package:
            extras.find(tracker.package, extra=tracker.extra)


def start(folder: JobFolder) -> None:
    """Start a process for each tracker of the run in `folder`.

    What goes wrong with it stands in ``trackers/<name>.log`` of the folder; the run does not mind. The environment is this
    process's, so a variable such as ``WANDB_PROJECT`` that is set in the notebook counts.
    """
    _started[:] = [each for each in _started if each.poll() is None]
    for name in getattr(folder.spec, "trackers", ()):
        try:
            _start(folder, name)
        except OSError:
            traceback.print_exc()  # no process, no file: the disk or the table of processes is full


def _start(folder: JobFolder, name: str) -> None:
    own = folder.path / FOLDER
    own.mkdir(exist_ok=True, mode=0o700)
    with (own / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "fm_notebook.trackers", str(folder.path), name, *trackers.files],
            env=worker_environment(), cwd=own, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, close_fds=True,
            start_new_session=True,
        )  # fmt: skip
    _started.append(process)
