"""The real packages, where they are installed, in processes of their own: what they keep of a run that was resumed once."""

import importlib.util
import json
import os
import subprocess
import sys

import pytest

from fm_notebook.contracts import events as ev
from fm_notebook.contracts.specs import DataRef, FinetuneSpec, ModelRef
from fm_notebook.jobs import folder as jobs
from fm_notebook.jobs.folder import Identity
from fm_notebook.jobs.journal import JournalWriter

pytestmark = pytest.mark.slow
SPEC = FinetuneSpec(model=ModelRef(source="m", kind="folder", location="/m"), train=DataRef(source="rows", kind="value"))
READ = {
    "tensorboard": """
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
found = EventAccumulator(str(folder / "tensorboard")); found.Reload()
kept = {tag: [[e.step, e.value] for e in found.Scalars(tag)] for tag in ("train/loss", "eval/accuracy")}
kept["spec"] = "learning_rate" in found.Tensors("spec")[0].tensor_proto.string_val[0].decode()
""",
    "wandb": """
from wandb.proto import wandb_internal_pb2 as pb
def records(data):  # LevelDB's log format behind a header of 7 bytes: in blocks of 32 KiB records of CRC, length, type
    place, whole = 7, b""
    while place + 7 <= len(data):
        if 32768 - place % 32768 < 7:
            place += 32768 - place % 32768
            continue
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        whole += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):
            record = pb.Record(); record.ParseFromString(whole)
            yield record
            whole = b""
kept = {"train/loss": [], "eval/accuracy": [], "spec": False}
ids = set()
for path in sorted((folder / "wandb" / "wandb").glob("offline-run-*/*.wandb")):
    for record in records(path.read_bytes()):
        if record.run.run_id:
            ids.add(record.run.run_id)
            kept["spec"] |= any("learning_rate" == item.key for item in record.run.config.update)
        row = {(i.key or ".".join(i.nested_key)): json.loads(i.value_json) for i in record.history.item}
        for name in ("train/loss", "eval/accuracy"):
            if name in row:
                kept[name].append([row["_step"], row[name]])
assert len(ids) == 1, ids
""",
    "trackio": """
from trackio.sqlite_storage import SQLiteStorage
(project,) = SQLiteStorage.get_projects()
assert project == "study", project
(run,) = SQLiteStorage.get_runs(project)
rows = SQLiteStorage.get_logs(project, run)
kept = {name: [[row["step"], row[name]] for row in rows if name in row] for name in ("train/loss", "eval/accuracy")}
kept["spec"] = "learning_rate" in (SQLiteStorage.get_run_config(project, run) or {})
""",
}


def step(n):
    return ev.StepEnded(
        step=n, epoch=n / 2, loss=1 / n, learning_rate=0.1, grad_norm=1.0, examples=2, tokens=9, seconds=0.1, memory_bytes=7
    )


@pytest.mark.parametrize("name", READ)
def test_curves_are_kept_once_through_a_resume(name, home):
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    job = jobs.create(home / "study" / "runs" / "mine.1")
    job.write(spec=SPEC, identity=Identity(name="mine", created=1.0))
    quiet = {**os.environ, "TRACKIO_DIR": str(home / "trackio"), "WANDB_DIR": str(home), "PYTHONWARNINGS": "ignore"}
    for variable in ("WANDB_MODE", "WANDB_PROJECT", "TRACKIO_PROJECT"):
        quiet.pop(variable, None)
    started = ev.Started(total_steps=4, device="cpu", precision="fp32")
    scores = ev.EvalEnded(step=2, epoch=1.0, metrics={"accuracy": 0.75}, n=4, seconds=0.1, best=True)
    for events in (
        [started, step(1), step(2), scores, ev.Ended(state="stopped", step=2)],
        [started, step(2), step(3), ev.Ended(state="finished", step=3)],
    ):
        journal = JournalWriter(job.events)
        for event in events:
            journal.append(event)
        journal.close()
        command = [sys.executable, "-P", "-m", "fm_notebook.trackers", str(job.path), name]
        told = subprocess.run(command, env=quiet, cwd=home, capture_output=True, text=True, check=False)
        assert told.returncode == 0, told.stderr
    program = f"import json, sys\nfrom pathlib import Path\nfolder = Path(sys.argv[1])\n{READ[name]}\nprint(json.dumps(kept))"
    read = subprocess.run([sys.executable, "-c", program, str(job.path / "trackers")], env=quiet, capture_output=True, text=True)
    assert read.returncode == 0, read.stderr
    kept = json.loads(read.stdout.splitlines()[-1])
    assert [at for at, _ in kept["train/loss"]] == [1, 2, 3]
    assert [loss for _, loss in kept["train/loss"]] == pytest.approx([1.0, 0.5, 1 / 3])
    assert kept["eval/accuracy"] == [[2, 0.75]]
    assert kept["spec"]
