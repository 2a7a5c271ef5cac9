"""What else is known of groups: how the score ranks rows within and across them, and gaps of true positive rates by class."""

from __future__ import annotations

from collections.abc import Iterator

from fm_notebook import messages
from fm_notebook.contracts.groups import ByGroup, GroupScores, GroupTable, group_name
from fm_notebook.contracts.tpr_gaps import GroupTprGaps, TprGaps
from fm_notebook.panels import markup, text

AUCS = ("subgroup_auc", "bpsn_auc", "bnsp_auc", "positive_aeg", "negative_aeg")
MOST_GAPS = 60
NONE = "evaluation.by.undefined"


def html(found: ByGroup) -> str:
    """Folded tables; nothing where neither is defined."""
    parts = ""
    if found.subgroup_aucs:
        header, *rows = _aucs(found.subgroup_aucs, below=True)
        inside = markup.paragraph(messages.text("evaluation.subgroups.note")) + markup.table(header, rows)
        parts += markup.details(_title(found.subgroup_aucs), inside)
    if found.tpr_gaps and found.tpr_gaps.groups:
        header, *rows = _groups(found.tpr_gaps)
        inside = markup.table(header, rows)
        header, *rows = _classes(found.tpr_gaps)
        words = messages.text("evaluation.tpr.each", adjustment=text.adjustment(found.tpr_gaps.adjustment))
        parts += markup.details(messages.text("evaluation.tpr.title"), inside + markup.table(header, rows, words))
    return parts


def plain(found: ByGroup) -> list[str]:
    """The same as lines of text, without the gaps by class."""
    lines: list[str] = []
    if found.subgroup_aucs:
        lines += [_title(found.subgroup_aucs), *text.columns(list(_aucs(found.subgroup_aucs)))]
    if found.tpr_gaps and found.tpr_gaps.groups:
        lines += [messages.text("evaluation.tpr.title"), *text.columns(list(_groups(found.tpr_gaps)))]
    return lines


def _title(table: GroupTable) -> str:
    return messages.text("evaluation.subgroups.title", positive=table.positive)


def _aucs(table: GroupTable, *, below: bool = False) -> Iterator[tuple[str, ...]]:
    yield (messages.text("evaluation.by.group"), messages.text("evaluation.by.rows"), *map(text.metric, AUCS))
    for row in table.groups:
        yield (row.name + (" *" if row.small else ""), f"{row.n:,}", *(_cell(row, name, below=below) for name in AUCS))


def _cell(row: GroupScores, name: str, *, below: bool) -> str:
    score = row.get(name)
    if score is None:
        return messages.text(NONE)
    return text.with_interval(score, below=below) + (" *" if name in row.few else "")


def _groups(found: TprGaps) -> Iterator[tuple[str, ...]]:
    """The groups with the widest root mean square first."""
    words = ("rms", "chance")
    yield (
        messages.text("evaluation.by.group"),
        *(messages.text(f"evaluation.tpr.{word}") for word in words),
        messages.text("evaluation.by.p"),
        *(messages.text(f"evaluation.tpr.{word}") for word in ("classes", "widest", "left")),
    )
    for each in sorted(found.groups, key=lambda each: -(each.rms.value if each.rms else -1)):
        yield _group(each)


def _group(each: GroupTprGaps) -> tuple[str, ...]:
    none, left = messages.text(NONE), f"{len(each.left_out):,}"
    if each.rms is None or each.by_chance is None or each.p_value is None:
        return (group_name(each.group), none, none, none, "0", none, left)
    widest = max(each.gaps, key=lambda gap: abs(gap.difference))
    shown = f"{widest.label} {widest.difference:+.3f}"
    return (
        group_name(each.group), text.with_interval(each.rms), text.score(each.by_chance), text.p_value(each.p_value),
        f"{len(each.gaps):,}", shown, left,
    )  # fmt: skip


def _classes(found: TprGaps) -> Iterator[tuple[str, ...]]:
    """The gaps with the smallest p-values first."""
    words = [messages.text(f"evaluation.by.{word}") for word in ("group", "p", "adjusted")]
    yield (words[0], messages.text("evaluation.class"), messages.text("evaluation.tpr.difference"), "n", *words[1:])
    gaps = [(each.group, gap) for each in found.groups for gap in each.gaps]
    for group, gap in sorted(gaps, key=lambda pair: (pair[1].adjusted_p, pair[1].p_value))[:MOST_GAPS]:
        between = f" ({text.interval(gap.interval)})" if gap.interval else ""
        numbers = (f"{gap.difference:+.3f}{between}", f"{gap.n_group:,} / {gap.n_rest:,}")
        yield (group_name(group), gap.label, *numbers, text.p_value(gap.p_value), text.p_value(gap.adjusted_p))
