"""Tokenised rows are read from disk just as they were made, by whoever has the same rows, tokenizer and settings."""

import stat
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from fm_notebook.contracts.specs import DataRef, FinetuneSpec, ModelRef
from fm_notebook.data import stored
from fm_notebook.engine import spool, token_files, tokens
from fm_notebook.engine.batching import Examples
from fm_notebook.engine.spool import Spool
from fm_notebook.engine.token_files import TokenFiles
from fm_notebook.errors import DataError
from fm_notebook.tasks import tasks

SPEC = FinetuneSpec(train=DataRef(source="rows", kind="value"), model=ModelRef(source="tiny", kind="folder", location="nowhere"))
ROWS = pa.table({
    "text": ["good film", "the plot was bad", "", "a very dull scene"] * 30, "label": pa.array([1, 0, 1, 0] * 30, pa.int32()),
    "row": pa.array(range(120), pa.int64()),
})  # fmt: skip
LABELS = ["n", "p"]


@pytest.fixture(autouse=True)
def _worth_a_file(monkeypatch):
    monkeypatch.setattr(token_files, "SECONDS_WORTH", 0.0)
    monkeypatch.setattr(token_files, "FEWEST", 0)


@dataclass
class Encoder:
    """Counts how often all rows were encoded."""

    tokenizer: object
    spec: FinetuneSpec = SPEC
    whole: int = 0

    def __call__(self, rows: pa.Table) -> Examples:
        self.whole += len(rows) > token_files.SAMPLE
        return tasks[self.spec.task].configure(self.spec).encode(rows, self.tokenizer, LABELS, max_length=16)

    def through(self, folder: Path, rows: pa.Table = ROWS, max_length: int = 16) -> Examples:
        folder.mkdir(parents=True, exist_ok=True)
        return TokenFiles.of(folder, self.spec).examples(rows, self.tokenizer, LABELS, max_length, self)


@pytest.fixture
def encoder(tokenizer) -> Encoder:
    return Encoder(tokenizer)


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("tokens-*.arrow"))


def assert_equal(one: Examples, other: Examples) -> None:
    for name in ("ids", "offsets", "type_ids"):
        np.testing.assert_array_equal(getattr(one.tokens, name), getattr(other.tokens, name))
    for name in ("targets", "weights", "rows"):
        left, right = getattr(one, name), getattr(other, name)
        np.testing.assert_array_equal(left, right)
        assert left.dtype == right.dtype
    facts = ("pad_id", "limit", "truncated", "unknown", "plain")
    assert [getattr(one.tokens, name) for name in facts] == [getattr(other.tokens, name) for name in facts]
    assert one.level == other.level


@pytest.mark.parametrize("fields", [{}, {"task": "fill-mask"}, {"class_weight": "balanced"}])
def test_what_is_read_is_what_was_made(tmp_path, tokenizer, fields):
    encode = Encoder(tokenizer, SPEC.model_copy(update=fields))
    first, second = encode.through(tmp_path / "runs/a.1/data"), encode.through(tmp_path / "runs/a.1/data")
    assert encode.whole == 1
    expected = encode(ROWS)
    for found in (first, second):
        assert_equal(found, expected)
    some = np.array([3, 0, 77])
    np.testing.assert_array_equal(second.batch(some, 2).ids, expected.batch(some, 2).ids)
    np.testing.assert_array_equal(second.batch(some, 2).targets, expected.batch(some, 2).targets)


def test_pairs_keep_their_segments(tmp_path, encoder):
    rows = ROWS.append_column("text_pair", ROWS["text"])
    encoder.through(tmp_path / "runs/a.1/data", rows)
    found = encoder.through(tmp_path / "runs/a.1/data", rows)
    assert found.tokens.type_ids is not None
    assert_equal(found, encoder(rows))


def test_the_arrays_are_mapped_and_not_in_memory(tmp_path, encoder):
    found = encoder.through(tmp_path / "runs/a.1/data")
    before = pa.total_allocated_bytes()
    again = encoder.through(tmp_path / "runs/a.1/data")
    assert pa.total_allocated_bytes() == before
    assert not again.tokens.ids.flags.writeable
    assert not found.tokens.ids.flags.owndata


def test_only_the_owner_may_read_the_file(tmp_path, encoder):
    encoder.through(tmp_path / "runs/a.1/data")
    assert stat.S_IMODE(files(tmp_path / "runs/a.1/data")[0].stat().st_mode) == 0o600


def test_another_run_links_the_file_and_keeps_it_when_the_first_is_deleted(tmp_path, encoder):
    first, second = tmp_path / "runs/a.1/data", tmp_path / "runs/b.1/data"
    encoder.through(first)
    found = encoder.through(second)
    assert encoder.whole == 1
    assert files(first)[0].samefile(files(second)[0])
    files(first)[0].unlink()
    assert_equal(found, encoder(ROWS))
    assert files(second)[0].stat().st_nlink == 1


