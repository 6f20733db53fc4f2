"""Repeat the published experiment, and put our numbers beside the published ones.

There is one run under protocol ``paper`` and one under ``native``, each in a folder of its own and
each able to continue. Then a table puts both beside the published figures, and a text says what is
known about the differences.
"""

import re
import shlex
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from purescope import __version__
from purescope.datasets.torchvision import check_datasets, data_folder
from purescope.errors import DatasetError, InputError, near_miss
from purescope.features.extraction import Progress, quiet
from purescope.files.manifest import own_manifest, versions, write_manifest
from purescope.files.writing import atomic_path
from purescope.models import load_model
from purescope.models.model import Model
from purescope.report.writing import write_report
from purescope.runs.inputs import Settings, Sources, named_dataset
from purescope.runs.run import run_sweep
from purescope.specs import split_label, to_folder, to_path
from purescope.tables.files import check_table, write_table
from purescope.tables.published import (
    LABEL,
    NEURONS,
    ONLY_IN_FIGURES,
    SOURCE,
    STRATEGIES,
    TITLES,
    oddities,
    published_figures,
)
from purescope.tables.results import Results
from purescope.tables.schemas import REPRODUCTION

PROTOCOLS = ("paper", "native")
_METRICS = ("accuracy", "silhouette")
_KEY = ["dataset", "metric", "strategy", "k"]
_FETCHED = (
    "--data-root DIR (data_root='DIR'); with --download (download=True) they are fetched there"
)
_PUBLISHED_ARCHITECTURE = (
    "ViT-B/16, text 512x12"  # LaCLIP's architecture, as `Model.identity` has it
)

DIFFERENCES = (
    "Preprocess. Protocol paper gives every checkpoint OpenAI's mean and std, as the experiment's "
    "script did; CC3M LaCLIP was trained with ImageNet's, which protocol native uses. Both resize "
    "to 224 pixels, bicubic, and cut the centre out.",
    "Prompts. Protocol paper has one, 'a photo of a {}'; protocol native averages each dataset's "
    "own templates, as zero-shot benchmarks do.",
    "Class names. Protocol paper puts them in as the files have them ('apple_pie', 'AnnualCrop', "
    "'Faces_easy'); protocol native cleans them ('apple pie', 'annual crop land', 'centered "
    "face').",
    "Images. Test splits; DTD's first partition; all of Caltech-101 (8,677 images, 101 classes, "
    "no background) and of EuroSAT (27,000), which have no test split. What was published may "
    "rest on others.",
    "Random. Ours is the mean of the random orders, whose spread is in the runs' folders. What "
    "was published may be a single order.",
    "Neurons are ranked by cosines of the rows of both projections, each added up over all other "
    "neurons.",
)
"""Differences of method that change our numbers against the published ones, or may change them."""


def run_reproduction(
    model: str | Model,
    out: str | Path,
    *,
    sources: Sources,
    data: Sequence[str] | None = None,
    settings: Settings | None = None,
    overwrite: bool = False,
    figures: bool = True,
    report: bool = True,
    rotations: int | None = None,
    progress: Progress = quiet,
) -> Results:
    """Run the experiment under both protocols, and put the published numbers beside ours.

    Args:
        model: the checkpoint, see `load_model`; without a label it is called "CC3M LaCLIP".
        out: receives ``paper`` and ``native``, folders of `run_sweep`; ``reproduction`` as CSV and
            Parquet; ``reproduction.md``, which explains the differences; and ``report.html``.
        sources: where the datasets are.
        data: names of some of the datasets; by default the experiment's seven, and STL-10 if it is
            there.
        settings: what to measure, under both protocols.
        overwrite, figures, report, rotations, progress: as in `run_sweep`.

    Returns:
        The results: ``.table("reproduction")`` has the published numbers beside ours, ``.runs`` the
        results under each protocol, ``.notes`` what a reader must know before comparing.

    Raises:
        DatasetError: a dataset is missing; nothing was computed.
        InputError: nothing was published for a dataset of that name.
        PurescopeError: as `run_sweep`.

    Warns:
        UserWarning: the published numbers belong to another kind of checkpoint, or a dataset is
            incomplete.

    Examples:
        Missing datasets are an error before anything is computed:

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as empty:
        ...     sources = Sources(data_root=empty)
        ...     run_reproduction("my.pt", "out", sources=sources, data=["cifar10", "dtd"])
        Traceback (most recent call last):
        purescope.errors.DatasetError: 2 of 2 datasets are not in ...: cifar10, dtd
          expected: all of them, before anything is computed
          to fix:   --download (download=True) fetches them there, ...
    """
    settings, folder = settings or Settings(), to_folder(out)
    own_manifest(folder, overwrite=overwrite)  # refuses a manifest that is not purescope's
    early = _of_another_kind(model) if isinstance(model, str) else _about(model)
    for doubt in early:
        warnings.warn(doubt, stacklevel=2)
    names = _wanted(data, sources)
    loaded = _named(model, sources, settings) if isinstance(model, str) else model
    doubts = _about(loaded)
    for doubt in [] if early else doubts:
        warnings.warn(doubt, stacklevel=2)
    datasets = [named_dataset(name, sources) for name in names]
    runs = {
        protocol: run_sweep(
            [loaded],
            datasets,
            folder / protocol,
            settings=replace(settings, protocol=protocol),
            sources=sources,
            overwrite=overwrite,
            figures=figures,
            report=report,
            rotations=rotations,
            progress=progress,
        )
        for protocol in PROTOCOLS
    }
    tables = {protocol: results.table("results") for protocol, results in runs.items()}
    table = beside_published(tables)
    write_table(table, folder, REPRODUCTION)
    notes = [*doubts, *(note for item in datasets for note in item.notes), *_left_out(names, data)]
    write_manifest({"purescope": __version__, "versions": versions(), "notes": notes}, folder)
    with atomic_path(folder / "reproduction.md") as temporary:
        label = str(tables[PROTOCOLS[0]].model.iloc[0])
        temporary.write_text(explanation(table, label, notes), encoding="utf-8")
    if report:
        write_report(folder)
    return Results(folder, {REPRODUCTION.name: table})


