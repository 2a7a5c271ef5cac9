"""Probes as a user asks them: a model, names, a report; interrupted, gone on with, compared, and put while a model is trained."""

from __future__ import annotations

import json
import string

import pandas as pd
import pytest
import torch
from transformers import BertConfig, BertForMaskedLM, BertTokenizerFast

from fm_notebook import errors, verbs
from fm_notebook.contracts.events import Ended, ItemsScored, ProbeScored
from fm_notebook.contracts.probe_changes import ProbeComparisons
from fm_notebook.contracts.probe_reports import ProbeReport, ProbeReports
from fm_notebook.jobs.folder import JobFolder
from fm_notebook.jobs.journal import replay
from fm_notebook.session import launch, probing
from fm_notebook.session.given import Assigned
from fm_notebook.worker import probing as worker_probing

pytestmark = pytest.mark.slow  # whole jobs, each of seconds

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A folder with a tiny random BERT that has a head for masked words."""
    letters = string.ascii_lowercase + string.digits + string.punctuation
    words = [*SPECIAL, "the", "a", "is", "he", "she", *letters, *(f"##{letter}" for letter in letters)]
    tokenizer = BertTokenizerFast(vocab={word: i for i, word in enumerate(words)}, model_max_length=128)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=128, initializer_range=0.5,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("models") / "tiny"
    BertForMaskedLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(autouse=True)
def _here(home):
    del home


@pytest.fixture
def rows():
    return pd.DataFrame(
        {"text": ["she is good", "he is bad", "a good one", "the bad one"] * 8, "label": ["p", "n", "p", "n"] * 8}
    )


def probe(model, *names, **fields):
    return verbs.probe(str(model), *names, on="kernel", **fields)


def prepared(model, name, **fields):
    given = {"model": Assigned(str(model)), **{key: Assigned(value) for key, value in fields.items()}}
    return probing.prepare_probes([name], given, on="kernel").launched[name]


def test_a_report_has_every_item_and_a_headline_with_an_interval(base):
    report = probe(base, "crows-pairs", limit=60)
    assert isinstance(report, ProbeReport)
    items = report.rows()
    assert len(items) == report.items == report.scored == pytest.approx(60, abs=5)
    assert not report.is_partial
    assert report.main.interval.low < report.main.value < report.main.interval.high
    assert report.main.n + sum(report.skipped.values()) == len(items)
    assert {remark.key for remark in report.remarks} >= {"seed_set"}
    assert report.licence
    assert report.data.fingerprint


def test_a_part_of_the_items_has_every_axis_with_its_share(base):
    items = probe(base, "crows-pairs", limit=100).rows()
    whole = probing.prepare_probes(["crows-pairs"], {"model": Assigned(str(base))}, on="kernel").launched["crows-pairs"]
    from fm_notebook.data.stored import load

    shares = pd.Series(load(whole.job.folder / "data" / "probe.arrow")["axis"].to_pylist()).value_counts(normalize=True)
    assert items["axis"].value_counts(normalize=True).sub(shares).abs().max() < 0.02


def test_an_equal_report_is_shown_again_and_another_seed_is_another(base):
    first = prepared(base, "crows-pairs", limit=40)
    launch.begin(first.job, on="kernel")
    assert prepared(base, "crows-pairs", limit=40).how == "reused"
    assert prepared(base, "crows-pairs", limit=40, seed=1).how == "started"
    assert prepared(base, "crows-pairs", limit=40, variant="pll").how == "started"


def test_an_interrupted_probe_has_a_random_part_and_goes_on_from_there(base, monkeypatch):
    monkeypatch.setattr(worker_probing, "FEWEST", 16)
    monkeypatch.setattr(worker_probing, "MOST", 16)
    begun = prepared(base, "crows-pairs", limit=160)
    folder = begun.job.jobfolder
    asked = iter(["run"] * 4)
    events = list(worker_probing.probe(folder, folder.spec, lambda: next(asked, "stop")))
    ended = events[-1]
    assert ended.state == "stopped"
    assert ended.probe.is_partial
    assert 0.35 < ended.probe.scored / ended.probe.items < 0.45
    assert "partial" in {remark.key for remark in ended.probe.remarks}
    assert len(set(ended.probe.rows()["axis"])) > 3  # not the first of the file
    assert ended.probe.main.n <= ended.probe.scored

    scored = [event.done for event in worker_probing.probe(folder, folder.spec, lambda: "run") if isinstance(event, ItemsScored)]
    assert scored[0] > ended.probe.scored
    whole = probe(base, "crows-pairs", limit=160, seed=0, again=True)
    rows = JobFolder(folder.path)
    resumed = pd.read_feather(rows.path / "items.arrow").set_index("id")["value"]
    pd.testing.assert_series_equal(resumed, whole.rows().set_index("id")["value"], atol=1e-4)


def test_an_interrupted_probe_is_found_again_by_the_same_line(base):
    begun = prepared(base, "crows-pairs", limit=80)
    job = begun.job
    from fm_notebook.jobs.journal import JournalWriter

    writer = JournalWriter(job.jobfolder.events)
    for event in worker_probing.probe(job.jobfolder, job.jobfolder.spec, iter(["run", "stop"]).__next__):
        writer.append(event)
    writer.close()
    again = prepared(base, "crows-pairs", limit=80)
    assert (again.how, again.job.folder) == ("started", job.folder)


def test_a_family_takes_what_fits_and_says_what_does_not(base):
    found = probing.prepare_probes(["bias"], {"model": Assigned(str(base))}, on="kernel")
    assert {"crows-pairs", "seat", "weat"} <= set(found.launched)
    assert {"identity-swap", "bbq"} <= set(found.unfit)


def test_several_reports_are_one_table(base):
    reports = probe(base, "crows-pairs", "pairs", limit=20)
    assert isinstance(reports, ProbeReports)
    assert set(reports.to_pandas()["probe"]) == set(reports) == {"crows-pairs", "pairs"}


def test_an_unfit_model_is_refused_before_any_work(base, home):
    with pytest.raises(errors.ModelError) as caught:
        probe(base, "identity-swap")
    assert "identity-swap" in str(caught.value)
    assert "crows-pairs" in str(caught.value)
    assert not list(home.rglob("probes/*"))


@pytest.mark.parametrize(
    ("names", "fields", "said"),
    [
        (("crows-pair",), {}, "crows-pairs"),
        (("crows-pairs", "seat"), {"data": "x.csv"}, "crows-pairs, seat"),
        (("crows-pairs",), {"varient": "pll"}, "variant"),
        (("crows-pairs",), {"variant": "plll"}, "pll"),
        (("weat",), {"limit": 3}, "limit"),
        (("crows-pairs",), {"limit": 0}, "limit"),
        (("crows-pairs",), {"data": pd.DataFrame({"a": ["x"]})}, "sent_more"),
    ],
)
def test_what_is_wrong_is_told_with_what_is_allowed(base, names, fields, said):
    with pytest.raises(errors.FMError) as caught:
        probe(base, *names, **fields)
    assert said in str(caught.value)


def test_two_models_are_compared_on_the_same_items(base, tmp_path):
    other = tmp_path / "other"
    model = BertForMaskedLM.from_pretrained(base)
    with torch.no_grad():
        model.bert.embeddings.word_embeddings.weight.add_(0.3 * torch.randn(model.bert.embeddings.word_embeddings.weight.shape))
    model.save_pretrained(other)
    BertTokenizerFast.from_pretrained(base).save_pretrained(other)
    found = verbs.compare(str(base), str(other), probe={"crows-pairs": {"limit": 80, "variant": "pll"}}, on="kernel")
    assert isinstance(found, ProbeComparisons)
    (changed,) = found["crows-pairs"].changes
    overall = changed.changes[0]
    assert found["crows-pairs"].variant == "pll"
    assert overall.n == pytest.approx(80, abs=5)
    assert overall.up > 0
    assert overall.down > 0
    assert overall.difference == pytest.approx(100 * (overall.up - overall.down) / overall.n)


def test_a_classifier_is_asked_about_masked_words_with_the_head_that_it_was_tuned_from(base, rows):
    run = verbs.finetune("tuned", model=str(base), train=rows, max_steps=2, batch_size=8, on="kernel")
    report = probe(run.name, "crows-pairs", limit=30)
    assert "head_of_base" in {remark.key for remark in report.remarks}
    assert report.main.n > 20


def test_a_probe_looks_at_a_model_in_training_and_changes_nothing(base, rows):
    fields = {"model": str(base), "train": rows, "max_steps": 4, "batch_size": 8, "on": "kernel"}
    plain = verbs.finetune("plain", **fields)
    watched = verbs.finetune("watched", probe_every={"identity-swap": {"every": 2, "items": 20}}, **fields)
    looks = [event for event in replay(watched.folder / "events.jsonl") if isinstance(event, ProbeScored)]
    assert [look.step for look in looks] == [0, 2, 4]
    assert all(look.measurement.n for look in looks)
    losses = [run.history["loss"].dropna().tolist() for run in (plain, watched)]
    assert losses[0] == losses[1]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"identity-swop": 2}, "identity-swap"),
        ({"identity-swap": 0}, "every"),
        ({"crows-pairs": 2}, "identity-swap"),
        ({"identity-swap": {"every": 2, "langage": "en"}}, "language"),
    ],
)
def test_a_wrong_probe_to_look_is_refused_with_what_is_allowed(base, rows, given, said):
    with pytest.raises(errors.SpecError) as caught:
        verbs.finetune("wrong", model=str(base), train=rows, probe_every=given, on="kernel")
    assert said in str(caught.value)


def test_a_report_survives_its_journal(base):
    begun = prepared(base, "crows-pairs", limit=30)
    launch.begin(begun.job, on="kernel")
    ended = [event for event in replay(begun.job.folder / "events.jsonl") if isinstance(event, Ended)][-1]
    assert ProbeReport.model_validate(json.loads(ended.probe.model_dump_json())) == ended.probe