@pytest.mark.parametrize("change", ["rows", "length", "tokenizer", "fields", "labels"])
def test_whatever_decides_the_tokens_makes_another_file(tmp_path, encoder, tokenizer, change):
    folder = tmp_path / "runs/a.1/data"
    encoder.through(folder)
    match change:
        case "rows":
            encoder.through(folder, ROWS.slice(1))
        case "length":
            encoder.through(folder, max_length=8)
        case "tokenizer":
            other = type(tokenizer)(vocab={**tokenizer.get_vocab(), "extra": len(tokenizer)}, model_max_length=32)
            Encoder(other).through(folder)
        case "fields":
            Encoder(tokenizer, SPEC.model_copy(update={"class_weight": "balanced"})).through(folder)
        case "labels":
            TokenFiles.of(folder, SPEC).examples(ROWS, tokenizer, ["p", "n"], 16, encoder)
    assert len(files(folder)) == 2


def test_what_does_not_decide_the_tokens_makes_no_other_file(tmp_path, encoder, tokenizer):
    encoder.through(tmp_path / "runs/a.1/data")
    other = Encoder(tokenizer, SPEC.model_copy(update={"seed": 7, "learning_rate": 1e-3, "epochs": 9.0, "batch_size": 4}))
    other.through(tmp_path / "runs/a.1/data")
    assert other.whole == 0


def test_other_masks_are_drawn_over_tokens_of_their_own(tmp_path, tokenizer):
    for seed in (0, 1):
        encode = Encoder(tokenizer, SPEC.model_copy(update={"task": "fill-mask", "seed": seed}))
        encode.through(tmp_path / "runs/a.1/data")
        found = encode.through(tmp_path / "runs/a.1/data")
        assert found.draw.seed == seed  # type: ignore[union-attr]


def test_a_damaged_file_is_made_again(tmp_path, encoder):
    encoder.through(tmp_path / "runs/a.1/data")
    files(tmp_path / "runs/a.1/data")[0].write_bytes(b"ARROW1\0\0 torn")
    assert_equal(encoder.through(tmp_path / "runs/a.1/data"), encoder(ROWS))
    assert encoder.whole == 3


def test_a_draw_that_reads_the_rows_is_never_taken_from_a_file(tmp_path, encoder, tokenizer):
    def encode(rows: pa.Table) -> Examples:
        made = encoder(rows)
        return replace(made, draw=_Seen(len(rows)))

    (tmp_path / "runs/a.1/data").mkdir(parents=True)
    for _ in range(2):
        TokenFiles.of(tmp_path / "runs/a.1/data", SPEC).examples(ROWS, tokenizer, LABELS, 16, encode)
    assert encoder.whole == 2
    assert not files(tmp_path / "runs/a.1/data")


@dataclass(frozen=True)
class _Seen:
    rows: int

    def __call__(self, batch, epoch):
        return batch


def test_a_sample_with_nothing_to_learn_does_not_fail_the_job(tmp_path, encoder, tokenizer):
    def encode(rows: pa.Table) -> Examples:
        if len(rows) <= token_files.SAMPLE:
            raise DataError("masking.nothing_to_hide")
        return encoder(rows)

    assert len(TokenFiles.of(tmp_path / "runs/a.1/data", SPEC).examples(ROWS, tokenizer, LABELS, 16, encode)) == 120


def test_a_full_disk_leaves_the_tokens_in_memory(tmp_path, encoder, monkeypatch):
    def full(rows, path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(stored, "write", full)
    assert_equal(encoder.through(tmp_path / "runs/a.1/data"), encoder(ROWS))


def test_what_is_encoded_fast_gets_no_file(tmp_path, encoder, monkeypatch):
    monkeypatch.setattr(token_files, "SECONDS_WORTH", 60.0)
    encoder.through(tmp_path / "runs/a.1/data")
    assert not files(tmp_path / "runs/a.1/data")


def test_a_large_spool_is_a_file_without_a_name(tmp_path, monkeypatch):
    monkeypatch.setattr(stored, "LARGE_BYTES", 100)
    monkeypatch.setattr(spool.platformdirs, "user_cache_path", lambda *_, **__: tmp_path)
    pieces = [np.arange(i, dtype=np.int64) for i in (3, 0, 40, 2)]
    made = Spool(np.int32)
    for piece in pieces:
        made.add(piece)
    found = made.array()
    np.testing.assert_array_equal(found, np.concatenate(pieces))
    assert found.dtype == np.int32
    assert not found.flags.owndata
    assert not list(tmp_path.iterdir())


def test_a_small_spool_stays_in_memory():
    made = Spool(np.int8)
    assert made.array().shape == (0,)
    made.add(np.array([1, 2]))
    assert made.array().tolist() == [1, 2]


def test_texts_tokenised_into_a_file_have_the_same_tokens(tokenizer, monkeypatch):
    texts = ["good film", "the plot", "bad unheard"] * 9
    expected = tokens.tokenize(tokenizer, texts, texts, 16)
    monkeypatch.setattr(stored, "LARGE_BYTES", 100)
    monkeypatch.setattr(tokens, "CHUNK", 4)
    found = tokens.tokenize(tokenizer, texts, texts, 16)
    for name in ("ids", "offsets", "type_ids"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    assert (found.unknown, found.plain) == (expected.unknown, expected.plain)
