"""How long does the inspection panel take over many rows: to be there, to filter, to sort; and how much does it send?

``python benchmarks/inspection.py [--rows N …] [--only kernel browser] [--json]``

The evaluation's folder is written directly: texts of 3 to 40 words, English and Chinese, three classes, two groupings. (The file
cannot be called after the panel: a script beside it that is called ``inspect.py`` hides Python's own module.)

*kernel*: in this process. *first view*: from the folder to all that a page needs to draw, libraries loaded. Then each view twice:
*first*, with what it makes for all later ones (lower-cased texts, orders, label errors), and again, with another word or label,
nothing of it kept. Views are asked for as the page asks, the answer made into the text that is sent.
*browser*: the panel on an empty page in Chromium, its messages answered by this process; from the press of a key or button until
the page has drawn what it changed (a pause of 100 ms after the last letter typed is part of it), connection to a Jupyter server
not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa

from fm_notebook.contracts.results import DataFacts
from fm_notebook.contracts.specs import DataRef, EvaluateSpec, ModelRef
from fm_notebook.data import stored
from fm_notebook.jobs.folder import Identity, JobFolder, create

# ruff: noqa: SIM905 - words are easier read as a sentence
LABELS = ["negative", "neutral", "positive"]
WORDS = "the film was not very good and we saw it again last night in a cold hall with warm people who never laughed".split()
CHINESE = "这部电影很好看 我不喜欢 结尾太长了 演员 音乐 从来没有 真的".split()
FIRST_SECONDS, VIEW_MILLISECONDS = 1.0, 200.0
TYPING_MILLISECONDS = 100.0
REPEATS = 7


@dataclass(frozen=True)
class Row:
    """One figure, and the bound that it must stay below; None where there is none."""

    what: str
    rows: int
    value: float
    unit: str
    bound: float | None = None


def write_evaluation(path: Path, n: int, seed: int = 0) -> JobFolder:
    """An evaluation of `n` rows as a worker leaves it; one label in ten is wrong."""
    folder, draw, pick = create(path), np.random.default_rng(seed), random.Random(seed)
    texts = [
        " ".join(pick.choices(WORDS if pick.random() < 0.8 else CHINESE, k=pick.randint(3, 40))) for _ in range(min(n, 50_000))
    ]
    texts = [f"{text} {i // len(texts) or ''}" for i, text in zip(range(n), texts * (n // len(texts) + 1), strict=False)]
    truth = draw.integers(0, 3, n)
    logits = draw.normal(size=(n, 3))
    logits[np.arange(n), truth] += 2
    chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    given = np.where(draw.random(n) < 0.1, draw.integers(0, 3, n), truth)
    numbers = pa.array(np.arange(n), pa.int64())
    groups = {"by.gender": np.array(["f", "m", "x"])[draw.integers(0, 3, n)], "by.region": draw.integers(0, 20, n)}
    rows = {"text": pa.array(texts, pa.large_string()), "label": pa.array(given, pa.int32()), "row": numbers}
    stored.write(pa.table(rows | {name: pa.array(values) for name, values in groups.items()}), folder.eval_rows)
    names = pa.array(np.array(LABELS)[chances.argmax(1)], pa.large_string())
    said = {"row": numbers, "label": names} | {label: pa.array(chances[:, i]) for i, label in enumerate(LABELS)}
    stored.write(pa.table(said), folder.predictions)
    model = ModelRef(source="sentiment", kind="run", location=str(path.parent / "model"))
    spec = EvaluateSpec(
        model=model, data=DataRef(source="reviews", kind="value"), by=("gender", "region"), problem="single-label"
    )
    facts = DataFacts(labels=LABELS, train_rows=0, eval_rows=n, train_label_counts=[], eval_label_counts=[])
    folder.write(spec=spec, identity=Identity(name="sentiment"), facts=facts)
    return folder


LOSS = {"by": "loss", "descending": True}
VIEWS: dict[str, list[tuple[dict[str, Any], dict[str, Any]]]] = {
    "text contains": [({"contains": word}, LOSS) for word in ("never", "Cold hall", "喜欢", "zzz", "a")],
    "cell of the matrix": [({"true": a, "predicted": b}, LOSS) for a in LABELS for b in LABELS if a != b],
    "group": [({"groups": {"gender": each}}, LOSS) for each in "fmx"],
    "length": [({"shortest": low, "longest": low + 60}, LOSS) for low in (20, 60, 90, 150)],
    "label errors": [({"suspects": True, "true": each}, {"by": "margin", "descending": False}) for each in LABELS],
    "with a note": [({"noted": True}, LOSS), ({"noted": True, "right": False}, LOSS)],
    "sort by margin": [({}, {"by": "margin", "descending": False}), ({"right": True}, {"by": "margin", "descending": False})],
    "sort by group": [(each, {"by": "by.region", "descending": False}) for each in ({}, {"right": True})],
    "all at once": [({"contains": word, "groups": {"gender": "f", "region": "3"}, "right": False, "shortest": 10}, LOSS)
                    for word in ("night", "people", "音乐")],
}  # fmt: skip


def kernel(folder: JobFolder, n: int) -> Iterator[Row]:
    """What this process takes."""
    from fm_notebook.panels.inspect import page
    from fm_notebook.panels.inspect.inspector import Inspector
    from fm_notebook.session.inspection.inspection import Inspection
    from fm_notebook.session.inspection.slices import Slice, Sort

    def first() -> tuple[Inspector, int]:
        inspector = Inspector(Inspection.of(folder))
        return inspector, len(json.dumps([page.about(inspector), page.shown(inspector)]))

    first()  # loads what is loaded at the first use
    opened = [_timed(first)[0] for _ in range(3)]
    inspector, size = first()
    yield Row("first view", n, median(opened), "s", FIRST_SECONDS)
    yield Row("sent to the page, 25 rows", n, size / 1e3, "kB", 100.0)

    def view(chosen: dict[str, Any], order: dict[str, Any], number: int = 0) -> str:
        inspector.show(Slice.model_validate(chosen), Sort.model_validate(order), page=number, size=25)
        return json.dumps(page.shown(inspector))

    inspector.inspection.notes.write(inspector.inspection.hashes_of(np.array([5]))[0], "seen")
    for name, asked in VIEWS.items():
        times = [
            1e3 * _timed(lambda each=each: view(*each))[0] for each in asked for _ in range(REPEATS if each is asked[-1] else 1)
        ]
        bound = VIEW_MILLISECONDS if n <= 100_000 and name != "with a note" else None  # rows are hashed in the background
        yield Row(f"{name}: first", n, times[0], "ms", bound)
        yield Row(f"{name}: later", n, median(times[1:]), "ms", VIEW_MILLISECONDS if n <= 100_000 else None)
    times = [1e3 * _timed(lambda number=number: view({}, LOSS, number))[0] for number in (1, 2, n // 50, 3)]
    yield Row("another page", n, median(times), "ms", VIEW_MILLISECONDS if n <= 100_000 else None)
    vectors = np.random.default_rng(0).normal(size=(n, 384)).astype(np.float16)
    from fm_notebook.session.inspection.neighbours import nearest

    yield Row(
        "neighbours among vectors of 384", n, 1e3 * median(_timed(lambda: nearest(vectors, 7, 50))[0] for _ in range(3)), "ms"
    )


STAGE = """async ([code, css, state]) => {
  const values = JSON.parse(state), listeners = [];
  window.answer = (text) => listeners.forEach((listen) => listen(JSON.parse(text), []));
  const model = { get: (name) => values[name], set() {}, save_changes() {}, off() {},
    send: (content) => { window.ask(JSON.stringify(content)).then((texts) => texts.forEach(window.answer)); },
    on: (name, listener) => name === "msg:custom" && listeners.push(listener) };
  document.head.append(Object.assign(document.createElement("style"), { textContent: css }));
  const began = performance.now();
  const widget = (await import(URL.createObjectURL(new Blob([code], { type: "text/javascript" })))).default();
  widget.initialize({ model });
  widget.render({ model, el: document.body });
  document.body.getBoundingClientRect();
  await new Promise((then) => requestAnimationFrame(() => setTimeout(then)));
  return performance.now() - began;
}"""


def browser(folder: JobFolder, n: int) -> Iterator[Row]:
    """What somebody at the page waits for."""
    from playwright.sync_api import sync_playwright

    from fm_notebook.panels.inspect import InspectPanel
    from fm_notebook.panels.inspect.inspector import Inspector
    from fm_notebook.session.inspection.inspection import Inspection

    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        return
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = started.new_page(viewport={"width": 1100, "height": 1300})
        Inspection.of(folder)
        began = time.perf_counter()
        panel = InspectPanel(Inspector(Inspection.of(folder)))
        panel.send = lambda content, _buffers=None: sent.append(json.dumps(content))  # type: ignore[method-assign]
        sent: list[str] = []
        state = {key: value for key, value in panel.get_state().items() if not key.startswith("_")}
        made = time.perf_counter() - began

        def ask(text: str) -> list[str]:
            sent.clear()
            panel._on_message(panel, json.loads(text), [])
            return list(sent)

        page.expose_function("ask", ask)
        page.goto("about:blank")
        drawn = page.evaluate(STAGE, [panel._esm, panel._css, json.dumps(state)])
        yield Row("in the browser: first view drawn", n, made + drawn / 1e3, "s", FIRST_SECONDS)
        panel.inspector.inspection.warm()  # as a thread does while the page is looked at
        root = page.locator(".fm-inspect")

        def waited(act: Callable[[], object]) -> float:
            root.evaluate("panel => delete panel.dataset.milliseconds")
            act()
            while not (told := root.get_attribute("data-milliseconds")):
                page.wait_for_timeout(300)  # asking all the time would hold up the answer that is waited for
            return float(told)

        field = root.locator("input[type=search]")
        typed = [waited(lambda word=word: field.fill(word)) for word in ("never", "cold hall", "喜欢", "people", "night")]
        yield Row("in the browser: text contains", n, median(typed) + TYPING_MILLISECONDS, "ms", VIEW_MILLISECONDS)
        clicks = [waited(lambda i=i: root.locator(".fm-cell").nth(i).click()) for i in (1, 2, 3, 5, 6, 7)]
        yield Row("in the browser: cell of the matrix", n, median(clicks), "ms", VIEW_MILLISECONDS)
        sorts = [waited(lambda: root.get_by_role("button", name="margin").click()) for _ in range(5)]
        yield Row("in the browser: sort by margin", n, median(sorts), "ms", VIEW_MILLISECONDS)
        started.close()


QUESTIONS: dict[str, Callable[[JobFolder, int], Iterator[Row]]] = {"kernel": kernel, "browser": browser}


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    found = work()
    return time.perf_counter() - began, found


def table(rows: list[Row]) -> str:
    """The rows in Markdown."""
    lines = ["| | rows | measured | bound |", "|---|---|---|---|"]
    bounds = ["" if row.bound is None else f"< {row.bound:g} {row.unit}" for row in rows]
    pairs = zip(rows, bounds, strict=True)
    return "\n".join([*lines, *(f"| {row.what} | {row.rows:,} | {row.value:.3g} {row.unit} | {bound} |" for row, bound in pairs)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000])
    parser.add_argument("--only", nargs="+", choices=list(QUESTIONS), default=list(QUESTIONS))
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="fm_notebook-inspection-") as home:
        os.environ |= {"FM_NOTEBOOK_STATE": f"{home}/state", "FM_NOTEBOOK_RUNS": f"{home}/runs", "FM_NOTEBOOK_LANGUAGE": "en"}
        for n in asked.rows:
            folder = write_evaluation(Path(home) / f"{n}" / "evaluation", n)
            rows += [row for name in asked.only for row in QUESTIONS[name](folder, n)]
    print(json.dumps([asdict(row) for row in rows], indent=1) if asked.json else table(rows))


if __name__ == "__main__":
    main()
