"""What `fsdp` goes together with, told before anything starts."""

from __future__ import annotations

import pytest

from fm_notebook.contracts.references import DataRef, ModelRef
from fm_notebook.contracts.specs import FinetuneSpec
from fm_notebook.errors import SpecError
from fm_notebook.jobs.placement import parse
from fm_notebook.session import sharding
from fm_notebook.session.binding import Assigned, check_finetune


def spec(**fields) -> FinetuneSpec:
    model = ModelRef(source="m", kind="folder", location="m")
    return FinetuneSpec(train=DataRef(source="rows", kind="value"), model=model, **fields)


@pytest.mark.parametrize("on", ["process", "kernel", "torchrun:1"])
def test_one_process_is_refused_with_what_to_do(on):
    with pytest.raises(SpecError, match=r"torchrun:2"):
        sharding.check_processes(spec(fsdp=True), parse(on))
    sharding.check_processes(spec(), parse(on))


@pytest.mark.parametrize("on", ["torchrun:2", "ray:4"])
def test_several_processes_may_share(on):
    sharding.check_processes(spec(fsdp=True), parse(on))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("lora", {"rank": 2}),
        ("prompt_tuning", {"tokens": 3}),
        ("freeze", "backbone"),
    ],
)
def test_what_it_does_not_go_with_is_named_with_the_line(tmp_path, field, value):
    (tmp_path / "config.json").write_text("{}")
    given = {
        "model": Assigned(str(tmp_path)), "train": Assigned([{"text": "a", "label": "b"}]), field: Assigned(value),
        "fsdp": Assigned(True, line=4),
    }  # fmt: skip
    _, faults = check_finetune(given)
    (found,) = [fault for fault in faults if fault.key.startswith("fsdp.")]
    assert (found.key, found.values["field"], found.line) == ("fsdp.not_with", field, 4)
    _, faults = check_finetune({**given, "fsdp": Assigned(False)})
    assert not [fault for fault in faults if fault.key.startswith("fsdp.")]
