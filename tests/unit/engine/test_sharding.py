"""A model in shards of two processes against a whole one: the same losses, scores and files, and half the memory."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from fm_notebook.engine import sharding
from fm_notebook.engine.loop import finetune
from fm_notebook.errors import JobFailed

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).with_name("sharded_processes.py")
FAR = 1e-5


def start(rank: int, size: int, folder: Path, script: Path) -> subprocess.Popen[bytes]:
    who = {"RANK": rank, "WORLD_SIZE": size, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1"}
    ours = {"FM_NOTEBOOK_STORE": folder / "store", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    given = {**os.environ, **{name: str(value) for name, value in {**who, **ours}.items()}}
    return subprocess.Popen([sys.executable, "-W", "error::UserWarning", str(script), str(folder)], env=given)


def ends_of(folder: Path, script: Path = SCRIPT, *, size: int = 2, seconds: int = 300) -> list[int]:
    """How `size` processes that do `script` ended."""
    processes = [start(rank, size, folder, script) for rank in range(size)]
    try:
        return [process.wait(timeout=seconds) for process in processes]
    finally:
        for process in processes:
            process.kill()


def _script():
    spec = importlib.util.spec_from_file_location("sharded_processes", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


runs = _script()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("pair")


@pytest.fixture(scope="module")
def pair(folder):
    """What the first and the second of two processes told."""
    assert ends_of(folder) == [0, 0]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What one process told, with a whole model."""
    return runs.main(tmp_path_factory.mktemp("alone"))


def test_gradients_are_clipped_by_the_norm_of_all_shards(pair, alone):
    assert min(alone["packed"]["norms"]) > 0.02  # at every step
    np.testing.assert_allclose(pair[0]["packed"]["norms"], alone["packed"]["norms"], rtol=1e-4)


NAMES = ["text", "packed", "tokens", "uneven", "unused", "recomputed", "llama", "gpt2_tied"]


