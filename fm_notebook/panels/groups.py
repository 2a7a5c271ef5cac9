"""Scores by group as tables, a picture and text: every group is there, and what may not be compared is marked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fm_notebook import messages
from fm_notebook.contracts.groups import ByGroup, Gap, Group, GroupScores, GroupTable, PairGap, group_name
from fm_notebook.panels import markup, text
from fm_notebook.panels import subgroups as subgroups_panel

RATES = ("selection_rate", "tpr", "fpr", "ppv")
ALWAYS = ("accuracy", "macro_f1", "auc", "ece")
DRAWN = {True: ("selection_rate", "tpr", "fpr"), False: ("accuracy", "macro_f1")}
"""Metrics of the picture, with and without a positive label."""
HEADLINES = (("macro_f1", "macro_f1"), ("equal_opportunity", "tpr"))
"""Gaps whose worst group is named at the top, and the score that they are of."""
SHOWN_BELOW = 0.05
"""P-value of a gap above which its worst group is named as the lowest only: some group always is."""
MOST_PAIRS = 50


def html(found: ByGroup) -> str:
    """Picture, scores by group, gaps; the pairs are folded."""
    from fm_notebook.figures import intervals

    table = found.table
    heading = messages.text("evaluation.by.title", columns=_columns(table))
    picture = intervals.intervals(table, DRAWN[table.positive is not None])
    header, *rows = _scores(table, below=True)
    parts = [markup.paragraph(strong=heading), markup.bullets([*worst(found), *notices(table)]), markup.image(picture)]
    parts.append(markup.table(header, rows, messages.text("evaluation.scores")))
    if found.disparities.gaps:
        header, *rows = _gaps(found.disparities.gaps)
        parts.append(markup.table(header, rows, messages.text("evaluation.by.gaps")))
    if found.disparities.pairs:
        header, *rows = _pairs(found.disparities.pairs)
        words = messages.text("evaluation.by.pairs", adjustment=text.adjustment(found.disparities.adjustment))
        parts.append(markup.details(words, markup.table(header, rows)))
    return "".join([*parts, subgroups_panel.html(found)])


def plain(found: ByGroup) -> list[str]:
    """The same as lines of text, without the pairs."""
    lines = ["", messages.text("evaluation.by.title", columns=_columns(found.table)), *worst(found), *notices(found.table)]
    lines += text.columns(list(_scores(found.table)))
    if found.disparities.gaps:
        lines += [messages.text("evaluation.by.gaps"), *text.columns(list(_gaps(found.disparities.gaps)))]
    return [*lines, *subgroups_panel.plain(found)]


def worst(found: ByGroup) -> list[str]:
    """A line for each score by which a group is said to be the worst: over all labels, and for the positive one."""
    gaps = {gap.name: gap for gap in found.disparities.gaps}
    return [_worst(gaps[name], score, found.table) for name, score in HEADLINES if name in gaps and gaps[name].difference]


def notices(table: GroupTable) -> list[str]:
    """What a reader must know before comparing groups."""
    columns, found = _columns(table), []
    if table.n_small == len(table.groups):
        found.append(messages.text("evaluation.worst.all_small", n=table.n_small, min_n=table.min_n))
    elif table.n_small:
        count = {"count": table.n_small, "n": len(table.groups), "min_n": table.min_n}
        found.append(messages.text("evaluation.by.small", **count))
    if table.missing_rows:
        found.append(messages.text("evaluation.by.missing", rows=f"{table.missing_rows:,}", columns=columns))
    if table.positive is None:
        found.append(messages.text("evaluation.by.no_positive"))
    return found


def _columns(table: GroupTable) -> str:
    return " × ".join(table.columns)


def _scores(table: GroupTable, *, below: bool = False) -> Iterator[tuple[str, ...]]:
    """A header, then a row a group and one over all. Scores that no group could have are left out, as an AUC of no label."""
    all_rows = (*table.groups, table.overall)
    known = {score.name for row in all_rows for score in (*row.scores, *row.undefined)}
    metrics = [metric for metric in (*RATES, *ALWAYS) if metric in known]
    words = ["group", "rows", *(["positives"] if table.positive is not None else [])]
    yield (*(messages.text(f"evaluation.by.{word}") for word in words), *map(text.metric, metrics))
    for row in all_rows:
        name = row.name + (" *" if row.small else "") if row.group else messages.text("evaluation.by.overall")
        counts = [f"{row.n:,}", *([f"{row.n_positive or 0:,}"] if table.positive is not None else [])]
        yield (name, *counts, *(_cell(row, metric, below=below) for metric in metrics))


def _worst(gap: Gap, metric: str, table: GroupTable) -> str:
    assert gap.worst is not None, "of selection rates no one is the worst"
    best = gap.highest if gap.worst == gap.lowest else gap.lowest
    ends = {"worst": group_name(gap.worst), "low": _of(table, gap.worst, metric), "best": group_name(best)}
    high, p = _of(table, best, metric), text.p_in_words(gap.p_value)
    key = "line" if gap.p_value < SHOWN_BELOW else "none"
    return messages.text(f"evaluation.worst.{key}", metric=text.metric(metric), high=high, p=p, **ends)


def _of(table: GroupTable, group: Group, metric: str) -> str:
    score = table[group].get(metric)
    return "" if score is None else text.with_interval(score)


def _cell(row: GroupScores, metric: str, *, below: bool) -> str:
    score = row.get(metric)
    if score is None:
        why = next((lost.why for lost in row.undefined if lost.name == metric), "")
        return f"{messages.text('evaluation.by.undefined')} {why}".strip()
    return text.with_interval(score, below=below) + (" *" if metric in row.few else "")


def _gaps(gaps: Sequence[Gap]) -> Iterator[tuple[str, ...]]:
    words = ("gap", "difference", "between", "p", "detectable")
    yield (*(messages.text(f"evaluation.by.{word}") for word in words), messages.text("evaluation.worst.column"))
    nothing = messages.text("evaluation.by.undefined")
    for gap in gaps:  # where all groups are equal, none is the highest
        between = f"{group_name(gap.highest)} / {group_name(gap.lowest)}" if gap.difference else nothing
        least = text.score(gap.detectable) if gap.detectable is not None else nothing
        worse = group_name(gap.worst) if gap.worst is not None and gap.difference else nothing
        yield (text.metric(gap.name), _difference(gap), between, text.p_value(gap.p_value), least, worse)


def _pairs(pairs: Sequence[PairGap]) -> Iterator[tuple[str, ...]]:
    """The pairs with the smallest p-values first."""
    words = ("first", "second", "gap", "difference", "p", "adjusted")
    yield tuple(messages.text(f"evaluation.by.{word}") for word in words)
    for pair in sorted(pairs, key=lambda each: (each.adjusted_p, each.p_value))[:MOST_PAIRS]:
        names = (group_name(pair.first), group_name(pair.second), text.metric(pair.name))
        yield (*names, _difference(pair), text.p_value(pair.p_value), text.p_value(pair.adjusted_p))


def _difference(gap: Gap | PairGap) -> str:
    return text.score(gap.difference) + (f" ({text.interval(gap.interval)})" if gap.interval else "")
