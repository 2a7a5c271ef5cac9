"""A run in a form to give away: a plain transformers folder, or one file that a colleague can open. Never data rows."""

from __future__ import annotations

import json
import shutil
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from fm_notebook import messages
from fm_notebook.errors import RunError
from fm_notebook.jobs.folder import Identity, JobFolder, delete
from fm_notebook.session import store

if TYPE_CHECKING:
    from fm_notebook.session.run import Run

_SMALL = ("spec.json", "facts.json", "events.jsonl")
_BROKEN = (zipfile.BadZipFile, KeyError, ValueError, RuntimeError, EOFError, zlib.error)  # also encrypted, or packed unlike ours
_LARGEST_BYTES = 1 << 30  # of one member: a bundle is text, but for the weights


def export(run: Run, folder: Path) -> Path:
    """Copy the model of `run` to `folder` with a card that says where it comes from."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RunError("run.export_exists", folder=str(folder))
    shutil.copytree(run.folder / "model", folder, dirs_exist_ok=True)
    (folder / "README.md").write_text(model_card(run), encoding="utf-8")
    return folder.resolve()


def model_card(run: Run) -> str:
    """A model card in the hub's form: front matter, what it was trained on (by fingerprint), scores, versions."""
    spec, facts, progress = run.spec, run.data, run.progress
    result = progress.result
    provenance = progress.started.provenance if progress.started else {}
    front = {"library_name": "transformers", "pipeline_tag": spec.task, "base_model": spec.model.source}
    lines = ["---", *(f"{key}: {json.dumps(value)}" for key, value in front.items()), "---", "", f"# {run.name}", ""]
    lines += [messages.text("model_card.made"), "", f"## {messages.text('model_card.scores')}", ""]
    if result:
        lines += [
            f"n = {result.n_eval}, {messages.text('model_card.step', step=result.best_step)}",
            "",
            "| metric | value |",
            "|---|---|",
        ]
        lines += [f"| {name} | {value:.6g} |" for name, value in result.metrics.items()]
    lines += ["", f"## {messages.text('model_card.data')}", "", f"- train: {facts.train_rows}, sha256 `{spec.train.fingerprint}`"]
    lines += [f"- eval: {facts.eval_rows}", f"- labels: {', '.join(_code(label) for label in facts.labels)}"]
    settings = {k: v for k, v in spec.model_dump(mode="json").items() if not isinstance(v, dict) and v is not None}
    for title, content in (("model_card.settings", settings), ("model_card.provenance", provenance)):
        lines += [
            "",
            f"## {messages.text(title)}",
            "",
            "```json",
            json.dumps(content, indent=1, ensure_ascii=False, default=str),
            "```",
        ]
    return "\n".join(lines) + "\n"


def _code(label: str) -> str:
    """A label as Markdown code, which it cannot leave."""
    return "`" + " ".join(label.replace("`", "'").split()) + "`"


def pack(run: Run, file: Path, *, weights: bool) -> Path:
    """Write the bundle of `run`."""
    if file.suffix != ".zip":
        raise RunError("run.bundle_suffix", file=str(file))
    members = [run.folder / name for name in (*_SMALL, "job.json")]
    members += [path for path in run.folder.glob("evaluations/*/*") if path.name in {*_SMALL, "job.json"}]
    if weights:
        members += [path for path in run.folder.glob("model/**/*") if path.is_file()]
    file.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in members:
            if path.exists():
                archive.write(path, path.relative_to(run.folder).as_posix())
    return file.resolve()


def unpack(file: Path) -> JobFolder:
    """The run in the bundle `file`, put among the project's runs under its name and the next number.

    Raises
    ------
    RunError
        If the file is no bundle of ours, or a member's path would leave its folder.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            identity = Identity.model_validate_json(archive.read("job.json"))
            members = [member for member in archive.infolist() if not member.is_dir()]
            if not all(_is_ours(member) for member in members):
                raise RunError("run.bundle_bad", file=str(file))
            return _fill(store.create_run(store.check_name(identity.name)), identity, archive, members)
    except _BROKEN:
        pass
    raise RunError("run.bundle_bad", file=str(file))


def _fill(folder: JobFolder, identity: Identity, archive: zipfile.ZipFile, members: list[zipfile.ZipInfo]) -> JobFolder:
    """Write the members; whom the packer trusted, the reader does not, and a folder that could not be filled is removed."""
    try:
        for member in members:
            target = folder.path / member.filename
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            target.write_bytes(archive.read(member))
        spec = folder.spec.model_copy(update={"trust_remote_code": False, "allow_pickle": False})
        folder.write(spec=spec, identity=identity.model_copy(update={"task_files": ()}))
    except BaseException:
        delete(folder)
        raise
    return JobFolder(folder.path)


def _is_ours(member: zipfile.ZipInfo) -> bool:
    parts = PurePosixPath(member.filename).parts
    known = (
        (len(parts) == 1 and parts[0] in {*_SMALL, "job.json"})
        or (len(parts) == 3 and parts[0] == "evaluations" and parts[1].isdigit() and parts[2] in {*_SMALL, "job.json"})
        or (parts[0] == "model" and (len(parts) == 2 or (len(parts) == 3 and parts[1] == "adapter")) and "." not in parts)
    )
    return known and ".." not in parts and member.file_size <= (_LARGEST_BYTES if parts[0] != "model" else 1 << 40)
