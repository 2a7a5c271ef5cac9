"""Completion in our cells and lines, and in ``%config FMNotebook``. The values' own expressions are IPython's to complete."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from fm_notebook.magics.offers import Offer

_LONGEST = 100_000
"""Characters of a cell that is completed in: more is data, and reading it at every key would be felt."""
_CONFIG = re.compile(r"^\s*%config\s+FMNotebook\.(?P<field>\w+\s*=.*)$")


@dataclass(frozen=True)
class Cursor:
    """The cell's lines and where the cursor is in it; row and column are counted from 0."""

    lines: Sequence[str]
    row: int
    column: int

    @property
    def before(self) -> str:
        """The cursor's line up to the cursor."""
        return self.lines[self.row][: self.column]

    @property
    def after(self) -> str:
        """The rest of the cursor's line."""
        return self.lines[self.row][self.column :]


def install(shell: InteractiveShell, names: Sequence[str]) -> Callable[[], None]:
    """Add the matcher to IPython's completer; returns how to undo that."""
    from IPython.core.completer import context_matcher

    completer: Any = shell.Completer
    names = tuple(names)

    @context_matcher()  # type: ignore[arg-type]
    def fm_notebook_matcher(context: Any) -> dict[str, Any]:
        if len(context.full_text) > _LONGEST or "%" not in context.full_text:
            return _result(None)
        cursor = Cursor(context.full_text.split("\n"), context.cursor_line, context.cursor_position)
        try:
            return _result(suggest(cursor, names, shell.user_ns))
        except Exception:  # noqa: BLE001 - a defect of ours must not print a traceback at every key
            return _result(None)

    completer.custom_matchers.append(fm_notebook_matcher)
    return lambda: completer.custom_matchers.remove(fm_notebook_matcher)


def suggest(cursor: Cursor, names: Sequence[str], namespace: Mapping[str, Any]) -> Offer | None:
    """What may stand at the cursor, if it is in a cell or line of one of the magics called `names`, or in ``%config``."""
    if found := _CONFIG.match(cursor.before):
        return _setting(found["field"], cursor.after)
    either = "|".join(map(re.escape, names))
    first = next((row for row, line in enumerate(cursor.lines) if line.strip()), 0)
    cell = re.match(rf"^\s*%%(?P<name>{either})(?P<line>\s.*|$)", cursor.lines[first])
    if cell and cursor.row > first:
        return _in_body(_plain(cell["name"]), cell["line"], cursor, first + 1, namespace)
    line = re.match(rf"^\s*([\w.,\s]*=\s*)?%{{1,2}}(?P<name>{either})(?P<line>\s.*)$", cursor.before)
    if line is None:
        return None
    from fm_notebook.magics import lines

    return lines.offer(_plain(line["name"]), line["line"], cursor.after, namespace)


def _in_body(magic: str, line: str, cursor: Cursor, begin: int, namespace: Mapping[str, Any]) -> Offer | None:
    """What may stand in the body that begins at row `begin`."""
    from fm_notebook.contracts import specs
    from fm_notebook.magics import lines, offers

    asked, text = lines.read(magic, line), "\n".join(cursor.lines[begin:])
    spec = {"finetune": specs.FinetuneSpec, "evaluate": specs.EvaluateSpec, "compare": specs.EvaluateSpec}.get(magic)
    if magic == "probe":
        from fm_notebook.magics import probe_fields

        spec = probe_fields.spec(asked.words[1:], text)
    if spec is None:
        return None
    written = asked.flags | set(lines.fields_of(magic)[: len(asked.words)])
    body = offers.Body(spec, text, namespace, frozenset(written), asked.rows)
    return body.offer("\n".join([*cursor.lines[begin : cursor.row], cursor.before]), cursor.after)


def _setting(text: str, after: str) -> Offer | None:
    """What may be the value in ``field = value`` of ``%config FMNotebook.field = value``."""
    from fm_notebook.contracts import specs
    from fm_notebook.magics import offers
    from fm_notebook.session import settings

    name = text.partition("=")[0].strip()
    known = (specs.FinetuneSpec, specs.EvaluateSpec, settings.Options)
    spec = next((each for each in known if name in each.model_fields), None)
    return offers.Body(spec, text, {}).offer(text, after) if spec else None


def _plain(name: str) -> str:
    return name.removeprefix("fm_")


def _result(offer: Offer | None) -> dict[str, Any]:
    from IPython.core.completer import SimpleCompletion

    if offer is None:
        return {"completions": [], "suppress": False}
    words = [SimpleCompletion(text=word, type="field") for word in offer.words]
    return {"completions": words, "matched_fragment": offer.head, "suppress": offer.alone and bool(words), "ordered": True}
