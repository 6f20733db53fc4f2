"""Every public name: its signature as it is written, and what it makes of small planted data."""

import ast
import inspect
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import click
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes

import purescope as ps
from purescope.cli.run import cli
from purescope.maths.measures import MEASURES
from purescope.maths.strategies import STRATEGIES
from purescope.runs.inputs import Settings, Sources
from purescope.studies.synthetic import plant
from purescope.studies.training.tracking import TrackSettings
from tests.goldens import describe


def signatures() -> Iterator[str]:
    """Public functions with their arguments, and classes with their fields and methods, from the
    source.
    """
    for name in sorted(ps.__all__):
        found = inspect.getsourcefile(
            inspect.unwrap(getattr(ps, name))
        )  # shapes are checked by a wrapper
        assert found is not None
        nodes = ast.parse(Path(found).read_text(encoding="utf-8")).body
        (node,) = [
            one
            for one in nodes
            if isinstance(one, ast.FunctionDef | ast.ClassDef) and one.name == name
        ]
        yield from _signature(node)


def _signature(node: ast.FunctionDef | ast.ClassDef, indent: str = "") -> Iterator[str]:
    if isinstance(node, ast.FunctionDef):
        returns = ast.unparse(node.returns) if node.returns else ""
        yield f"{indent}{node.name}({ast.unparse(node.args)}) -> {returns}"
        return
    yield f"{indent}class {node.name}({', '.join(map(ast.unparse, node.bases))})"
    for one in node.body:
        if isinstance(one, ast.AnnAssign):
            yield f"{indent}    {ast.unparse(one)}"
        elif isinstance(one, ast.FunctionDef) and (
            not one.name.startswith("_") or one.name == "__init__"
        ):
            yield from _signature(one, f"{indent}    ")


def helps() -> Iterator[str]:
    """The help text of each command, a hundred columns wide."""
    yield from _help(
        cli,
        click.Context(
            cli, info_name="purescope", **{**cli.context_settings, "terminal_width": 100}
        ),
    )


def _help(command: click.Command, context: click.Context) -> Iterator[str]:
    vars(command)["_help_option"] = (
        None  # click keeps that of who asked first, a test of the command alone for one
    )
    yield from [*command.get_help(context).splitlines(), ""]
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            own = {**inner.context_settings, "terminal_width": 100}
            yield from _help(inner, click.Context(inner, parent=context, info_name=name, **own))


def results() -> Iterator[str]:
    """What each public name makes of planted features, or of the small files of the sandbox."""
    calls = _calls()
    missing = set(ps.__all__) - {name.split()[0] for name in calls} - _TYPES
    assert not missing, f"no golden of {missing}"
    for name, call in calls.items():
        yield f">>> {name}"
        yield from said(call())
        yield ""


# Which others take, return or raise.
_TYPES = {
    "CaptionDataset",
    "CaptionFeatures",
    "Dataset",
    "Features",
    "Model",
    "PurescopeError",
    "Results",
    "Rotation",
    "Settings",
    "Sources",
}


