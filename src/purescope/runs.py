"""One run of the experiment, from the names of models and datasets to a folder of results.

The folder is claimed before anything is encoded, and its tables are written anew, atomically, after each pair of model
and dataset: whatever stops a run, what it finished is there, and the same run goes on after it. Features can be kept in
a cache, where a stopped encoding goes on too.
"""

import datetime
import hashlib
import json
import platform
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import torch

from purescope.datasets import Dataset, load_dataset
from purescope.errors import DatasetError, InputError, ModelError, OutputError
from purescope.features import Features, Progress, extract, quiet, read_features
from purescope.models import Model, load_model
from purescope.ordering import check_keep, default_keep
from purescope.sanity import doubts
from purescope.specs import split_label
from purescope.sweep import DRAWS, sweep
from purescope.tables import check_table, read_manifest, read_results, slug, write_manifest, write_results

_RESULTS = ("results.csv", "results.parquet", "result_*", "figures")
_LIBRARIES = ("purescope", "torch", "torchvision", "open_clip_torch", "timm", "numpy", "pandas", "pillow")


@dataclass(frozen=True)
class Settings:
    """What a run measures; every field changes numbers and stands in the manifest.

    `keep` None is the experiment's default for each model, see `purescope.ordering.default_keep`.
    """

    keep: Sequence[int] | None = None
    draws: int = DRAWS
    seed: int = 0
    protocol: str = "native"
    space: str = "weights"
    renormalise: bool = False
    precision: str = "auto"


@dataclass(frozen=True)
class Sources:
    """How models and datasets are found and read; what of it changes a number stands in their identities."""

    arch: str | None = None
    data_root: str | Path | None = None
    classnames: str | Path | None = None
    templates: str | Path | None = None
    download: bool = False
    offline: bool = False
    on_bad_image: Literal["error", "skip"] = "error"
    batch_size: int = 256
    device: str = "cpu"
    cache: str | Path | None = None


def run_sweep(
    models: Sequence[str | Model],
    data: Sequence[str | Dataset | Features],
    out: str | Path,
    *,
    settings: Settings | None = None,
    sources: Sources | None = None,
    overwrite: bool = False,
    progress: Progress = quiet,
) -> pd.DataFrame:
    """The whole experiment: load, encode, rank, evaluate, and write tables, figures and manifest into `out`.

    Args:
        models: model specs, see `load_model`, or loaded models; their labels must differ.
        data: dataset specs, see `load_dataset`, ``features:FILE``, or what they load; their names must differ.
        out: a folder without results, or that of an earlier run with the same models, data and settings.
        settings: what to measure.
        sources: where datasets lie and how they are read.
        overwrite: take `out` even if it holds another run, replace its files one by one, and measure everything anew.
        progress: wraps the batches of each encoding, for a progress bar.

    Returns:
        The tidy table, as in ``results.parquet``.

    Raises:
        PurescopeError: a name, file, image or setting is not usable, or `out` holds another run.

    Warns:
        UserWarning: dead neurons, labels without a silhouette, what `purescope.sanity` doubts; all in the manifest too.
    """
    from purescope.plots import write_figures

    settings, sources, folder = settings or Settings(), sources or Sources(), Path(out)
    loaded = [_model(model, sources, settings) for model in models]
    sets = [_data(spec, sources) for spec in data]
    _check_names([model.label for model in loaded], "model", fix="name one as NEWLABEL=SPEC", error=ModelError)
    _check_names([_name(item) for item in sets], "dataset", fix="name one as NEWLABEL=SPEC", error=DatasetError)
    manifest = json.loads(json.dumps(_manifest(loaded, sets, settings)))  # as it will be read back
    done = _claim(folder, manifest, overwrite)

    for item in sets:
        for model in loaded:
            pair = (model.label, _name(item))
            if pair in done.tables:
                continue
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                features = _features(model, item, settings, sources, progress)
                start = time.perf_counter()
                done.tables[pair] = _sweep(features, model, settings)
                for doubt in doubts(features):
                    warnings.warn(doubt, stacklevel=2)
            seconds = {"encode": round(features.seconds, 3), "sweep": round(time.perf_counter() - start, 3)}
            done.timings.append({"model": pair[0], "dataset": pair[1], "seconds": seconds})
            done.notes.extend(f"{' on '.join(pair)}: {warning.message}" for warning in caught)
            write_results(done.table(sets, loaded), folder)
            write_manifest(manifest | done.told(), folder)
    table = done.table(sets, loaded)
    for note in dict.fromkeys(done.notes):
        warnings.warn(note, stacklevel=2)
    write_figures(table, folder)
    write_manifest(manifest | {"finished": _now()} | done.told(), folder)
    return table


@dataclass
class _Done:
    """What a run has measured so far, by (model, dataset)."""

    tables: dict[tuple[str, str], pd.DataFrame] = field(default_factory=dict)
    timings: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def table(self, sets: Iterable[Dataset | Features], models: Sequence[Model]) -> pd.DataFrame:
        """One table, in the order of the run, whenever its parts were measured."""
        pairs = [(model.label, _name(item)) for item in sets for model in models]
        return check_table(pd.concat([self.tables[pair] for pair in pairs if pair in self.tables], ignore_index=True))

    def told(self) -> dict[str, Any]:
        return {"timings": self.timings, "notes": list(dict.fromkeys(self.notes))}


def _model(model: str | Model, sources: Sources, settings: Settings) -> Model:
    if isinstance(model, str):
        model = load_model(
            model, device=sources.device, precision=settings.precision, arch=sources.arch, offline=sources.offline
        )
    if settings.keep is not None:
        check_keep(settings.keep, model.neurons)
    if settings.space == "weights":
        _ = model.projections  # refused now, not after hours of encoding
    return model


