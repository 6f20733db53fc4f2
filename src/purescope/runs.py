"""One run of the experiment, from the names of models and datasets to a folder of results.

The folder is claimed before anything is encoded, and its tables are written anew, atomically, after each pair of model
and dataset: whatever stops a run, what it finished is there.
"""

import datetime
import json
import platform
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import torch

from purescope.datasets import Dataset, load_dataset
from purescope.errors import DatasetError, ModelError, OutputError
from purescope.features import Features, Progress, extract, quiet, read_features
from purescope.models import Model, load_model
from purescope.ordering import check_keep, default_keep
from purescope.sweep import DRAWS, sweep
from purescope.tables import read_manifest, slug, write_manifest, write_results

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
    renormalise: bool = False
    precision: str = "float32"


@dataclass(frozen=True)
class Sources:
    """How datasets are found and read; changes no number."""

    data_root: str | Path | None = None
    download: bool = False
    on_bad_image: Literal["error", "skip"] = "error"
    batch_size: int = 256
    device: str = "cpu"


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
        overwrite: take `out` even if it holds another run, and replace its files one by one.
        progress: wraps the batches of each encoding, for a progress bar.

    Returns:
        The tidy table, as in ``results.parquet``.

    Raises:
        PurescopeError: a name, file, image or setting is not usable, or `out` holds another run.
    """
    from purescope.plots import write_figures

    settings, sources, folder = settings or Settings(), sources or Sources(), Path(out)
    loaded = [_model(model, sources, settings) for model in models]
    sets = [_data(spec, sources) for spec in data]
    _check_names([model.label for model in loaded], "model", fix="name one as NEWLABEL=SPEC", error=ModelError)
    _check_names(
        [_name(item) for item in sets], "dataset", fix="rename one of the folders or files", error=DatasetError
    )
    manifest = json.loads(json.dumps(_manifest(loaded, sets, settings)))  # as it will be read back
    _claim(folder, manifest, overwrite)

    parts: list[pd.DataFrame] = []
    notes: list[str] = []
    timings: list[dict[str, Any]] = []
    for item in sets:
        for model in loaded:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                features = _features(model, item, settings, sources, progress)
                start = time.perf_counter()
                parts.append(_sweep(features, model, settings))
            seconds = {"encode": round(features.seconds, 3), "sweep": round(time.perf_counter() - start, 3)}
            timings.append({"model": model.label, "dataset": features.dataset, "seconds": seconds})
            notes += [f"{model.label} on {features.dataset}: {warning.message}" for warning in caught]
            write_results(pd.concat(parts, ignore_index=True), folder)
    table = pd.concat(parts, ignore_index=True)
    for note in dict.fromkeys(notes):
        warnings.warn(note, stacklevel=2)
    write_figures(table, folder)
    write_manifest(manifest | {"finished": _now(), "timings": timings, "notes": list(dict.fromkeys(notes))}, folder)
    return table


def _model(model: str | Model, sources: Sources, settings: Settings) -> Model:
    if isinstance(model, str):
        model = load_model(model, device=sources.device, precision=settings.precision)
    if settings.keep is not None:
        check_keep(settings.keep, model.neurons)
    return model


def _data(spec: str | Dataset | Features, sources: Sources) -> Dataset | Features:
    if isinstance(spec, str) and spec.startswith("features:"):
        return read_features(spec.removeprefix("features:"))
    if isinstance(spec, str):
        return load_dataset(
            spec, data_root=sources.data_root, download=sources.download, on_bad_image=sources.on_bad_image
        )
    return spec


def _name(item: Dataset | Features) -> str:
    return item.dataset if isinstance(item, Features) else item.name


def _features(
    model: Model, item: Dataset | Features, settings: Settings, sources: Sources, progress: Progress
) -> Features:
    if isinstance(item, Features):
        return item
    return extract(model, item, protocol=settings.protocol, batch_size=sources.batch_size, progress=progress)


def _sweep(features: Features, model: Model, settings: Settings) -> pd.DataFrame:
    table = sweep(
        features,
        model.projections,
        keep=settings.keep,
        draws=settings.draws,
        seed=settings.seed,
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
        "skipped": list(item.skipped),
        "source": dict(item.source),
    }


def _claim(out: Path, manifest: Mapping[str, Any], overwrite: bool) -> None:
    """Make `out` this run's folder, or refuse, before anything is computed."""
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out} is a file", expected="a folder", fix="choose another --out")
    if not overwrite:
        _refuse_another_run(out, manifest)
    write_manifest(manifest, out)


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
