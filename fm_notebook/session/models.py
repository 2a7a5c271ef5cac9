"""What a user's word for a model means: a run, a folder, an installed package, a live object or a hub id. No torch."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from fm_notebook.contracts.specs import ModelRef
from fm_notebook.data import samples
from fm_notebook.data.offline import is_offline
from fm_notebook.errors import ModelError, did_you_mean
from fm_notebook.session import store

_HUB_ID = re.compile(r"^[\w.-]{1,96}(/[\w.-]{1,96})?$", re.ASCII)
_MODEL_FILES = frozenset({".safetensors", ".gguf", ".bin", ".json", ".txt", ".model"})


def resolve(value: object, *, source: str, field: str = "model", line: int | None = None, quick: bool = False) -> ModelRef:
    """Where the model is that `value` means; for a live model, where it will be is filled in by `save_live`.

    Parameters
    ----------
    quick : bool
        Whether what takes time is left out: the weights are not hashed and the hub is not asked.

    Raises
    ------
    ModelError
        If there is no such model, or a live one's class could not be imported by a worker.
    """
    if is_live(value):
        return _live(value, source, line, quick=quick)
    if isinstance(value, Path):
        value = str(value)
    if not isinstance(value, str):
        folder = getattr(value, "folder", None)
        if isinstance(folder, Path):  # a Run
            return _of_run(folder, source, line, quick=quick)
        raise ModelError("model.type", line=line, field=field, type=type(value).__name__)
    return _named(value, source, field, line, quick=quick)


def is_live(value: object) -> bool:
    """Whether `value` is a transformers model or tokenizer, asked without importing transformers."""
    transformers = sys.modules.get("transformers")
    if transformers is None or isinstance(value, str):
        return False
    return any(t.__module__.startswith("transformers.") and t.__name__ in _LIVE for t in type(value).__mro__)


_LIVE = {"PreTrainedModel", "PreTrainedTokenizerBase"}


def tokenizer_of(value: Any, *, source: str, line: int | None = None) -> ModelRef:
    """The tokenizer of a live model: that of the model it was loaded from.

    Raises
    ------
    ModelError
        If that is not known any more.
    """
    name = getattr(value, "name_or_path", "")
    try:
        return resolve(name, source=source, field="tokenizer", line=line)
    except ModelError:
        pass
    raise ModelError("model.live_needs_tokenizer", line=line, name=source)


def save_live(value: Any, ref: ModelRef, folder: Path) -> ModelRef:
    """Write a live model or tokenizer into the job's `folder` and say so in its reference."""
    value.save_pretrained(folder)
    return ref.model_copy(update={"location": str(folder), "fingerprint": folder_hash(folder)})


def config(ref: ModelRef) -> dict[str, Any]:
    """The model's ``config.json``; empty if it is not on this machine yet, or the weights are GGUF."""
    path: Path | str | None = Path(ref.location) / "config.json"
    if ref.kind == "hub":
        path = _cached(ref.location, "config.json", ref.revision)
    try:
        return json.loads(Path(path).read_text(encoding="utf-8")) if path else {}
    except (OSError, ValueError):
        return {}


def holds(ref: ModelRef, part: str) -> bool | None:
    """Whether one of the model's weights has `part` in its name; None if there are no safetensors here to tell."""
    if ref.kind == "hub":
        paths = [Path(path)] if (path := _cached(ref.location, "model.safetensors", ref.revision)) else []
    else:
        paths = sorted(Path(ref.location).glob("*.safetensors"))
    return any(part.encode() in _header(path) for path in paths) if paths else None


def _header(path: Path) -> bytes:
    """The names of the weights in a file of safetensors, as JSON: a few KB before the weights themselves."""
    try:
        with path.open("rb") as file:
            return file.read(min(int.from_bytes(file.read(8), "little"), 100_000_000))
    except OSError:
        return b""


def labels(ref: ModelRef) -> tuple[str, ...] | None:
    """The names of the model's classes or tags in the order of its outputs; None if it has no trained head for any."""
    facts = config(ref)
    architectures = facts.get("architectures") or [""]
    if not architectures[0].endswith(("ForSequenceClassification", "ForTokenClassification")):
        return None
    names = facts.get("id2label") or {str(i): f"LABEL_{i}" for i in range(facts.get("num_labels", 2))}
    return tuple(names[key] for key in sorted(names, key=int))


def problem(ref: ModelRef) -> str | None:
    """The kind of text classification that the model's configuration names; None if it names none."""
    return _PROBLEMS.get(config(ref).get("problem_type") or "")


_PROBLEMS = {
    "single_label_classification": "single-label",
    "multi_label_classification": "multi-label",
    "regression": "regression",
}


def folder_hash(folder: Path) -> str:
    """SHA-256 (hex) of all that a model folder's answers depend on: weights, configuration and tokenizer."""
    whole = hashlib.sha256()
    files = [*folder.iterdir(), *folder.glob("adapter/*")]
    for path in sorted(path for path in files if path.suffix in _MODEL_FILES and path.is_file()):
        status = path.stat()
        whole.update(path.name.encode())
        whole.update(_file_hash(path, status.st_size, status.st_mtime_ns))
    return whole.hexdigest()


