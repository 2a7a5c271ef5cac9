import subprocess
import sys

import pyarrow as pa
import pytest

from fm_notebook.data.sources import read
from fm_notebook.errors import DataError


def test_a_path_may_be_text_or_a_path(tmp_path):
    (tmp_path / "a.csv").write_text("text,label\na,0\n")
    for value in (tmp_path / "a.csv", str(tmp_path / "a.csv")):
        table, ref = read(value, source="written", field="train")
        assert (table.num_rows, ref.kind, ref.source, ref.rows) == (1, "file", "written", 1)


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ("sample:nothing", "data.sample.unknown"),
        ("not there.csv", "data.file.absent"),
        ("what is this", "data.hub.syntax"),
        (7, "data.kind"),
        ([], "data.empty"),
        (pa.table({"text": pa.array([], pa.string())}), "data.empty"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_line(value, key):
    with pytest.raises(DataError) as error:
        read(value, source="x", field="train", line=8)
    assert (error.value.faults[0].key, error.value.faults[0].line) == (key, 8)


def test_a_file_with_a_header_alone_is_empty(tmp_path):
    for name, text in [("a.csv", "text,label\n"), ("b.jsonl", "\n"), ("c.tsv", "")]:
        (tmp_path / name).write_text(text)
        with pytest.raises(DataError, match="has no rows"):
            read(tmp_path / name, source=name, field="train")


def test_reading_a_file_loads_neither_datasets_nor_torch(tmp_path):
    (tmp_path / "a.csv").write_text("text,label\na,0\nb,1\nc,0\nd,1\n")
    # Arrow itself imports pandas, where it is installed, with the first array that it makes.
    code = (
        "import sys; from fm_notebook.data.prepare import prepare_training\n"
        f"prepare_training({str(tmp_path / 'a.csv')!r}, eval_split=0.5, sources={{'train': 'a.csv'}})\n"
        "print(sorted({'datasets', 'torch', 'transformers', 'scipy', 'sklearn', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
