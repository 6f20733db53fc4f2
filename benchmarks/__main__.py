"""``python -m benchmarks [--quick]``: time, ratio and peak memory of the sweep, against the plain
way and the floor.

Every comparison is made within one run, on the same synthetic features: unit rows around one
direction for each class, shaped like the experiment's datasets. The plain way at 25,250 images
takes so long that it is timed on a few of the 21 cells there and the rest is scaled; the table says
so. Our way and the bare products run between its cells.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks import encoding, importance, plain, retrieval, searching, shrinking, statistics
from benchmarks.peak import begin_peak, peak_beyond
from purescope.maths.accuracy import accuracy_by_k
from purescope.maths.silhouette import silhouette_by_k

KS = list(range(200, 501, 50))
NEURONS = 512


@dataclass(frozen=True)
class Case:
    """Features shaped like one of the experiment's datasets; `plain_cells` of the 21 are timed the
    plain way.
    """

    name: str
    images: int
    classes: int
    plain_cells: int


CASES = (
    Case("10,000 x 512, 10 classes", 10_000, 10, 21),
    Case("10,000 x 512, 100 classes", 10_000, 100, 7),
    Case("25,250 x 512, 101 classes", 25_250, 101, 2),
)


def features(images: int, classes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Unit image features, unit class features and labels, from a fixed seed."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(classes, (images,), generator=generator)
    centres = torch.randn(classes, NEURONS, generator=generator)
    noise = torch.randn(images, NEURONS, generator=generator)
    image = torch.nn.functional.normalize(centres[labels] + 3 * noise + 1, dim=1)
    return image, torch.nn.functional.normalize(centres, dim=1), labels


def orders(count: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.stack([torch.randperm(NEURONS, generator=generator) for _ in range(count)])


def ours(
    image: Tensor, text: Tensor, labels: Tensor, chosen: Tensor, ks: list[int]
) -> tuple[Tensor, Tensor]:
    return accuracy_by_k(image, text, labels, chosen, ks).top1, silhouette_by_k(
        image, labels, chosen, ks
    )


def seconds(run: Callable[[], object], repeats: int = 5) -> float:
    """Median of `repeats` runs after a warm-up."""
    run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return median(times)


def against_plain(table: Table, case: Case) -> None:
    image, text, labels = features(case.images, case.classes)
    chosen = orders(3)
    prepared = plain.columns(image, text, chosen, KS)
    mine, floor, theirs, expected = [], [], 0.0, []
    # The cells timed are spread over k: the plain way's time grows with it.
    used, ks = (
        (chosen, KS) if case.plain_cells == 21 else (chosen[:1], KS[:: 6 // (case.plain_cells - 1)])
    )
    for order in used:
        for k in ks:  # in turns, so that a machine that changes its speed changes all
            mine.append(seconds(lambda: ours(image, text, labels, chosen, KS), repeats=3))
            floor.append(seconds(lambda: plain.products(prepared), repeats=3))
            start = time.perf_counter()
            expected.append(plain.cell(image, text, labels, order[:k]))
            theirs += time.perf_counter() - start
    timed = len(expected)
    result = zip(
        *(values.flatten().tolist() for values in ours(image, text, labels, used, ks)), strict=True
    )
    difference = max(
        abs(a - b) for e, r in zip(expected, result, strict=True) for a, b in zip(e, r, strict=True)
    )
    scaled = "" if timed == 21 else f" ({timed} of 21 cells timed)"
    our_time, floor_time, their_time = median(mine), median(floor), theirs * 21 / timed
    table.add_row(
        f"3 strategies x 7 k, {case.name}",
        f"{our_time:.3f} s",
        f"{their_time:.1f} s{scaled}",
        f"{their_time / our_time:,.0f} x",
        f"{floor_time:.3f} s",
        f"{our_time / floor_time:.2f} x",
        f"{difference:.0e}",
    )


def draws(screen: Console) -> None:
    image, text, labels = features(10_000, 10)
    taken = seconds(lambda: ours(image, text, labels, orders(50), KS), repeats=1)
    screen.print(f"50 random draws x 7 k, 10,000 x 512, 10 classes: {taken:.2f} s")


def growth(screen: Console) -> None:
    cases = [(*features(images, 10), orders(3), KS) for images in (20_000, 40_000)]
    times: list[list[float]] = [[], []]
    for _ in range(9):  # in turns, so that a machine that changes its speed changes both
        for taken, case in zip(times, cases, strict=True):
            taken.append(seconds(lambda: ours(*case), repeats=1))  # noqa: B023
    small, large = map(median, times)
    screen.print(f"Doubling 20,000 to 40,000 images: {large / small:.2f} x the time")


def memory(images: int) -> None:
    """Print the peak memory beyond the features, in MB; run in a process of its own, on Linux."""
    image, text, labels = features(images, 10)
    small = slice(0, 2000)
    ours(
        image[small], text, labels[small], orders(3), KS
    )  # libraries allocate their own at first use
    before = begin_peak()
    ours(image, text, labels, orders(3), KS)
    print(round(peak_beyond(before)))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--quick",
        action="store_true",
        help="leave out the cases in which the plain way takes minutes",
    )
    parser.add_argument("--memory", type=int, metavar="N", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        memory(options.memory)
        return
    screen = Console(width=140, highlight=False)
    screen.print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads; medians of runs that take "
        f"turns\n"
    )
    table = Table(
        "sweep: accuracy + silhouette",
        "ours",
        "plain way",
        "faster",
        "bare products",
        "ours / bare",
        "largest difference",
    )
    for case in CASES[:1] if options.quick else CASES:
        against_plain(table, case)
    screen.print(table)
    draws(screen)
    growth(screen)
    for images in (50_000, 200_000):
        beyond = subprocess.run(
            [sys.executable, "-m", "benchmarks", "--memory", str(images)],
            capture_output=True,
            text=True,
            check=True,
        )
        screen.print(
            f"Peak memory beyond the features at N = {images:,}: {beyond.stdout.strip()} MB"
        )
    statistics.report(screen)
    shrinking.report(screen)
    searching.report(screen, quick=options.quick)
    importance.report(screen, quick=options.quick)
    retrieval.report(screen, quick=options.quick)
    encoding.report(screen, quick=options.quick)


if __name__ == "__main__":
    main()
