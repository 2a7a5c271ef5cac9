"""By how many processes a job is executed and who starts them: ``--on``, and the file ``placement.json`` in the job's folder.

It is no part of what a job is: the same run may be resumed by another number of processes.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from fm_notebook.contracts.values import Frozen
from fm_notebook.errors import ArgumentError, did_you_mean
from fm_notebook.jobs import atomic

Where = str
"""``process``, ``kernel``, ``torchrun:N`` or ``ray:N``."""
CHOICES = ("process", "kernel", "torchrun:N", "ray:N")
STORE = "FM_NOTEBOOK_STORE"
"""Variable that names the file through which processes of one machine find each other; without it they meet at MASTER_ADDR."""
PEER_LOST = "distributed.peer_lost"
"""Key of the error of a process whose peer has gone: never the cause."""
_FORM = re.compile(r"(process|kernel)|(torchrun|ray):([1-9]\d{0,3})")


class Placement(Frozen):
    """Who executes a job.

    Attributes
    ----------
    launcher : str
        ``process`` (the device's worker itself), ``kernel`` (the notebook's own process), or what the worker starts `processes`
        others with: ``torchrun`` on this machine, ``ray`` on a cluster.
    processes : int
        How many train together.
    """

    launcher: Literal["process", "kernel", "torchrun", "ray"] = "process"
    processes: Annotated[int, Field(ge=1)] = 1

    @property
    def is_together(self) -> bool:
        """Whether the worker starts processes for the job."""
        return self.launcher in {"torchrun", "ray"}


def parse(on: Where) -> Placement:
    """The placement written as `on`.

    Raises
    ------
    ArgumentError
        If it is none of `CHOICES`, with N from 1 to 9999.
    """
    found = _FORM.fullmatch(on)
    if found is None:
        raise ArgumentError("placement.unknown", on=on, choices=", ".join(CHOICES), hint=did_you_mean(on, CHOICES))
    alone, launcher, processes = found.groups()
    return Placement.model_validate({"launcher": alone or launcher, "processes": int(processes or 1)})


def write(folder: Path, placement: Placement) -> None:
    """Note in a job's folder how it is executed from now on."""
    atomic.write(folder / "placement.json", placement.model_dump_json().encode())


def read(folder: Path) -> Placement:
    """How the job in `folder` is executed: by the worker itself, if nothing is noted."""
    try:
        return Placement.model_validate_json((folder / "placement.json").read_bytes())
    except FileNotFoundError:
        return Placement()
