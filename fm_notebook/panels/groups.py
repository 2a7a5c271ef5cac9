"""Scores by group as tables, a picture and text: every group is there, and what may not be compared is marked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fm_notebook import messages
from fm_notebook.contracts.groups import ByGroup, Gap, GroupScores, GroupTable, PairGap, group_name
from fm_notebook.panels import markup, text

RATES = ("selection_rate", "tpr", "fpr", "ppv")
ALWAYS = ("accuracy", "macro_f1", "auc", "ece")
DRAWN = {True: ("selection_rate", "tpr", "fpr"), False: ("accuracy", "macro_f1")}
"""Metrics of the picture, with and without a positive label."""
MOST_PAIRS = 50


def html(found: ByGroup) -> str:
    """Picture, scores by group, gaps; the pairs are folded."""
    from fm_notebook.figures import intervals

    table = found.table
    heading = messages.text("evaluation.by.title", columns=_columns(table))
    picture = intervals.intervals(table, DRAWN[table.positive is not None])
    header, *rows = _scores(table)
    parts = [markup.paragraph(strong=heading), markup.bullets(notices(table)), markup.image(picture)]
    parts.append(markup.table(header, rows, messages.text("evaluation.scores")))
    if found.disparities.gaps:
        header, *rows = _gaps(found.disparities.gaps)
        parts.append(markup.table(header, rows, messages.text("evaluation.by.gaps")))
    if found.disparities.pairs:
        header, *rows = _pairs(found.disparities.pairs)
        words = messages.text("evaluation.by.pairs", adjustment=found.disparities.adjustment)
        parts.append(markup.details(words, markup.table(header, rows)))
    return "".join(parts)


def plain(found: ByGroup) -> list[str]:
    """The same as lines of text, without the pairs."""
    lines = ["", messages.text("evaluation.by.title", columns=_columns(found.table)), *notices(found.table)]
    lines += _aligned(_scores(found.table))
    if found.disparities.gaps:
        lines += [messages.text("evaluation.by.gaps"), *_aligned(_gaps(found.disparities.gaps))]
    return lines


def notices(table: GroupTable) -> list[str]:
    """What a reader must know before comparing groups."""
    columns, found = _columns(table), []
    if table.n_small:
        count = {"count": table.n_small, "n": len(table.groups), "min_n": table.min_n}
        found.append(messages.text("evaluation.by.small", **count))
    if table.missing_rows:
        found.append(messages.text("evaluation.by.missing", rows=f"{table.missing_rows:,}", columns=columns))
    if table.positive is None:
        found.append(messages.text("evaluation.by.no_positive"))
    return found


def _columns(table: GroupTable) -> str:
    return " × ".join(table.columns)


def _scores(table: GroupTable) -> Iterator[tuple[str, ...]]:
    """A header, then a row a group and one over all."""
    metrics = [*(RATES if table.positive is not None else ()), *ALWAYS]
    words = ["group", "rows", *(["positives"] if table.positive is not None else [])]
    yield (*(messages.text(f"evaluation.by.{word}") for word in words), *map(text.metric, metrics))
    for row in (*table.groups, table.overall):
        name = row.name + (" *" if row.small else "") if row.group else messages.text("evaluation.by.overall")
        counts = [f"{row.n:,}", *([f"{row.n_positive or 0:,}"] if table.positive is not None else [])]
        yield (name, *counts, *(_cell(row, metric) for metric in metrics))


def _cell(row: GroupScores, metric: str) -> str:
    score = row.get(metric)
    if score is None:
        why = next((lost.why for lost in row.undefined if lost.name == metric), "")
        return f"{messages.text('evaluation.by.undefined')} {why}".strip()
    between = f" ({text.interval(score.interval)})" if score.interval else ""
    return text.score(score.value) + between + (" *" if metric in row.few else "")


def _gaps(gaps: Sequence[Gap]) -> Iterator[tuple[str, ...]]:
    words = ("gap", "difference", "between", "p", "detectable")
    yield tuple(messages.text(f"evaluation.by.{word}") for word in words)
    for gap in gaps:
        between = f"{group_name(gap.highest)} / {group_name(gap.lowest)}"
        least = text.score(gap.detectable) if gap.detectable is not None else messages.text("evaluation.by.undefined")
        yield (text.metric(gap.name), _difference(gap), between, _p(gap.p_value), least)


def _pairs(pairs: Sequence[PairGap]) -> Iterator[tuple[str, ...]]:
    """The pairs with the smallest p-values first."""
    words = ("first", "second", "gap", "difference", "p", "adjusted")
    yield tuple(messages.text(f"evaluation.by.{word}") for word in words)
    for pair in sorted(pairs, key=lambda each: (each.adjusted_p, each.p_value))[:MOST_PAIRS]:
        names = (group_name(pair.first), group_name(pair.second), text.metric(pair.name))
        yield (*names, _difference(pair), _p(pair.p_value), _p(pair.adjusted_p))


def _difference(gap: Gap | PairGap) -> str:
    return text.score(gap.difference) + (f" ({text.interval(gap.interval)})" if gap.interval else "")


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _aligned(rows: Iterator[tuple[str, ...]]) -> list[str]:
    cells = list(rows)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  " + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
