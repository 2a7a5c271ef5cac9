"""How much slower does training get when somebody else keeps a core busy?

``python benchmarks/neighbour.py [--peer ours] [--neighbours 1]``: the same training under each way that idle threads may wait, in
turn, in rounds without and with endless loops beside it. The slow-down is the ratio of the medians of real tokens/s.

===============  =============================================================
``as it comes``  libgomp's default: spin 300,000 times and more, then sleep
``ours``         ``GOMP_SPINCOUNT=2000``, as our workers have it
``passive``      ``OMP_WAIT_POLICY=PASSIVE``: sleep at once
===============  =============================================================
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import blocks
import psutil
from blocks import Peer
from workload import Work

blocks.settle()

WAYS: dict[str, dict[str, str | None]] = {
    "as it comes": {blocks.AS_IT_COMES: "1", "GOMP_SPINCOUNT": None, "OMP_WAIT_POLICY": None},
    "ours": {},
    "passive": {blocks.AS_IT_COMES: "1", "GOMP_SPINCOUNT": None, "OMP_WAIT_POLICY": "PASSIVE"},
}
WARM_UPS = 2


class Neighbours:
    """Endless loops that can be held."""

    def __init__(self, count: int):
        self._loops = [psutil.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
        self.hold(True)

    def hold(self, held: bool) -> None:
        for loop in self._loops:
            if held:
                loop.suspend()
            else:
                loop.resume()

    def end(self) -> None:
        for loop in self._loops:
            loop.kill()
            loop.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", default="ours", help="the loop, see peers.py")
    parser.add_argument("--neighbours", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=6, help="rounds of each kind")
    parser.add_argument("--block", type=int, default=4)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fm_notebook-neighbour-") as folder:
        report = run(asked, folder)
    print(table(report))
    if asked.json:
        asked.json.write_text(json.dumps(report, indent=1))


def run(asked: argparse.Namespace, folder: str) -> dict[str, Any]:
    work = Work("text-classification", "sst2", folder, batch=asked.batch, block=asked.block, epochs=20.0)
    code = "import sys, workload; w = workload.load_work(sys.argv[1]); workload.prepare(w, workload.read(w))"
    subprocess.run([sys.executable, "-c", code, json.dumps(work.to_json())], check=True, cwd=Path(__file__).parent)
    peers = [blocks.start(asked.peer, work.to_json(), changed=changed) for changed in WAYS.values()]
    neighbours = Neighbours(asked.neighbours)
    try:
        blocks.interleave(
            peers, 2 * asked.rounds, warm_ups=WARM_UPS, before_turn=lambda _, number: neighbours.hold(number % 2 == 0)
        )
    finally:
        neighbours.end()
    return {
        "peer": asked.peer, "neighbours": asked.neighbours, "machine": blocks.machine(),
        "ways": {way: _slow_down(peer) for way, peer in zip(WAYS, peers, strict=True)},
    }  # fmt: skip


def _slow_down(peer: Peer) -> dict[str, float]:
    """Odd rounds had neighbours; `WARM_UPS` is even."""
    alone, beside = (median(tokens / seconds for _, tokens, seconds in peer.blocks[kind::2]) for kind in (0, 1))
    return {"tokens_per_second_alone": alone, "tokens_per_second_beside": beside, "slow_down": alone / beside}


def table(report: dict[str, Any]) -> str:
    lines = ["| threads wait | real tokens/s alone | beside a busy neighbour | slower by |", "|---|---|---|---|"]
    for way, r in report["ways"].items():
        alone, beside = r["tokens_per_second_alone"], r["tokens_per_second_beside"]
        lines.append(f"| {way} | {alone:.0f} | {beside:.0f} | {r['slow_down']:.2f} x |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
