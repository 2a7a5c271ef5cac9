"""What a word on a magic's line means: a variable or dotted name of the notebook, else the word itself."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fm_notebook.errors import ArgumentError, RunError, did_you_mean
from fm_notebook.session import store
from fm_notebook.session.binding import Assigned
from fm_notebook.session.run import Run

_MISSING = object()
_EXPRESSION = re.compile(r"([^\W\d]\w*)[\w.]*[\[(]")


def assigned(word: str, namespace: Mapping[str, Any]) -> Assigned:
    """The value of `word` if it is a name of the notebook, else `word` as text (a path, a run's name, a hub id)."""
    value = _lookup(word, namespace)
    return Assigned(word if value is _MISSING else value, word)


def data(word: str, namespace: Mapping[str, Any]) -> Assigned:
    """Like `assigned`, for rows: a plain name that is no variable and no file is more likely a typo than a hub id.

    Raises
    ------
    ArgumentError
        If it is one.
    """
    found = assigned(word, namespace)
    if found.value is word and not Path(word).exists():
        if (root := _EXPRESSION.match(word)) and root[1] in namespace:
            raise ArgumentError("words.expression", text=word)
        if word.isidentifier():
            known = [name for name, value in namespace.items() if not name.startswith("_") and hasattr(value, "__len__")]
            raise ArgumentError("words.no_data", name=word, hint=did_you_mean(word, known))
    return found


def is_free_for_a_run(name: str, namespace: Mapping[str, Any]) -> bool:
    """Whether `name` is no variable yet, or a run: a user's own variable is never overwritten, be it None."""
    return name not in namespace or isinstance(namespace[name], Run)


def free_for_a_run(word: str, namespace: Mapping[str, Any]) -> str:
    """`word` as Python reads it, if a run may have it as its name.

    Raises
    ------
    ArgumentError
        If it is no name.
    RunError
        If it is a variable that is no run.
    """
    name = store.check_name(word)
    if not is_free_for_a_run(name, namespace):
        raise RunError("name.taken", name=name, type=type(namespace[name]).__name__)
    return name


def run(word: str, namespace: Mapping[str, Any]) -> Run:
    """The run that `word` names: a variable, a run's name, or a folder.

    Raises
    ------
    RunError
        If there is none.
    """
    value = _lookup(word, namespace)
    if isinstance(value, Run):
        return value
    if value is not _MISSING and store.lookup(word) is None:
        raise RunError("run.not_a_run", name=word, type=type(value).__name__)
    return Run.open(word)


def _lookup(word: str, namespace: Mapping[str, Any]) -> Any:
    name, *attributes = word.split(".")
    value = namespace.get(name, _MISSING)
    for attribute in attributes:
        if value is not _MISSING:
            value = getattr(value, attribute, _MISSING)
    return value
