"""A `LearningRateCurve` with its picture, its suggestions by name, and what is known against trusting them."""

from __future__ import annotations

from fm_notebook import messages
from fm_notebook.contracts.trials import LearningRateCurve
from fm_notebook.panels import markup, text

CAUTIONS = ("transformers", "optimizer", "noise", "usual")


def html(curve: LearningRateCurve) -> str:
    """The curve as HTML that survives sanitizers."""
    from fm_notebook.figures.learning_rates import learning_rates

    rows = suggestions(curve)
    picture = learning_rates(
        curve.learning_rates, curve.losses, curve.smoothed, curve.suggestions, names=_names(curve), partial=curve.partial
    )
    header = [messages.text(f"learning_rates.{key}") for key in ("rule", "rate", "reads")]
    return "".join([
        markup.paragraph(headline(curve), *([] if rows else [messages.text("learning_rates.none")])),
        markup.image(picture), markup.table(header, rows, messages.text("learning_rates.suggestions")),
        markup.paragraph(messages.text("learning_rates.against")), markup.bullets(cautions()),
        markup.paragraph(next_step(curve)),
    ])  # fmt: skip


def plain(curve: LearningRateCurve) -> str:
    """The curve as text."""
    lines = [headline(curve)]
    lines += [f"  {rule}: {rate} ({how})" for rule, rate, how in suggestions(curve)] or [messages.text("learning_rates.none")]
    lines += [messages.text("learning_rates.against"), *(f"  - {caution}" for caution in cautions()), next_step(curve)]
    return "\n".join(lines)


def headline(curve: LearningRateCurve) -> str:
    """What was done and how it ended."""
    done = {"steps": len(curve.losses), "batch": curve.batch_size, "seed": curve.seed}
    said = messages.text("learning_rates.title", name=curve.name, model=curve.model, **done)
    return f"{said} {messages.text(f'learning_rates.ended.{curve.ended}')}"


def suggestions(curve: LearningRateCurve) -> list[tuple[str, str, str]]:
    """Rule, learning rate and how the rule reads the curve."""
    names = _names(curve)
    return [(names[rule], f"{rate:.1e}", messages.text(f"learning_rates.how.{rule}")) for rule, rate in curve.suggestions.items()]


def cautions() -> list[str]:
    """What is known against trusting the suggestions for transformers."""
    return [messages.text(f"learning_rates.caution.{each}") for each in CAUTIONS]


def next_step(curve: LearningRateCurve) -> str:
    """That nothing is bound, and what to write."""
    return messages.text("learning_rates.next", name=curve.name, rate=text.number(curve.learning_rate))


def _names(curve: LearningRateCurve) -> dict[str, str]:
    return {rule: messages.text(f"learning_rates.name.{rule}") for rule in curve.suggestions}
