"""Bootstrap intervals of every cell of a sweep, against drawing the images of each resample and
taking their means.
"""

import time
from statistics import median

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from purescope.maths.intervals import bootstrap_means, percentile_interval

IMAGES, RESAMPLES, TIMED = 10_000, 10_000, 50


def report(screen: Console) -> None:
    """Print the time of 10,000 resamples of 3 strategies x 7 k at 10,000 images, and the plain
    way's.
    """
    for classes in (10, 100):
        right, labels = answers(classes)
        ours, theirs = [], []
        for _ in range(3):  # in turns, so that a machine that changes its speed changes both
            start = time.perf_counter()
            percentile_interval(bootstrap_means(right, labels, resamples=RESAMPLES))
            ours.append(time.perf_counter() - start)
            start = time.perf_counter()
            plain(right, labels, TIMED)
            theirs.append((time.perf_counter() - start) * RESAMPLES / TIMED)
        screen.print(
            f"Bootstrap intervals, {RESAMPLES:,} resamples of 3 strategies x 7 k, {IMAGES:,} "
            f"images, {classes} classes:"
            f" {median(ours):.2f} s; drawing images and taking means {median(theirs):.1f} s"
            f" ({TIMED} resamples timed); {median(theirs) / median(ours):.0f} x"
        )


def answers(classes: int) -> tuple[Tensor, Tensor]:
    """Right or wrong ``[strategy, k, image]``, and labels; images are hard or easy, more of them
    easy at larger k.
    """
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(classes, (IMAGES,), generator=generator)
    hard = torch.rand(IMAGES, generator=generator) + 0.1 * torch.randn(
        3, 7, IMAGES, generator=generator
    )
    return hard < torch.linspace(0.3, 0.7, 7)[:, None], labels


def plain(right: Tensor, labels: Tensor, resamples: int) -> Tensor:
    """Resamples of the same distribution as a loop: all but one of as many images as a class has,
    and their mean.
    """
    values, generator = right.numpy(), np.random.default_rng(0)
    members = [np.flatnonzero(labels.numpy() == label) for label in labels.unique().tolist()]
    means = np.zeros((resamples, *right.shape[:-1]))
    for mean in means:
        for images in members:
            drawn = generator.choice(images, len(images) - 1)
            mean += values[..., drawn].mean(-1) * len(images) / len(labels)
    return torch.from_numpy(means)
