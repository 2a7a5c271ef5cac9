"""Whether the hub may be asked, as the environment says *now*: the hub's libraries read it only when they are imported."""

from __future__ import annotations

import os
import sys

_VARIABLES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")
_READERS = ("huggingface_hub.constants", "datasets.config")


def is_offline() -> bool:
    """Whether ``HF_HUB_OFFLINE``, or one of its older names, forbids the network."""
    return any(os.environ.get(name, "").upper() in {"1", "ON", "YES", "TRUE"} for name in _VARIABLES)


def honour() -> None:
    """Tell the hub's libraries that are loaded already, if the variable was set after they were."""
    if is_offline():
        for module in filter(None, map(sys.modules.get, _READERS)):
            module.HF_HUB_OFFLINE = True  # type: ignore[attr-defined]
