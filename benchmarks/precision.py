"""``python -m benchmarks.precision``: what bf16 and fp16 change on the bundled models and sets."""

import torch
from rich.console import Console
from rich.table import Table

from purescope.datasets import load_dataset
from purescope.features.extraction import extract
from purescope.features.features import Features
from purescope.maths.accuracy import accuracy_by_k
from purescope.models import load_model

MODELS = ("bundled:clip", "bundled:laclip")
DATASETS = ("flags", "icons", "clipart", "emoji")
PRECISIONS = ("bf16", "fp16")


def _top1(features: Features) -> float:
    neurons = features.image.shape[1]
    everything = torch.arange(neurons)
    return accuracy_by_k(
        features.image, features.text, features.labels, everything, [neurons]
    ).top1.item()


def main() -> None:
    table = Table(
        "model",
        "dataset",
        "precision",
        "images",
        "cosine to fp32: mean",
        "least",
        "accuracy fp32",
        "change",
    )
    for spec in MODELS:
        models = {
            precision: load_model(spec, precision=precision) for precision in ("fp32", *PRECISIONS)
        }
        for name in DATASETS:
            dataset = load_dataset(f"bundled:{name}")
            exact = extract(models["fp32"], dataset)
            for precision in PRECISIONS:
                features = extract(models[precision], dataset)
                cosine = (features.image.double() * exact.image.double()).sum(1)
                change = 100 * (_top1(features) - _top1(exact))
                figures = (
                    f"{cosine.mean():.6f}",
                    f"{cosine.min():.6f}",
                    f"{_top1(exact):.2%}",
                    f"{change:+.2f} points",
                )
                table.add_row(spec, name, precision, f"{len(dataset):,}", *figures)
    Console(width=140, highlight=False).print(table)


if __name__ == "__main__":
    main()
