"""What the numbers rest on, in a few words each: models, data, protocol, versions; and what is not there."""

from collections.abc import Mapping
from typing import Any

from purescope.report._rows import groups
from purescope.tables import schemas
from purescope.tables.results import Folder


def question(folder: Folder) -> str:
    """What a folder of its kind is about, in plain words."""
    if schemas.RESULTS.name in folder.tables:
        return "Can half the embedding go, and does it matter which half?"
    if schemas.REPRODUCTION.name in folder.tables:
        return "Do the published figures come out again?"
    if len(folder.track):
        return "What does training do to purity?"
    return "How pure is every layer?" if len(folder.layers) else "How pure are the neurons?"


def missing(folder: Folder) -> list[str]:
    """What a run of today writes and this folder has no file of; a table without rows was written and lacks nothing."""
    if schemas.RESULTS.name not in folder.tables:
        return []
    wanted = {
        "neurons": "the neurons' overlaps against random ones",
        "importance": "what is lost without each neuron",
        "examples": "the images that each neuron answers to",
        "words": "the class names and words closest to each neuron",
        "confusions": "which classes are confused",
        "orders": "which neurons each strategy keeps",
        "class_importance": "what each class loses without a neuron",
    }
    return [what for name, what in wanted.items() if not (folder.path / f"{name}.parquet").is_file()]


def title(folder: Folder) -> str:
    others = (table for table in (folder.layers, folder.track) if len(table))
    models = folder.models or [str(name) for table in others for name in table.model.unique()]
    models = list(dict.fromkeys(models)) or ["Beside the published figures"]
    return ", ".join(models[:3]) + (f" and {len(models) - 3} more" if len(models) > 3 else "")


def facts(folder: Folder) -> list[tuple[str, list[str]]]:
    """What the numbers rest on, a name and its values each."""
    found = [
        ("Models", _models(folder)),
        ("Data", _data(folder)),
        ("Protocol", _protocol(folder)),
        ("Run", _run(folder)),
    ]
    return [(name, values) for name, values in found if values]


def _models(folder: Folder) -> list[str]:
    if folder.manifest.get("models"):
        return [
            f"{one.get('label')}: {str(one.get('spec')).removeprefix(str(one.get('label')) + '=')}"
            + (f", weights {str(one['weights'])[:12]}" if "weights" in one else "")
            for one in folder.manifest["models"]
        ]
    if len(folder.track):
        return [
            f"{model}: {part.step.nunique():,} checkpoints, step {part.step.min():,} to {part.step.max():,}, "
            f"{part.neurons.iloc[-1]:,} neurons"
            for model, part in groups(folder.track, "model")
        ]
    if len(folder.layers):
        return [
            f"{model}: {part.name.nunique():,} layers in {part.tower.nunique()} towers"
            for model, part in groups(folder.layers, "model")
        ]
    return folder.models


def _data(folder: Folder) -> list[str]:
    seen = folder.track if len(folder.track) else folder.table(schemas.RESULTS)
    said = [
        f"{name}: {part.n.iloc[-1]:,} images, {part.classes.iloc[-1]:,} classes"
        for name, part in groups(seen[seen.n > 0] if len(seen) else seen, "dataset")
    ]
    layers = folder.layers
    if len(layers):
        images = layers[(layers.space != "weights") & (layers.tower == "image")]
        said += [f"{name}: activations of {part.width.iloc[0]:,} images" for name, part in groups(images, "dataset")]
    return said


def _protocol(folder: Folder) -> list[str]:
    results, settings = folder.table(schemas.RESULTS), folder.manifest.get("settings", {})
    if results.empty:
        return _of_training(settings) if len(folder.track) else []
    first = results.iloc[0]
    draws = int(results.draw[results.strategy == "random"].nunique())
    ks = sorted(results.k[results.strategy != "full"].unique().tolist())
    said = [
        f"protocol {first.protocol}",
        f"purity of {first.space}"
        + ("" if first.measure == "l1" else f", measure {first.measure}")
        + ("" if first.towers == "both" else f", towers {first.towers}"),
        f"dropped neurons are set to {first.ablation}",
        f"k: {', '.join(f'{k:,}' for k in ks)} of {first.neurons:,}",
        f"{draws:,} random orders" + (f" from seed {settings['seed']}" if "seed" in settings else ""),
    ]
    if "resamples" in settings:
        said.append(f"{settings['resamples']:,} bootstrap resamples")
    return said


def _of_training(settings: Mapping[str, Any]) -> list[str]:
    known = {"protocol": "protocol {}", "space": "purity of {}", "draws": "{} random orders", "seed": "from seed {}"}
    return [words.format(settings[name]) for name, words in known.items() if name in settings]


def _run(folder: Folder) -> list[str]:
    manifest = folder.manifest
    versions = [f"{name} {number}" for name, number in manifest.get("versions", {}).items()]
    when = [
        f"{word} {str(manifest[word])[:16].replace('T', ' ')}" for word in ("started", "finished") if word in manifest
    ]
    return when + ([", ".join(versions)] if versions else [])
