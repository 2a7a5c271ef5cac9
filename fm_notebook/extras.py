"""The one door to optional packages."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

from fm_notebook.errors import FMError


def require(module: str, *, extra: str) -> ModuleType:
    """Import an optional `module`, or say which extra of this package installs it.

    Raises
    ------
    FMError
        If `module` is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise
    raise FMError("extra.missing", module=module, extra=extra)


def find(module: str, *, extra: str) -> None:
    """Say which extra installs an optional top-level `module`, if it is not installed; without loading it.

    Raises
    ------
    FMError
        If `module` is not installed.
    """
    if importlib.util.find_spec(module) is None:
        raise FMError("extra.missing", module=module, extra=extra)