def _hash(folder: Path, *, quick: bool) -> str:
    return "" if quick else folder_hash(folder)


@cache
def _file_hash(path: Path, size: int, mtime_ns: int) -> bytes:  # noqa: ARG001 - part of what is remembered
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _named(name: str, source: str, field: str, line: int | None, *, quick: bool) -> ModelRef:
    folder = _folder(name)
    if folder and (folder / "config.json").is_file() and not (folder / "job.json").exists():
        return ModelRef(source=source, kind="folder", location=str(folder.resolve()), fingerprint=_hash(folder, quick=quick))
    if package := samples.model_package(name):
        return _of_package(package, source, quick=quick)
    if run := store.lookup(name):
        return _of_run(run.path, source, line, quick=quick)
    if folder:
        raise ModelError("model.no_config", line=line, folder=name)
    if name.startswith(("/", "./", "../", "~")) or name.count("/") > 1:
        raise ModelError("model.no_folder", line=line, folder=name)
    return _on_hub(name, source, field, line, quick=quick)


def _folder(name: str) -> Path | None:
    """The folder called `name`, None if there is none."""
    try:
        folder = Path(name).expanduser()
        return folder if name and folder.is_dir() else None
    except (OSError, RuntimeError, ValueError):  # too long for a path, or of an unknown user
        return None


def _of_package(path: Path, source: str, *, quick: bool) -> ModelRef:
    folder, file = (path.parent, path.name) if path.suffix == ".gguf" else (path, "")
    return ModelRef(source=source, kind="package", location=str(folder), fingerprint=_hash(folder, quick=quick), file=file)


def _of_run(folder: Path, source: str, line: int | None, *, quick: bool) -> ModelRef:
    model = folder / "model"
    if not (model / "config.json").is_file():
        raise ModelError("model.run_without_model", line=line, name=folder.name)
    return ModelRef(source=source, kind="run", location=str(model), fingerprint=_hash(model, quick=quick))


def _on_hub(name: str, source: str, field: str, line: int | None, *, quick: bool) -> ModelRef:
    name, _, revision = name.partition("@")
    known = [*samples.MODELS, *sorted({folder.identity.name for folder in store.all_runs()})]
    hint = did_you_mean(name, known)
    is_id = bool(_HUB_ID.match(name))
    cached = _cached(name, "config.json", revision) if is_id else None
    is_slip = bool(hint) and "/" not in name  # an owner/name may well resemble an installed package
    wrong = ""
    if not is_id or (is_slip and not cached and not is_offline()):
        wrong = "unknown"
    elif not cached and is_offline():
        wrong = "offline"
    commit = cached.parent.name if cached else ""
    if not cached and not wrong and not quick:
        commit, wrong = _ask_hub(name, revision)
    if wrong:
        raise ModelError(f"model.{wrong}", line=line, field=field, name=name, hint=hint, known=", ".join(known))
    return ModelRef(source=source, kind="hub", location=name, revision=commit or revision, fingerprint=commit)


def _ask_hub(name: str, revision: str) -> tuple[str, str]:
    """The commit that the hub has under that name, so that the worker loads that very one, and what is wrong, if anything."""
    import huggingface_hub
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        return huggingface_hub.model_info(name, revision=revision or None, timeout=10).sha or "", ""
    except GatedRepoError:
        return "", ""  # loading tells what to sign
    except (RepositoryNotFoundError, RevisionNotFoundError):
        return "", "unknown"
    except HfHubHTTPError:
        return "", ""  # a mirror that has files but not this answer
    except Exception:  # noqa: BLE001 - the HTTP library's own, whichever it is: no connection, no name, no time
        return "", "unreachable"


def _cached(name: str, file: str, revision: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(name, file, revision=revision or None)
    return Path(found) if isinstance(found, str) else None


def _live(value: object, source: str, line: int | None, *, quick: bool) -> ModelRef:
    cls = type(value)
    module = cls.__module__
    try:
        importable = module != "__main__" and importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        importable = False
    if not importable or "<locals>" in cls.__qualname__:
        raise ModelError("model.class_not_importable", line=line, cls=f"{module}.{cls.__qualname__}")
    class_path = "" if module.startswith("transformers.") else f"{module}:{cls.__qualname__}"
    fingerprint = "" if quick else _live_hash(value)
    return ModelRef(source=source, kind="value", location="", class_path=class_path, fingerprint=fingerprint)


def _live_hash(value: Any) -> str:
    """SHA-256 (hex) of a live model's configuration and weights, or of what a live tokenizer saves: they change in place."""
    whole = hashlib.sha256()
    if not hasattr(value, "state_dict"):
        with tempfile.TemporaryDirectory() as folder:
            value.save_pretrained(folder)
            for path in sorted(Path(folder).rglob("*.*")):
                whole.update(path.name.encode() + path.read_bytes())
        return whole.hexdigest()
    whole.update(value.config.to_json_string().encode())
    for name, tensor in value.state_dict().items():
        whole.update(name.encode())
        whole.update(tensor.detach().cpu().contiguous().reshape(-1).view(sys.modules["torch"].uint8).numpy())
    return whole.hexdigest()
