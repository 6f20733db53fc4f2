"""Experiment 2, neuron pruning: keep the purest or the least pure `sam` neurons and measure what is
left.

    cd experiments/2_neuron_pruning && python run_eval_sam_sweep.py

Edit the settings below. As they stand, the experiment runs on the two models and the image sets
that come with purescope; with the path of a checkpoint and names such as "CIFAR10" it runs on
those, under the protocol of the original script.
"""

import os
import sys
import warnings
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

import purescope as ps

# One checkpoint, or several: a path, LABEL=path, or a name that `purescope models` lists.
ckpt_path: str | list[str] = ["bundled:clip", "bundled:laclip"]

# ["CIFAR10", "CIFAR100", "FOOD101", "CALTECH101", "PETS", "DTD", "EUROSAT"] below `data_root`, or
# bundled sets.
DATASETS = [
    "bundled:emoji",
    "bundled:flags",
    "bundled:icons",
    "bundled:clipart",
    "bundled:fashion-mnist",
]
data_root = "data"

# Neurons to retain; `list(range(100, 512, 20))` looks closer.
sam_values = list(range(200, 501, 50))

device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
batch_size = 512
# Gets result_<label>/ with the CSV files, figures/, report.html, results.csv and manifest.json.
save_dir_base = "."
overwrite = False  # True replaces the results of a run with other settings

# Keep features in a cache, so that other `sam_values` encode nothing again: the folder that the
# variable PURESCOPE_CACHE names, or ~/.cache/purescope.
keep_features = True

# "paper" has the preprocess and prompts of the original script, "native" the checkpoint's and the
# dataset's own.
protocol = "paper"


def normalize_tensor(V: Tensor) -> Tensor:
    """Scale neuron vectors ``[neuron, width]`` to length 1; a vector of zeros stays zeros."""
    return torch.nn.functional.normalize(V, p=2, dim=1, eps=torch.finfo(V.dtype).tiny)


def find_min_off_diagonal_sum(image_proj: Tensor, text_proj: Tensor, sam: int = 450) -> list[int]:
    """List the `sam` neurons of lowest total similarity, purest first; projections are
    ``[neuron, width]``.
    """
    return _first(image_proj, text_proj, "high_purity", sam)


def find_max_off_diagonal_sum(image_proj: Tensor, text_proj: Tensor, sam: int = 450) -> list[int]:
    """List the `sam` neurons of highest total similarity, least pure first."""
    return _first(image_proj, text_proj, "low_purity", sam)


def _first(image_proj: Tensor, text_proj: Tensor, strategy: str, sam: int) -> list[int]:
    order: list[int] = ps.order_neurons(ps.Projections(image_proj, text_proj), strategy).tolist()
    if not 1 <= sam <= len(order):
        raise ps.PurescopeError(f"sam = {sam}", expected=f"1 <= sam <= {len(order)} neurons")
    return order[:sam]


def extract(model: ps.Model, dataset: ps.Dataset) -> ps.Features:
    """Encode the images and prompts, or take the features that an earlier run kept."""
    return ps.extract(model, dataset, protocol=protocol, batch_size=batch_size, cache=_cache())


def _cache() -> str | None:
    if not keep_features:
        return None
    return os.environ.get("PURESCOPE_CACHE") or str(Path.home() / ".cache" / "purescope")


def evaluate_zeroshot_classification(
    model: ps.Model, dataset: ps.Dataset, cls_names: list[str] | None = None, sam: int = 450
) -> dict[str, dict[str, float]]:
    """Measure ``Accuracy`` and ``Silhouette Score`` of the full, min sparse and max sparse
    features, as fractions.

    Args:
        model: from `purescope.load_model`.
        dataset: from `purescope.load_dataset`.
        cls_names: class names for the prompts, in the order of the labels; None takes the dataset's
            own.
        sam: neurons to retain.
    """
    if cls_names is not None:
        dataset = replace(dataset, classes=tuple(cls_names), display_names=tuple(cls_names))
    features = extract(model, dataset)
    kept = {
        "Full Features": ("high_purity", len(features.image[0])),
        "Min Sparse Features": ("high_purity", sam),
    }
    kept["Max Sparse Features"] = ("low_purity", sam)
    results = {}
    for name, (strategy, k) in kept.items():
        order = ps.order_neurons(model.projections, strategy)
        accuracy = ps.accuracy_by_k(
            features.image, features.text, features.labels, order, ks=[k]
        ).top1
        silhouette = ps.silhouette_by_k(features.image, features.labels, order, ks=[k])
        results[name] = {"Accuracy": accuracy.item(), "Silhouette Score": silhouette.item()}
    return results


def analyze_neuron_importance(model: ps.Model, dataset: ps.Dataset) -> list[tuple[int, float]]:
    """Rank neurons by individual impact on accuracy: ``(neuron, baseline accuracy - accuracy
    without it)``.
    """
    table = ps.neuron_importance(extract(model, dataset)).sort_values("neuron")
    drops = zip(table.neuron.tolist(), table.accuracy_drop.tolist(), strict=True)
    return sorted(drops, key=lambda drop: drop[1], reverse=True)


def main() -> pd.DataFrame:
    """Run the sweep of the settings above, and print what came out and where it is.

    Returns:
        The tidy table of results.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("default", UserWarning)
        warnings.showwarning = _print_note  # type: ignore[assignment]
        results = ps.run_sweep(
            [ckpt_path] if isinstance(ckpt_path, str) else ckpt_path,
            DATASETS,
            save_dir_base,
            settings=ps.Settings(keep=sam_values, protocol=protocol),
            sources=ps.Sources(
                data_root=data_root, batch_size=batch_size, device=str(device), cache=_cache()
            ),
            overwrite=overwrite,
            progress=_progress,
        )
    points = results.table("curve_points")
    accuracies = points[points.metric == "accuracy"]
    for model in results.models:
        rows = accuracies[accuracies.model == model]
        wide = rows.pivot(index=["dataset", "strategy"], columns="k", values="value")
        print(f"\n{model}: zero-shot accuracy in %, by neurons kept; random is the median order")
        print((100 * wide).to_string(float_format="{:.1f}".format, na_rep=""))
        print(results.verdicts[model].sentence)
    print()
    if results.report is not None:
        print(f"Report: {results.report.resolve()}")
    print(f"Tables, figures, manifest: {results.path.resolve()}")
    return results.table("results")


def _progress(batches: Iterable[Any], name: str, total: int) -> Iterable[Any]:
    return tqdm(batches, desc=name, total=total, unit="batch", leave=False)


def _print_note(message: Warning | str, *_: object) -> None:
    print(f"note: {message}", file=sys.stderr)


if __name__ == "__main__":
    try:
        main()
    except ps.PurescopeError as error:
        print(f"run_eval_sam_sweep.py: {error}", file=sys.stderr)
        sys.exit(2)
