"""On what a run computes."""

import pytest
import torch

from fm_notebook.engine import precision
from fm_notebook.errors import ModelError

CPU = torch.device("cpu")


def test_auto_falls_back_to_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert precision.choose_device("auto") == CPU


def test_a_gpu_that_is_not_there_is_an_error_and_no_silent_fallback(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ModelError, match="cuda:1"):
        precision.choose_device("cuda:1")


@pytest.mark.parametrize(("gain", "chosen"), [(8.0, "bf16"), (2.3, "bf16"), (1.1, "fp32"), (0.4, "fp32")])
def test_auto_is_bf16_only_where_the_cpu_was_measured_to_multiply_it_faster(monkeypatch, gain, chosen):
    monkeypatch.setattr(precision, "_bf16_gain", lambda: gain)
    assert precision.choose_precision("auto", CPU) == chosen


@pytest.mark.parametrize(("capability", "chosen"), [((6, 1), "fp32"), ((7, 5), "fp16"), ((8, 0), "bf16"), ((9, 0), "bf16")])
def test_auto_is_fp16_with_tensor_cores_and_bf16_from_ampere_on(monkeypatch, capability, chosen):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert precision.choose_precision("auto", torch.device("cuda")) == chosen


def test_what_is_asked_for_is_used():
    assert precision.choose_precision("bf16", CPU) == "bf16"
    with precision.autocast(CPU, "bf16"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
    with precision.autocast(CPU, "fp32"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


def test_the_gain_of_bf16_is_a_ratio_of_measured_times(monkeypatch):
    clock = iter(range(1000))
    monkeypatch.setattr(precision, "perf_counter", lambda: next(clock) * 0.001)
    assert precision._measured_gain() == pytest.approx(1.0)


def test_the_gain_is_measured_once_for_a_machine(monkeypatch, tmp_path):
    monkeypatch.setenv("FM_NOTEBOOK_STATE", str(tmp_path / "state"))
    measured = iter([2.5, 0.5])
    monkeypatch.setattr(precision, "_measured_gain", lambda: next(measured))
    assert [precision._bf16_gain(), precision._bf16_gain()] == [2.5, 2.5]
    monkeypatch.setattr(torch, "__version__", "99.0")
    assert precision._bf16_gain() == 0.5
    (tmp_path / "state/bf16.json").write_text("torn")
    monkeypatch.setattr(precision, "_measured_gain", lambda: 7.0)
    assert precision._bf16_gain() == 7.0


def test_losses_are_scaled_in_fp16_alone():
    for name, factor in (("fp16", 2.0**16), ("bf16", 1.0), ("fp32", 1.0)):
        p = torch.ones((), requires_grad=True)
        precision.LossScale(name, CPU).backward(3 * p)
        assert p.grad == 3 * factor


def test_the_scale_halves_on_overflow_doubles_after_good_steps_and_survives_json(monkeypatch):
    monkeypatch.setattr(precision.LossScale, "GROWTH_STEPS", 3)
    scale, good, bad = precision.LossScale("fp16", CPU), torch.tensor(0.0), torch.tensor(1.0)
    scale.update(bad)
    assert scale.value == 2.0**15
    scale.update(good)
    scale.update(good)
    again = precision.LossScale("fp16", CPU)
    again.restore(scale.to_json())
    again.update(good)
    assert again.value == 2.0**16
