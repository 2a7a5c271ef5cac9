"""GGUF weights, converted once: reading them takes seconds each time, safetensors are mapped at once."""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
import tempfile
from pathlib import Path
from typing import Any

import platformdirs
import torch

from fm_notebook import extras
from fm_notebook.engine.models import quietly
from fm_notebook.errors import ModelError
from fm_notebook.jobs import atomic


def converted(folder: Path, file: str) -> Path:
    """The transformers folder (causal language model in fp32, tokenizer) made of ``folder/file``, made now if there is none yet.

    It is kept in the user's cache by the SHA-256 of the file, and takes 4 bytes a weight: 0.5 GB for SmolLM2-135M. Two
    processes may do this at once; the first to end wins.

    Raises
    ------
    FMError
        If the package ``gguf`` is not installed.
    ModelError
        If the file cannot be read, or is of an architecture that transformers does not read from GGUF.
    """
    with (folder / file).open("rb") as weights:  # 0.1 s for 90 MB
        target = cache_folder() / hashlib.file_digest(weights, "sha256").hexdigest()
    if target.is_dir():
        return target
    extras.require("gguf", extra="gguf")
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name[:16]}.", dir=target.parent))  # mode 0700
    try:
        _convert(folder, file, temporary)
        _move(temporary, target)
    except (OSError, LookupError, ValueError, TypeError, RuntimeError, NotImplementedError, struct.error) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ModelError("weights.gguf", file=str(folder / file), reason=reason) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def cache_folder() -> Path:
    """Where conversions are kept: ``FM_NOTEBOOK_STATE``, else the user's cache folder."""
    return Path(os.environ.get("FM_NOTEBOOK_STATE") or platformdirs.user_cache_dir("fm_notebook")) / "gguf"


def _convert(folder: Path, file: str, into: Path) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    options = {"gguf_file": file, "local_files_only": True}
    with quietly():
        read = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **options, **_unpacked())
        with torch.device("meta"):  # a model that was read from GGUF refuses to be saved: its tensors go into one that does not
            model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder, **options), dtype=torch.float32)
        model.load_state_dict(read.state_dict(), assign=True)
        model.save_pretrained(into)
        AutoTokenizer.from_pretrained(folder, **options).save_pretrained(into)


def _unpacked() -> dict[str, Any]:
    """What keeps later versions of transformers from leaving the weights in blocks where their kernels are installed."""
    import transformers

    return {"quantization_config": config(dequantize=True)} if (config := getattr(transformers, "GgufConfig", None)) else {}


def _move(temporary: Path, target: Path) -> None:
    for path in temporary.iterdir():
        with path.open("rb+") as file:
            os.fsync(file.fileno())
    try:
        temporary.rename(target)
    except OSError:  # another process was first
        if not target.is_dir():
            raise
    atomic.sync_folder(target.parent)