def beside_published(results: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the table `REPRODUCTION`, from the result tables of both protocols.

    A published number is put only beside one of ours with the same dataset, number of neurons kept
    and number of neurons in all.
    """
    wide = pd.DataFrame({protocol: _means(table) for protocol, table in results.items()})
    table = wide.reset_index().merge(
        published_figures().rename(columns={"value": "published"}), how="left", on=_KEY
    )
    if results[PROTOCOLS[0]].neurons.iloc[0] != NEURONS:
        table["published"] = float("nan")
    table["marker_partly_hidden"] = table.marker_partly_hidden.eq(True) & table.published.notna()
    for protocol in PROTOCOLS:
        table[f"{protocol}_difference"] = table[protocol] - table.published
    return check_table(table, REPRODUCTION)


def means_over_k(table: pd.DataFrame) -> pd.DataFrame:
    """Return the means over the ks of published and our values, by dataset, metric and strategy.

    The means are over the ks that were published, so that they are comparable; over all ks if none
    was. Every k has the same weight.
    """
    rows = table[table.strategy != "full"]
    if rows.published.notna().any():
        rows = rows[rows.published.notna()]
    means: pd.DataFrame = rows.groupby(_KEY[:3], sort=False)[["published", *PROTOCOLS]].mean()
    return means


def explanation(table: pd.DataFrame, label: str, notes: Sequence[str]) -> str:
    """Describe the comparison with the published numbers, as Markdown.

    Args:
        table: `REPRODUCTION`.
        label: label of the model.
        notes: what a reader must know before comparing.

    Returns:
        The text.
    """
    parts = [
        f"# {label} beside the published figures",
        f"Published: {SOURCE}. Ours: `paper/` and `native/`, one run for each protocol; "
        "`reproduction.csv` has every number.",
        *(f"**Note.** {note}" for note in notes),
        "## How far apart",
        *(_apart(table, metric) for metric in _METRICS),
        "## What makes a difference",
        "\n".join(f"- {text}" for text in DIFFERENCES),
        "## What in the published numbers does not fit together",
        "\n".join(f"- {text}" for text in oddities()),
    ]
    return "\n\n".join(parts) + "\n"


def _apart(table: pd.DataFrame, metric: str) -> str:
    rows = table[(table.metric == metric) & table.published.notna()]
    if rows.empty:
        return (
            f"{metric.capitalize()}: nothing was published that could stand beside these numbers."
        )
    scale, unit = (100, "points apart") if metric == "accuracy" else (1, "apart")
    distances = []
    for protocol in PROTOCOLS:
        distance = scale * rows[f"{protocol}_difference"]
        same = _orders(rows, protocol) == _orders(rows, "published")
        distances.append(
            f"under protocol {protocol} ours and the published ones are "
            f"{distance.abs().mean():.3g} {unit} in the mean ({distance.mean():+.3g} with the "
            f"sign), and high and low purity are in the same order at {same.sum()} of {len(same)} "
            "points"
        )
    return f"{metric.capitalize()}: {'; '.join(distances)}."


def _orders(rows: pd.DataFrame, column: str) -> "pd.Series[bool]":
    """Tell whether high purity is above low purity, at each k of each dataset."""
    wide = rows.pivot(index=["dataset", "k"], columns="strategy", values=column)
    return wide.high_purity > wide.low_purity


def _means(table: pd.DataFrame) -> "pd.Series[float]":
    """Return the values of one protocol by `_KEY`; for random orders the mean."""
    rows = table[table.metric.isin(_METRICS) & table.strategy.isin(["full", *STRATEGIES])]
    means: pd.Series[float] = rows.groupby(_KEY, sort=False).value.mean()
    return means


def _wanted(data: Sequence[str] | None, sources: Sources) -> list[str]:
    """Return the datasets to run on; all of them exist, or can be downloaded.

    Raises:
        InputError, DatasetError: as `run_reproduction`.
    """
    root = _root(sources)
    data = [name.lower() for name in data or ()]
    for name in data:
        if name not in TITLES:
            raise InputError(f"nothing was published for {name!r}", **near_miss(name, TITLES))
    states = {} if sources.download else {row.name: row for row in check_datasets(root)}
    names = list(dict.fromkeys(data or (name for name in TITLES if name != ONLY_IN_FIGURES)))
    if not data and ONLY_IN_FIGURES in states and states[ONLY_IN_FIGURES].state != "missing":
        names.append(ONLY_IN_FIGURES)
    missing = [states[name] for name in names if name in states and states[name].state == "missing"]
    if missing:
        raise DatasetError(
            f"{len(missing)} of {len(names)} datasets are not in {root}: "
            f"{', '.join(row.name for row in missing)}",
            expected="all of them, before anything is computed",
            fix="--download (download=True) fetches them there, --data NAMES (data=NAMES) runs on "
            f"some; `purescope datasets --check {shlex.quote(str(root))}` says how to get each",
        )
    unlike = [
        f"{name} ({states[name].problem})"
        for name in names
        if name in states and states[name].problem
    ]
    if unlike:
        warnings.warn(f"datasets that are not as published: {', '.join(unlike)}", stacklevel=3)
    return names


def _root(sources: Sources) -> Path:
    if sources.data_root is None:
        raise DatasetError(
            "no folder of datasets was given",
            expected=f"one with {', '.join(name for name in TITLES if name != ONLY_IN_FIGURES)} in "
            f"it",
            fix=_FETCHED,
        )
    if sources.download:
        return to_path(sources.data_root)
    return data_folder(sources.data_root, fix=_FETCHED)


def _left_out(names: Sequence[str], data: Sequence[str] | None) -> list[str]:
    """Return the note about STL-10, which is in the figures but not one of the seven datasets."""
    if data:
        return []
    state = "was there and is" if ONLY_IN_FIGURES in names else "was not there and is not"
    return [
        f"{TITLES[ONLY_IN_FIGURES]} is in the figures, not in the experiment's description; it "
        f"{state} run on."
    ]


def _named(spec: str, sources: Sources, settings: Settings) -> Model:
    label, _ = split_label(spec)
    return load_model(
        spec,
        label=LABEL if label is None else None,
        device=sources.device,
        precision=settings.precision,
        arch=sources.arch,
        offline=sources.offline,
    )


def _of_another_kind(spec: str) -> list[str]:
    """Return the note that the name of a model shows that it is another one; empty otherwise."""
    _, name = split_label(spec)
    if re.match(r"(bundled|open_clip|hf):", name):
        return [
            f"The published numbers are of {LABEL}, and {name} is another model: the comparison is "
            f"of two models."
        ]
    return []


def _about(model: Model) -> list[str]:
    """Return the note that the checkpoint is of another kind; empty if it is not."""
    if model.neurons != NEURONS:
        return [
            f"The published numbers are of {NEURONS} neurons of {LABEL}, a ViT-B/16; this "
            f"checkpoint has {model.neurons:,}: ours stand alone, at the same fractions."
        ]
    kind, architecture = (model.identity.get(key, "?") for key in ("format", "architecture"))
    if (kind, architecture) != ("laclip", _PUBLISHED_ARCHITECTURE):
        return [
            f"The published numbers are of {LABEL} (format laclip, {_PUBLISHED_ARCHITECTURE}); "
            f"this checkpoint is of another kind (format {kind}, {architecture}): what stands "
            "side by side is of two models."
        ]
    return []
