"""The catalogue is whole in both languages, every key is used and exists, and no sentence bypasses it."""

import ast
import re
import string
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import pytest

from fm_notebook import errors, messages
from fm_notebook.contracts import fields
from fm_notebook.contracts.probe_specs import ProbeSpec
from fm_notebook.contracts.specs import EvaluateSpec, ExplainSpec, FinetuneSpec, PredictSpec
from fm_notebook.figures.picture import CHINESE_FONTS
from fm_notebook.probes import probes

PACKAGE = Path(messages.__file__).parents[1]
MODULES = sorted(PACKAGE.rglob("*.py"))
EN, ZH = messages.catalogue("en"), messages.catalogue("zh")
MESSAGES = messages.__name__
ERROR_PARTS = (".problem", ".allowed", ".remedy")

TABLE = re.compile(r"[a-z_]+(\.[a-z_]+)*\.\*(\.[a-z_]+)?")
JSON_TYPES = {"boolean", "null"}  # words of a JSON schema, which fill in `expected.*`

SAME_IN_EVERY_LANGUAGE = {  # keys of messages that are names of software or abbreviations only
    *(f"measure.{name}.label" for name in ("auc", "bpsn_auc", "bnsp_auc")),
}

NOT_FOR_USERS = {
    # constant: why nobody reads it as a sentence of ours
    "Preston Parry": "an author's name",
    "os error 28": "looked for in an error of safetensors",
    "can't allocate memory": "looked for in an error of torch",
    "does not appear to have a file named": "looked for in an error of transformers",
    "model name": "looked for in /proc/cpuinfo",
    **dict.fromkeys(("upper right", "lower right", "outside lower center"), "a place in matplotlib"),
    "%evaluate RUN DATA [--flags]": "a usage line, which is the same in every language",
    "%%explain RUN [--flags]": "a usage line, which is the same in every language",
    "%compare RUN RUN… [--flags]": "a usage line, which is the same in every language",
    "%probe RUN PROBE… [--flags]": "a usage line, which is the same in every language",
    **dict.fromkeys((*CHINESE_FONTS, "DejaVu Sans"), "a font"),
    **dict.fromkeys(("Equity Evaluation Corpus", "Jigsaw identity templates"), "a data set's own name"),
    **dict.fromkeys(("CC BY 4.0", "CC BY-SA 4.0", "CC BY-NC 4.0"), "a licence"),
    "Emotion word": "a column of a public file",
    "wilson of clusters": "a method of intervals",
}

# Errors of ours, not the user's: they keep their traceback and are read by whoever mends the code.
DEFECTS = {"AssertionError", "AttributeError", "KeyError", "NotImplementedError", "RuntimeError", "TypeError", "ValueError"}


@dataclass(frozen=True)
class Use:
    """A key as the code asks for it, ``*`` for what is filled in at run time."""

    pattern: str
    values: frozenset[str] | None  # None: not known before running (``**values``)
    where: str


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


@cache
def sources() -> list[tuple[Path, ast.Module]]:
    return [(path, ast.parse(path.read_text(encoding="utf-8"))) for path in MODULES]


def patterns(node: ast.expr | None) -> list[str]:
    """What a first argument can be: a constant, an f-string, or either of two of them."""
    match node:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.JoinedStr(values=parts):
            return ["".join(part.value if isinstance(part, ast.Constant) else "*" for part in parts)]
        case ast.IfExp(body=first, orelse=second):
            return patterns(first) + patterns(second)
        case ast.BinOp(left=ast.Constant(value=str(text)), op=ast.Add()):
            return [text + "*"]
    return []


def uses(tree: ast.Module, where: str) -> Iterator[Use]:
    told = {a.asname or a.name for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module == MESSAGES for a in n.names}
    for call in ast.walk(tree):
        if isinstance(call, ast.JoinedStr):  # a key that is put together before the call
            yield from (
                Use(key, None, f"{where}:{call.lineno}") for key in patterns(call) if TABLE.fullmatch(key) and _is_table(key)
            )
        if isinstance(call, ast.Subscript) and isinstance(call.value, ast.Name) and call.value.id == "catalogue":
            yield from (Use(key, None, f"{where}:{call.lineno}") for key in patterns(call.slice))
        if not isinstance(call, ast.Call):
            continue
        keywords = {k.arg: k.value for k in call.keywords}
        values = None if None in keywords else frozenset(filter(None, keywords))
        first = call.args[0] if call.args else None
        match call.func:
            case ast.Attribute(value=ast.Name(id="messages"), attr="text" | "say"):
                keys = patterns(first)
            case ast.Name(id=name) if name in told:
                keys = patterns(first)
            case ast.Attribute(value=ast.Name(id="messages"), attr="has"):
                keys, values = patterns(first), None
            case ast.Name(id=kind) | ast.Attribute(attr=kind) if kind in errors.KINDS:
                keys = [f"error.{key}.problem" for key in patterns(first)]
            case ast.Name(id="Fault") | ast.Attribute(attr="Fault"):
                keys, values = [f"error.{key}.problem" for key in patterns(first)], None
            case ast.Name(id="Noted") | ast.Attribute(attr="Noted"):
                keys, values = [f"note.{key}" for key in patterns(keywords.get("key"))], None
            case ast.Name(id="Remark"):
                keys, values = [f"remark.{key}.text" for key in patterns(keywords.get("key"))], None
            case _:
                continue
        yield from (Use(key, values, f"{where}:{call.lineno}") for key in keys)


