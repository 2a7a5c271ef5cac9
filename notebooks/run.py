"""Run a notebook headless, keep the executed copy and print the results of its cells tagged ``metrics``.

``python notebooks/run.py NOTEBOOK EXECUTED``; both are paths. Runs are kept beside the executed copy.
"""

from __future__ import annotations

import sys
from pathlib import Path
from time import perf_counter

import nbformat
from nbclient import NotebookClient

CELL_SECONDS = 600
WIDGET = "application/vnd.jupyter.widget-view+json"


def main(source: Path, target: Path) -> None:
    """Execute `source` in the folder of `target` and write it there, also when a cell fails."""
    notebook = nbformat.read(source, as_version=4)
    target.parent.mkdir(parents=True, exist_ok=True)
    # Widget state would put the panels' code into the file; the cards say the same without it.
    client = NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        kernel_name="python3",
        store_widget_state=False,
        resources={"metadata": {"path": str(target.parent.resolve())}},
        on_cell_execute=lambda cell, cell_index: _progress(cell, cell_index, len(notebook.cells)),
    )
    began = perf_counter()
    try:
        client.execute()
    finally:
        nbformat.write(notebook, target)
    print(*_tables(notebook), sep="\n\n")
    print(f"\n{target.resolve()} ({perf_counter() - began:.0f} s)")


def _progress(cell: nbformat.NotebookNode, index: int, cells: int) -> None:
    first = next((line for line in cell.source.splitlines() if line.strip()), "")
    print(f"[{index + 1}/{cells}] {first}", file=sys.stderr, flush=True)


def _tables(notebook: nbformat.NotebookNode) -> list[str]:
    """The plain-text results of the cells tagged ``metrics``; without such cells, the last result of all."""
    results = [
        (cell, output.data["text/plain"])
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if output.output_type == "execute_result" or _is_shown(output)
    ]
    return [text for cell, text in results if "metrics" in cell.metadata.get("tags", [])] or [text for _, text in results[-1:]]


def _is_shown(output: nbformat.NotebookNode) -> bool:
    """Whether a cell magic displayed it as its result; a panel or a line on progress is none."""
    return output.output_type == "display_data" and "text/html" in output.data and WIDGET not in output.data


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
