"""Jobs on a GPU: in the worker's process one after the other, in this process without a trace."""

import gc

import pytest
import torch

import fm_notebook
from fm_notebook.contracts import events as ev
from fm_notebook.errors import JobFailed
from fm_notebook.jobs import journal

pytestmark = pytest.mark.gpu

SMALL = {"device": "cuda", "batch_size": 8, "max_length": 32, "learning_rate": 1e-3}


def test_two_jobs_of_one_gpu_follow_each_other(tiny_bert, reviews, runs_folder):
    one, two = (
        fm_notebook.finetune(name, model=str(tiny_bert), train=str(reviews), wait=False, seed=seed, **SMALL)
        for seed, name in enumerate(("first", "second"))
    )
    assert two.result.metrics["accuracy"] > 0.4
    assert one.result.metrics["accuracy"] > 0.4
    times = [[event.time for event in journal.replay(run.job.jobfolder.events)] for run in (one, two)]
    assert times[0][-1] <= times[1][0]
    started = [event for event in journal.replay(one.job.jobfolder.events) if isinstance(event, ev.Started)]
    assert [(event.device, event.precision) for event in started] == [("cuda:0", "bf16")]
    texts = fm_notebook.evaluate(one, str(reviews), device="cuda")
    assert next(score.value for score in texts.scores if score.name == "accuracy") > 0.4


def taken() -> int:
    """Bytes of tensors; the products' work space, which torch keeps for each stream, is nobody's."""
    gc.collect()
    torch._C._cuda_clearCublasWorkspaces()
    torch.cuda.empty_cache()
    return torch.cuda.memory_allocated()


@pytest.mark.parametrize("fields", [{"lora": {"rank": 4}}, {"precision": "fp32"}, {}])
def test_after_an_error_nothing_of_ours_is_on_the_gpu(home, tiny_bert, reviews, fields):
    before = taken()
    with pytest.raises(JobFailed, match="no longer a finite number"):
        fm_notebook.finetune(
            "broken", model=str(tiny_bert), train=str(reviews), on="kernel", max_steps=40, max_grad_norm=None,
            **{**SMALL, "learning_rate": 1e30, **fields},
        )  # fmt: skip
    assert taken() <= before


def test_after_its_end_nothing_of_a_run_is_on_the_gpu(home, tiny_bert, reviews):
    before = taken()
    fm_notebook.finetune("whole", model=str(tiny_bert), train=str(reviews), on="kernel", max_steps=4, **SMALL)
    assert taken() <= before
