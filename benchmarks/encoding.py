"""Encoding images, against the bare model on pixels that are ready; and the start of the command line."""

import subprocess
import sys
import time
from statistics import median

import torch
from rich.console import Console

from purescope.datasets import load_dataset
from purescope.features import extract
from purescope.models import load_model


def report(screen: Console) -> None:
    """Print images a second of `extract` and of the bare model, and the time of ``purescope --help``.

    The bare model gets batches of the same 256 images, on all cores, and its arithmetic is all that is timed.
    """
    model, dataset = load_model("bundled:laclip"), load_dataset("bundled:fashion-mnist")
    pixels = torch.stack([model.preprocess.pixels(dataset.images[i]) for i in range(256)])
    ready = model.preprocess.normalise(pixels)
    model.encode_text(
        [template.replace("{}", name) for name in dataset.display_names for template in dataset.templates]
    )
    batches = len(dataset) // 256
    rates: dict[str, list[float]] = {"bare": [], "ours": []}
    for _ in range(5):  # in turns, so that a machine that changes its speed changes both
        start = time.perf_counter()
        for _ in range(batches):
            model.encode_image(ready)
        rates["bare"].append(batches * 256 / (time.perf_counter() - start))
        start = time.perf_counter()
        extract(model, dataset)
        rates["ours"].append(len(dataset) / (time.perf_counter() - start))
    ours, bare = (median(rates[name]) for name in ("ours", "bare"))
    screen.print(
        f"Encoding: {ours:,.0f} images/s, text and decoding included; bare model {bare:,.0f}; {ours / bare:.0%} of it"
    )
    start, torch_alone = _process("-m", "purescope.cli", "--help"), _process("-c", "import torch")
    screen.print(f"purescope --help: {start:.2f} s; import torch alone: {torch_alone:.2f} s")


def _process(*arguments: str) -> float:
    times = []
    for _ in range(3):
        start = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    return median(times)
