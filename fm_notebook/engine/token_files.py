"""Tokenised examples on disk, memory-mapped, so that neither a resume nor a later run on the same rows makes them again.

A file's name is a hash of all that decides its content: the rows, the tokenizer, the fields of the spec that the task's `encode`
reads, what it draws each epoch, and our own versions. It lies beside the rows that it was made of; another run's file is linked,
so that deleting a run takes away only its own name. Written by ``pyarrow``: one row an array.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pyarrow as pa

from fm_notebook.contracts.specs import FinetuneSpec
from fm_notebook.data import stored
from fm_notebook.data.fingerprint import fingerprint
from fm_notebook.engine.batching import Examples
from fm_notebook.engine.tokens import Tokens
from fm_notebook.errors import FMError

FORMAT = 1
FEWEST, SECONDS_WORTH = 1000, 1.0
"""Fewer rows, and what is encoded faster, are not worth a file."""
SAMPLE = 100
"""Rows that are encoded anyway: they show what a task draws each epoch, which is code and is not stored."""

_NOT_ENCODING = frozenset({
    "train", "eval", "eval_split", "text", "text_pair", "label", "prompt", "completion", "messages", "model", "tokenizer", "base",
    "dropout", "trust_remote_code", "allow_pickle", "lora", "prompt_tuning", "freeze", "epochs", "max_steps", "learning_rate",
    "batch_size", "micro_batch_size", "weight_decay", "warmup_steps", "lr_schedule", "max_grad_norm", "batching", "packing",
    "kernels", "gradient_checkpointing", "fsdp", "precision", "device", "eval_every", "save_every", "keep_checkpoints",
    "early_stopping", "metric", "max_length", "mask_probability", "seed",
})  # fmt: skip
"""Fields that no task's `encode` reads, but for what it draws; a field that is not named here counts."""
_SCHEMA = pa.schema([("name", pa.string()), ("dtype", pa.string()), ("shape", pa.list_(pa.int64())), ("data", pa.large_binary())])
_ARRAYS = ("targets", "weights", "rows")
_TOKENS = ("ids", "offsets", "type_ids")
_FACTS = tuple(field.name for field in fields(Tokens) if field.name not in _TOKENS)

Encode = Callable[[pa.Table], Examples]


@dataclass(frozen=True)
class TokenFiles:
    """Where the encoded rows of a job are kept.

    Attributes
    ----------
    folder : Path
        The job's folder of data.
    settings : str
        Fields of the spec that decide how rows are encoded, as JSON.
    """

    folder: Path
    settings: str

    @classmethod
    def of(cls, folder: Path, spec: FinetuneSpec) -> TokenFiles:
        """For a job's `folder` of data and its `spec`."""
        return cls(folder, json.dumps(spec.model_dump(mode="json", exclude=set(_NOT_ENCODING)), sort_keys=True))

    def examples(self, rows: pa.Table, tokenizer: Any, labels: Sequence[str], max_length: int, encode: Encode) -> Examples:
        """What ``encode(rows)`` gives, read from the file if there is one; what took long is written.

        A tokenizer written in Python has no fingerprint, nor have draws that cannot be pickled: these are encoded each time.
        """
        if len(rows) < FEWEST:
            return encode(rows)
        sample = _sample(rows, encode)
        known = _tokenizer(tokenizer)  # after use: a tokenizer writes down how it was last asked to cut
        if known is None or sample is None or (drawn := _drawn(sample)) is None:
            return encode(rows)
        parts = [known, drawn, self.settings, str(max_length), *labels, fingerprint(_in_batches(rows))]
        path = self.folder / f"tokens-{_hash(*parts)}.arrow"
        if found := self._read(path):
            return replace(found, draw=sample.draw)
        began = perf_counter()
        made = encode(rows)
        if perf_counter() - began < SECONDS_WORTH or _drawn(made) != drawn:
            return made
        return self._kept(path, made)

    def _read(self, path: Path) -> Examples | None:
        """From our own file, else from another run's, which then is ours too."""
        if not path.is_file():
            for other in self.folder.parent.parent.glob(f"*/{self.folder.name}/{path.name}"):
                with suppress(OSError):  # another file system, or one without links
                    os.link(other, path)
                    break
        try:
            return _load(path) if path.is_file() else None
        except (OSError, ValueError, KeyError):  # damaged
            path.unlink(missing_ok=True)
            return None

    def _kept(self, path: Path, made: Examples) -> Examples:
        """`made`, from the file that holds it now: what is mapped need not stay in memory. Without room it stays there."""
        try:
            stored.write(pa.RecordBatchReader.from_batches(_SCHEMA.with_metadata(_facts(made)), _batches(made)), path)
            return replace(_load(path), draw=made.draw)
        except OSError:
            return made


