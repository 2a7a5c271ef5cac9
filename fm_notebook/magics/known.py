"""Names that are known on this machine: runs, models, samples, plug-ins. No network, and no run is opened."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from fm_notebook.contracts.specs import FinetuneSpec
from fm_notebook.data import samples
from fm_notebook.errors import FMError
from fm_notebook.session import store

_MOST_ENTRIES = 2000
"""Of a folder that are looked at: a home with a hundred thousand files must not hold up a key."""
DATA_ENDINGS = (".csv", ".tsv", ".jsonl", ".json", ".txt", ".conll", ".bio", ".iob", ".iob2", ".bmes", ".parquet")
"""Those of `fm_notebook.data.files`, which loads Arrow; all but Parquet may be gzipped."""
_IPYTHONS = frozenset({"In", "Out", "get_ipython", "exit", "quit", "open"})


def runs(head: str = "") -> list[str]:
    """The names of this project's runs, by their folders alone; with their numbers if `head` has a dot, as ``sentiment.``."""
    folders = [entry.name for entry in _entries(store.runs_folder()) if entry.is_dir() and store.is_numbered(entry.name)]
    return sorted(folders if "." in head else {name.rpartition(".")[0] for name in folders})


def models() -> list[str]:
    """Installed model packages, runs, folders with a model beside the notebook, and what the hub's cache holds."""
    packages = [name for name, package in samples.MODELS.items() if importlib.util.find_spec(package.module)]
    folders = [entry.name for entry in _entries(Path()) if entry.is_dir() and Path(entry.path, "config.json").is_file()]
    return list(dict.fromkeys([*packages, *runs(), *sorted(folders), *_cached()]))


def derived_groups() -> list[str]:
    """Groups that are told by the rows' texts, such as ``mentions:gender``."""
    from fm_notebook.data import lexicons

    return ["length", *(f"mentions:{axis}" for axis in lexicons.axes())]


def rows() -> list[str]:
    """The samples whose packages are installed."""
    return [samples.PREFIX + name for name, package in samples.SAMPLES.items() if importlib.util.find_spec(package.module)]


def paths(head: str, endings: tuple[str, ...] = ()) -> list[str]:
    """The folders, with a slash, and the files with one of `endings` that a path beginning with `head` may mean."""
    folder, name = os.path.split(head)
    entries = [entry for entry in _entries(Path(os.path.expanduser(folder))) if entry.name.startswith(name)]  # noqa: PTH111
    shown = [entry for entry in entries if name[:1] == "." or entry.name[0] not in "._"]
    found = [f"{entry.name}/" for entry in shown if entry.is_dir()]
    found += [entry.name for entry in shown if entry.name.removesuffix(".gz").endswith(endings or ("/",)) and entry.is_file()]
    return [head[: len(head) - len(name)] + each for each in sorted(found)]


def variables(namespace: Mapping[str, Any]) -> list[str]:
    """The user's own variables, as far as that can be told."""
    return [name for name in namespace if name[0] != "_" and name not in _IPYTHONS]


def plugins(kind: str) -> list[str]:
    """The names in the registry of a `kind`, such as ``task`` or ``probe``; none if there is no such kind."""
    package = f"fm_notebook.{kind}s"
    if not kind.isidentifier() or importlib.util.find_spec(package) is None:
        return []
    return list(getattr(importlib.import_module(package), f"{kind}s", ()))


def probes() -> list[str]:
    """The families of probes, and the probes."""
    found = importlib.import_module("fm_notebook.probes").probes
    return [*found.families, *found]


def metrics(task: str, problem: str) -> list[str]:
    """What a task measures, for the kind of `problem` if that is known."""
    with suppress(FMError):
        known: Any = importlib.import_module("fm_notebook.tasks").tasks[task]
        given: dict[str, Any] = {"problem": problem} if problem else {}
        return list(known.configure(FinetuneSpec.model_construct(task=task, **given)).metrics)
    return []


def _cached() -> list[str]:
    """The models in the hub's cache, by the folders' names."""
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache/huggingface")
    cache = Path(os.environ.get("HF_HUB_CACHE") or home / "hub")
    found = (entry.name.removeprefix("models--") for entry in _entries(cache) if entry.name.startswith("models--"))
    return sorted(name.replace("--", "/") for name in found)


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    with suppress(OSError), os.scandir(folder) as entries:
        yield from islice(entries, _MOST_ENTRIES)
