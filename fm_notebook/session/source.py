"""Python source as ``ruff format`` with its default settings would have it: literals, imports, comments, and templates of it."""

from __future__ import annotations

import ast
import json
import textwrap
import unicodedata
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from fm_notebook import messages

WIDTH = 88
"""What ruff and Black take for a line unless they are told otherwise."""
_MODULES = {"json": "json", "math": "math", "np": "numpy", "pd": "pandas", "torch": "torch"}
_NAMES: Mapping[str, tuple[str, ...]] = {
    "bisect": ("bisect_right",),
    "pathlib": ("Path",),
    "accelerate": ("Accelerator",),
    "datasets": ("Dataset",),
    "peft": ("LoraConfig", "PromptTuningConfig", "get_peft_model"),
    "scipy.stats": ("spearmanr",),
    "sklearn.metrics": ("accuracy_score", "f1_score"),
    "torch.nn.functional": ("binary_cross_entropy_with_logits", "cross_entropy"),
    "transformers": (
        "AutoConfig", "AutoModelForCausalLM", "AutoModelForMaskedLM", "AutoModelForSequenceClassification",
        "AutoModelForTokenClassification", "AutoTokenizer", "DataCollatorForLanguageModeling",
        "DataCollatorForTokenClassification", "DataCollatorWithPadding", "get_scheduler",
    ),
}  # fmt: skip
_STANDARD = ("bisect", "json", "math", "pathlib")


def render(template: str, values: Mapping[str, Any], *, origins: Mapping[str, str]) -> str:
    """The template ``scripts/<template>.py.jinja`` filled in, with an import for each name that it uses.

    Parameters
    ----------
    template : str
    values : Mapping
        What the template asks for.
    origins : Mapping
        Module by name of what is to be imported from elsewhere than usual.
    """
    import jinja2

    environment = jinja2.Environment(  # noqa: S701 - Python, not HTML
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "scripts"), trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    said = {
        "say": lambda key: messages.text(f"code.{key}"),
        "comment": lambda key, indent=0: comment(messages.text(f"code.{key}"), indent),
    }
    body = environment.get_template(f"{template}.py.jinja").render(**values, **said)
    body = body.strip("\n") + "\n"
    return f"{imports(body, origins)}\n\n{body}"


def assignments(values: Mapping[str, Any]) -> str:
    """A line ``NAME = literal`` for each of `values`; a `Path` as such."""
    return "\n".join(f"{name} = {literal(value, len(name) + 3)}" for name, value in values.items())


def literal(value: Any, column: int = 0, indent: int = 0, after: int = 0) -> str:
    """`value` as a literal that begins in `column` of a line indented by `indent`; `after` characters follow it."""
    if isinstance(value, Path):
        text = f"Path({string(str(value))})"
        inside = f"{' ' * (indent + 4)}{string(str(value))}"
        return text if column + width(text) + after <= WIDTH else f"Path(\n{inside}\n{' ' * indent})"
    text = _in_one_line(value)
    if column + width(text) + after <= WIDTH:
        return text
    if isinstance(value, str):
        fits = not indent and indent + 4 + width(text) <= WIDTH
        return f"(\n    {text}\n)" if fits else text
    if not isinstance(value, list | dict) or not value:
        return text
    pad, (opening, closing) = " " * (indent + 4), "[]" if isinstance(value, list) else "{}"
    heads = [f"{pad}{string(key)}: " for key in value] if isinstance(value, dict) else [pad] * len(value)
    each = value.values() if isinstance(value, dict) else value
    lines = [f"{head}{literal(item, width(head), indent + 4, 1)}," for head, item in zip(heads, each, strict=True)]
    return "\n".join([opening, *lines, " " * indent + closing])


def string(text: str) -> str:
    """`text` as a literal in double quotes, unless single ones need fewer escapes."""
    return repr(text) if '"' in text and "'" not in text else json.dumps(text, ensure_ascii=False)


def comment(text: str, indent: int = 0) -> str:
    """`text` as the lines of a comment."""
    pad = " " * indent + "# "
    return _wrapped(text, pad, pad)


def docstring(paragraphs: Iterable[str]) -> str:
    """A module's docstring; paragraphs that begin with ``-`` are points of one list."""
    wrapped = [_wrapped(each, "", "  " if each.startswith("- ") else "") for each in paragraphs]
    gaps = ["\n" if one[:2] == other[:2] == "- " else "\n\n" for one, other in pairwise(wrapped)]
    return f'"""{"".join(map(str.__add__, wrapped, [*gaps, chr(10)]))}"""'


def imports(body: str, origins: Mapping[str, str]) -> str:
    """The imports of what `body` uses, in isort's order."""
    known = {name: module for module, names in _NAMES.items() for name in names} | dict(origins)
    used = {node.id for node in ast.walk(ast.parse(body)) if isinstance(node, ast.Name)}
    modules = {name: module for name, module in _MODULES.items() if name in used}
    wanted: dict[str, list[str]] = {}
    for name in sorted(used & known.keys(), key=_isort):
        wanted.setdefault(known[name], []).append(name)
    lines = [(module, f"import {module}" + (f" as {name}" if name != module else "")) for name, module in modules.items()]
    lines += [(module, _from(module, names)) for module, names in sorted(wanted.items())]
    standard, others = ([line for module, line in lines if (module in _STANDARD) is std] for std in (True, False))
    return "\n\n".join("\n".join(block) for block in (standard, others) if block)


def _isort(name: str) -> tuple[int, str]:
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name


def _from(module: str, names: list[str]) -> str:
    line = f"from {module} import {', '.join(names)}"
    return line if len(line) <= WIDTH else "\n".join([f"from {module} import (", *(f"    {name}," for name in names), ")"])


def _in_one_line(value: Any) -> str:
    match value:
        case str():
            return string(value)
        case list():
            return f"[{', '.join(map(_in_one_line, value))}]"
        case dict():
            return "{" + ", ".join(f"{string(key)}: {_in_one_line(each)}" for key, each in value.items()) + "}"
    return repr(value)


def _wrapped(text: str, first: str, later: str) -> str:
    if width(text) > len(text) * 1.3:  # Chinese breaks anywhere and is twice as wide
        return textwrap.fill(text, 46, initial_indent=first, subsequent_indent=later)
    return textwrap.fill(
        text, WIDTH, initial_indent=first, subsequent_indent=later, break_long_words=False, break_on_hyphens=False
    )


def width(text: str) -> int:
    """Columns that `text` takes: wide characters count twice."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)
