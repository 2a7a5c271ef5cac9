"""Tab in a real kernel: ``complete_request`` as a front end sends it."""

from __future__ import annotations

import ast

import pytest

pytestmark = pytest.mark.slow
HEAVY = ("torch", "transformers", "datasets", "pyarrow", "sklearn", "scipy", "matplotlib")


def complete(kernel, cell: str) -> list[str]:
    """The cell after each of the offers at ``|``."""
    cursor = cell.index("|")
    code = cell[:cursor] + cell[cursor + 1 :]
    asked = kernel.client.complete(code, cursor)
    while True:
        reply = kernel.client.get_shell_msg(timeout=30)
        if reply["parent_header"]["msg_id"] == asked:
            break
    found = reply["content"]
    assert found["status"] == "ok"
    return [code[: found["cursor_start"]] + match + code[found["cursor_end"] :] for match in found["matches"]]


def inspect(kernel, code: str) -> str:
    """What Shift+Tab shows."""
    asked = kernel.client.inspect(code, len(code))
    while True:
        reply = kernel.client.get_shell_msg(timeout=30)
        if reply["parent_header"]["msg_id"] == asked:
            return str(reply["content"]["data"])


@pytest.mark.parametrize("jedi", [True, False])
def test_a_front_end_gets_whole_words_at_the_right_place(kernel, jedi):
    kernel.run(f"%config IPCompleter.use_jedi = {jedi}")
    kernel.run("reviews = [{'评论 😀': 'good', 'stars': 5}]")
    begin = "%%finetune a\ntrain = reviews\nlora = {\n    'rank': 8,\n}\n"
    assert complete(kernel, begin + "lear|") == [begin + "learning_rate = "]
    assert complete(kernel, begin + "text = '|'\nepochs = 3") == [begin + "text = '评论 😀'\nepochs = 3"]
    assert complete(kernel, begin + "text = '评论 😀'; lr_sche|dule = 'x'") == [begin + "text = '评论 😀'; lr_schedule = 'x'"]
    assert begin + "eval = reviews" in complete(kernel, begin + "eval = revi|")
    assert complete(kernel, "%%finetune a --on ker|\n") == ["%%finetune a --on kernel\n"]
    assert complete(kernel, "1 + 1\n%runs atta|") == ["1 + 1\n%runs attach"]
    held = ast.literal_eval(kernel.value(f"[m for m in {HEAVY!r} if m in __import__('sys').modules]"))
    assert held == []


def test_question_marks_tell_of_the_magic(current):
    assert "--help" in inspect(current, "%finetune")
    shown = current.run("%%finetune?")
    assert shown.error == []
    assert "--help" in str(shown.reply["payload"])


def test_settings_hold_in_a_kernel_and_come_from_the_project_beside_the_notebook(start_kernel, tmp_path):
    (tmp_path / "pyproject.toml").write_text('[tool.fm_notebook]\nlearning_rate = 1e-4\nlr_schedule = "lienar"\n')
    kernel = start_kernel()
    loaded = kernel.run("%load_ext fm_notebook")
    assert "Warning: pyproject.toml, line 3: " in loaded.text
    kernel.run("%config FMNotebook.seed = 3")
    kernel.run("import os, fm_notebook; os.chdir('/')")
    assert kernel.value("dict(fm_notebook.settings())") == "{'learning_rate': 0.0001, 'seed': 3}"
