"""The two files that settings are kept in: ``pyproject.toml`` of the project and ``config.toml`` of the user."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import platformdirs

from fm_notebook import messages
from fm_notebook.session import store

USER_FILE = "FM_NOTEBOOK_CONFIG"
"""Variable that names another file of the user's settings."""
_SECTION = ("tool", "fm_notebook")
_HEADER = re.compile(r"\s*\[\s*([^\[\]]+?)\s*\]\s*(#.*)?$")
_KEY = re.compile(r"""\s*(?P<name>"[^"]+"|'[^']+'|[\w-]+)\s*[.=]""")
_FAULT_LINE = re.compile(r"\(at line (\d+), column \d+\)")


@dataclass(frozen=True)
class File:
    """What a file sets.

    Attributes
    ----------
    values : Mapping
        Values by the names of fields.
    lines : Mapping
        Line (from 1) of each, where it was found.
    broken : str
        Why nothing could be read; empty if it could.
    broken_line : int, optional
        Where that is.
    has_settings : bool
        Whether the file speaks of us at all.
    """

    path: Path
    values: Mapping[str, Any] = field(default_factory=dict)
    lines: Mapping[str, int] = field(default_factory=dict)
    broken: str = ""
    broken_line: int | None = None
    has_settings: bool = True

    def where(self, name: str = "") -> str:
        """The file, and the line of the field `name`, in words."""
        line = self.lines.get(name) if name else self.broken_line
        return messages.text("settings.line" if line else "settings.file", file=shown(self.path), line=line)


def shown(path: Path) -> str:
    """The path as short as it is clear: from the project's folder, or from home."""
    for root, sign in ((store.project_folder(), Path()), (Path.home(), Path("~"))):
        if path.is_relative_to(root):
            return str(sign / path.relative_to(root))
    return str(path)


def user_path() -> Path:
    """Where the user's file is looked for; it need not exist."""
    named = os.environ.get(USER_FILE)
    return Path(named).expanduser() if named else platformdirs.user_config_path("fm_notebook") / "config.toml"


def user() -> File | None:
    """The user's file, None if there is none."""
    return _read(user_path(), ())


def project() -> File | None:
    """The nearest ``pyproject.toml``, from the project's folder upwards, that has a table for us or cannot be read."""
    start = store.project_folder()
    for folder in (start, *start.parents):
        found = _read(folder / "pyproject.toml", _SECTION)
        if found and found.has_settings:
            return found
    return None


def _read(path: Path, section: tuple[str, ...]) -> File | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return _parsed(path, section, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=32)
def _parsed(path: Path, section: tuple[str, ...], _size: int, _mtime_ns: int) -> File | None:
    """The file's settings; size and time are the cache's key."""
    try:
        text = path.read_text(encoding="utf-8")
        table: object = tomllib.loads(text)
    except (OSError, ValueError) as error:
        return _unreadable(path, error)
    for name in section:
        table = table.get(name) if isinstance(table, dict) else None
    if table is None:
        return File(path, has_settings=False)
    lines = _lines(text, section)
    if not isinstance(table, dict):
        return File(path, broken=messages.text("settings.no_table"))
    return File(path, table, lines)


def _unreadable(path: Path, error: Exception) -> File:
    """A file that cannot be opened, is no UTF-8, or is no TOML."""
    if not isinstance(error, tomllib.TOMLDecodeError):
        return File(path, broken=getattr(error, "strerror", None) or "UTF-8")
    found = _FAULT_LINE.search(str(error))
    line = int(found[1]) if found else path.read_bytes().count(b"\n") + 1  # "at end of document"
    return File(path, broken=_FAULT_LINE.sub("", str(error)).strip(), broken_line=line)


def _lines(text: str, section: tuple[str, ...]) -> dict[str, int]:
    """The line of each field in `section`, for messages: TOML's readers give values without their places."""
    found: dict[str, int] = {}
    inside: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            inside = tuple(part.strip(" \"'") for part in header[1].split("."))
            if inside[: len(section)] == section and len(inside) > len(section):
                found.setdefault(inside[len(section)], number)
        elif inside == section and (key := _KEY.match(line)):
            found.setdefault(key["name"].strip("\"'"), number)
    return found
