"""What a worker's environment says before torch is loaded."""

import os
import platform
import subprocess
import sys
from importlib.util import find_spec

import pytest

from fm_notebook import verbs
from fm_notebook.errors import FMError
from fm_notebook.jobs.locks import is_held
from fm_notebook.jobs.queue import Queue
from fm_notebook.session.binding import Assigned
from fm_notebook.session.launchers import process
from fm_notebook.worker import __main__ as worker
from fm_notebook.worker import runtime

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="an allocator of another kind")


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine of eight hyper-threads on four cores, all of them ours, whose control group sets no limit."""
    monkeypatch.setattr(runtime, "_TOPOLOGY", tmp_path / "cpu")
    monkeypatch.setattr(runtime, "_CGROUP", tmp_path / "cgroup")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    for number in range(8):
        folder = tmp_path / "cpu" / f"cpu{number}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(f"{number % 4},{number % 4 + 4}\n")
    (tmp_path / "cgroup" / "cpu").mkdir(parents=True)
    return tmp_path


def test_threads_of_one_core_count_once(machine):
    assert runtime.cores() == 4


def test_cores_outside_the_affinity_mask_do_not_count(machine, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 4, 5}, raising=False)
    assert runtime.cores() == 2


@pytest.mark.parametrize(
    ("written", "cores"), [("max 100000", 4), ("200000 100000", 2), ("150000 100000", 2), ("50000 100000", 1)]
)
def test_a_containers_quota_limits_the_cores(machine, written, cores):
    (machine / "cgroup" / "cpu.max").write_text(written + "\n")
    assert runtime.cores() == cores


@pytest.mark.parametrize(("quota", "cores"), [("-1", 4), ("300000", 3)])
def test_a_quota_of_the_older_control_groups_counts_too(machine, quota, cores):
    (machine / "cgroup" / "cpu" / "cpu.cfs_quota_us").write_text(quota)
    (machine / "cgroup" / "cpu" / "cpu.cfs_period_us").write_text("100000")
    assert runtime.cores() == cores


def test_without_topology_each_processor_is_a_core(machine, monkeypatch):
    monkeypatch.setattr(runtime, "_TOPOLOGY", machine / "nowhere")
    assert runtime.cores() == 8


def test_where_the_system_does_not_tell_torch_chooses(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert runtime.cores() is None
    assert "OMP_NUM_THREADS" not in runtime.environment({})


@pytest.mark.parametrize("name", ["GOMP_SPINCOUNT", "OMP_WAIT_POLICY"])
def test_the_users_way_of_waiting_is_kept(machine, name):
    assert runtime.environment({}).get("GOMP_SPINCOUNT") == "2000"
    assert "GOMP_SPINCOUNT" not in runtime.environment({name: "active"})


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "MKL_NUM_THREADS"])
def test_the_users_number_of_threads_is_kept(machine, name):
    assert runtime.environment({}).get("OMP_NUM_THREADS") == "4"
    assert "OMP_NUM_THREADS" not in runtime.environment({name: "3"})


@pytest.mark.parametrize(("processes", "threads"), [(2, "2"), (3, "1"), (9, "1")])
def test_processes_share_the_cores(machine, processes, threads):
    assert runtime.environment({}, processes=processes)["OMP_NUM_THREADS"] == threads


def test_the_users_allocator_settings_are_kept():
    assert runtime.environment({"MALLOC_TRIM_THRESHOLD_": "7"}).keys() & {"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"} == {
        "MALLOC_MMAP_THRESHOLD_"
    }
    assert not [name for name in runtime.environment({"GLIBC_TUNABLES": "x"}) if name.startswith("MALLOC")]


FAULTS = """
import resource, sys
import numpy as np
from fm_notebook.worker import runtime
count = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
resident = lambda: int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
make = lambda: np.full(12_000_000, 1, np.float32)
make(); before = count(); make(); faults, kept = count() - before, resident(); runtime.give_back()
print(faults, kept - resident())
"""


@glibc
def test_large_blocks_are_used_again_and_given_back_when_asked():
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    results = []
    for added in ({}, runtime.environment(clean)):
        done = subprocess.run([sys.executable, "-c", FAULTS], env={**clean, **added}, capture_output=True, text=True, check=True)
        results.append([int(word) for word in done.stdout.split()])
    (faults, _), (faults_kept, given_back) = results
    assert faults_kept < 100 < faults
    assert given_back > 40_000_000


def test_a_workers_environment_is_the_users_with_ours_beneath(home, monkeypatch):
    monkeypatch.setenv("GOMP_SPINCOUNT", "5")
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    monkeypatch.setenv("JPY_PARENT_PID", "1")
    monkeypatch.setenv("MINE", "kept")
    found = process.worker_environment()
    assert (found["GOMP_SPINCOUNT"], found["MPLBACKEND"], found["MINE"]) == ("5", "Agg", "kept")
    assert "JPY_PARENT_PID" not in found
    monkeypatch.delenv("GOMP_SPINCOUNT")
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    assert process.worker_environment()["GOMP_SPINCOUNT"] == "2000"


def test_what_is_in_force_is_told_for_the_record(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("GOMP_SPINCOUNT", "2000")
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    assert runtime.in_force().items() >= {"OMP_NUM_THREADS": "1", "GOMP_SPINCOUNT": "2000"}.items()
    assert "OMP_WAIT_POLICY" not in runtime.in_force()


@pytest.fixture
def loaded(monkeypatch):
    """Names of the modules that a warm worker asked for; none is loaded."""
    names = []
    monkeypatch.setattr(worker.importlib, "import_module", names.append)
    monkeypatch.setattr(worker, "IDLE_SECONDS", 0.0)
    return names


def test_a_warm_worker_loads_its_libraries_under_its_lock_and_leaves_without_a_job(home, loaded, monkeypatch):
    queue, held = Queue("cpu"), []
    monkeypatch.setattr(worker.importlib, "import_module", lambda name: (loaded.append(name), held.append(is_held(queue.lock))))
    worker.main("cpu", warm=True)
    assert loaded == list(worker.LIBRARIES)
    assert all(held)
    assert not is_held(queue.lock)


@pytest.mark.parametrize("name", worker.LIBRARIES)
def test_every_library_to_load_ahead_exists(name):
    assert find_spec(name)


def test_a_job_that_waits_is_not_kept_waiting_for_libraries(home, loaded, monkeypatch):
    queue = Queue("cpu")
    monkeypatch.setattr(worker.importlib, "import_module", lambda name: (loaded.append(name), queue.put(home / "deleted")))
    worker.main("cpu", warm=True)
    assert loaded == [worker.LIBRARIES[0]]
    assert queue.waiting() == []


def test_a_broken_library_does_not_end_the_worker(home, loaded, monkeypatch):
    def broken(name):
        raise ImportError(name)

    monkeypatch.setattr(worker.importlib, "import_module", broken)
    worker.main("cpu", warm=True)


@pytest.fixture
def started(home, monkeypatch):
    """Command lines of the workers that were to be started; none is."""
    lines = []
    monkeypatch.setattr(process.subprocess, "Popen", lambda line, **_: lines.append(line))
    monkeypatch.setattr(process, "_started", {})
    monkeypatch.setenv("FM_NOTEBOOK_WARM", "1")
    return lines


def test_a_worker_is_warmed_for_the_device_asked_for(started):
    process.warm("cuda:1")
    assert [line[-2:] for line in started] == [["cuda:1", "--warm"]]


def test_warming_is_off_by_a_setting(started, monkeypatch):
    monkeypatch.setenv("FM_NOTEBOOK_WARM", "0")
    process.warm("cpu")
    assert started == []


@pytest.mark.parametrize(
    ("device", "on"), [("cpu", "kernel"), ("../../elsewhere", "process"), (7, "process"), ("cuda:", "process")]
)
def test_nothing_is_warmed_for_another_launcher_or_for_what_is_no_device(started, home, device, on):
    process.warm(device, on=on)
    assert started == []
    assert not (home / "state").exists()


def test_a_worker_without_a_job_is_started_only_when_warming_is_asked_for(started):
    process.ensure_worker(Queue("cpu"))
    assert started == []
    Queue("cpu").put(Queue("cpu").folder / "job")
    process.ensure_worker(Queue("cpu"))
    assert [line[-1] for line in started] == ["cpu"]


@pytest.mark.parametrize("on", ["process", "kernel"])
def test_the_worker_comes_up_while_the_fields_are_checked(home, monkeypatch, on):
    asked = []
    monkeypatch.setattr(process, "warm", lambda device, *, on: asked.append((device, on)))
    with pytest.raises(FMError):
        verbs.prepare_finetune("wrong", {"device": Assigned("cuda:1")}, on=on)
    with pytest.raises(FMError):
        verbs.prepare_evaluation({"model": Assigned(object()), "data": Assigned([])}, on=on)
    assert asked == [("cuda:1", on), ("auto", on)]
