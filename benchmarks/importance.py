"""The accuracy drop of each single neuron, against one evaluation without each."""

import time
from statistics import median

import torch
from rich.console import Console
from torch import Tensor

from purescope.maths.leave_one_out import leave_one_out

NEURONS = 512


def report(screen: Console, *, quick: bool) -> None:
    """Print the time of `leave_one_out` and of 512 evaluations with one neuron set to zero.

    The plain way is the fastest that follows the experiment's text: float32, one column set to zero
    where it stands, one matrix product, argmax, count; the accuracy is all it gives. It is timed on
    16 of the 512 neurons, between runs of ours, and scaled. What must be equal is compared with the
    same evaluation in float64.
    """
    image, text, labels = _features(10_000, 100)
    found = leave_one_out(image, text, labels)
    times: dict[str, list[float]] = {"plain": [], "accuracy": [], "loss": []}
    for _ in range(
        1 if quick else 3
    ):  # in turns, so that a machine that changes its speed changes all
        for name in ("accuracy", "loss"):
            start = time.perf_counter()
            leave_one_out(image, text, labels, loss=name == "loss")
            times[name].append(time.perf_counter() - start)
        start = time.perf_counter()
        for neuron in range(0, NEURONS, 32):
            _right_without(neuron, image, text, labels)
        times["plain"].append((time.perf_counter() - start) * 32)
    ours, whole, theirs = (median(times[name]) for name in ("accuracy", "loss", "plain"))
    image, text = image.double(), text.double()
    right = int(((image @ text.T).argmax(dim=1) == labels).sum())
    drops = {
        neuron: right - _right_without(neuron, image, text, labels)
        for neuron in range(0, NEURONS, 16)
    }
    differ = sum(
        drop / len(labels) != found.accuracy_drop[neuron].item() for neuron, drop in drops.items()
    )
    screen.print(
        f"Accuracy without each of {NEURONS} neurons, {len(labels):,} images, {len(text)} classes: "
        f"{ours:.2f} s, margins included; evaluated {NEURONS} times: {theirs:.1f} s (16 timed), "
        f"{theirs / ours:.0f} x; with the loss {whole:.2f} s, {theirs / whole:.1f} x; of "
        f"{len(drops)} drops evaluated in float64 {differ} differ"
    )


def _features(images: int, classes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Unit features of which about two in five images are right, so that neurons can win and lose
    some.
    """
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(classes, (images,), generator=generator)
    centres = torch.randn(classes, NEURONS, generator=generator)
    image = centres[labels] + 10 * torch.randn(images, NEURONS, generator=generator)
    return (
        torch.nn.functional.normalize(image, dim=1),
        torch.nn.functional.normalize(centres, dim=1),
        labels,
    )


def _right_without(neuron: int, image: Tensor, text: Tensor, labels: Tensor) -> int:
    """How many images are right with the neuron at zero; its column is put back."""
    column = image[:, neuron].clone()
    image[:, neuron] = 0
    right = int(((image @ text.T).argmax(dim=1) == labels).sum())
    image[:, neuron] = column
    return right