@pytest.mark.parametrize("run", NAMES)
def test_the_steps_have_the_losses_and_gradients_of_a_whole_model(pair, alone, run):
    assert len(alone[run]["losses"]) >= 12
    np.testing.assert_allclose(pair[0][run]["losses"], alone[run]["losses"], rtol=0, atol=FAR)
    np.testing.assert_allclose(pair[0][run]["norms"], alone[run]["norms"], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("run", NAMES)
def test_scores_and_the_resulting_weights_are_those_of_a_whole_model(pair, alone, run):
    assert len(pair[0][run]["metrics"]) == len(alone[run]["metrics"]) > 0
    for here, there in zip(pair[0][run]["metrics"], alone[run]["metrics"], strict=True):
        assert here == pytest.approx(there, abs=1e-4)
    assert pair[0][run]["sums"].keys() == alone[run]["sums"].keys()
    for name, sums in alone[run]["sums"].items():
        assert pair[0][run]["sums"][name] == pytest.approx(sums, abs=2e-2, rel=1e-3), name


def test_the_result_is_an_ordinary_transformers_folder(pair):
    assert pair[0]["text"]["class"] == "BertForSequenceClassification"


def test_all_processes_tell_the_same(pair):
    for run in ("text", "uneven", "llama", "every_family", "begun", "continued", "obeys"):
        mine, others = pair[0][run], pair[1][run]
        assert {name: mine[name] for name in others} == others, run


@pytest.mark.parametrize("family", list(runs.MODELS))
def test_every_family_has_the_losses_of_a_whole_model(pair, alone, family):
    np.testing.assert_allclose(pair[0]["every_family"][family], alone["every_family"][family], rtol=0, atol=FAR)


def test_rounded_products_have_the_losses_of_a_whole_model_but_for_rounding(pair, alone):
    np.testing.assert_allclose(pair[0]["rounded"]["losses"], alone["rounded"]["losses"], rtol=0, atol=2e-2)
    assert pair[0]["rounded"]["losses"] != pair[0]["packed"]["losses"]


def test_a_parameter_without_gradient_is_not_decayed(pair):
    assert [told["unused"]["unused"] for told in pair] == [True, True]


def test_a_resumed_run_with_dropout_has_the_bits_of_one_never_stopped(pair):
    assert all(told["resumed"]["equal"] and told["resumed"]["n"] > 10 for told in pair)


def test_a_whole_model_goes_on_from_a_checkpoint_of_shards(pair, alone, folder):
    begun = pair[0]["begun"]["losses"]
    assert len(begun) == 10
    parts = runs.plain.make_parts(folder / "together" / "begun", runs.ALONE, max_steps=24)
    rest = runs.plain.told(finetune(parts))["losses"]
    np.testing.assert_allclose(begun + rest, alone["begun"]["losses"] + alone["continued"]["losses"], rtol=0, atol=FAR)


def test_shards_go_on_from_a_checkpoint_of_a_whole_model(pair, alone):
    assert len(alone["continued"]["losses"]) == 14
    np.testing.assert_allclose(pair[0]["continued"]["losses"], alone["continued"]["losses"], rtol=0, atol=FAR)


def test_each_process_holds_half_of_weights_and_moments_and_no_gradient_between_steps(pair):
    for told in pair:
        found = told["memory"]
        assert len(found["seen"]) == 12
        for weights, moments, gradients in found["seen"]:
            assert weights == pytest.approx(found["whole"] / 2, rel=0.02)
            assert moments == 2 * weights
            assert gradients == 0
    assert sum(told["memory"]["seen"][0][0] for told in pair) == pair[0]["memory"]["whole"]


def test_memory_is_estimated_for_a_share(pair, alone):
    here, there = pair[0]["memory"]["estimated"], alone["memory"]["estimated"]
    for part in ("weights", "gradients", "optimizer"):
        assert here[part] == pytest.approx(there[part] / 2, rel=0.02)
    assert here["activations"] == there["activations"]
    assert here["casts"] > there["casts"] == 0  # what is gathered


def test_what_is_no_number_in_one_process_stops_all_before_a_weight_is_spoilt(pair, alone):
    assert alone["not_finite"]["spoilt"] == 32
    for told in pair:
        found = told["not_finite"]
        assert (found["key"], found["step"]) == ("engine.not_finite", alone["not_finite"]["step"])
        assert found["step"] == found["expected"]
    assert len(pair[0]["not_finite"]["ranks"]) == 1
    assert sum(told["not_finite"]["spoilt"] for told in pair) == 32


def test_a_cancel_reaches_all_within_an_evaluation(pair):
    assert [(told["obeys"]["ended"], told["obeys"]["step"]) for told in pair] == [("cancelled", 6)] * 2


def test_a_step_that_ended_within_a_layer_of_all_is_done_again(pair, alone):
    assert [told["given_up"]["left"] for told in (*pair, alone)] == [[], [], []]
    np.testing.assert_allclose(pair[0]["given_up"]["losses"], alone["given_up"]["losses"], rtol=0, atol=FAR)
    assert len(alone["given_up"]["losses"]) == 12


ENDS = """
import dataclasses, importlib.util, os, sys
from pathlib import Path
spec = importlib.util.spec_from_file_location("sharded_processes", {script!r})
runs = importlib.util.module_from_spec(spec)
spec.loader.exec_module(runs)
from fm_notebook.engine import distributed
from fm_notebook.errors import JobFailed
world = distributed.join("cpu")
parts = runs.make_parts(Path(sys.argv[1]), world)
steps = [0]
def hook(module, arguments):
    steps[0] += module.training
    if world.rank == 1 and steps[0] > 2:
        {does}
parts.model.bert.encoder.layer[1].register_forward_pre_hook(hook)
try:
    list(runs.finetune(parts))
except JobFailed as error:
    os._exit({{"fsdp.out_of_memory": 40, distributed.PEER_LOST: 41}}.get(error.faults[0].key, 1))
"""


@pytest.mark.parametrize(
    ("does", "ends"),
    [
        ("os._exit(9)", [41, 9]),
        ('raise RuntimeError("DefaultCPUAllocator: can\'t allocate memory: you tried to allocate 1 bytes")', [41, 40]),
    ],
    ids=["killed", "memory"],
)
def test_one_process_that_fails_within_a_layer_ends_all_and_says_why(tmp_path, does, ends):
    script = tmp_path / "ends.py"
    script.write_text(ENDS.format(script=str(SCRIPT), does=does))
    assert ends_of(tmp_path, script, seconds=90) == ends


THREE = """
import importlib.util, json, sys
from pathlib import Path
spec = importlib.util.spec_from_file_location("sharded_processes", {script!r})
runs = importlib.util.module_from_spec(spec)
spec.loader.exec_module(runs)
from fm_notebook.engine import distributed
world, folder = distributed.join("cpu"), Path(sys.argv[1])
told = runs.scored(runs.make_parts(folder / "run", world, max_steps=10, eval_every=4))
(folder / f"{{world.rank}}.json").write_text(json.dumps(told))
distributed.leave()
"""


def test_a_process_with_nothing_of_some_weights_takes_part_in_all(tmp_path):
    script = tmp_path / "three.py"
    script.write_text(THREE.format(script=str(SCRIPT)))
    assert ends_of(tmp_path, script, size=3, seconds=90) == [0, 0, 0]  # two classes: the third has none of the head's
    alone = runs.scored(runs.make_parts(tmp_path / "alone", runs.ALONE, max_steps=10, eval_every=4))
    for rank in range(3):
        found = json.loads((tmp_path / f"{rank}.json").read_text())
        np.testing.assert_allclose(found["losses"], alone["losses"], rtol=0, atol=FAR)
    assert json.loads((tmp_path / "0.json").read_text())["sums"].keys() == alone["sums"].keys()


def test_blocks_are_the_repeated_layers():
    for name, count in (("llama", 2), ("gpt2", 2), ("distilbert", 2), ("albert", 0), ("modernbert", 2)):
        kind, settings = runs.MODELS[name]
        found = sharding.blocks(runs.made(kind, settings))
        assert len(found) == count, (name, [type(each).__name__ for each in found])
        assert len({type(each) for each in found}) == min(1, count)
    assert [type(each).__name__ for each in sharding.blocks(runs.plain.tiny.make_model())] == ["BertLayer"] * 2


def test_a_text_without_weight_changes_no_gradient(tmp_path):
    parts = runs.plain.make_parts(tmp_path, runs.ALONE)
    batch = parts.train.batch(np.arange(9), 0)
    idle = sharding._weightless(batch)
    assert len(idle) == 1
    assert idle.lengths[0] == batch.lengths.min()
    assert idle.weights.tolist() == [0.0]
    assert idle.total == batch.total


def test_what_is_not_sharded_is_taken_as_it_is():
    tensor = torch.arange(6.0).view(2, 3)
    assert sharding.whole(tensor) is tensor
    assert sharding.local(tensor) is tensor
    sharding.put(tensor, torch.ones(2, 3))
    assert tensor.eq(1).all()
    assert sharding.gathered(torch.nn.Linear(2, 2)) == 0


def test_an_error_that_is_no_peers_fault_stays_what_it_is():
    with pytest.raises(RuntimeError, match="shapes"), sharding._for_all():
        raise RuntimeError("shapes cannot be multiplied")
    with pytest.raises(JobFailed, match="half the size"), sharding._for_all():
        raise torch.OutOfMemoryError("CUDA out of memory.")
