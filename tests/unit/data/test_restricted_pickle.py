"""Pickled arrays are read, and nothing in a pickle is run."""

import io
import pickle
import pickletools
from pathlib import Path

import numpy as np
import pytest

from fm_notebook.data import restricted_pickle
from fm_notebook.errors import DataError


class Malicious:
    """Writes a file when it is unpickled by the ordinary way."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def write(path: Path, value: object, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_arrays_in_dicts_and_lists_are_read(tmp_path: Path, protocol: int):
    value = {"weat6": [np.arange(6.0).reshape(2, 3), "John"], "n": 2}
    found = restricted_pickle.load(write(tmp_path / "a.pkl", value, protocol))
    assert found["weat6"][1] == "John"
    assert found["n"] == 2
    assert np.array_equal(found["weat6"][0], value["weat6"][0])


def test_a_malicious_pickle_is_refused_and_not_run(tmp_path: Path):
    sign = tmp_path / "was_run"
    path = write(tmp_path / "vectors.pkl", {"x": Malicious(sign)})
    with pytest.raises(DataError, match="pathlib"):
        restricted_pickle.load(path)
    assert not sign.exists()
    pickle.loads(path.read_bytes())  # the file is no dud
    assert sign.exists()


def test_a_malicious_array_of_objects_is_refused_and_not_run(tmp_path: Path):
    sign = tmp_path / "was_run"
    np.save(tmp_path / "a.npy", np.array([Malicious(sign)], object), allow_pickle=True)
    with pytest.raises(DataError, match="pathlib"):
        restricted_pickle.load(tmp_path / "a.npy")
    assert not sign.exists()


@pytest.mark.parametrize(
    "name", [b"os\nsystem", b"builtins\neval", b"numpy\nload", b"numpy.lib.npyio\nNpzFile", b"numpy\nndarray.tofile"]
)
def test_nothing_else_can_be_named(tmp_path: Path, name: bytes):
    code = b"c" + name + b"\n."
    pickletools.dis(code, out=io.StringIO())
    (tmp_path / "a.pkl").write_bytes(code)
    with pytest.raises(DataError, match=name.split(b"\n")[-1].decode()):
        restricted_pickle.load(tmp_path / "a.pkl")


def test_arrays_of_numbers_and_of_texts_are_read_from_npy_and_npz(tmp_path: Path):
    np.save(tmp_path / "a.npy", np.eye(2))
    np.save(tmp_path / "b.npy", np.array(["他", "她"], object), allow_pickle=True)
    np.savez(tmp_path / "c.npz", x=np.arange(3))
    assert np.array_equal(restricted_pickle.load(tmp_path / "a.npy"), np.eye(2))
    assert restricted_pickle.load(tmp_path / "b.npy").tolist() == ["他", "她"]
    assert restricted_pickle.load(tmp_path / "c.npz")["x"].tolist() == [0, 1, 2]


def test_an_archive_with_objects_is_refused(tmp_path: Path):
    sign = tmp_path / "was_run"
    np.savez(tmp_path / "c.npz", x=np.array([Malicious(sign)], object))
    with pytest.raises(DataError):
        restricted_pickle.load(tmp_path / "c.npz")
    assert not sign.exists()


@pytest.mark.parametrize("content", [b"", b"no pickle", b"\x80\x04", b"\x93NUMPY\x01\x00"])
def test_a_broken_file_is_told(tmp_path: Path, content: bytes):
    (tmp_path / "a.pkl").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.pkl"):
        restricted_pickle.load(tmp_path / "a.pkl")


def test_a_missing_file_is_told(tmp_path: Path):
    with pytest.raises(DataError, match=r"no\.pkl"):
        restricted_pickle.load(tmp_path / "no.pkl")