def _in_batches(rows: pa.Table) -> pa.Table:
    """The same rows: hashing copies a chunk at a time, and one may be all of them."""
    return pa.Table.from_batches(stored.batches_of(rows), rows.schema)


def _sample(rows: pa.Table, encode: Encode) -> Examples | None:
    try:
        return encode(rows.slice(0, SAMPLE))
    except FMError:  # these rows alone hold nothing to learn
        return None


def _drawn(examples: Examples) -> str | None:
    """A hash of what is drawn each epoch; None where there is none. Nothing is ever unpickled."""
    try:
        return _hash(pickle.dumps(examples.draw))
    except (pickle.PicklingError, AttributeError, TypeError):
        return None


def _tokenizer(tokenizer: Any) -> str | None:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or not hasattr(backend, "to_str"):
        return None
    about = [type(tokenizer).__name__, tokenizer.special_tokens_map, tokenizer.model_input_names, tokenizer.chat_template]
    return _hash(backend.to_str(), json.dumps(about, default=str, sort_keys=True))


def _hash(*parts: str | bytes) -> str:
    versions = [f"{name} {importlib.metadata.version(name)}" for name in ("transformers", "tokenizers")]
    digest = hashlib.sha256(str(FORMAT).encode())
    for part in (*versions, *parts):
        content = part.encode() if isinstance(part, str) else part
        digest.update(len(content).to_bytes(8, "little") + content)
    return digest.hexdigest()[:32]


def _facts(examples: Examples) -> dict[str, str]:
    return {"level": examples.level, **{name: str(getattr(examples.tokens, name)) for name in _FACTS}}


def _batches(examples: Examples) -> Iterator[pa.RecordBatch]:
    """A batch an array, without a copy; of one value for all, such as weights of 1, the value alone."""
    arrays = {name: getattr(examples.tokens, name) for name in _TOKENS} | {name: getattr(examples, name) for name in _ARRAYS}
    for name, array in arrays.items():
        if array is None:
            continue
        kept = array[:1] if array.ndim == 1 and array.strides == (0,) else np.ascontiguousarray(array)
        whole = [None, pa.py_buffer(np.array([0, kept.nbytes], np.int64)), pa.py_buffer(kept)]
        data = pa.LargeBinaryArray.from_buffers(pa.large_binary(), 1, whole)
        shape = pa.array([list(array.shape)], pa.list_(pa.int64()))
        yield pa.RecordBatch.from_arrays([pa.array([name]), pa.array([array.dtype.str]), shape, data], schema=_SCHEMA)


def _load(path: Path) -> Examples:
    table = stored.load(path)
    facts = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
    arrays: dict[str, Any] = {}
    for name, dtype, shape, data in zip(*(column.chunks for column in table.columns), strict=True):
        flat = np.frombuffer(data.buffers()[2] or b"", np.dtype(dtype[0].as_py()))
        size = tuple(shape[0].as_py())
        arrays[name[0].as_py()] = np.broadcast_to(flat, size) if len(flat) == 1 else flat.reshape(size)
    numbers = {name: int(facts[name]) for name in _FACTS}
    tokens = Tokens(**{name: arrays.get(name) for name in _TOKENS}, **numbers)  # type: ignore[arg-type]
    return Examples(tokens, **{name: arrays[name] for name in _ARRAYS}, level=facts["level"])  # type: ignore[arg-type]
