"""Completion of flags, field names, finite choices and run names. The values' own expressions are IPython's to complete."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

_FIELD = re.compile(r"^(\w*)$")
_VALUE = re.compile(r"^(\w+)\s*=\s*([\"']?)([\w-]*)$")


def install(shell: InteractiveShell, names: Sequence[str]) -> Callable[[], None]:
    """Add the matcher to IPython's completer; returns how to undo that."""
    from IPython.core.completer import context_matcher

    ours = re.compile(rf"^\s*%{{1,2}}({'|'.join(map(re.escape, names))})\b")

    @context_matcher()  # type: ignore[arg-type]
    def fm_notebook_matcher(context: Any) -> dict[str, Any]:
        found = ours.match(context.full_text)
        words = (
            list(
                suggest(
                    found[1].removeprefix("fm_"),
                    context.full_text,
                    context.cursor_line,
                    context.line_with_cursor[: context.cursor_position],
                )
            )
            if found
            else []
        )
        return _result([word for word in words if word.startswith(context.token)], whole=bool(words))

    shell.Completer.custom_matchers.append(fm_notebook_matcher)  # type: ignore[union-attr]
    return lambda: shell.Completer.custom_matchers.remove(fm_notebook_matcher)  # type: ignore[union-attr]


def suggest(magic: str, cell: str, row: int, before: str) -> Iterable[str]:
    """What may stand at the end of `before`, the text of line `row` (from 0) of `cell` up to the cursor."""
    if row == 0:
        word = before.rsplit(" ", maxsplit=1)[-1]
        return _flags(magic) if word.startswith("-") else _words(magic, before)
    spec = _spec(magic)
    if spec is None:
        return []
    from fm_notebook.contracts import fields

    if _FIELD.match(before):
        written = {match[1] for match in re.finditer(r"^(\w+)\s*=", cell, re.MULTILINE)}
        return [f"{name} = " for name in fields.names(spec) if name not in written]
    if (value := _VALUE.match(before)) and value[1] in spec.model_fields:
        quote = value[2]
        return [f"{choice}" if quote else f'"{choice}"' for choice in fields.choices(spec, value[1])]
    return []


def _spec(magic: str) -> Any:
    from fm_notebook.contracts import specs

    return {"finetune": specs.FinetuneSpec, "evaluate": specs.EvaluateSpec}.get(magic)


def _flags(magic: str) -> list[str]:
    from importlib import import_module

    flags = import_module(f"fm_notebook.magics.{magic}").FLAGS
    return [f"--{flag.name}" for flag in flags] + ["--help"]


def _words(magic: str, before: str) -> list[str]:
    """Actions and run names where a word is expected; variables are IPython's to add."""
    from fm_notebook.session import store

    place = len(before.split()) - (0 if before.endswith(" ") else 1)
    names = [folder.identity.name for folder in store.all_runs()]
    if magic == "runs":
        from fm_notebook.magics.runs import ACTIONS

        return list(ACTIONS) if place == 1 else sorted(set(names))
    return sorted(set(names)) if magic == "evaluate" and place == 1 else []


def _result(words: Sequence[str], *, whole: bool) -> dict[str, Any]:
    from IPython.core.completer import SimpleCompletion

    return {"completions": [SimpleCompletion(text=word, type="field") for word in words], "suppress": whole and bool(words)}
