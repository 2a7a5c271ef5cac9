"""What unit tests share: a project and queues of their own, no network, English."""

import os
from pathlib import Path

import pytest


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder with this test's ``runs`` and ``state``; messages are English, the hub is out of reach, no worker is warmed.

    Nobody's settings are read.
    """
    settings = {"FM_NOTEBOOK_RUNS": tmp_path / "runs", "FM_NOTEBOOK_STATE": tmp_path / "state", "FM_NOTEBOOK_LANGUAGE": "en"}
    others = {"HF_HUB_OFFLINE": "1", "FM_NOTEBOOK_WARM": "0", "FM_NOTEBOOK_CONFIG": os.devnull}
    for name, value in {**settings, **others}.items():
        monkeypatch.setenv(name, str(value))
    return tmp_path
