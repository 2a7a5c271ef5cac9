"""A run that trains the head alone: with cached features it learns what it learns without."""

import dataclasses

import pytest

from fm_notebook.contracts import events as ev
from fm_notebook.engine import frozen
from fm_notebook.engine.loop import finetune


def losses(parts):
    return [event.loss for event in finetune(parts) if isinstance(event, ev.StepEnded)]


def test_cached_features_give_the_losses_of_the_plain_forward(make_parts):
    plain, cached = make_parts("plain", dropout=0.0, learning_rate=1e-2), make_parts("cached", dropout=0.0, learning_rate=1e-2)
    for parts in (plain, cached):
        frozen.freeze_backbone(parts.model)
    cached = dataclasses.replace(
        cached,
        train=frozen.with_features(cached.model, cached.train),
        held_out=frozen.with_features(cached.model, cached.held_out),
    )
    assert cached.train.features.shape == (40, 32)
    found = losses(cached)
    assert found == pytest.approx(losses(plain), abs=1e-5)
    assert len(set(found)) == len(found) == 10


def test_where_the_backbone_learns_nothing_is_cached(make_parts):
    parts = make_parts()
    assert frozen.with_features(parts.model, parts.train) is parts.train
