"""What there is to choose from: the notebook's own variables first."""

import datasets
import pandas as pd
import pyarrow as pa
import pytest

from fm_notebook.panels.form.offers import offers

FRAME = pd.DataFrame({"review": ["a", "b"], "mood": [0, 1]})


@pytest.fixture(autouse=True)
def quiet(home):
    return home


def sources_of(found):
    return [offer.source for offer in found]


def test_frames_datasets_tables_and_lists_of_dicts_are_offered_with_shape_and_columns():
    split = datasets.Dataset.from_pandas(FRAME)
    namespace = {
        "frame": FRAME, "table": pa.Table.from_pandas(FRAME), "rows": [{"a": 1}], "parts": datasets.DatasetDict(train=split),
        "_old": FRAME, "number": 3, "words": ["a"], "text": "a", "Out": {1: FRAME}, "pd": pd, "kind": pd.DataFrame, "none": [],
    }  # fmt: skip
    found = {offer.source: offer.label for offer in offers({}, namespace)["rows"]}
    assert list(found)[:4] == ["frame", "table", "rows", 'parts["train"]']
    assert not {"_old", "number", "words", "text", "Out", "pd", "kind", "none"} & set(found)
    assert found["frame"] == "frame: DataFrame, 2 × 2 (review, mood)"
    assert found["rows"] == "rows: list, 1 × 1 (a)"


def test_a_hostile_variable_hides_no_other():
    class Hostile:
        columns = property(lambda self: 1 / 0)

        def __len__(self):
            raise RuntimeError

    assert "frame" in sources_of(offers({}, {"bad": Hostile(), "frame": FRAME})["rows"])


def test_columns_are_those_of_train_and_text_comes_marked():
    found = offers({"train": "frame[frame.mood == 1]"}, {"frame": FRAME})
    assert [(offer.source, bool(offer.group)) for offer in found["column"]] == [('"review"', True), ('"mood"', False)]
    assert offers({}, {"frame": FRAME})["column"] == []


def test_metrics_are_those_of_the_task_and_problem():
    assert '"accuracy"' in sources_of(offers({}, {})["metric"])
    assert '"rmse"' in sources_of(offers({"problem": '"regression"'}, {})["metric"])
    assert '"entity_f1"' in sources_of(offers({"task": "'token-classification'"}, {})["metric"])
    assert sources_of(offers({"task": "compute()"}, {})["metric"]) == sources_of(offers({}, {})["metric"])


def test_models_and_runs_that_are_here_are_offered(home):
    (home / "runs" / "sentiment.2").mkdir(parents=True)
    found = offers({}, {})
    assert '"sentiment"' in sources_of(found["model"])
    assert '"sentiment.2"' in sources_of(found["run"])
    assert '"text-classification"' in sources_of(found["task"])


def test_looking_imports_no_library_of_frames():
    import subprocess
    import sys

    code = (
        "import sys; from fm_notebook.panels.form.offers import offers; offers({}, {'a': [{'b': 1}]});"
        "print({'pandas', 'pyarrow', 'datasets', 'numpy', 'torch'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "set()\n"
