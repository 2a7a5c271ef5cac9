"""Estimates and learning-rate curves as a reader sees them, in HTML and in text."""

import re

import pytest

from fm_notebook.contracts.results import DataFacts, Interval
from fm_notebook.contracts.trials import Estimate, LearningRateCurve
from fm_notebook.panels import estimate, learning_rates

FACTS = DataFacts(
    labels=["no", "<b>yes"], train_rows=80, eval_rows=20, train_label_counts=[60, 20], eval_label_counts=[15, 5], shared_texts=3,
    duplicate_texts=7, truncated_share=0.125,
)  # fmt: skip


@pytest.fixture(params=["en", "zh"])
def language(request, monkeypatch):
    monkeypatch.setenv("FM_NOTEBOOK_LANGUAGE", request.param)
    return request.param


def estimated(**fields):
    memory = {"weights": 400_000_000, "casts": 0, "gradients": 400_000_000, "optimizer": 800_000_000, "activations": 300_000_000}
    return Estimate(**{
        "name": "run", "model": "bert", "task": "text-classification", "device": "cpu", "precision": "fp32",
        "parameters": 100_000_000, "trainable_parameters": 1_000_000, "memory": memory, "memory_bytes": 1_600_000_000,
        "measured_memory_bytes": 1_700_000_000, "free_memory_bytes": 9_000_000_000, "total_steps": 1200, "steps_per_epoch": 400,
        "batch_size": 32, "micro_batch_size": 16, "checkpoint_bytes": 1_200_000_000, "model_bytes": 400_000_000,
        "disk_bytes": 4_800_000_000, "free_disk_bytes": 50_000_000_000, "data": FACTS,
        "token_percentiles": {50: 12, 90: 40, 99: 90, 100: 128}, "max_length": 128, "step_seconds": [1.0, 2.0, 3.0],
        "seconds": {"load": 1.0, "train": 2400.0}, "interval": Interval(low=1000.0, high=3800.0, method="t"), **fields,
    })  # fmt: skip


def swept(**fields):
    return LearningRateCurve(**{
        "name": "run", "model": "bert", "task": "text-classification", "learning_rates": [1e-6, 1e-5, 1e-4, 1e-3],
        "losses": [1.0, 0.9, 0.5, 0.8], "smoothed": [1.0, 0.95, 0.7, 0.75], "learning_rate": 5e-5, "ended": "swept",
        "suggestions": {"steepest": 1e-5, "valley": 2e-5, "minimum_tenth": 1e-5}, "examples": 32, "batch_size": 8, "seed": 0,
        **fields,
    })  # fmt: skip


@pytest.mark.parametrize("show", [estimate.html, estimate.plain])
def test_an_estimate_names_every_number(language, show):
    said = show(estimated())
    for number in ("100,000,000", "1,000,000", "1.0 %", "1.60 GB", "1.70 GB", "1,200", "40:01", "16:40", "1:03:20", "4.80 GB",
                   "128", "12.5 %", "60 (75.0 %)", "15 (75.0 %)", "300 MB", "fm_notebook.dry_run"):  # fmt: skip
        assert number in said, number
    assert "{" not in said
    assert re.search(r"\b7\b", said)
    assert re.search(r"\b3\b", said)


def test_html_is_escaped_and_has_no_scripts(language):
    said = estimate.html(estimated()) + learning_rates.html(swept())
    assert "<b>yes" not in said
    assert "&lt;b&gt;yes" in said
    assert "<script" not in said


def test_what_does_not_fit_is_said_first(monkeypatch):
    monkeypatch.setenv("FM_NOTEBOOK_LANGUAGE", "en")
    found = estimated(free_memory_bytes=10**9, free_disk_bytes=10**9, step_seconds=[], seconds={}, interval=None)
    said = estimate.plain(found)
    assert not found.fits
    assert "Memory does not suffice: 1.60 GB are needed, 1.00 GB are free." in said
    assert "The disk does not suffice: 4.80 GB are needed" in said
    assert "unknown time" in said


@pytest.mark.parametrize(("memory_bytes", "said"), [(1_900_000_000, "peak "), (1_600_000_000, "peak (not all of it meets")])
def test_a_peak_below_the_sum_is_explained(monkeypatch, memory_bytes, said):
    monkeypatch.setenv("FM_NOTEBOOK_LANGUAGE", "en")
    assert said in estimate.plain(estimated(memory_bytes=memory_bytes))


@pytest.mark.parametrize("show", [learning_rates.html, learning_rates.plain])
def test_a_curve_says_its_suggestions_and_what_speaks_against_them(language, show):
    said = show(swept())
    for each in ("1.0e-05", "2.0e-05", "16013", "Mosbach", "Devlin", "2e-5", "fm_notebook.find_lr"):
        assert each in said, each
    assert "{" not in said.replace("data:image", "")


def test_a_partial_curve_says_so_in_text_and_picture(monkeypatch):
    monkeypatch.setenv("FM_NOTEBOOK_LANGUAGE", "en")
    curve = swept(ended="interrupted", suggestions={})
    assert "Partial: it was interrupted." in learning_rates.plain(curve)
    assert "not fall clearly enough" in learning_rates.plain(curve)
    assert "partial: interrupted." in re.search(r'alt="([^"]*)"', learning_rates.html(curve)).group(1)  # type: ignore[union-attr]


def test_the_picture_describes_the_curve_and_the_suggestions(monkeypatch):
    monkeypatch.setenv("FM_NOTEBOOK_LANGUAGE", "en")
    alt = re.search(r'alt="([^"]*)"', learning_rates.html(swept())).group(1)  # type: ignore[union-attr]
    assert alt.startswith("Smoothed training loss while the learning rate grew from 1.0e-06 to 1.0e-03: lowest, 0.7, at 1.0e-04.")
    assert "valley: 2.0e-05." in alt


def test_a_curve_without_two_finite_losses_has_no_picture():
    assert "<img" not in learning_rates.html(swept(losses=[1.0, float("nan")], smoothed=[1.0, float("nan")],
                                                   learning_rates=[1e-6, 1e-5], suggestions={}))  # fmt: skip
