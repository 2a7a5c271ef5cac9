"""A `Comparison` as one table of what changed, tables by group, pictures, settings and costs."""

from __future__ import annotations

from collections.abc import Iterator

from fm_notebook import messages
from fm_notebook.contracts.comparisons import Compared, Comparison, GapChange, GroupingChanges, OverSeeds, RunChanges
from fm_notebook.contracts.groups import group_name
from fm_notebook.contracts.pairs import Change, GroupChanges
from fm_notebook.contracts.scores import Interval, Score
from fm_notebook.panels import comparison_pictures as pictures
from fm_notebook.panels import markup, probe_changes, text

FIRST = ("accuracy", "macro_f1", "loss", "auc", "selection_rate", "tpr", "fpr", "ppv", "ece")
"""Order of the scores; others come after them."""
BY_GROUP = {True: ("accuracy", "selection_rate", "tpr", "fpr"), False: ("accuracy", "macro_f1")}
"""Scores of the tables by group, with and without a positive label."""
Rows = list[tuple[str, ...]]


def html(comparison: Comparison) -> str:
    """The comparison as HTML that survives sanitizers; no data rows."""
    return "".join(_parts(comparison))


def plain(comparison: Comparison) -> str:
    """The comparison as text, without pictures and without what is folded."""
    lines = [
        " · ".join(title(comparison)),
        *(f"  {notice}" for notice in notices(comparison)),
        *text.columns(_one_line(changes(comparison))),
    ]
    for found in comparison.over_seeds:
        lines += ["", _of_seeds(found), *text.columns(_one_line(over_seeds(found)))]
    for number, by in enumerate(comparison.changes[0].by):
        lines += ["", _word("by", columns=" × ".join(by.columns))]
        for run in comparison.changes:
            lines += [run.name, *text.columns(_one_line(by_group(run.by[number], run, comparison)))]
        if found := gaps(number, comparison):
            lines += [_word("gaps", columns=" × ".join(by.columns)), *text.columns(_one_line(found))]
    if comparison.probes:
        lines += ["", probe_changes.plain(comparison.probes)]
    for rows in (settings(comparison), costs(comparison)):
        lines += ["", *text.columns(rows)] if rows else []
    return "\n".join(lines)


def title(comparison: Comparison) -> tuple[str, str]:
    """Who is held against whom, and on which rows."""
    others = ", ".join(run.name for run in comparison.changes)
    rows = f"{_word('on', data=text.rows_of(comparison.data))} · {_word('n', n=f'{comparison.n:,}')}"
    return _word("title", others=others, base=comparison.base.name), rows


def notices(comparison: Comparison) -> list[str]:
    """What a reader must know before believing the table."""
    found = []
    for run in comparison.runs:
        if run.untrained_head:
            found.append(_word("notice.untrained", name=run.name))
        if run.trained_rows:
            found.append(_word("notice.trained", name=run.name, rows=f"{run.trained_rows:,}", n=f"{comparison.n:,}"))
    if comparison.missing_rows:
        found.append(_word("notice.missing", rows=f"{comparison.missing_rows:,}"))
    if any(part.small for part in _parts_of(comparison) if part.group):
        table = comparison.base.groups[0].table
        found.append(_word("notice.small", min_n=table.min_n))
    elif any(change.few for part in _parts_of(comparison) for change in part.changes):
        found.append(_word("notice.few"))
    return found + [notice for run in comparison.changes for notice in _unpaired(run)]


def changes(comparison: Comparison) -> Rows:
    """A header, then a row a score: with the base, and with each other run, what changed, and whether that may be chance."""
    header = [_word("metric"), comparison.base.name]
    for run in comparison.changes:
        header += [
            run.name,
            _word("difference") if len(comparison.changes) == 1 else _word("of", name=run.name),
            _word("adjusted"),
        ]
    rows: Rows = [tuple(header)]
    for name in _metrics(comparison):
        cells = [text.metric(name), _value(comparison.base, name)]
        for run, compared in zip(comparison.changes, comparison.runs[1:], strict=True):
            change = run.overall.get(name)
            cells += [_value(compared, name), _delta(change), _adjusted(change)]
        rows.append(tuple(cells))
    if any(run.overall.flips for run in comparison.changes):
        cells = [_word("flips"), ""]
        for run in comparison.changes:
            cells += [_flips(run.overall), "", ""]
        rows.append(tuple(cells))
    return rows