def _is_table(pattern: str) -> bool:
    return any(fnmatchcase(key, pattern) for key in EN)


@pytest.fixture(scope="module")
def used() -> list[Use]:
    return [use for path, tree in sources() for use in uses(tree, str(path.relative_to(PACKAGE)))]


def test_both_languages_have_the_same_keys():
    assert set(EN) == set(ZH)


def test_both_languages_fill_in_the_same_values():
    assert not {key for key, text in EN.items() if placeholders(text) != placeholders(ZH.get(key, ""))}


def test_every_chinese_message_is_in_chinese():
    plain = {
        key for key, text in ZH.items() if not re.search(r"[\u4e00-\u9fff]", text) and re.search(r"[^\W\d_]{2}", strip(text))
    }
    assert plain <= SAME_IN_EVERY_LANGUAGE


def strip(text: str) -> str:
    return re.sub(r"\{[^}]*\}", "", text)


def test_no_english_message_holds_chinese():
    assert not [key for key, text in EN.items() if re.search(r"[\u4e00-\u9fff]", text)]


def test_every_key_in_the_code_exists(used):
    missing = {f"{use.where} {use.pattern}" for use in used if not any(fnmatchcase(key, use.pattern) for key in EN)}
    assert not missing


def test_every_message_gets_the_values_that_it_names(used):
    short = set()
    for use in used:
        if use.values is None or "*" in use.pattern:
            continue
        stem = use.pattern.removesuffix(".problem")
        texts = [EN.get(stem + part, "") for part in ERROR_PARTS] if stem != use.pattern else [EN.get(stem, "")]
        lacking = set().union(*map(placeholders, texts)) - use.values
        if lacking:
            short.add(f"{use.where} {use.pattern} lacks {sorted(lacking)}")
    assert not short


def test_every_message_is_used(used):
    """By a call that names it, a constant that reaches such a call, or a call whose filled-in part is a word of the code."""
    nodes = [node for _, tree in sources() for node in ast.walk(tree)]
    constants = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    words = (
        constants
        | JSON_TYPES
        | {node.id for node in nodes if isinstance(node, ast.Name)}
        | {k.arg for k in nodes if isinstance(k, ast.keyword)}
    )
    templates = "".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.jinja"))
    words |= set(re.findall(r'\b(?:say|comment)\("([\w.]+)"', templates))
    wild = [re.compile(re.escape(use.pattern).replace(r"\*", "(.+?)")) for use in used if "*" in use.pattern]
    named = {use.pattern for use in used} | constants

    def is_used(key: str) -> bool:
        stem = key.removeprefix("error.").rpartition(".")[0] if key.endswith(ERROR_PARTS) else key.removeprefix("note.")
        problem = f"error.{stem}.problem" if key.endswith(ERROR_PARTS) else key
        filled = (match for each in wild for name in (key, problem) if (match := each.fullmatch(name)))
        return bool({key, stem, problem} & named) or any(words >= set(match.groups()) for match in filled)

    assert not [key for key in EN if not is_used(key)]


def test_every_error_says_what_is_wrong():
    for key in EN:
        if key.endswith((".allowed", ".remedy")):
            assert key.rpartition(".")[0] + ".problem" in EN


@pytest.mark.parametrize("spec", [FinetuneSpec, EvaluateSpec, ProbeSpec, *(probes[name].Spec for name in probes)])
def test_every_field_is_explained(spec):
    assert not [name for name in fields.names(spec) if f"field.{name}" not in EN or f"field.{name}" not in ZH]


def test_every_explained_field_exists():
    specs = (FinetuneSpec, EvaluateSpec, PredictSpec, ExplainSpec, ProbeSpec, *(probes[name].Spec for name in probes))
    known = {name for spec in specs for name in spec.model_fields}
    assert not [key for key in EN if key.startswith("field.") and key.removeprefix("field.") not in known]


# --- sentences that bypass the catalogue -------------------------------------------------------------------------------

SENTENCE = re.compile(
    r"(?<![\w.%-])[A-Za-z]{2,}[,;:]? [a-zA-Z]{2,}(?![\w(=-])|(?<![\w-])[A-Z][a-z]+(?:-[a-z]+)+ [a-z]+|[\u4e00-\u9fff]"
)
MARKUP = re.compile(r"<[^<>]*>|&\w+;|[\w-]+: ?[^;{}]+;|@media[^{]*|\{[^{}]*\}")
PLUMBING = {
    "compile", "match", "search", "fullmatch", "sub", "split", "findall", "filterwarnings", "getLogger", "debug", "schema",
}  # fmt: skip


