"""What the numbers rest on, in a few words each: models, data, protocol, versions; and what is not there."""

from purescope import schemas
from purescope.report import _numbers as numbers
from purescope.report._folder import Folder
from purescope.report._rows import groups
from purescope.verdict import Verdict


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
        "class_importance": "what each class loses without a neuron",
    }
    return [what for name, what in wanted.items() if not (folder.path / f"{name}.parquet").is_file()]


def title(folder: Folder) -> str:
    others = (table for table in (folder.layers, folder.track) if len(table))
    models = folder.models or [str(name) for table in others for name in table.model.unique()]
    models = list(dict.fromkeys(models)) or ["Beside the published figures"]
    return ", ".join(models[:3]) + (f" and {len(models) - 3} more" if len(models) > 3 else "")


def told(verdict: Verdict) -> str:
    """The sentence of a verdict, with true minus signs in its numbers and every name as it is."""
    name = f"{verdict.model}: "
    sentence = verdict.sentence.removeprefix(name)
    for difference in (str(verdict.overall.over_random), str(verdict.overall.over_low)):
        sentence = sentence.replace(f" is {difference}", f" is {numbers.minus(difference)}", 1)
    return name + sentence


def facts(folder: Folder) -> list[tuple[str, list[str]]]:
    """What the numbers rest on, a name and its values each."""
    manifest, results = folder.manifest, folder.table(schemas.RESULTS)
    found: list[tuple[str, list[str]]] = []
    models = [
        f"{one.get('label')}: {one.get('spec')}" + (f", weights {str(one['weights'])[:12]}" if "weights" in one else "")
        for one in manifest.get("models", [])
    ]
    found.append(("Models", models or folder.models))
    sets = [
        f"{name}: {part.n.iloc[0]:,} images, {part.classes.iloc[0]:,} classes"
        for name, part in groups(results, "dataset")
    ]
    found.append(("Data", sets))
    settings = manifest.get("settings", {})
    if len(results):
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
        found.append(("Protocol", said))
    versions = [f"{name} {number}" for name, number in manifest.get("versions", {}).items()]
    when = [
        f"{word} {str(manifest[word])[:16].replace('T', ' ')}" for word in ("started", "finished") if word in manifest
    ]
    found.append(("Run", when + ([", ".join(versions)] if versions else [])))
    return [(name, values) for name, values in found if values]
