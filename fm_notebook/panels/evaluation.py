"""An `Evaluation` as a table a reader of ``classification_report`` knows, with intervals, notices and the confusion matrix."""

from __future__ import annotations

from collections.abc import Iterator

from fm_notebook import messages
from fm_notebook.contracts.results import Evaluation
from fm_notebook.panels import groups as groups_panel
from fm_notebook.panels import markup, text, trust

MOST_CLASSES = 200
MUCH_UNKNOWN, MUCH_CUT = 0.05, 0.01


def html(evaluation: Evaluation) -> str:
    """The evaluation as HTML that survives sanitizers; no data rows."""
    return "".join(_parts(evaluation))


def plain(evaluation: Evaluation) -> str:
    """The evaluation as text."""
    lines = [_title(evaluation), *notices(evaluation), *text.score_lines(_scores(evaluation))]
    if evaluation.partial:
        lines.append("  " + ", ".join(f"{name} {count}" for name, count in _partial(evaluation)))
    below = trust.plain(evaluation) + [line for each in evaluation.groups for line in groups_panel.plain(each)]
    if not evaluation.classes:
        return "\n".join([*lines, *below])
    header = tuple(messages.text(f"evaluation.{key}") for key in ("class", "precision", "recall", "f1", "support"))
    rows = [header, *_classes(evaluation)]
    width = max(len(row[0]) for row in rows)
    lines += [f"  {row[0]:<{width}}  " + "  ".join(f"{cell:>23}" for cell in row[1:4]) + f"  {row[4]:>7}" for row in rows]
    return "\n".join([*lines, *below])


def notices(evaluation: Evaluation) -> list[str]:
    """What a reader must know before believing the scores."""
    found: list[str] = []
    if evaluation.untrained_head:
        found.append(_notice("untrained_head"))
    if evaluation.trained_rows:
        found.append(_notice("trained_rows", rows=f"{evaluation.trained_rows:,}", n=f"{evaluation.n:,}"))
    if evaluation.missing_rows:
        found.append(_notice("missing_rows", rows=f"{evaluation.missing_rows:,}"))
    if evaluation.truncated_share > MUCH_CUT:
        found.append(_notice("truncated", share=text.share(evaluation.truncated_share)))
    if evaluation.unknown_share > MUCH_UNKNOWN:
        found.append(_notice("unknown", share=text.share(evaluation.unknown_share)))
    return found


def show(evaluation: Evaluation) -> None:
    """Display the evaluation here."""
    from IPython.display import display

    display({"text/html": html(evaluation), "text/plain": plain(evaluation)}, raw=True)


def _parts(evaluation: Evaluation) -> Iterator[str]:
    yield markup.paragraph(_title(evaluation))
    yield markup.bullets(notices(evaluation))
    columns = [messages.text(f"panel.column.{key}") for key in ("metric", "value", "interval", "n")]
    yield markup.table(columns, _scores(evaluation), messages.text("evaluation.scores"))
    if evaluation.classes:
        header = [messages.text(f"evaluation.{key}") for key in ("class", "precision", "recall", "f1", "support")]
        yield markup.table(header, _classes(evaluation), messages.text("evaluation.classes"))
    if evaluation.partial:
        header = [messages.text(f"evaluation.{key}") for key in ("entities", "count")]
        yield markup.table(header, _partial(evaluation), messages.text("evaluation.partly"))
    yield _confusion(evaluation) if evaluation.confusion else _picture(evaluation)
    yield trust.html(evaluation)
    yield from map(groups_panel.html, evaluation.groups)


def _title(evaluation: Evaluation) -> str:
    words = [
        messages.text("evaluation.title", model=evaluation.run or evaluation.model, data=text.rows_of(evaluation.data)),
        messages.text("evaluation.n", n=f"{evaluation.n:,}"),
    ]
    if evaluation.seconds:
        words.append(messages.text("evaluation.seconds", time=text.duration(evaluation.seconds)))
    return " · ".join(words)


def _scores(evaluation: Evaluation) -> list[tuple[str, str, str, str]]:
    return [(text.metric(s.name), text.score(s.value), text.interval(s.interval), f"{s.n:,}") for s in evaluation.scores]


def _classes(evaluation: Evaluation) -> list[tuple[str, ...]]:
    rows = [
        (c.label, *map(text.with_interval, (c.precision, c.recall, c.f1)), f"{c.support:,}")
        for c in evaluation.classes[:MOST_CLASSES]
    ]
    return rows if len(evaluation.classes) <= MOST_CLASSES else [*rows, ("…", "", "", "", "")]


def _confusion(evaluation: Evaluation) -> str:
    from fm_notebook.figures import confusion

    picture = confusion.confusion(evaluation.confusion, evaluation.labels)
    if picture is None:
        return ""
    chosen = confusion.most_confused(evaluation.confusion)
    said = ""
    if len(chosen) < len(evaluation.labels):
        said = markup.paragraph(messages.text("evaluation.shown_classes", classes=len(evaluation.labels), shown=len(chosen)))
    if confusion.are_numbered(evaluation.labels):
        header = [messages.text("evaluation.number"), messages.text("evaluation.class")]
        rows = [(str(i), evaluation.labels[i]) for i in chosen]
        said += markup.details(messages.text("evaluation.numbered"), markup.table(header, rows))
    return markup.image(picture) + said


def _partial(evaluation: Evaluation) -> list[tuple[str, str]]:
    return [(messages.text(f"evaluation.partial.{name}"), f"{count:,}") for name, count in evaluation.partial.items()]


def _picture(evaluation: Evaluation) -> str:
    """Of a task without a confusion matrix: F1 by class, predicted against true numbers, or the spread of perplexity."""
    from fm_notebook.figures import bars, perplexities, scatter

    if evaluation.classes:
        picture = bars.bars(evaluation.classes)
    elif evaluation.points:
        true, predicted = zip(*evaluation.points, strict=True)
        picture = scatter.scatter(true, predicted)
    else:
        picture = perplexities.perplexities(evaluation.text_perplexities)
    return markup.image(picture) if picture else ""


def _notice(key: str, **values: object) -> str:
    return messages.text(f"evaluation.notice.{key}", **values)
