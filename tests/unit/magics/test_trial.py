"""``%%finetune --dry-run`` and ``--find-lr`` in a cell: shown, bound to nothing, refused in words."""

import pytest

from fm_notebook.contracts.trials import Estimate, LearningRateCurve
from fm_notebook.errors import ArgumentError
from fm_notebook.magics import load, trial, unload
from fm_notebook.magics.arguments import Line
from fm_notebook.session import launch


@pytest.fixture
def shell(bare_shell, home):
    load(bare_shell)
    yield bare_shell
    unload(bare_shell)


@pytest.fixture
def cell(tiny_bert, reviews):
    return f'model = "{tiny_bert}"\ntrain = "{reviews}"\nmax_steps = 20\nbatch_size = 4\ndevice = "cpu"\nprecision = "fp32"\n'


@pytest.fixture(autouse=True)
def _one_thread():
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
def test_a_dry_run_is_the_cells_value_and_binds_nothing(shell, cell, capsys):
    found = shell.run_cell_magic("finetune", "trying --dry-run --on kernel", cell)
    assert isinstance(found, Estimate)
    assert "trying" not in shell.user_ns
    shown, _ = shell.display_formatter.format(found)
    assert "trying: dry run of text-classification" in shown["text/plain"]
    assert "<table>" in shown["text/html"]
    assert shell.run_cell_magic("finetune", "trying --dry-run --on kernel", cell) == found
    assert "An equal dry run has been done" in capsys.readouterr().out


@pytest.mark.slow
def test_a_sweep_is_the_cells_value_with_its_picture(shell, cell):
    found = shell.run_cell_magic("finetune", "trying --find-lr --on kernel", cell)
    assert isinstance(found, LearningRateCurve)
    assert "trying" not in shell.user_ns
    shown, _ = shell.display_formatter.format(found)
    assert "data:image/png" in shown["text/html"]


@pytest.mark.slow
def test_a_name_that_is_a_variable_may_be_tried(shell, cell):
    shell.user_ns["trying"] = 5
    shell.run_cell_magic("finetune", "trying --dry-run --on kernel", cell)
    assert shell.user_ns["trying"] == 5


def test_both_at_once_are_refused():
    with pytest.raises(ArgumentError, match="two different things"):
        trial.kind(Line(on=frozenset({"dry-run", "find-lr"})))


@pytest.mark.parametrize(("tried", "wishes"), [("find-lr", ["stop"]), ("dry-run", ["cancel"])])
def test_an_interrupt_stops_a_sweep_and_gives_up_a_dry_run(tried, wishes, capsys):
    class Job:
        name, asked, waits = "trying", [], 0

        def wait(self, until=None):
            self.waits += 1
            if self.waits == 1:
                raise KeyboardInterrupt

        def command(self, wish):
            self.asked.append(wish)

    job = Job()
    job.asked = []
    trial._wait(tried, launch.Launched(job, "started"), quiet=True)  # type: ignore[arg-type]
    assert job.asked == wishes
    assert "trying" in capsys.readouterr().out
