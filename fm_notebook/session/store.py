"""The runs of this project: names, numbers and folders.

Runs are kept in ``runs/`` beside the notebook, or in the folder that ``FM_NOTEBOOK_RUNS`` names.
"""

from __future__ import annotations

import keyword
import os
import re
import unicodedata
from pathlib import Path

from fm_notebook.errors import ArgumentError, RunError, did_you_mean
from fm_notebook.jobs.folder import JobFolder, create

_STARTED_IN = Path.cwd()  # a later os.chdir in the notebook must not hide its runs
_MOST_BYTES = 240  # of a file name's 255
_NUMBERED = re.compile(r"^(?P<name>.+)\.(?P<number>[1-9][0-9]*)$")


def project_folder() -> Path:
    """Where this process was started: beside the notebook."""
    return _STARTED_IN


def runs_folder() -> Path:
    """The folder that holds this project's runs; it may not exist yet."""
    return Path(os.environ.get("FM_NOTEBOOK_RUNS") or _STARTED_IN / "runs").expanduser().resolve()


def check_name(name: str) -> str:
    """The name in normal form (NFKC, as Python reads it).

    Raises
    ------
    ArgumentError
        If it is no Python identifier: names become variables and folders, so they hold no dots, slashes or spaces.
    """
    normal = unicodedata.normalize("NFKC", name)
    if not normal.isidentifier() or keyword.iskeyword(normal) or len(normal) > 80 or len(normal.encode()) > _MOST_BYTES:
        raise ArgumentError("name.invalid", name=name, suggestion=_suggestion(normal))
    return normal


def create_run(name: str) -> JobFolder:
    """A new folder ``<name>.<n>`` with the next free number."""
    while True:
        number = max((_number(path) for path in _numbered(name)), default=0) + 1
        try:
            return create(runs_folder() / f"{name}.{number}")
        except FileExistsError:  # another notebook took it this instant
            continue


def versions(name: str) -> list[JobFolder]:
    """The whole runs called `name`, oldest first."""
    return [JobFolder(path) for path in sorted(_numbered(name), key=_number) if (path / "job.json").exists()]


def all_runs() -> list[JobFolder]:
    """Every whole run of the project, oldest first."""
    root = runs_folder()
    found = [JobFolder(path) for path in root.glob("*") if _NUMBERED.match(path.name) and (path / "job.json").exists()]
    return sorted(filter(_is_readable, found), key=lambda folder: (folder.identity.created, folder.path.name))


def is_numbered(folder: str) -> bool:
    """Whether a folder of this name may be a run: ``<name>.<n>``."""
    return _NUMBERED.match(folder) is not None


def _is_readable(folder: JobFolder) -> bool:
    """Whether this version understands the folder: a torn or a newer one must not hide all the others."""
    try:
        return bool(folder.identity and folder.spec)
    except (OSError, ValueError):
        return False


def find(text: str) -> JobFolder:
    """The run that `text` names: ``sentiment`` (the newest), ``sentiment.2``, or a folder.

    Raises
    ------
    RunError
        If there is none.
    """
    if found := lookup(text):
        return found
    names = sorted({folder.identity.name for folder in all_runs()})
    raise RunError("run.unknown", name=text, known=", ".join(names) or "-", hint=did_you_mean(text, names))


def lookup(text: str) -> JobFolder | None:
    """Like `find`, but None if there is no such run."""
    match = _NUMBERED.match(text)
    name = match["name"] if match else text
    if unicodedata.normalize("NFKC", name).isidentifier():
        for folder in reversed(versions(unicodedata.normalize("NFKC", name))):
            if not match or folder.path.name == unicodedata.normalize("NFKC", text):
                return folder
    try:
        path = Path(text).expanduser()
        return JobFolder(path.resolve()) if (path / "job.json").is_file() else None
    except (OSError, RuntimeError, ValueError):  # too long for a path, or of an unknown user
        return None


def _suggestion(name: str) -> str:
    words = re.sub(r"\W+", "_", name).strip("_")[:40]
    return words if words.isidentifier() and not keyword.iskeyword(words) else f"run_{words}"


def _numbered(name: str) -> list[Path]:
    found = [path for path in runs_folder().glob("*") if (match := _NUMBERED.match(path.name)) and match["name"] == name]
    return [path for path in found if path.is_dir()]


def _number(path: Path) -> int:
    return int(path.name.rpartition(".")[2])
