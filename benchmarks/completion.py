"""How long does Tab take?

``python benchmarks/completion.py [--runs N] [--rows N] [--repeats N] [--json]``

IPython's whole completer and our matcher alone, in a shell with a wide frame, many variables and a project of many runs; jedi is
off, as its share is not ours. The first completion of a kernel loads the specs and is given apart. Medians and the slowest.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

BOUND_MILLISECONDS = 20.0
FIRST = "first of all"
CELLS = {
    "field": "%%finetune a\ntrain = reviews\nlear|",
    "choice": '%%finetune a\nlr_schedule = "|"',
    "column": '%%finetune a\ntrain = reviews[reviews.stars > 3]\ntext = "|"',
    "column of a file": '%%finetune a\ntrain = "rows.csv"\ntext = "|"',
    "variable": "%%finetune a\ntrain = |",
    "model": '%%finetune a\nmodel = "|"',
    "run": '%%finetune a\nbase = "|"',
    "task": '%%finetune a\ntask = "|"',
    "metric": '%%finetune a\nmetric = "|"',
    "flag": "%%finetune a --|",
    "run on a line": "%runs show |",
    "cell of 100 lines": "%%finetune a\n" + "".join(f"# {i}\nx{i} = [{i}, 'text', {{'a': {i}}}]\n" for i in range(50)) + "lear|",
    "not ours": "x = revi|",
}


def measure(*, runs: int = 1000, rows: int = 1_000_000, repeats: int = 30) -> dict[str, dict[str, float]]:
    """Milliseconds by place: the ``median`` and ``slowest`` of all of IPython's completer, and the ``matcher``'s own median."""
    with _project(runs):
        shell, matcher = _shell(rows)
        times = {FIRST: {"median": _milliseconds(lambda: _complete(shell, CELLS["field"]))}}
        for name, cell in CELLS.items():
            _complete(shell, cell)
            took = [_milliseconds(lambda cell=cell: _complete(shell, cell)) for _ in range(repeats)]
            own = [_milliseconds(lambda cell=cell: matcher(_context(cell))) for _ in range(repeats)]
            times[name] = {"median": median(took), "slowest": max(took), "matcher": median(own)}
    return times


@contextmanager
def _project(runs: int) -> Iterator[None]:
    """A folder with a CSV and the folders of many runs, as the place where we are."""
    before = Path.cwd(), os.environ.get("FM_NOTEBOOK_RUNS")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["FM_NOTEBOOK_RUNS"] = f"{folder}/runs"
        for number in range(runs):
            Path(folder, "runs", f"run_{number % 50}.{number // 50 + 1}").mkdir(parents=True)
        Path(folder, "rows.csv").write_text("review,stars\n" + "good,5\n" * 10_000)
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before[0])
            os.environ.pop("FM_NOTEBOOK_RUNS")
            if before[1] is not None:
                os.environ["FM_NOTEBOOK_RUNS"] = before[1]


def _shell(rows: int) -> tuple[Any, Callable[[Any], Any]]:
    import numpy as np
    import pandas as pd
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell.instance()
    shell.run_line_magic("load_ext", "fm_notebook")
    shell.Completer.use_jedi = False
    shell.user_ns |= {f"variable_{i}": i for i in range(500)}
    columns = {f"column_{i}": np.zeros(rows // 100) for i in range(100)}
    shell.user_ns["reviews"] = pd.DataFrame(columns | {"review": "good", "stars": 5})
    return shell, next(each for each in shell.Completer.custom_matchers if each.__name__ == "fm_notebook_matcher")


def _complete(shell: Any, cell: str) -> int:
    from IPython.core.completer import provisionalcompleter

    with provisionalcompleter():
        return len(list(shell.Completer.completions(cell.replace("|", ""), cell.index("|"))))


def _context(cell: str) -> Any:
    from IPython.core.completer import CompletionContext

    before = cell[: cell.index("|")].split("\n")
    return CompletionContext("", cell.replace("|", ""), len(before[-1]), len(before) - 1, None)


def _milliseconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - began)


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    asked.add_argument("--runs", type=int, default=1000)
    asked.add_argument("--rows", type=int, default=1_000_000)
    asked.add_argument("--repeats", type=int, default=30)
    asked.add_argument("--json", action="store_true")
    given = asked.parse_args()
    times = measure(runs=given.runs, rows=given.rows, repeats=given.repeats)
    if given.json:
        print(json.dumps(times))
    else:
        for name, each in times.items():
            print(f"{name:<20}" + "  ".join(f"{what} {value:7.2f} ms" for what, value in each.items()))
    heavy = [name for name in ("torch", "transformers", "datasets", "sklearn") if name in sys.modules]
    slow = [name for name, each in times.items() if name != FIRST and each["median"] > BOUND_MILLISECONDS]
    print(f"above {BOUND_MILLISECONDS:.0f} ms: {', '.join(slow) or 'none'}; loaded: {', '.join(heavy) or 'nothing heavy'}")
    return 1 if slow or heavy else 0


if __name__ == "__main__":
    sys.exit(main())
