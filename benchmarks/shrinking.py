"""Shrinking a million vectors of 512 to 256 of float16, against the bare product and NumPy."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from statistics import median

import numpy as np
from rich.console import Console

from purescope.reduce.rows import Counts, block_rows, shorten

ROWS, NEURONS, KEEP, TIMES = 1 << 16, 512, 256, 7
MILLION = 1_000_000 / ROWS


def report(screen: Console) -> None:
    """Print the seconds of all cores together for a million rows, without reading and writing.

    The command lets each core multiply blocks of its own, which must be said before NumPy is
    imported: so a process of its own measures.
    """
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "benchmarks.shrinking"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    screen.print(done.stdout.strip())


def measure() -> None:
    """Time in turns, so that a machine that changes its speed changes all."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((ROWS, NEURONS), dtype=np.float32)
    square = np.linalg.qr(rng.standard_normal((NEURONS, NEURONS)))[0]
    matrix = np.ascontiguousarray(square[:, :KEEP], dtype=np.float32)
    step = block_rows(NEURONS)

    def blocks() -> Iterator[np.ndarray]:
        yield from (rows[first : first + step] for first in range(0, ROWS, step))

    def ours() -> None:
        options = {"dtype": np.dtype(np.float16), "normalise": True, "name": "rows"}
        for _ in shorten(blocks(), matrix, counts=Counts(), **options):  # type: ignore[arg-type]
            pass

    def bare() -> None:
        for block in blocks():
            block @ matrix

    def plain() -> None:
        short = rows @ matrix
        (short / np.linalg.norm(short, axis=1, keepdims=True)).astype(np.float16)

    ways = {"ours": ours, "bare": bare, "plain": plain}
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(TIMES):
        for name, way in ways.items():
            taken[name].append(_timed(way))
    cpu = {name: MILLION * median(pair[0] for pair in pairs) for name, pairs in taken.items()}
    elapsed = MILLION * median(pair[1] for pair in taken["ours"])
    print(
        f"Shrinking 1,000,000 x {NEURONS} to {KEEP} of float16, without files: "
        f"{cpu['ours']:.2f} s of all cores together, {elapsed:.2f} s elapsed; the bare product "
        f"{cpu['bare']:.2f} s; NumPy's product, norm and astype {cpu['plain']:.2f} s; ours / bare "
        f"{cpu['ours'] / cpu['bare']:.2f} x"
    )


def _timed(way: Callable[[], None]) -> tuple[float, float]:
    """Return the seconds of all cores together, and those that passed."""
    cpu, clock = time.process_time(), time.perf_counter()
    way()
    return time.process_time() - cpu, time.perf_counter() - clock


if __name__ == "__main__":
    measure()
