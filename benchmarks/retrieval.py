"""Places of right answers in retrieval, against a product and comparisons for each order and k, and
against the products alone, which every exact way needs.
"""

import argparse
import subprocess
import sys
import time

import torch
from rich.console import Console
from torch import Tensor

from benchmarks.peak import begin_peak, peak_beyond
from purescope.maths.retrieval import RetrievalRanks, retrieval_ranks_by_k
from purescope.parallel import on_each_core

IMAGES, PER_IMAGE, NEURONS, ORDERS = 5_000, 5, 512, 52
KS = list(range(32, 513, 32))
LIMIT_SECONDS, LIMIT_BYTES = 60, 1 << 30


def report(screen: Console, *, quick: bool) -> None:
    """Print wall and processor time and memory of both ways, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.retrieval", "--orders", "4" if quick else "52"]
    screen.print(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())


def features(noise: float = 0.9) -> tuple[Tensor, Tensor, Tensor]:
    """Make images with five captions each: a slow decay of the spectrum, a common mean of each
    tower, and as many right answers as published CLIPs have on COCO, or a few more.
    """
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    spectrum = torch.arange(1, NEURONS + 1) ** -0.5
    turn = torch.linalg.qr(draw(NEURONS, NEURONS))[0] * spectrum[:, None]
    common, own = draw(IMAGES, NEURONS), torch.arange(IMAGES).repeat_interleave(PER_IMAGE)
    means = torch.nn.functional.normalize(draw(2, NEURONS), dim=1)
    towers = []
    for mean, rows in zip(means, (common, common[own]), strict=True):
        turned = torch.nn.functional.normalize((rows + noise * draw(*rows.shape)) @ turn, dim=1)
        towers.append(torch.nn.functional.normalize(turned + mean, dim=1))
    return towers[0], towers[1], own


def plain(image: Tensor, text: Tensor, own: Tensor, kept: Tensor) -> RetrievalRanks:
    """Compute the places at one k: one product, and comparisons with the own score."""
    kept_image, kept_text = (
        torch.nn.functional.normalize(rows[:, kept], dim=1) for rows in (image, text)
    )
    image_rank, text_rank = torch.empty(2, len(text), dtype=torch.uint8)
    for block in torch.arange(len(text)).split(1024):
        scores = kept_text[block] @ kept_image.T
        right = scores.gather(1, own[block, None])
        image_rank[block] = (scores > right).sum(1).clamp(max=10).to(torch.uint8)
        scores = kept_image[own[block]] @ kept_text.T
        right = scores.gather(1, block[:, None])
        text_rank[block] = (scores > right).sum(1).clamp(max=10).to(torch.uint8)
    return RetrievalRanks(image_rank, text_rank)


def bare(image: Tensor, text: Tensor, orders: Tensor) -> None:
    """Compute the products at every k in blocks that grow from k to k, and look at none of them."""

    def products(order: Tensor) -> None:
        left, right = image[:, order], text[:, order].T
        for rows in left.split(1024):
            for columns in right.split(2048, dim=1):
                block = torch.zeros(len(rows), columns.shape[1])
                for start, stop in zip([0, *KS], KS, strict=False):
                    torch.addmm(block, rows[:, start:stop], columns[start:stop], out=block)

    for _ in on_each_core(products, orders):
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=ORDERS)
    count = parser.parse_args().orders
    image, text, own = features()
    drawn = torch.Generator().manual_seed(1)
    orders = torch.stack([torch.randperm(NEURONS, generator=drawn) for _ in range(count)])
    before = begin_peak()
    wall, processor = time.perf_counter(), time.process_time()
    ranks = retrieval_ranks_by_k(image, text, own, orders, KS)
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    memory = peak_beyond(before)
    bare_wall, bare_processor = time.perf_counter(), time.process_time()
    bare(image, text, orders)
    bare_wall = time.perf_counter() - bare_wall
    bare_processor = time.process_time() - bare_processor
    timed = [0, len(KS) // 2, len(KS) - 1]
    differ, start, processor_start = 0, time.perf_counter(), time.process_time()
    expected = [plain(image, text, own, orders[0, : KS[column]]) for column in timed]
    scale = count * len(KS) / len(timed)
    plain_wall = (time.perf_counter() - start) * scale
    plain_processor = (time.process_time() - processor_start) * scale
    for column, right in zip(timed, expected, strict=True):
        differ += int((ranks.image_rank[0, column] != right.image_rank).sum())
        differ += int((ranks.text_rank[0, column] != right.text_rank).sum())
    whole = ORDERS / count
    print(
        f"Retrieval, {IMAGES:,} images x {len(text):,} captions, {len(KS)} k, {count} orders: "
        f"{wall:.1f} s, {processor:.1f} s of processor time, {memory:.0f} MB more; "
        f"the plain way {plain_wall:.0f} s, {plain_processor:.0f} s of processor time "
        f"({len(timed)} cells timed); {plain_processor / processor:.1f} x; the bare products "
        f"{bare_wall:.1f} s, {bare_processor:.1f} s of processor time; {ORDERS} orders: "
        f"{wall * whole:.0f} s, {processor * whole:.0f} s of processor time, the bare products "
        f"{bare_wall * whole:.0f} s "
        f"(limit {LIMIT_SECONDS} s, {LIMIT_BYTES >> 20} MB); "
        f"{differ} of {2 * len(timed) * len(text):,} places differ from float32's"
    )


if __name__ == "__main__":
    main()
