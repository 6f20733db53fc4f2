"""The section on what can go: the fewest dimensions that keep a share of the metric."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from purescope import formats
from purescope.errors import listed
from purescope.formats import Look, strategy_name
from purescope.report.blocks import (
    Answer,
    Cell,
    Heading,
    Section,
    Table,
    groups,
    interval_cell,
)
from purescope.report.charts import HALF, WIDE
from purescope.report.kept import metric_text, per_cent, share_figure, share_text
from purescope.tables.metrics import SHOWN
from purescope.tables.results import Results
from purescope.tables.schema import each_row
from purescope.tables.shares import CHOICES, OTHERS, SHARES, TARGETS

_DRAWN = ("accuracy", *SHOWN)  # metrics with a figure
_TOLD = ("accuracy", SHOWN[0])  # metrics with a sentence at the top of the page
_INTERVAL = "95 % interval"


def smaller(folder: Results, looks: Sequence[Look], chosen: str) -> Section:
    """Show the fewest dimensions that are enough, and the share that each strategy keeps.

    Args:
        folder: the results.
        looks: the looks of all strategies.
        chosen: model and dataset that are shown first, "model/dataset" as numbers.
    """
    section = Section("smaller", "What can go", "What can go")
    choices, shares = folder.rows(CHOICES), folder.rows(SHARES)
    if choices.empty or shares.empty:
        return section
    drawn = [metric for metric in _DRAWN if (shares.metric == metric).any()]
    kept = {*choices.strategy, *OTHERS}
    shown = [look for look in looks if look.shown or look.name in kept]
    width = WIDE if len(drawn) == 1 else HALF
    return Section(
        section.name,
        section.short,
        section.title,
        _lead(choices, shares),
        figures=[share_figure(folder, metric, shown, chosen, width) for metric in drawn],
        tables=[_table(choices)],
        answers=[_answer(*rows) for rows in _whole(choices)],
        commands=[*_commands(choices)],
    )


def _lead(choices: pd.DataFrame, shares: pd.DataFrame) -> str:
    """Say what is measured, on which images, and what is missing."""
    sentences = [
        "The fewest dimensions that keep a share of what all dimensions reach. A number is enough "
        "if the lower end of the 95 % confidence interval of that share reaches the target on one "
        "half of the images; the other half judges it. Figures and table show the half that judges."
    ]
    scaled = choices[~choices.deployed.astype(bool)].metric == "accuracy"
    if scaled.any():
        sentences.append(
            "Class features were not scaled again over what is kept, as a smaller model does it: "
            "purescope sweep --renormalise measures that."
        )
    if not scaled.all():
        sentences.append(
            "Images and captions were not scaled again over what is kept, as a smaller model does "
            "it: purescope sweep without --no-renormalise measures that."
        )
    if choices.first_k.isna().all() and not (choices.strategy == "first_k").any():
        sentences.append(
            "The first k dimensions as they are were not measured: --strategies first_k does."
        )
    if choices.strategy.str.startswith("pca").any():
        sentences.append("The axes of PCA were fitted to all images, also to those that judge.")
    left = dict.fromkeys(
        f"{row.dataset} ({metric_text(row.metric)})"
        for row in each_row(shares[["dataset", "metric"]].drop_duplicates())
        if not ((choices.dataset == row.dataset) & (choices.metric == row.metric)).any()
    )
    if left:
        sentences.append(
            f"Left out, since all dimensions cannot be told from chance there: {listed(left)}."
        )
    return " ".join(sentences)


def _whole(choices: pd.DataFrame) -> Iterator[tuple[Any, Any]]:
    """Yield the choices of each model over all datasets, of the largest and the smallest target."""
    whole = choices[(choices.dataset == "") & choices.metric.isin(_TOLD)]
    for _, rows in groups(whole, "model", "metric"):
        by_target = {row.target: row for row in each_row(rows)}
        if set(TARGETS) <= set(by_target):
            yield by_target[max(TARGETS)], by_target[min(TARGETS)]


def _answer(high: Any, low: Any) -> Answer:
    """Say how few dimensions are enough for one model, and how sure that is."""
    row = high if high.enough else low
    told = f"{per_cent(row.target)} of the {metric_text(row.metric)}"
    where = f", on the worst of {row.sets:,} datasets" if row.sets > 1 else ""
    dimensions = f"{row.k:,} of {row.neurons:,} dimensions ({strategy_name(row.strategy)})"
    if not row.enough:
        claim = (
            f"{row.model}: no number of dimensions that was measured keeps {told} for "
            f"certain{where}."
        )
        return Answer("", claim, evidence=f"{_judgement(row, 'The closest')} {_UNDECIDED}")
    if row.k == row.neurons:
        claim = f"{row.model}: of what was measured, only all {row.k:,} dimensions keep {told}"
    else:
        claim = f"{row.model}: {dimensions} are the fewest measured that keep {told}"
    claim += f" for certain{where}."
    if not high.enough:
        claim += f" None that was measured keeps {per_cent(high.target)} for certain."
    return Answer("", claim, evidence=_judgement(row, "They"))


_UNDECIDED = "More images, or more k, can decide it."


def _judgement(row: Any, subject: str) -> str:
    """Tell the share on both halves, and that of raw truncation and of random dimensions."""
    kept = f"{row.k:,}, {strategy_name(row.strategy)}, keep"
    chosen = share_text(row.chosen, row.chosen_low, row.chosen_high)
    sentences = [
        f"{'They keep' if subject == 'They' else f'{subject}, {kept}'} {chosen} of it on the half "
        f"of the images that chooses, and {share_text(row.share, row.low, row.high)} on the other "
        f"half."
    ]
    if row.enough and not row.low >= row.target:
        sentences.append(f"The other half by itself is not certain of {per_cent(row.target)}.")
    mean = " in the mean over the datasets" if row.sets > 1 else ""
    others = {
        f"the first {row.k:,} dimensions as they are": "first_k",
        f"{row.k:,} random dimensions": "random",
    }
    for what, other in others.items():
        share = getattr(row, other)
        over, low, high = (getattr(row, f"over_{other}{end}") for end in ("", "_low", "_high"))
        if share == share and over == over:
            sentences.append(
                f"There {what} keep {formats.percent(share)} %, a difference of "
                f"{formats.points(over)} points of {metric_text(row.metric)} "
                f"({formats.points(low)} to {formats.points(high)}){mean}."
            )
    return " ".join(sentences)


def _commands(choices: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """Yield the command that makes the smaller model of each answer, if there is one."""
    for high, low in _whole(choices):
        row = high if high.enough else low
        if row.enough and row.command:
            yield (
                f"The model of {row.model} with {row.k:,} dimensions, which keep "
                f"{per_cent(row.target)} of the {metric_text(row.metric)}:",
                row.command,
            )


def _table(choices: pd.DataFrame) -> Table:
    """Show each choice beside raw truncation and random dimensions at the same k."""
    several = {name: choices[name].nunique() > 1 for name in ("model", "metric")}
    rows = choices[(choices.dataset != "") | (choices.sets > 1)]
    headings = [
        *([Heading("Model", name="model")] if several["model"] else []),
        Heading("Dataset", name="dataset"),
        *([Heading("Metric", name="metric")] if several["metric"] else []),
        Heading("To keep, %", True, "target"),
        Heading("Dimensions", True, "k"),
        Heading("Kept", name="strategy"),
        Heading("Share kept, %", True, "share"),
        Heading(_INTERVAL, name="low high"),
        Heading("First k, %", True, "first_k"),
        Heading("Random, %", True, "random"),
        Heading("Minus first k, points", True, "over_first_k"),
        Heading(_INTERVAL, name="over_first_k_low over_first_k_high"),
        Heading("Minus random, points", True, "over_random"),
        Heading(_INTERVAL, name="over_random_low over_random_high"),
    ]
    caption = (
        "The fewest dimensions that are enough on the half of the images that chooses, as judged "
        "on the other half, beside the first k as they are and k random ones"
    )
    if (rows.sets > 1).any():
        caption += "; over several datasets, differences are means"
    return Table(
        "smaller-table", caption, headings, [_cells(row, several) for row in each_row(rows)]
    )


def _cells(row: Any, several: Mapping[str, bool]) -> list[Cell]:
    dataset = str(row.dataset) or f"the worst of {row.sets:,}"
    k = Cell(f"{row.k:,}", row.k) if row.enough else Cell(f"none; closest {row.k:,}")
    return [
        *([Cell(str(row.model), str(row.model))] if several["model"] else []),
        Cell(dataset, str(row.dataset)),
        *([Cell(metric_text(row.metric), str(row.metric))] if several["metric"] else []),
        Cell(f"{100 * row.target:g}", row.target),
        k,
        Cell(strategy_name(str(row.strategy)), str(row.strategy)),
        Cell(formats.percent(row.share), row.share),
        interval_cell(row.low, row.high, formats.percent),
        Cell(formats.percent(row.first_k), row.first_k),
        Cell(formats.percent(row.random), row.random),
        Cell(formats.points(row.over_first_k), row.over_first_k),
        interval_cell(row.over_first_k_low, row.over_first_k_high, formats.points),
        Cell(formats.points(row.over_random), row.over_random),
        interval_cell(row.over_random_low, row.over_random_high, formats.points),
    ]
