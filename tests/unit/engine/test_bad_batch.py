"""The batch that broke the run can be looked at afterwards."""

import json
import sys

import numpy as np
import pytest

from fm_notebook.engine.bad_batch import save_bad_batch
from fm_notebook.engine.batching import Batch


def make_batch(level, targets, **fields):
    n = len(targets)
    given = {
        "ids": np.array([2, 7, 3, 2, 8, 9, 3]), "lengths": np.array([3, 4]), "type_ids": None, "targets": np.array(targets),
        "weights": np.ones(n, np.float32), "rows": np.array([100, 17]), "level": level, "pad_id": 0, "limit": 32,
    }  # fmt: skip
    return Batch(**{**given, **fields})


def test_each_text_has_its_row_tokens_target_and_weight(tmp_path):
    batch = make_batch("text", [1, 0], weights=np.array([2.0, float("nan")], np.float32))
    path = save_bad_batch(tmp_path, 7, batch)
    assert path.name == "bad-batch-7.json"
    content = json.loads(path.read_text())
    assert (content["step"], content["level"]) == (7, "text")
    first, second = content["examples"]
    assert first == {"row": 100, "ids": [2, 7, 3], "target": 1, "weight": 2.0}
    assert (second["row"], second["ids"], second["target"]) == (17, [2, 8, 9, 3], 0)
    assert np.isnan(second["weight"])


def test_targets_of_tokens_are_cut_as_the_tokens_are(tmp_path):
    content = json.loads(save_bad_batch(tmp_path, 1, make_batch("token", [-100, 1, -100, -100, 4, 5, -100])).read_text())
    assert [example["target"] for example in content["examples"]] == [[-100, 1, -100], [-100, 4, 5, -100]]
    assert [example["weight"] for example in content["examples"]] == [[1.0] * 3, [1.0] * 4]


def test_several_targets_a_text_are_kept(tmp_path):
    content = json.loads(save_bad_batch(tmp_path, 1, make_batch("text", [[0.0, 1.0], [1.0, 1.0]])).read_text())
    assert [example["target"] for example in content["examples"]] == [[0.0, 1.0], [1.0, 1.0]]


@pytest.mark.skipif(sys.platform == "win32", reason="modes of POSIX")
def test_nobody_else_may_read_it(tmp_path):
    assert save_bad_batch(tmp_path, 1, make_batch("text", [1, 0])).stat().st_mode & 0o777 == 0o600


def test_a_full_disk_does_not_hide_what_went_wrong_before(tmp_path):
    assert save_bad_batch(tmp_path / "absent", 1, make_batch("text", [1, 0])) is None