def _data(spec: str | Dataset | Features, sources: Sources) -> Dataset | Features:
    if isinstance(spec, str):
        label, name = split_label(spec)
        if name.startswith("features:"):
            features = read_features(name.removeprefix("features:"))
            return features if label is None else replace(features, dataset=label)
        return load_dataset(
            spec,
            data_root=sources.data_root,
            classnames=sources.classnames,
            templates=sources.templates,
            download=sources.download,
            offline=sources.offline,
            on_bad_image=sources.on_bad_image,
        )
    return spec


def _name(item: Dataset | Features) -> str:
    return item.dataset if isinstance(item, Features) else item.name


def _features(
    model: Model, item: Dataset | Features, settings: Settings, sources: Sources, progress: Progress
) -> Features:
    if isinstance(item, Features):
        return item
    return extract(
        model,
        item,
        protocol=settings.protocol,
        batch_size=sources.batch_size,
        cache=sources.cache,
        progress=progress,
    )


def _sweep(features: Features, model: Model, settings: Settings) -> pd.DataFrame:
    table = sweep(
        features,
        model.projections if settings.space == "weights" else None,
        keep=settings.keep,
        draws=settings.draws,
        seed=settings.seed,
        space=settings.space,
        renormalise=settings.renormalise,
    )
    return table.assign(model=model.label, protocol=settings.protocol)


def _check_names(names: Sequence[str], what: str, *, fix: str, error: type[ModelError] | type[DatasetError]) -> None:
    if not names:
        raise error(f"no {what} was named", expected="at least one", fix=f"`purescope {what}s` lists them")
    files = [slug(name) for name in names]
    twice = sorted({name for name in names if files.count(slug(name)) > 1})
    if twice:
        raise error(
            f"{len(names)} {what}s, of which {', '.join(map(repr, twice))} share a name",
            expected=f"a different name for each {what}: results are filed under it",
            fix=fix,
        )


def _manifest(models: Iterable[Model], sets: Iterable[Dataset | Features], settings: Settings) -> dict[str, Any]:
    models = list(models)
    return {
        "purescope": version("purescope"),
        "settings": {
            "keep": {
                m.label: list(settings.keep) if settings.keep is not None else default_keep(m.neurons) for m in models
            },
            "draws": settings.draws,
            "seed": settings.seed,
            "protocol": settings.protocol,
            "space": settings.space,
            "renormalise": settings.renormalise,
            "precision": settings.precision,
        },
        "models": [{"label": m.label, "spec": m.spec, **m.identity, "preprocess": str(m.preprocess)} for m in models],
        "datasets": [{"name": _name(item), **_data_identity(item)} for item in sets],
        "versions": {name: version(name) for name in _LIBRARIES} | {"python": platform.python_version()},
        "threads": torch.get_num_threads(),
        "started": _now(),
    }


def _data_identity(item: Dataset | Features) -> Mapping[str, Any]:
    if isinstance(item, Features):
        return {"spec": "features", "images": len(item.image), "classes": len(item.classes), **item.identity}
    return {
        "spec": item.spec,
        "images": len(item),
        "classes": len(item.classes),
        "fingerprint": item.fingerprint,
        "templates": list(item.templates),
        "display_names": hashlib.sha256(json.dumps(item.display_names).encode()).hexdigest(),
        "skipped": list(item.skipped),
        "source": dict(item.source),
    }


def _claim(out: Path, manifest: Mapping[str, Any], overwrite: bool) -> _Done:
    """Make `out` this run's folder, or refuse, before anything is computed; and give what is done there already."""
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out} is a file", expected="a folder", fix="choose another --out")
    if not overwrite:
        _refuse_another_run(out, manifest)
    done = _Done() if overwrite else _done_before(out, manifest)
    write_manifest({**manifest, **done.told()}, out)
    return done


def _done_before(out: Path, manifest: Mapping[str, Any]) -> _Done:
    """The pairs that the same run finished before it was stopped; none of another version's."""
    earlier = read_manifest(out) or {}
    if any(earlier.get(key) != manifest[key] for key in ("purescope", "versions")) or not earlier.get("timings"):
        return _Done()
    try:
        table = read_results(out)
    except InputError as error:
        warnings.warn(f"measured anew, since {error.came}", stacklevel=2)
        return _Done()
    parts = {(str(m), str(d)): part for (m, d), part in table.groupby(["model", "dataset"], sort=False)}
    timings = [told for told in earlier["timings"] if (told["model"], told["dataset"]) in parts]
    told = {(told["model"], told["dataset"]) for told in timings}
    tables = {pair: part for pair, part in parts.items() if pair in told}
    return _Done(tables, timings, list(earlier.get("notes", [])))


def _refuse_another_run(out: Path, manifest: Mapping[str, Any]) -> None:
    expected = "a folder without results, or that of a run with the same models, data and settings"
    fix = "choose another --out, or replace what is there with --overwrite"
    earlier = read_manifest(out)
    if earlier is None:
        ours = sorted(path.name for pattern in _RESULTS for path in out.glob(pattern))
        if ours:
            raise OutputError(f"{out} holds {', '.join(ours)}, of no known run", expected=expected, fix=fix)
        return
    different = [key for key in ("settings", "models", "datasets") if earlier.get(key) != manifest[key]]
    if different:
        raise OutputError(f"{out} holds another run: its {' and '.join(different)} differ", expected=expected, fix=fix)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


__all__ = ["Settings", "Sources", "run_sweep"]