def over_seeds(found: OverSeeds) -> Rows:
    """A header, then a row a score: mean over the seeds of either way of training, and what changed."""
    rows: Rows = [(_word("metric"), *(_word("mean", n=len(runs)) for runs in (found.first, found.second)), _word("difference"))]
    known = {change.name: change for change in found.over_all.overall.changes}
    for name in [*(name for name in FIRST if name in known), *(name for name in known if name not in FIRST)]:
        change = known[name]
        rows.append((text.metric(name), text.score(change.first), text.score(change.second), _delta(change)))
    return rows


def _of_seeds(found: OverSeeds) -> str:
    """What the table says, and what its intervals hold for."""
    words = _word("seeds", first=", ".join(found.first), second=", ".join(found.second))
    return f"{words} {_word('new_seeds' if found.over_all.seeds_resampled else 'these_seeds')}"


def by_group(by: GroupingChanges, run: RunChanges, comparison: Comparison) -> Rows:
    """A header, then a row a group and one over all: rows, flips, and of the main scores both values, change, interval and p."""
    shown = BY_GROUP[comparison.positive is not None]
    rows: Rows = [(_word("group"), _word("rows"), _word("flips"), *map(text.metric, shown))]
    for part in (*by.groups, run.overall):
        name = group_name(part.group) + (" *" if part.small else "") if part.group else messages.text("evaluation.by.overall")
        rows.append((name, f"{part.n:,}", _flips(part), *(_both(part.get(metric)) for metric in shown)))
    return rows


def gaps(number: int, comparison: Comparison) -> Rows:
    """A header, then a row a gap of one grouping: with the base, and with each other run, and what changed."""
    header = [_word("gap"), comparison.base.name]
    for run in comparison.changes:
        header += [run.name, _word("difference") if len(comparison.changes) == 1 else _word("of", name=run.name)]
    rows: Rows = [tuple(header)]
    each = [{gap.name: gap for gap in run.by[number].gaps} for run in comparison.changes]
    for name in dict.fromkeys(name for found in each for name in found):
        first = next(found[name].first for found in each if name in found)
        cells = [text.metric(name), text.score(first)]
        for found in each:
            cells += _gap(found.get(name))
        rows.append(tuple(cells))
    return rows if len(rows) > 1 else []


def settings(comparison: Comparison) -> Rows:
    """A header, then a row a field that the runs set differently."""
    rows: Rows = [(each.field, *(value or _word("none") for value in each.values)) for each in comparison.settings]
    return [(_word("field"), *(run.name for run in comparison.runs)), *rows] if rows else []


def costs(comparison: Comparison) -> Rows:
    """A header, then a row a run of which it is known what it took."""
    known = [(run.name, run.cost) for run in comparison.runs if run.cost]
    memory = {cost.peak_of for _, cost in known}
    kind = {frozenset({"device"}): "memory_device", frozenset({"process"}): "memory_process"}.get(frozenset(memory), "memory")
    header = (_word("run"), *(_word(key) for key in ("training", "whole", "steps", "pace", kind)))
    rows: Rows = [
        (
            name, text.duration(cost.training_seconds), text.duration(cost.seconds), f"{cost.steps:,}",
            text.amount(cost.tokens_per_second), text.memory(cost.peak_memory_bytes),
        )
        for name, cost in known
    ]  # fmt: skip
    return [header, *rows] if rows else []


def _parts(comparison: Comparison) -> Iterator[str]:
    yield markup.paragraph(*title(comparison)[1:], strong=title(comparison)[0])
    yield markup.bullets(notices(comparison))
    yield _table(changes(comparison), _word("changes", adjustment=text.adjustment(comparison.adjustment)))
    for found in comparison.over_seeds:
        yield _table(over_seeds(found), _of_seeds(found))
    for number, by in enumerate(comparison.changes[0].by):
        columns = " × ".join(by.columns)
        yield markup.paragraph(strong=_word("by", columns=columns))
        for run in comparison.changes:
            yield _table(by_group(run.by[number], run, comparison), run.name if len(comparison.changes) > 1 else "")
        yield _table(gaps(number, comparison), _word("gaps", columns=columns))
    if any(run.by for run in comparison.changes):
        yield markup.details(_word("folded"), _table(_all_by_group(comparison)))
        yield markup.image(pictures.quality_and_gap(comparison))
    if comparison.probes:
        yield probe_changes.html(comparison.probes)
    yield markup.image(pictures.curves(comparison))
    yield _table(settings(comparison), _word("settings"))
    yield _table(costs(comparison), _word("cost"))