def bypasses(code: str) -> list[str]:
    """Constants of Python `code` that read like a sentence and are none of: docstring, pattern, markup, defect."""
    tree = ast.parse(code)
    skipped = {id(part) for node in ast.walk(tree) for root in _not_shown(node) for part in ast.walk(root)}
    texts = []
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.JoinedStr):
            texts.append("".join(part.value if isinstance(part, ast.Constant) else "X" for part in node.values))
            skipped |= {id(part) for part in node.values}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            texts.append(node.value)
    found = [text for text in texts if SENTENCE.search(MARKUP.sub("|", text)) and text not in NOT_FOR_USERS]
    return [text for text in found if "https://" not in text]  # a citation


def _not_shown(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.Expr(value=ast.Constant() as docstring):
            yield docstring
        case ast.Assert(msg=ast.expr() as message):
            yield message
        case ast.Raise(exc=ast.Call(func=ast.Name(id=kind))) if kind in DEFECTS:
            yield node
        case ast.Call(func=ast.Attribute(value=ast.Constant() as names, attr="split")):
            yield names
        case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name)) if name in PLUMBING:
            yield from node.args
        case ast.Call(func=ast.Name(id="ProbeItems"), keywords=keywords):  # a data set's own name, and its licence's
            yield from (each.value for each in keywords if each.arg in {"name", "licence", "citation"})
        case ast.AnnAssign(annotation=annotation) | ast.arg(annotation=ast.expr() as annotation):
            yield annotation


def javascript_bypasses(code: str) -> list[str]:
    """String literals of a module that read like a sentence, or that are put where words are shown."""
    code = re.sub(r"/\*.*?\*/|(?<![:\"'`])//[^\n]*", "", code, flags=re.DOTALL)
    literals = [
        a or b or c for a, b, c in re.findall(r'"((?:\\.|[^"\\\n])*)"|\'((?:\\.|[^\'\\\n])*)\'|`((?:\\.|[^`\\])*)`', code)
    ]
    found = [text for text in literals if SENTENCE.search(MARKUP.sub("|", text)) and text not in NOT_FOR_USERS]
    shown = r"(?:textContent|innerText|innerHTML|title|placeholder|ariaLabel)\s*=\s*[\"'`](\w[^\"'`]*)"
    said = r"setAttribute\(\s*[\"'](?:aria-label|title|alt)[\"'],\s*[\"'`](\w[^\"'`]*)"
    return found + re.findall(shown, code) + re.findall(said, code)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_sentence_bypasses_the_catalogue(path):
    assert not bypasses(path.read_text(encoding="utf-8"))


def test_no_words_are_written_in_javascript():
    scripts = sorted((PACKAGE / "panels" / "static").glob("*.js"))
    assert scripts
    assert not {path.name: found for path in scripts if (found := javascript_bypasses(path.read_text(encoding="utf-8")))}


@pytest.mark.parametrize(
    "code",
    [
        'print("Training has started")',
        'raise RunError(f"no run called {name}")',
        'title = f"<b>Held-out scores</b> of {name}"',
        'button = Button(description="Stop and save")',
        'label = "训练"',
        'raise FMError("This is wrong.")',
        'def f():\n    "docstring"\n    return "The model is ready"',
    ],
)
def test_the_scan_finds_a_sentence(code):
    assert bypasses(code)


@pytest.mark.parametrize(
    "code",
    [
        '"""A module that does things."""',
        'messages.text("panel.stop")',
        'raise ValueError("shapes must be equal")',
        'assert found, "there is always one"',
        'PATTERN = re.compile("one or two")',
        'CELL = \'<td class="fm name" style="text-align: right; color: red">\'',
        'name = "text-classification"',
        "os.environ['HF_HUB_OFFLINE']",
    ],
)
def test_the_scan_lets_code_be(code):
    assert not bypasses(code)


@pytest.mark.parametrize(
    "code",
    [
        'el.textContent = "Pause";',
        "b.setAttribute('aria-label', 'Stop')",
        'say("The run has ended")',
        "x = `Step ${n} of the run`",
    ],
)
def test_the_scan_finds_words_in_javascript(code):
    assert javascript_bypasses(code)


@pytest.mark.parametrize(
    "code", ['el.className = "fm-row fm-wide";', "el.textContent = words.pause; // Pause the run", "import a from 'b'"]
)
def test_the_scan_lets_javascript_be(code):
    assert not javascript_bypasses(code)


# --- the module itself -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LANG": "en_US.UTF-8", "FM_NOTEBOOK_LANGUAGE": "zh"}, "zh"),
    ],
)
def test_the_language_is_the_setting_or_else_the_locale(monkeypatch, environment, expected):
    for name in ("FM_NOTEBOOK_LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert messages.language() == expected


def test_a_message_is_filled_in_the_language_asked_for(monkeypatch):
    monkeypatch.setenv("FM_NOTEBOOK_LANGUAGE", "en")
    assert messages.text("error.line", line=3) == "Line 3:"
    monkeypatch.setenv("FM_NOTEBOOK_LANGUAGE", "zh")
    assert messages.text("error.line", line=3) == ZH["error.line"].replace("{line}", "3")


def test_values_are_put_in_as_they_are():
    assert "{field} <b>" in messages.text("error.data.empty.problem", field="train", source="{field} <b>")
