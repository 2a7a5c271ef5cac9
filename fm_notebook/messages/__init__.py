"""Every string a user sees, in English (``en.toml``) and Chinese (``zh.toml``).

The language is that of ``FM_NOTEBOOK_LANGUAGE`` (``en`` or ``zh``), else that of the settings, else of the process's locale.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

LANGUAGES = ("en", "zh")
_preferred: dict[str, str] = {}


def language() -> str:
    """The language of messages, ``"en"`` or ``"zh"``, read anew at every call."""
    ours, *systems = (os.environ.get(name) for name in ("FM_NOTEBOOK_LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG"))
    for value in (_preferred.get("over"), ours, _preferred.get("under"), *systems):
        if value:
            return "zh" if value.lower().startswith("zh") else "en"
    return "en"


def prefer(code: str | None, *, over_environment: bool) -> None:
    """Prefer the language `code` to the locale's, and if so asked to that of ``FM_NOTEBOOK_LANGUAGE``; None to neither."""
    _preferred.clear()
    if code:
        _preferred["over" if over_environment else "under"] = code


@cache
def catalogue(code: str) -> Mapping[str, str]:
    """All messages of one language by dotted key, such as ``error.data.empty.problem``."""
    text = (Path(__file__).parent / f"{code}.toml").read_text(encoding="utf-8")
    return dict(_flatten(tomllib.loads(text), ""))


def text(key: str, /, **values: object) -> str:
    """The message `key` in the user's language, its ``{placeholders}`` filled with `values`.

    Raises
    ------
    KeyError
        If the catalogue has no such key: a defect of ours, found by the catalogue's test.
    """
    return catalogue(language())[key].format(**values)


def has(key: str) -> bool:
    """Whether the catalogue has the message `key`."""
    return key in catalogue("en")


def say(key: str, /, **values: object) -> None:
    """Print the message `key` as one line of plain text."""
    print(text(key, **values), flush=True)  # noqa: T201 - the one place that prints


def _flatten(table: Mapping[str, object], prefix: str):
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, str(value)