def _table(rows: Rows, caption: str = "") -> str:
    return markup.table(rows[0], rows[1:], caption) if rows else ""


def _all_by_group(comparison: Comparison) -> Rows:
    """Every change in every group, raw p too."""
    words = ("run", "group", "metric", "rows", "difference", "interval", "p", "adjusted")
    rows: Rows = [tuple(_word(word) for word in words)]
    for run in comparison.changes:
        for by in run.by:
            for part in by.groups:
                name = group_name(part.group) + (" *" if part.small else "")
                for c in part.changes:
                    p = _word("none") if c.p_value is None else text.p_value(c.p_value)
                    mark = " †" if c.few else ""
                    ends = between(c.interval)
                    rows.append(
                        (run.name, name, text.metric(c.name), f"{c.n:,}", signed(c.difference) + mark, ends, p, _adjusted(c))
                    )
    return rows


def _metrics(comparison: Comparison) -> list[str]:
    known = dict.fromkeys(change.name for run in comparison.changes for change in run.overall.changes)
    return [*(name for name in FIRST if name in known), *(name for name in known if name not in FIRST)]


def _value(run: Compared, name: str) -> str:
    score: Score | None = run.get(name)
    return _word("none") if score is None else text.with_interval(score, below=True)


def _delta(change: Change | None) -> str:
    if change is None:
        return _word("none")
    return (signed(change.difference) + (" †" if change.few else "") + f"\n{between(change.interval)}").rstrip()


def _adjusted(change: Change | None) -> str:
    return _word("none") if change is None or change.adjusted_p is None else text.p_value(change.adjusted_p)


def _both(change: Change | None) -> str:
    """Both values, the change with its interval, and p."""
    if change is None:
        return _word("none")
    values = f"{text.score(change.first)} → {text.score(change.second)}"
    p = "" if change.adjusted_p is None else f"{_word('p')} {text.p_value(change.adjusted_p)}"
    return "\n".join(filter(None, [values, _delta(change).replace("\n", " "), p]))


def _flips(part: GroupChanges) -> str:
    return f"{part.flips.mended:,} / {part.flips.broken:,}" if part.flips else _word("none")


def _gap(change: GapChange | None) -> tuple[str, str]:
    if change is None:
        return _word("none"), _word("none")
    return text.score(change.second), f"{signed(change.difference)}\n{between(change.interval)}".rstrip()


def signed(value: float) -> str:
    """A difference with its sign: ``+0.240``, ``−0.151``, and ``0.000`` for what rounds to it."""
    shown = text.score(abs(value))
    return shown if not shown.strip("0.,") else f"{'+' if value > 0 else '−'}{shown}"


def between(interval: Interval | None) -> str:
    """The interval of a difference, whose ends may lie below 0: ``[−0.013, 0.240]``; empty if there is none."""
    ends = (text.score(end).replace("-", "−") for end in (interval.low, interval.high)) if interval else ()
    return f"[{', '.join(ends)}]" if interval else ""


def _unpaired(run: RunChanges) -> Iterator[str]:
    if "other_tokens" in run.unpaired.values():
        yield _word("notice.other_tokens", name=run.name)
    lost = [text.metric(name) for name, why in run.unpaired.items() if why == "no_rows"]
    if lost:
        yield _word("notice.no_rows", metrics=", ".join(lost))


def _parts_of(comparison: Comparison) -> Iterator[GroupChanges]:
    for run in comparison.changes:
        yield run.overall
        for by in run.by:
            yield from by.groups


def _one_line(rows: Rows) -> Rows:
    """For a text: what stands below in a cell goes behind."""
    return [tuple(cell.strip().replace("\n", "  ") for cell in row) for row in rows]


def _word(key: str, **values: object) -> str:
    return messages.text(f"compare.{key}", **values)
