"""The experiment on the checkpoint and the data sets it was published for, and ours beside the
published numbers.

One run under protocol ``paper`` and one under ``native``, each a folder of its own that goes on
where it was stopped; then the table that puts both beside the figures, and a text that says what is
known of their differences.
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
_PUBLISHED_OF = "ViT-B/16, text 512x12"  # LaCLIP's architecture, as `Model.identity` has it

DIFFERENCES = (
    "Preprocess. Protocol paper gives every checkpoint OpenAI's mean and std, as the experiment's "
    "script did; CC3M "
    "LaCLIP was trained with ImageNet's, which protocol native uses. Both resize to 224 pixels, "
    "bicubic, and cut the "
    "centre out.",
    "Prompts. Protocol paper has one, 'a photo of a {}'; protocol native averages each data set's "
    "own templates, as "
    "zero-shot benchmarks do.",
    "Class names. Protocol paper puts them in as the files have them ('apple_pie', 'AnnualCrop', "
    "'Faces_easy'); "
    "protocol native cleans them ('apple pie', 'annual crop land', 'centered face').",
    "Images. Test splits; DTD's first partition; all of Caltech-101 (8,677 images, 101 classes, no "
    "background) "
    "and of EuroSAT (27,000), which have no test split. What was published may rest on others.",
    "Random. Ours is the mean of the random orders, whose spread is in the runs' folders. What was "
    "published may be "
    "a single order.",
    "Neurons are ranked by cosines of the rows of both projections, each added up over all other "
    "neurons.",
)
"""What of the method makes our numbers differ from the published ones, or may."""


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
        model: the checkpoint, see `load_model`; it is called "CC3M LaCLIP" where it is given no
            name.
        out: gets ``paper`` and ``native``, folders of `purescope.runs.run.run_sweep`;
            ``reproduction`` as CSV and Parquet; ``reproduction.md``, what to make of it; and
            ``report.html``.
        sources: where the data sets lie.
        data: names of some of the data sets; by default the experiment's seven, and STL-10 where it
            is there.
        settings: what is measured; the protocol is both.
        overwrite, figures, report, rotations, progress: as in `run_sweep`.

    Returns:
        The results: ``.table("reproduction")`` has the published numbers beside ours, ``.runs`` the
        results under each protocol, ``.notes`` what a reader must know before comparing.

    Raises:
        DatasetError: a data set is not there; nothing was computed.
        InputError: nothing was published for one of that name.
        PurescopeError: as `run_sweep`.

    Warns:
        UserWarning: the checkpoint is not what the published numbers are of; a data set is not
            whole.

    Examples:
        What is missing is said before anything is computed:

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as empty:
        ...     run_reproduction("cc3m_laclip.pt", "out", sources=Sources(data_root=empty), data=["cifar10", "dtd"])
        Traceback (most recent call last):
        purescope.errors.DatasetError: 2 of 2 data sets are not in ...: cifar10, dtd
          expected: all of them, before anything is computed
          to fix:   --download (download=True) fetches them there, ...
    """
    settings, folder = settings or Settings(), to_folder(out)
    own_manifest(folder, overwrite=overwrite)  # somebody else's is refused
    early = _of_another_kind(model) if isinstance(model, str) else _about(model)
    for doubt in early:
        warnings.warn(doubt, stacklevel=2)
    names = _wanted(data, sources)
    loaded = _named(model, sources, settings) if isinstance(model, str) else model
    doubts = _about(loaded)
    for doubt in [] if early else doubts:
        warnings.warn(doubt, stacklevel=2)
    sets = [named_dataset(name, sources) for name in names]
    runs = {
        protocol: run_sweep(
            [loaded],
            sets,
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
    tables = {protocol: of_run.table("results") for protocol, of_run in runs.items()}
    table = beside_published(tables)
    write_table(table, folder, REPRODUCTION)
    notes = [*doubts, *(note for item in sets for note in item.notes), *_left_out(names, data)]
    write_manifest({"purescope": __version__, "versions": versions(), "notes": notes}, folder)
    with atomic_path(folder / "reproduction.md") as temporary:
        label = str(tables[PROTOCOLS[0]].model.iloc[0])
        temporary.write_text(explanation(table, label, notes), encoding="utf-8")
    if report:
        write_report(folder)
    return Results(folder, {REPRODUCTION.name: table})


def beside_published(results: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """`REPRODUCTION` from the result tables of both protocols.

    A published number stands only beside one of ours on the same data set with as many of as many
    neurons.
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
    """Mean over the ks of what is published and of ours, by data set, metric and strategy; ks count
    alike.

    Only ks that were published count, so that the means are of the same ks; all of them where none
    was.
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
        label: the model's.
        notes: what a reader must know before comparing.
    """
    parts = [
        f"# {label} beside the published figures",
        f"Published: {SOURCE}. Ours: `paper/` and `native/`, one run for each protocol; "
        f"`reproduction.csv` has every "
        "number.",
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
    said = []
    for protocol in PROTOCOLS:
        distance = scale * rows[f"{protocol}_difference"]
        same = _orders(rows, protocol) == _orders(rows, "published")
        said.append(
            f"under protocol {protocol} ours and the published ones are "
            f"{distance.abs().mean():.3g} {unit} in the "
            f"mean ({distance.mean():+.3g} with the sign), and high and low purity are in the same "
            f"order at "
            f"{same.sum()} of {len(same)} points"
        )
    return f"{metric.capitalize()}: {'; '.join(said)}."


def _orders(rows: pd.DataFrame, column: str) -> "pd.Series[bool]":
    """Whether high purity is above low purity, at each k of each data set."""
    wide = rows.pivot(index=["dataset", "k"], columns="strategy", values=column)
    return wide.high_purity > wide.low_purity


def _means(table: pd.DataFrame) -> "pd.Series[float]":
    """Values of one protocol by `_KEY`; of the random orders their mean."""
    rows = table[table.metric.isin(_METRICS) & table.strategy.isin(["full", *STRATEGIES])]
    means: pd.Series[float] = rows.groupby(_KEY, sort=False).value.mean()
    return means


def _wanted(data: Sequence[str] | None, sources: Sources) -> list[str]:
    """The data sets to run on; all of them are there, or can be fetched.

    Raises:
        InputError, DatasetError: as `run_reproduction`.
    """
    root = _root(sources)
    data = [name.lower() for name in data or ()]
    for name in data:
        if name not in TITLES:
            raise InputError(f"nothing was published for {name!r}", **near_miss(name, TITLES))
    found = {} if sources.download else {row.name: row for row in check_datasets(root)}
    names = list(dict.fromkeys(data or (name for name in TITLES if name != ONLY_IN_FIGURES)))
    if not data and ONLY_IN_FIGURES in found and found[ONLY_IN_FIGURES].state != "missing":
        names.append(ONLY_IN_FIGURES)
    missing = [found[name] for name in names if name in found and found[name].state == "missing"]
    if missing:
        raise DatasetError(
            f"{len(missing)} of {len(names)} data sets are not in {root}: "
            f"{', '.join(row.name for row in missing)}",
            expected="all of them, before anything is computed",
            fix="--download (download=True) fetches them there, --data NAMES (data=NAMES) runs on "
            "some; "
            f"`purescope datasets --check {shlex.quote(str(root))}` says how to get each",
        )
    unlike = [
        f"{name} ({found[name].problem})" for name in names if name in found and found[name].problem
    ]
    if unlike:
        warnings.warn(f"data sets that are not as published: {', '.join(unlike)}", stacklevel=3)
    return names


def _root(sources: Sources) -> Path:
    if sources.data_root is None:
        raise DatasetError(
            "no folder of data sets was given",
            expected=f"one with {', '.join(name for name in TITLES if name != ONLY_IN_FIGURES)} in "
            f"it",
            fix=_FETCHED,
        )
    if sources.download:
        return to_path(sources.data_root)
    return data_folder(sources.data_root, fix=_FETCHED)


def _left_out(names: Sequence[str], data: Sequence[str] | None) -> list[str]:
    """What is said of STL-10, which is in the figures and not among the experiment's seven."""
    if data:
        return []
    there = "was there and is" if ONLY_IN_FIGURES in names else "was not there and is not"
    return [
        f"{TITLES[ONLY_IN_FIGURES]} is in the figures, not in the experiment's description; it "
        f"{there} run on."
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
    """What the published numbers are of, where a name alone tells that it is something else."""
    _, name = split_label(spec)
    if re.match(r"(bundled|open_clip|hf):", name):
        return [
            f"The published numbers are of {LABEL}, and {name} is another model: the comparison is "
            f"of two models."
        ]
    return []


def _about(model: Model) -> list[str]:
    """What the published numbers are of, where the checkpoint is something else."""
    if model.neurons != NEURONS:
        return [
            f"The published numbers are of {NEURONS} neurons of {LABEL}, a ViT-B/16; this "
            f"checkpoint has "
            f"{model.neurons:,}: ours stand alone, at the same fractions."
        ]
    here = [model.identity.get(key, "?") for key in ("format", "architecture")]
    if here != ["laclip", _PUBLISHED_OF]:
        return [
            f"The published numbers are of {LABEL} (format laclip, {_PUBLISHED_OF}); this "
            f"checkpoint is of another "
            f"kind (format {here[0]}, {here[1]}): what stands side by side is of two models."
        ]
    return []
