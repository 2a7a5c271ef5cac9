"""Plug-ins by name, found without importing them."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import importlib.util
import os
import pkgutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from fm_notebook.errors import FMError, did_you_mean

T = TypeVar("T")


class Registry(Mapping[str, T]):
    """The plug-ins of one kind: the modules of a folder, entry points of installed packages and files registered by hand.

    A plug-in's module has one object called `attribute`; a module ``fill_mask.py`` is the plug-in ``fill-mask``. A folder in the
    folder is a family of plug-ins. Modules are imported when first asked for.

    Parameters
    ----------
    kind : str
        Singular name of the kind, such as ``"task"``; entry points are read from the group ``fm_notebook.<kind>s``.
    package : str
        Dotted name of the folder.
    attribute : str
        Name of the object in each module; by default `kind`.
    """

    def __init__(self, kind: str, package: str, attribute: str = ""):
        self.kind, self.package, self.attribute = kind, package, attribute or kind
        self._files: dict[str, Path] = {}
        self._loaded: dict[str, T] = {}

    @property
    def files(self) -> tuple[str, ...]:
        """Paths of the files registered by hand, for a worker to register too."""
        return tuple(str(path) for path in self._files.values())

    def register(self, path: str | Path) -> str:
        """Add the plug-in of a file such as ``my_task.py``; returns its name."""
        path = Path(path).resolve(strict=True)
        name = path.stem.replace("_", "-")
        self._files[name] = path
        self._loaded.pop(name, None)
        return name

    def __getitem__(self, name: str) -> T:
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*self._modules(), *self._entry_points(), *self._files}))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        return name in set(self)

    @property
    def families(self) -> dict[str, tuple[str, ...]]:
        """The folders within the folder, and the plug-ins in each."""
        inner = {each.name: _modules_in(f"{self.package}.{each.name}") for each in _in_package(self.package) if each.ispkg}
        return {family: tuple(sorted(found)) for family, found in inner.items()}

    def _modules(self) -> dict[str, str]:
        found = _modules_in(self.package)
        for each in _in_package(self.package):
            if each.ispkg:
                found |= _modules_in(f"{self.package}.{each.name}")
        return found

    def _entry_points(self) -> dict[str, importlib.metadata.EntryPoint]:
        return {point.name: point for point in _points(f"fm_notebook.{self.kind}s", _state_of_path())}

    def _load(self, name: str) -> T:
        if path := self._files.get(name):
            return getattr(_import_file(path), self.attribute)
        if module := self._modules().get(name):
            return getattr(importlib.import_module(module), self.attribute)
        if point := self._entry_points().get(name):
            return point.load()
        raise FMError(f"unknown.{self.kind}", name=name, known=", ".join(self), hint=did_you_mean(name, list(self)))


def registry_of(path: str | Path, registries: Sequence[Registry[Any]]) -> Registry[Any]:
    """That of `registries` whose kind of plug-in the file at `path` holds, told by the object it defines; else the first.

    The file is read and not run: an error in it is shown where the plug-in is asked for.
    """
    with suppress(OSError, SyntaxError, ValueError):
        tree = ast.parse(Path(path).read_text(encoding="utf-8"))
        defined = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
        return next((each for each in registries if each.attribute in defined), registries[0])
    return registries[0]


def _modules_in(package: str) -> dict[str, str]:
    """The plug-ins of a folder by name, each with its module."""
    return {each.name.replace("_", "-"): f"{package}.{each.name}" for each in _in_package(package) if not each.ispkg}


def _in_package(package: str) -> list[pkgutil.ModuleInfo]:
    found = importlib.util.find_spec(package)
    folders = list(found.submodule_search_locations or []) if found else []
    return [each for each in pkgutil.iter_modules(folders) if each.name[0] != "_"]


@lru_cache(maxsize=16)  # they stand in a file of each installed package: 25 ms, and completion asks at every key
def _points(group: str, state: object) -> tuple[importlib.metadata.EntryPoint, ...]:  # noqa: ARG001 - part of what is remembered
    return tuple(importlib.metadata.entry_points(group=group))


def _state_of_path() -> tuple[tuple[str, int], ...]:
    """Changes when a package is installed or removed."""
    found = []
    for folder in sys.path:
        with suppress(OSError):
            found.append((folder, os.stat(folder or ".").st_mtime_ns))  # noqa: PTH116 - ten times as fast as Path.stat
    return tuple(found)


def _import_file(path: Path) -> ModuleType:
    name = f"fm_notebook_registered_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
