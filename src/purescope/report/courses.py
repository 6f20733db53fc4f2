"""What goes on a course: through the depths of a model, the steps of a training, the ks of the
published figures.
"""

import pandas as pd

from purescope import formats
from purescope.looks import strategy_name
from purescope.report.evidence import DATA_COLOURS, NAMED
from purescope.report.figures import Figure, keys_of, lines_chart
from purescope.report.tables import Column, Found, groups, make_table
from purescope.tables import schemas
from purescope.tables.results import Results
from purescope.tables.schema import each_row

_HIGH, _LOW, _RANDOM, _INK = (
    "var(--high-purity)",
    "var(--low-purity)",
    "var(--random)",
    "currentColor",
)


def layers(folder: Results) -> Found:
    """Overlap at every depth, in units of random neurons of the same shape."""
    table = folder.layers
    if table.empty:
        return [], []
    figures = []
    for place, (model, part) in enumerate(groups(table, "model")):
        for tower, rows_of in groups(part[part.space == "weights"], "tower"):
            kinds = [str(kind) for kind in rows_of.kind.unique()]
            colours = {kind: DATA_COLOURS[i % len(DATA_COLOURS)] for i, kind in enumerate(kinds)}
            rows = [
                {
                    "x": int(row.depth),
                    "kind": row.kind,
                    "value": row.relative_overlap,
                    "told": f"{row.relative_overlap:.2f}",
                }
                for row in each_row(rows_of)
            ]
            spec = lines_chart(
                rows, x="Depth", y="Overlap, × random", colours=colours, level=1.0, form=None
            )
            first, last = rows_of.iloc[0], rows_of.iloc[-1]
            alt = (
                f"{model}, {tower} tower: overlap of weights over that of random neurons, from "
                f"{first.relative_overlap:.2f} at depth {first.depth} ({first.kind}) to "
                f"{last.relative_overlap:.2f} at "
                f"depth {last.depth} ({last.kind}); 1 is as random neurons."
            )
            figures.append(
                Figure(
                    f"layers-{place}-{tower}",
                    f"{model}: {tower} tower",
                    alt,
                    spec,
                    keys_of(colours),
                )
            )
    columns = [
        *NAMED,
        Column("tower", "Tower"),
        Column("depth", "Depth", str),
        Column("kind", "Kind"),
        Column("space", "Space"),
        Column("neurons", "Neurons", str),
        Column("overlap", "Overlap", lambda v: formats.plain(v, 4)),
        Column("relative_overlap", "× random", lambda v: formats.plain(v, 2)),
        Column("effective_rank", "Effective rank", lambda v: formats.plain(v, 1)),
        Column("relative_effective_rank", "× random", lambda v: formats.plain(v, 2)),
    ]
    return figures, [
        make_table("layers-table", "Every layer, from the first to the last", table, columns)
    ]


def training(folder: Results) -> Found:
    """Overlap and accuracy against the step."""
    table = folder.track
    if table.empty:
        return [], []
    figures = []
    for place, (model, part) in enumerate(groups(table, "model")):
        steps = part.drop_duplicates("step")
        towers = {"image tower": "image_relative_overlap", "text tower": "text_relative_overlap"}
        rows = [
            {
                "x": int(row["step"]),
                "kind": kind,
                "value": row[column],
                "told": f"{row[column]:.2f}",
            }
            for kind, column in towers.items()
            for _, row in steps.iterrows()
        ]
        colours = {"image tower": "var(--image)", "text tower": "var(--text)"}
        spec = lines_chart(
            rows, x="Training step", y="Overlap, × random", colours=colours, level=1.0, form=None
        )
        first, last = steps.iloc[0], steps.iloc[-1]
        alt = (
            f"{model}, step {first.step:,} to {last.step:,}: overlap over that of random weights, "
            + ", ".join(
                f"{kind} {first[column]:.2f} to {last[column]:.2f}"
                for kind, column in towers.items()
            )
        )
        figures.append(
            Figure(f"training-{place}", f"{model}: overlap", alt + ".", spec, keys_of(colours))
        )
        for at, (dataset, seen) in enumerate(groups(part[part.n > 0], "dataset")):
            figures.append(
                _accuracy_by_step(f"training-{place}-{at}", f"{model} on {dataset}", seen)
            )
    columns = [
        Column("model", "Model"),
        Column("step", "Step", lambda v: f"{v:,}"),
        Column("dataset", "Data set"),
        Column("image_relative_overlap", "Image overlap, × random", lambda v: formats.plain(v, 2)),
        Column("text_relative_overlap", "Text overlap, × random", lambda v: formats.plain(v, 2)),
        Column("rank_last", "Order as in the last", lambda v: formats.plain(v, 2)),
        Column("accuracy", "Accuracy, %", formats.percent),
        Column("high_purity", "Highest purity, %", formats.percent),
        Column("random", "Random, %", formats.percent),
        Column("low_purity", "Lowest purity, %", formats.percent),
    ]
    return figures, [
        make_table(
            "training-table", "Over the training; strategies are means over k", table, columns
        )
    ]


