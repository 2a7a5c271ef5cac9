"""Files that are either whole or absent."""

from __future__ import annotations

import os
from errno import EDQUOT, ENOSPC
from pathlib import Path

FULL_DISK = frozenset({ENOSPC, EDQUOT})
"""Error numbers of a full disk or a used-up quota."""


def write(path: Path, content: bytes) -> None:
    """Put `content` into `path` by a temporary name, fsync and rename; mode 0600."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """Make renames within `folder` survive a power cut, where the system allows it."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