def _calls() -> dict[str, Callable[[], Any]]:
    made = plant(1.0, neurons=24, images=90, classes=6, signal=0.5)
    features, weights = made.features, made.projections
    image, text, labels = features.image, features.text, features.labels
    few: dict[str, Any] = {"keep": [6, 12, 18], "draws": 3, "resamples": 50}
    settings = Settings(**few, space="activations", strategies=("high_purity", "low_purity"))
    quick: dict[str, Any] = {
        "settings": settings,
        "figures": False,
        "report": False,
        "rotations": 20,
    }
    order, ks = torch.arange(24).flip(0), [6, 12, 24]
    table = ps.sweep(features, weights, **few)
    importance = ps.neuron_importance(features, weights)
    model, pets = ps.load_model("cc3m_laclip.pt"), ps.load_dataset("folder:my_images")
    training = ["runs/epoch_1.pt", "runs/epoch_2.pt"]
    captions = _captions()

    def by_strategy(name: str) -> Callable[[], Any]:
        return lambda: ps.order_neurons(
            weights, name, seed=1, image=image, text=text, labels=labels
        )

    def by_measure(name: str) -> Callable[[], Any]:
        return lambda: ps.sweep(features, weights, measure=name, **few)

    return {
        "purity": lambda: ps.purity(weights.image),
        "overlap": lambda: ps.overlap(weights.image),
        "activation_space": lambda: ps.activation_space(image, text),
        "activation_space centred": lambda: ps.activation_space(image, text, centred=True),
        "Projections": lambda: ps.Projections(weights.image, weights.text),
        **{f"order_neurons {name}": by_strategy(name) for name in STRATEGIES},
        "accuracy_by_k": lambda: ps.accuracy_by_k(image, text, labels, order, ks),
        "silhouette_by_k": lambda: ps.silhouette_by_k(image, labels, order, ks),
        "sweep": lambda: table,
        **{f"sweep {name}": by_measure(name) for name in MEASURES},
        "neuron_importance": lambda: importance,
        "load_model": lambda: model.projections,
        "load_dataset": lambda: [pets.classes, pets.labels, pets.templates, pets.fingerprint],
        "extract": lambda: ps.extract(model, pets),
        "save_features": lambda: ps.save_features(features, "saved.safetensors"),
        "read_features": lambda: ps.read_features("saved.safetensors"),
        "load_captions": lambda: [captions.captions, captions.fingerprint, captions.source],
        "extract_captions": lambda: ps.extract_captions(model, captions),
        "save_caption_features": lambda: ps.save_caption_features(
            ps.extract_captions(model, captions), "captions.npz"
        ),
        "read_caption_features": lambda: ps.read_caption_features("captions.npz"),
        "layer_table": lambda: ps.layer_table(model, pets),
        "track": lambda: ps.track(training, [pets], settings=TrackSettings(keep=[6, 12], draws=2)),
        "Tracker": lambda: _tracked(weights),
        "published_figures": ps.published_figures,
        "run_sweep": lambda: ps.run_sweep([], [features], "public", **quick).table("results"),
        "run_evidence": lambda: ps.run_evidence([], [features], "public-evidence", **quick).tables,
        "run_compare": lambda: (
            ps.run_compare(
                "cc3m_clip.pt", model, [pets], "public-pair", **_in_weights(quick)
            ).tables
        ),
        "run_reproduction": lambda: ps.run_reproduction(
            model,
            "public-again",
            sources=Sources(data_root="DATA"),
            data=["cifar10"],
            **_in_weights(quick),
        ).table("reproduction"),
        "choose": lambda: {
            name: str(value)
            for name, value in ps.choose("public", keep_at_least=0.5, over="mean")[0]
            .to_json()
            .items()
        },
        "rebase": lambda: ps.rebase(data=[features], out="public-axes").spectrum,
        "export": lambda: sorted(
            ps.export("cc3m_laclip.pt", keep=6, order="first_k", out="public-smaller")
        ),
        "shrink": lambda: ps.shrink("vectors.npy", "public.npy", by="axes", keep=4),
        "index": lambda: ps.index(
            ["features:planted.npz", "captions:captions.npz"],
            keep=[12, 24],
            codes="f32",
            queries=10,
            resamples=50,
            candidates=10,
            figures=False,
            out="public-searched",
        ).table("searches"),
        "open_results": lambda: ps.open_results("public").table("results"),
        "write_report": lambda: ps.write_report(Path("public")),
        "plot_accuracy": lambda: ps.plot_accuracy(table),
        "plot_silhouette": lambda: ps.plot_silhouette(table),
        "plot_gap": lambda: ps.plot_gap(table),
        "plot_pruning": lambda: ps.plot_pruning(table),
        "plot_pruning_gap": lambda: ps.plot_pruning_gap(table),
        "plot_overlap": lambda: ps.plot_overlap(weights, model="planted"),
        "plot_cosines": lambda: ps.plot_cosines(
            weights.image @ weights.image.T, order=order, tower="image"
        ),
        "plot_importance": lambda: ps.plot_importance(importance),
        "plot_layers": lambda: ps.plot_layers(ps.layer_table(model)),
        "plot_dynamics": lambda: ps.plot_dynamics(ps.track(training)),
        "plot_published": lambda: ps.plot_published(table.assign(dataset="cifar10")),
    }


def _captions() -> ps.CaptionDataset:
    """Two captions for each of the images of the sandbox."""
    images = sorted(path for path in Path("my_images").rglob("*.*") if path.suffix != ".txt")
    rows = [f"{path},{text} {path.stem}" for path in images for text in ("a photo of", "picture")]
    Path("my_captions.csv").write_text("\n".join(["image,caption", *rows]), encoding="utf-8")
    loaded = ps.load_captions("captions:my_captions.csv")
    assert isinstance(loaded, ps.CaptionDataset)
    return loaded


def _in_weights(quick: dict[str, Any]) -> dict[str, Any]:
    return {**quick, "settings": replace(quick["settings"], space="weights")}


def _tracked(weights: ps.Projections) -> pd.DataFrame:
    tracker = ps.Tracker("public-track", every=10)
    for step in range(0, 25, 5):
        tracker.record(step, ps.Projections(weights.image + step / 100, weights.text))
    return tracker.table()


def said(found: object) -> list[str]:
    """What a call returned, in lines."""
    if isinstance(found, pd.DataFrame):
        return list(describe.table(found))
    if isinstance(found, dict):
        return [
            line
            for name, inner in found.items()
            for line in (f"  {name}:", *(f"  {one}" for one in said(inner)))
        ]
    if isinstance(found, list):
        return [line for one in found for line in said(one)]
    if isinstance(found, torch.Tensor):
        return [f"  {describe.values(found.numpy())}"]
    if isinstance(found, Axes):
        return list(_axes(found))
    if is_dataclass(found):
        held = {
            one.name: getattr(found, one.name) for one in fields(found) if one.name != "seconds"
        }
        return said(held)
    return [f"  {found}"]


def _axes(axes: Axes) -> Iterator[str]:
    """Texts and curves of a figure."""
    yield f"  {axes.get_title()!r}"
    for axis, ends in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        yield f"  {axis.get_label_text()!r} from {' to '.join(map(describe.number, ends))}"
    legend = axes.get_legend()
    texts = [text.get_text() for text in (*axes.texts, *(legend.get_texts() if legend else []))]
    yield f"  {texts}"
    for line in axes.lines:
        yield f"  line {line.get_label()!r}: {describe.values(np.asarray(line.get_xydata(), dtype=np.float64))}"
    yield f"  {len(axes.collections)} collections, {len(axes.patches)} patches, {len(axes.images)} images"
    plt.close(axes.figure)