def _accuracy_by_step(name: str, title: str, table: pd.DataFrame) -> Figure:
    colours = {
        "all neurons": _INK,
        "lowest purity": _LOW,
        "highest purity": _HIGH,
        "random": _RANDOM,
    }
    columns = dict(zip(colours, ("accuracy", "low_purity", "high_purity", "random"), strict=True))
    rows = []
    for kind, column in columns.items():
        for _, row in table[table[column].notna()].iterrows():
            ends = (row.random_low, row.random_high) if column == "random" else (None, None)
            low, high = (None if end is None else 100 * end for end in ends)
            value = row[column]
            rows.append(
                {
                    "x": int(row["step"]),
                    "kind": kind,
                    "value": 100 * value,
                    "low": low,
                    "high": high,
                    "told": f"{formats.percent(value, 2)} %",
                }
            )
    spec = lines_chart(rows, x="Training step", y="Accuracy (%)", colours=colours, band=True)
    last = table.iloc[-1]
    alt = f"{title}, at the last step {last.step:,}: " + ", ".join(
        f"{kind} {formats.percent(last[column])} %"
        for kind, column in columns.items()
        if last[column] == last[column]
    )
    return Figure(name, title, alt + ".", spec, keys_of(colours))


def reproduction(folder: Results) -> Found:
    """The published figures and ours."""
    table = folder.rows(schemas.REPRODUCTION)
    if table.empty:
        return [], []
    figures = []
    names = {
        "published": ("published", [6, 2]),
        "paper": ("ours, protocol paper", [1, 0]),
        "native": ("ours, protocol native", [2, 2]),
    }
    strategies_ = {
        "high_purity": ("highest purity", _HIGH),
        "random": ("random", _RANDOM),
        "low_purity": ("lowest purity", _LOW),
    }
    accuracy = table[(table.metric == "accuracy") & table.strategy.isin(strategies_)]
    for place, (dataset, part) in enumerate(groups(accuracy, "dataset")):
        rows, colours, dashes = [], {}, {}
        for strategy, (called, colour) in strategies_.items():
            for column, (source, dash) in names.items():
                kind = f"{called}, {source}"
                seen = part[(part.strategy == strategy) & part[column].notna()]
                if len(seen):
                    colours[kind], dashes[kind] = colour, dash
                rows += [
                    {
                        "x": int(row["k"]),
                        "kind": kind,
                        "value": 100 * row[column],
                        "told": f"{formats.percent(row[column], 2)} %",
                    }
                    for _, row in seen.iterrows()
                ]
        spec = lines_chart(rows, x="Neurons kept", y="Accuracy (%)", colours=colours, dashes=dashes)
        furthest = part.paper_difference.abs().max()
        alt = (
            f"{dataset}: accuracy against neurons kept, published and ours; under protocol paper "
            f"ours is at most "
            f"{formats.percent(furthest)} points from what is published."
        )
        figures.append(Figure(f"reproduction-{place}", str(dataset), alt, spec))
    shown = table.assign(strategy=[strategy_name(str(name)) for name in table.strategy])
    four = {
        name: lambda v: formats.plain(v, 4)
        for name in ("published", "paper", "native", "paper_difference", "native_difference")
    }
    columns = [
        Column("dataset", "Data set"),
        Column("metric", "Metric"),
        Column("strategy", "Kept"),
        Column("k", "k", str),
        Column("published", "Published", four["published"]),
        Column("paper", "Ours, paper", four["paper"]),
        Column("paper_difference", "less published", four["paper_difference"]),
        Column("native", "Ours, native", four["native"]),
        Column("native_difference", "less published", four["native_difference"]),
    ]
    return figures, [make_table("reproduction-table", "Published figures and ours", shown, columns)]
