"""What a notebook's kernel holds in memory: the extension is a remote control."""

from __future__ import annotations

import ast

import pytest

pytestmark = pytest.mark.slow
HEAVY = ("numpy", "pandas", "pyarrow", "datasets", "matplotlib", "torch", "transformers", "accelerate", "scipy", "sklearn")
NEVER = {"torch", "transformers", "accelerate", "sklearn", "datasets"}


def test_the_kernel_loads_what_its_values_need_and_no_more(kernel, finetune):
    assert _held(kernel) == set()
    cell = kernel.run(finetune("first", steps=40))
    assert cell.error == []
    # pyarrow asks pandas for its types where there is one; the card draws its curve with matplotlib
    assert _held(kernel) <= {"numpy", "pyarrow", "pandas", "matplotlib"}
    kernel.run("%runs")
    kernel.until(lambda: kernel.state(cell.panel)["state"] == "finished" and "data:image/png" in cell.html)
    held = _held(kernel)
    assert not held & NEVER
    assert "matplotlib" in held


def test_the_extension_loads_no_heavy_module_twice_loaded_or_unloaded(current):
    current.run("%load_ext fm_notebook")
    assert current.run("%unload_ext fm_notebook").error == []
    assert "not found" in "".join(current.run("%runs").error) + current.run("%runs").text
    assert current.run("%load_ext fm_notebook").error == []
    assert "No runs yet" in current.value("%runs")
    assert _held(current) & NEVER == set()


def _held(kernel) -> set[str]:
    return set(ast.literal_eval(kernel.value(f"__import__('sys') and [m for m in {HEAVY!r} if m in __import__('sys').modules]")))
