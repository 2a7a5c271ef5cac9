"""Whether probabilities mean what they say, and how they rank rows: folded parts of an evaluation, and their plain twins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fm_notebook import messages
from fm_notebook.contracts.calibration import Calibration, Curve, Temperature
from fm_notebook.contracts.results import Evaluation
from fm_notebook.panels import markup, text


def html(evaluation: Evaluation) -> str:
    """Calibration and curves, each folded under a line that says what it comes to; nothing where there are none."""
    return _calibration(evaluation) + _curves(evaluation.curves)


def plain(evaluation: Evaluation) -> list[str]:
    """The same as lines of text."""
    lines: list[str] = []
    if evaluation.calibration:
        lines += ["", *_about(evaluation), *text.score_lines(list(_scores(evaluation.calibration, evaluation.temperature)))]
        lines += [f"  {said}" for said in _reading(evaluation.temperature)]
    if evaluation.curves:
        header, *rows = _areas(evaluation.curves)
        lines += ["", messages.text("evaluation.curves.title"), *text.columns([header, *rows])]
    return lines


def _calibration(evaluation: Evaluation) -> str:
    from fm_notebook.figures.calibration import reliability

    found = evaluation.calibration
    if found is None:
        return ""
    columns = [messages.text(f"panel.column.{key}") for key in ("metric", "value", "interval", "n")]
    ends = {"ece": text.score(found.ece.value), "chance": text.score(found.ece_if_calibrated)}
    title, about = _about(evaluation)
    inside = [markup.paragraph(about, strong=title), markup.image(reliability(found))]
    inside += [markup.table(columns, _scores(found, evaluation.temperature)), markup.bullets(_reading(evaluation.temperature))]
    return markup.details(messages.text("evaluation.trust.summary", **ends), "".join(inside))


def _about(evaluation: Evaluation) -> list[str]:
    found = evaluation.calibration
    assert found is not None
    key = "of_top" if found.positive is None else "of_positive"
    score = messages.text(f"evaluation.trust.{key}", positive=found.positive)
    return [_word("title"), _word("about", score=score, n=f"{found.n:,}")]


def _scores(found: Calibration, fitted: Temperature | None) -> Iterator[tuple[str, str, str, str]]:
    n = f"{found.n:,}"
    yield (_word("ece"), text.score(found.ece.value), text.interval(found.ece.interval), n)
    yield (_word("chance"), text.score(found.ece_if_calibrated), "", n)
    for name, score in (("brier", found.brier), ("in_the_large", found.in_the_large)):
        yield (_word(name), text.score(score.value), text.interval(score.interval), f"{score.n:,}")
    if fitted and not fitted.at_bound:
        yield (_word("temperature"), text.score(fitted.temperature), text.interval(fitted.interval), f"{fitted.n:,}")


def _reading(fitted: Temperature | None) -> list[str]:
    """What the temperature says."""
    if fitted is None:
        return []
    if fitted.at_bound:
        return [_word("at_bound")]
    if fitted.interval and fitted.interval.low <= 1 <= fitted.interval.high:
        return [_word("fits")]
    losses = {"before": text.score(fitted.loss_before), "after": text.score(fitted.loss_after)}
    return [_word("too_sure" if fitted.temperature > 1 else "too_unsure", **losses)]


def _curves(curves: Sequence[Curve]) -> str:
    from fm_notebook.figures.roc import roc

    if not curves:
        return ""
    header, *rows = _areas(curves)
    title = markup.paragraph(strong=messages.text("evaluation.curves.title"))
    return markup.details(_summary(curves), title + markup.image(roc(curves)) + markup.table(header, rows))


def _summary(curves: Sequence[Curve]) -> str:
    labels = {curve.label for curve in curves}
    if len(labels) > 1:
        return messages.text("evaluation.curves.summary_many", n=len(labels))
    areas = {curve.kind: text.score(curve.area.value) for curve in curves}
    return messages.text("evaluation.curves.summary", auc=areas.get("roc", "–"), ap=areas.get("precision-recall", "–"))


def _areas(curves: Sequence[Curve]) -> Iterator[tuple[str, ...]]:
    """A header, then a row a label: its share of the rows and the areas under its two curves."""
    from fm_notebook.figures.confusion import are_numbered

    words = ("label", "base_rate")
    yield (*(messages.text(f"evaluation.curves.{word}") for word in words), text.metric("auc"), text.metric("average_precision"))
    labels = list(dict.fromkeys(curve.label for curve in curves))
    numbered = len(labels) > 1 and are_numbered(labels)
    for number, label in enumerate(labels):
        own = {curve.kind: curve for curve in curves if curve.label == label}
        share = next((curve.base_rate for curve in own.values() if curve.base_rate is not None), None)
        name = f"{number} · {label}" if numbered else label
        areas = (text.with_interval(own[kind].area) if kind in own else "–" for kind in ("roc", "precision-recall"))
        yield (name, "–" if share is None else text.share(share), *areas)


def _word(key: str, **values: object) -> str:
    return messages.text(f"evaluation.trust.{key}", **values)
