"""A shell of our own with the extension loaded, and a front end that says what was asked of it."""

from types import SimpleNamespace

import pytest
from IPython.core.interactiveshell import InteractiveShell


@pytest.fixture
def bare_shell(home):
    shell = InteractiveShell.instance()
    shell.colors = "nocolor"
    yield shell
    from fm_notebook.magics import unload

    unload(shell)
    InteractiveShell.clear_instance()


@pytest.fixture
def shell(bare_shell):
    from fm_notebook.magics import load

    load(bare_shell)
    return bare_shell


@pytest.fixture
def run_cell(shell, monkeypatch, capsys):
    """Runs a cell as from a notebook that shows no live updates; gives value, error and what was printed."""

    def run(text: str) -> SimpleNamespace:
        kernel = SimpleNamespace(get_parent=lambda *_: {"content": {"code": text, "allow_stdin": False}})
        monkeypatch.setattr(shell, "kernel", kernel, raising=False)
        capsys.readouterr()
        done = shell.run_cell(text)
        return SimpleNamespace(
            value=done.result, error=done.error_in_exec or done.error_before_exec, shown="".join(capsys.readouterr())
        )

    return run
