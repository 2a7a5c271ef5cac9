"""The C files of this folder made into a library by the machine's own compiler, once, and kept.

Nothing is said where that cannot be (no gcc, another processor, a folder that cannot be written): torch computes the same.
"""

from __future__ import annotations

import ctypes
import hashlib
import shutil
import subprocess
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

import platformdirs
import torch

SOURCES = tuple(sorted(Path(__file__).parent.glob("*.[ch]")))
_VECTORS = ("-mfma", *(f"-mavx512{part}" for part in ("f", "bw", "dq", "vl", "bf16")))
FLAGS = ("-O3", "-std=gnu11", "-fPIC", "-shared", "-fopenmp", *_VECTORS)
NEEDED = frozenset({"fma", "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_bf16"})
"""What the processor must know, by Linux's names."""
SECONDS = 60


@cache
def library() -> ctypes.CDLL | None:
    """The library, built if it is not kept from before (about a second); None where there can be none."""
    compiler, threads = shutil.which("gcc"), _threads()
    if compiler is None or threads is None or not _flags() >= NEEDED:
        return None
    with suppress(OSError, subprocess.SubprocessError):
        return ctypes.CDLL(str(_built(compiler, threads)))
    return None


def version() -> str:
    """Of the library, by what it was made of; ``none`` where there is none."""
    found = library()
    return Path(found._name).stem if found else "none"


def _built(compiler: str, threads: Path) -> Path:
    made_of = [*(source.read_bytes() for source in SOURCES), *(text.encode() for text in (*FLAGS, compiler, threads.name))]
    target = folder() / f"{hashlib.sha256(b'|'.join(made_of)).hexdigest()[:24]}.so"
    if not target.is_file():
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as beside:
            made = Path(beside) / target.name
            sources = [str(source) for source in SOURCES if source.suffix == ".c"]
            command = [compiler, *FLAGS, *sources, str(threads), "-lm", "-o", str(made)]
            subprocess.run(command, check=True, capture_output=True, timeout=SECONDS)
            made.replace(target)
    return target


def folder() -> Path:
    """Where what is built is kept, by a hash of all that it follows from: the user's cache, also where jobs lie elsewhere."""
    return Path(platformdirs.user_cache_dir("fm_notebook")) / "compiled"


def _threads() -> Path | None:
    """Torch's own OpenMP: a second one would have threads of its own, and both would wait for a core."""
    return next(iter(sorted((Path(torch.__file__).parent / "lib").glob("libgomp*.so*"))), None)


def _flags() -> set[str]:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("flags"):
                return set(line.split())
    return set()
