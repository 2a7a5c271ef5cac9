"""The model used last, kept for the next job of this worker."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fm_notebook.engine.capabilities.subject import LoadedSubject
    from fm_notebook.engine.models import Loaded, ModelSource

Stamp = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class Kept:
    """A loaded model with its tokenizer, as probes see it if one did, and which files, in which version, it was loaded from."""

    key: tuple[str, ...]
    stamp: Stamp
    loaded: Loaded
    tokenizer: Any
    subject: LoadedSubject | None = None


_kept: list[Kept] = []


def find(source: ModelSource, task: str) -> Kept | None:
    """The kept model, if it is that of `source` with its head for `task` and its files have not changed since."""
    key = _key(source, task)
    return next((kept for kept in _kept if kept.key == key and kept.stamp == _stamp(source)), None)


def keep(source: ModelSource, task: str, loaded: Loaded, tokenizer: Any, subject: LoadedSubject | None = None) -> None:
    """Keep this model, which has its head for `task`, and forget the one before."""
    _kept[:] = [Kept(_key(source, task), _stamp(source), loaded, tokenizer, subject)]


def free() -> None:
    """Forget the kept model and give its memory back."""
    import sys

    if _kept and "torch" in sys.modules:
        _kept.clear()
        from fm_notebook.engine import memory

        memory.free()


def _key(source: ModelSource, task: str) -> tuple[str, ...]:
    refs = [ref for ref in (source.model, source.tokenizer) if ref is not None]
    return (task, *(part for ref in refs for part in (ref.location, ref.revision, ref.file, ref.class_path)))


def _stamp(source: ModelSource) -> Stamp:
    folder = Path(source.model.location)
    if source.model.kind == "hub" or not folder.is_dir():
        return ()
    return tuple((path.name, s.st_mtime_ns, s.st_size) for path in sorted(folder.iterdir()) if (s := path.stat()))
