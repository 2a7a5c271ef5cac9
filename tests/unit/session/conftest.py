"""Jobs without a model: folders, journals and locks as a worker would leave them."""

import time
from collections.abc import Callable

import pytest

from fm_notebook.contracts import events as ev
from fm_notebook.contracts.results import DataFacts
from fm_notebook.contracts.specs import DataRef, FinetuneSpec, ModelRef
from fm_notebook.jobs.folder import Identity, JobFolder
from fm_notebook.jobs.journal import JournalWriter
from fm_notebook.session import store

SPEC = FinetuneSpec(model=ModelRef(source="m", kind="folder", location="/m"), train=DataRef(source="rows", kind="value"))
FACTS = DataFacts(labels=["n", "p"], train_rows=8, eval_rows=2, train_label_counts=[4, 4], eval_label_counts=[1, 1])


@pytest.fixture
def write_events() -> Callable[..., None]:
    """Appends events to the journal of a job folder."""

    def write(folder: JobFolder, *events: ev.Event) -> None:
        writer = JournalWriter(folder.events)
        for event in events:
            writer.append(event)
        writer.close()

    return write


@pytest.fixture
def make_folder(home, write_events) -> Callable[..., JobFolder]:
    """A whole run folder with the given journal; made long ago unless `created` says otherwise."""

    def make(name: str = "a", *events: ev.Event, created: float = 1.0, key: str = "k", spec: FinetuneSpec = SPEC) -> JobFolder:
        folder = store.create_run(name)
        folder.write(spec=spec, identity=Identity(name=name, key=key, created=created or time.time()), facts=FACTS)
        if events:
            write_events(folder, *events)
        return folder

    return make


@pytest.fixture(autouse=True)
def no_workers(request, monkeypatch):
    """No test here starts a worker, but those that say so; gives the queues that asked for one."""
    asked: list[str] = []
    if "worker_state" not in request.fixturenames:
        from fm_notebook.session import job

        monkeypatch.setattr(job, "ensure_worker", lambda queue: asked.append(queue.device))
    return asked
