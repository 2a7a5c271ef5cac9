"""Workers killed at random moments lose nothing but the steps after the last checkpoint."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

KILLS = 10

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")]


def test_a_run_that_is_killed_again_and_again_ends_in_the_same_bits():
    script = Path(__file__).parents[2] / "benchmarks" / "crash.py"
    done = subprocess.run(
        [sys.executable, str(script), "--kills", str(KILLS), "--json"], capture_output=True, text=True, timeout=280, check=False
    )
    assert done.stdout, done.stderr
    report = json.loads(done.stdout)
    assert report["failures"] == []
    assert report["kills"] == KILLS
    assert done.returncode == 0
