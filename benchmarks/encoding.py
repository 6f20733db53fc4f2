"""Encoding images, against the bare model on pixels that are ready, and against encoding anew for
each k; and the start of the command line.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from torch import Tensor

from purescope.datasets import load_dataset
from purescope.datasets.dataset import Dataset
from purescope.features.extraction import extract
from purescope.models import load_model
from purescope.models.model import Model
from purescope.studies.sweeps import sweep

KS = list(range(200, 501, 50))


def report(screen: Console, *, quick: bool) -> None:
    """Print images a second of `extract` and of the bare model, and the time of ``purescope
    --help``.

    The bare model gets batches of as many images, on all cores, and its arithmetic is all that is
    timed.
    """
    model, fashion = load_model("bundled:laclip"), load_dataset("bundled:fashion-mnist")
    _against_bare(screen, "bundled:laclip, 32 px WebP", model, fashion, batch=256, rounds=5)
    _against_each_k(screen, model, fashion)
    if not quick:
        with vit_b_16() as (path, photographs):
            # Without AVX-512 bf16 is emulated: nine times as slow as fp32.
            has_bf16 = "AVX512" in torch.backends.cpu.get_cpu_capability()
            for precision in ("fp32", "bf16") if has_bf16 else ("fp32",):
                vit = load_model(f"{path}", arch="ViT-B-16", precision=precision)
                _against_bare(
                    screen,
                    f"ViT-B/16 {precision}, 480 px JPEG",
                    vit,
                    photographs,
                    batch=32,
                    rounds=2,
                )
    start, torch_alone = _process("-m", "purescope", "--help"), _process("-c", "import torch")
    screen.print(f"purescope --help: {start:.2f} s; import torch alone: {torch_alone:.2f} s")


def _against_bare(
    screen: Console, name: str, model: Model, dataset: Dataset, *, batch: int, rounds: int
) -> None:
    pixels = torch.stack([model.preprocess.pixels(dataset.images[i]) for i in range(batch)])
    ready = model.preprocess.normalise(pixels)
    batches = max(1, min(len(dataset), 4 * batch) // batch)
    model.encode_image(ready)

    def bare() -> None:
        for _ in range(batches):
            model.encode_image(ready)

    rates: dict[str, list[float]] = {"bare": [], "ours": []}
    for _ in range(rounds):  # in turns, so that a machine that changes its speed changes both
        rates["bare"].append(batches * batch / _seconds(bare))
        rates["ours"].append(
            len(dataset) / _seconds(lambda: extract(model, dataset, batch_size=batch))
        )
    ours, plain = (median(rates[way]) for way in ("ours", "bare"))
    screen.print(
        f"Encoding, {name}: {ours:,.1f} images/s, text and decoding included; bare model "
        f"{plain:,.1f}; {ours / plain:.0%} of it"
    )


def _against_each_k(screen: Console, model: Model, dataset: Dataset) -> None:
    """The experiment's loop encodes every image again for each k."""

    def ours() -> None:
        sweep(extract(model, dataset), model.projections, keep=KS, draws=1, resamples=1)

    def plain() -> None:
        for _ in KS:
            for first in range(0, len(dataset), 256):
                rows = range(first, min(first + 256, len(dataset)))
                pixels = torch.stack([model.preprocess.pixels(dataset.images[row]) for row in rows])
                model.encode_image(model.preprocess.normalise(pixels))

    mine, theirs = (median(_seconds(way) for _ in range(3)) for way in (ours, plain))
    screen.print(
        f"{len(dataset):,} images encoded once and swept at 7 k, no intervals: {mine:.2f} s; "
        f"encoded again for each k, metrics not counted: {theirs:.2f} s, {theirs / mine:.1f} x"
    )


@contextmanager
def vit_b_16() -> Iterator[tuple[Path, Dataset]]:
    """A ViT-B/16 of random weights in open_clip's form, and a folder of JPEG files of the size of
    photographs.
    """
    import open_clip
    from safetensors.torch import save_file

    with tempfile.TemporaryDirectory() as name:
        folder, rng = Path(name), np.random.default_rng(0)
        module = open_clip.create_model("ViT-B-16", pretrained=None, load_weights=False)
        weights: dict[str, Tensor] = {
            key: value.contiguous() for key, value in module.state_dict().items()
        }
        save_file(weights, folder / "vit.safetensors")
        del module, weights
        for number in range(256):  # so that text, encoded once a data set, weighs little
            small = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
            path = folder / "images" / ("cat", "dog")[number % 2] / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            small.resize((640, 480), Image.Resampling.BICUBIC).save(path, quality=90)
        yield folder / "vit.safetensors", load_dataset(f"folder:{folder / 'images'}")


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _process(*arguments: str) -> float:
    return median(
        _seconds(
            lambda: subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
        )
        for _ in range(3)
    )
