"""Where a result comes from: versions, machine, and the base model's origin. Plain JSON values only."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
import re
import socket
from pathlib import Path
from typing import Any

from fm_notebook.contracts.specs import ModelRef, Spec
from fm_notebook.worker import runtime

PACKAGES = ("fm_notebook", "torch", "transformers", "tokenizers", "safetensors", "numpy", "datasets")
FIELD = re.compile(r"^(license|license_name|language)\s*:\s*(\S.*?)\s*$", re.MULTILINE)


def provenance(spec: Spec, *, device: str, precision: str, model: Any = None) -> dict[str, Any]:
    """All that is known about how the job's result comes about.

    Parameters
    ----------
    spec : Spec
    device, precision : str
        What was chosen.
    model : PreTrainedModel, optional
        The base model as loaded.
    """
    import torch

    return {
        "versions": versions(),
        "machine": {
            "host": socket.gethostname(), "system": platform.platform(), "device": device, "device_name": _device_name(device),
            "precision": precision, "threads": torch.get_num_threads(), "runtime": runtime.in_force(),
        },
        "model": origin(spec.model) | ({"architecture": type(model).__name__} if model is not None else {}),
        "data": {field: ref.fingerprint for field in ("train", "eval", "data") if (ref := getattr(spec, field, None))},
        "seed": getattr(spec, "seed", 0),
    }  # fmt: skip


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that results depend on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:  # a source tree
            continue
    return found


def origin(ref: ModelRef) -> dict[str, str]:
    """Source, revision, hash, publisher and licence of a model, as far as they are known."""
    known = {"source": ref.source, "kind": ref.kind, "revision": ref.revision, "file": ref.file}
    folder = Path(ref.location)
    if ref.kind == "hub":
        known |= {"publisher": ref.location.partition("/")[0] if "/" in ref.location else "", "sha256": ref.fingerprint}
    else:
        known |= {"sha256": weights_hash(folder)}
    if ref.kind == "package":
        known |= _package(folder)
    if (readme := folder / "README.md").is_file():
        known |= _front_matter(readme)
    return {name: value for name, value in known.items() if value}


def weights_hash(folder: Path) -> str:
    """SHA-256 (hex) over the safetensors files of `folder` in name order, each streamed; about 1 s a GB."""
    digest = hashlib.sha256()
    files = sorted(folder.glob("*.safetensors"))
    for path in files:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest() if files else ""


def _package(folder: Path) -> dict[str, str]:
    """What the installed package that holds `folder` says about itself."""
    owners = importlib.metadata.packages_distributions()
    name = next((owners[part][0] for part in reversed(folder.parts) if part in owners), None)
    if name is None:
        return {}
    metadata = importlib.metadata.metadata(name)
    about = {field: metadata[field] for field in metadata}
    publisher = about.get("Author") or about.get("Author-email") or about.get("Maintainer", "")
    licence = about.get("License-Expression") or about.get("License", "")
    return {"package": f"{name} {about['Version']}", "publisher": publisher, "licence": licence.partition("\n")[0][:100]}


def _front_matter(readme: Path) -> dict[str, str]:
    """Licence and language from the YAML head of a model card; the weights' own, so it outweighs the package's."""
    text = readme.read_text(encoding="utf-8", errors="replace")
    if not text.startswith("---"):
        return {}
    found = dict(FIELD.findall(text[3:].partition("\n---")[0]))
    licence = found.get("license_name") or found.get("license", "")
    return {"licence": licence} if licence else {}


def _device_name(device: str) -> str:
    import torch

    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
