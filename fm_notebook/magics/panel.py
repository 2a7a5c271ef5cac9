"""``%panel``: a form or a browser instead of text."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fm_notebook import messages
from fm_notebook.contracts.specs import FinetuneSpec
from fm_notebook.errors import ArgumentError, RunError, did_you_mean
from fm_notebook.magics import arguments, frontend, manual, names
from fm_notebook.magics.arguments import AGAIN, ON, Flag
from fm_notebook.session import store
from fm_notebook.session.run import Run

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

_OF_ROWS = (
    Flag("by", "COLUMN", many=True), Flag("text", "COLUMN"), Flag("text_pair", "COLUMN"), Flag("label", "COLUMN"), AGAIN, ON,
)  # fmt: skip
FLAGS = (Flag("apply"), *_OF_ROWS)


def magic(shell: InteractiveShell, line: str, cell: str | None) -> Any:  # noqa: ARG001 - the form of every magic
    """Show the panel that the line names; the value is its Python side, if it has one and is assigned."""
    asked = arguments.parse(line, FLAGS, most_words=3)
    if "help" in asked.on:
        manual.show("panel", "%panel [finetune|runs|inspect] [NAME|RUN|REPORT] [DATA] [--flags]", FLAGS)
    elif not asked.words:
        messages.say("example.panel")
    elif asked.words[0] not in PANELS:
        name, known = asked.words[0], list(PANELS)
        raise ArgumentError("panel.unknown", name=name, known=", ".join(known), hint=did_you_mean(name, known))
    else:
        return PANELS[asked.words[0]](shell, asked, line)
    return None


def _inspect(shell: InteractiveShell, asked: arguments.Line, line: str) -> Any:
    """The items of a probe's report, or the rows of an evaluation, which is scored if need be; these are bound to ``panel``."""
    from fm_notebook.magics import panel_of_items, panel_of_rows

    if report := panel_of_items.report(shell, asked):
        _refuse(asked, but=set(), words=3)
        panel_of_items.show(shell, report)
        return None
    _refuse(asked, but={flag.name for flag in _OF_ROWS}, words=3)
    if len(asked.words) < 3:
        messages.say("example.panel")
        return None
    return panel_of_rows.show(shell, asked, line)


def _refuse(asked: arguments.Line, *, but: set[str], words: int) -> None:
    """Refuse the flags that this panel has not, and more `words` than it takes."""
    given = [*asked.on, *asked.values, *asked.lists]
    extra = [*asked.words[words:], *(f"--{flag}" for flag in given if flag not in but)]
    if extra:
        raise ArgumentError("words.too_many", extra=" ".join(extra))


def _finetune(shell: InteractiveShell, asked: arguments.Line, line: str) -> None:  # noqa: ARG001 - the form of every panel
    from fm_notebook.panels import form
    from fm_notebook.panels.form import text as form_text

    _refuse(asked, but={"apply"}, words=2)
    name = asked.words[1] if asked.words[1:] else ""
    if "apply" in asked.on:
        _apply(shell, name)
        return
    open_now = form.newest(name)
    unfinished = open_now is not None and (name or not open_now.started)
    text = open_now.draft.text if open_now and unfinished else _text_of(shell, name) if name else form_text.new()
    form.show(shell.user_ns, text, watched=frontend.is_watched(shell))


def _text_of(shell: InteractiveShell, name: str) -> str:
    """The cell of the run that `name` names; else a new one of that name."""
    from fm_notebook.panels.form import text as form_text
    from fm_notebook.panels.runs import cell as runs_cell

    value = names.assigned(name, shell.user_ns).value
    folder = value.job.jobfolder if isinstance(value, Run) else store.lookup(name)
    if folder is None:
        return form_text.new(store.check_name(name))
    spec = folder.spec
    return runs_cell.cell_text(folder.identity.name, spec) if isinstance(spec, FinetuneSpec) else form_text.new(name)


def _apply(shell: InteractiveShell, name: str) -> None:
    """Ask the front end to put the form's cell in place of the one that runs, and show the text to all others."""
    from IPython.display import display

    from fm_notebook.panels import form
    from fm_notebook.panels.form import text as form_text

    found = form.newest(name)
    if found is None:
        raise RunError("panel.no_form")
    shell.set_next_input(found.draft.text, replace=True)
    messages.say("form.applied")
    display(form_text.twin(found.draft.text, shown=True), raw=True)


def _runs(shell: InteractiveShell, asked: arguments.Line, line: str) -> None:  # noqa: ARG001 - the form of every panel
    from fm_notebook.panels import runs

    _refuse(asked, but=set(), words=1)
    runs.show()


PANELS: dict[str, Callable[[Any, arguments.Line, str], Any]] = {"finetune": _finetune, "runs": _runs, "inspect": _inspect}
