"""Experiment 2, neuron pruning: keep the purest or the least pure `sam` neurons and measure what is
left.

    cd experiments/2_neuron_pruning && python run_eval_sam_sweep.py

Edit the settings below. As they stand, the experiment runs on the two models and the image sets
that come with purescope; with the path of a checkpoint and names such as "CIFAR10" it runs on
those, under the protocol of the original script.
"""

import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

import purescope as ps
from purescope.cli import options, terminal
from purescope.maths.accuracy import accuracy_by_k
from purescope.maths.cells import check_keep
from purescope.maths.leave_one_out import leave_one_out
from purescope.maths.silhouette import silhouette_by_k
from purescope.runs.inputs import Settings, Sources
from purescope.specs import to_folder

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
save_dir_base = (
    "."  # result_<label>/ with the CSV files, figures/, results.csv and manifest.json go below it
)
overwrite = False  # True replaces the results of a run with other settings
keep_features = (
    True  # in the cache that `purescope cache ls` shows, so that other `sam_values` encode nothing
)
protocol = "paper"  # preprocess and prompts of the original script; "native": the checkpoint's and the dataset's own


def normalize_tensor(V: Tensor) -> Tensor:
    """Neuron vectors ``[neuron, width]`` at unit length; a neuron of length zero stays zero."""
    return torch.nn.functional.normalize(V, p=2, dim=1, eps=torch.finfo(V.dtype).tiny)


def find_min_off_diagonal_sum(image_proj: Tensor, text_proj: Tensor, sam: int = 450) -> list[int]:
    """List the the `sam` neurons of lowest total similarity, purest first; projections are
    ``[neuron, width]``.
    """
    return _first(image_proj, text_proj, "high_purity", sam)


def find_max_off_diagonal_sum(image_proj: Tensor, text_proj: Tensor, sam: int = 450) -> list[int]:
    """List the the `sam` neurons of highest total similarity, least pure first."""
    return _first(image_proj, text_proj, "low_purity", sam)


def _first(image_proj: Tensor, text_proj: Tensor, strategy: str, sam: int) -> list[int]:
    projections = ps.Projections(image_proj, text_proj)
    (sam,) = check_keep(sam, projections.neurons)
    order: list[int] = ps.order_neurons(projections, strategy)[:sam].tolist()
    return order


def extract(model: ps.Model, dataset: ps.Dataset) -> ps.Features:
    """Encode the images and prompts, or take the features that are kept of an earlier run."""
    return ps.extract(model, dataset, protocol=protocol, batch_size=batch_size, cache=_cache())


def _cache() -> Path | None:
    return options.default_cache() if keep_features else None


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
        accuracy = accuracy_by_k(features.image, features.text, features.labels, order, [k]).top1
        silhouette = silhouette_by_k(features.image, features.labels, order, [k])
        results[name] = {"Accuracy": accuracy.item(), "Silhouette Score": silhouette.item()}
    return results


def analyze_neuron_importance(model: ps.Model, dataset: ps.Dataset) -> list[tuple[int, float]]:
    """Rank neurons by individual impact on accuracy: ``(neuron, baseline accuracy - accuracy
    without it)``.
    """
    features = extract(model, dataset)
    drops = leave_one_out(features.image, features.text, features.labels).accuracy_drop.tolist()
    return sorted(enumerate(drops), key=lambda x: x[1], reverse=True)


def main() -> pd.DataFrame:
    """Run the sweep of the settings above, and say what came out and where it is; returns the tidy
    table.
    """
    checkpoints = [ckpt_path] if isinstance(ckpt_path, str) else ckpt_path
    settings = Settings(keep=sam_values, protocol=protocol)
    with terminal.telling():
        sources = Sources(
            data_root=data_root, batch_size=batch_size, device=str(device), cache=_cache()
        )
        table = ps.run_sweep(
            checkpoints,
            DATASETS,
            Path(save_dir_base),
            settings=settings,
            sources=sources,
            overwrite=overwrite,
            progress=terminal.progress,
        )
    terminal.summary(table, to_folder(save_dir_base).resolve(), settings)
    return table


if __name__ == "__main__":
    try:
        main()
    except ps.PurescopeError as error:
        print(f"run_eval_sam_sweep.py: {error}", file=sys.stderr)
        sys.exit(2)
