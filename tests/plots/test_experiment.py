"""The experiment's own figures, the published style, and layers."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from purescope.errors import InputError
from purescope.formats import PALETTE
from purescope.plots.curves import plot_layers
from purescope.plots.experiment import plot_pruning, plot_pruning_gap, plot_published
from purescope.plots.folder import published_figure
from tests.plots.made import (
    FULL,
    HIGH,
    KS,
    LOW,
    bands,
    check_band,
    joined,
    labels,
    layer_table,
    line,
    made,
    x,
    y,
)


def test_the_first_figure_is_that_of_the_experiment() -> None:
    ax = plot_pruning(made().table)
    assert labels(ax) == ["Full (512)", "Min Sparse (High Purity)", "Max Sparse (Low Purity)"]
    looks = {
        "Full": ("full", "--", ""),
        "Min": ("high_purity", "-", "o"),
        "Max": ("low_purity", "-", "s"),
    }
    for label, (colour, style, marker) in looks.items():
        drawn = line(ax, label)
        assert to_hex(str(drawn.get_color())).upper() == PALETTE[colour]
        assert (drawn.get_linestyle(), drawn.get_marker()) == (style, marker)
    for label, values in (("Min", HIGH), ("Max", LOW)):
        np.testing.assert_array_equal(x(line(ax, label)), KS)
        np.testing.assert_allclose(y(line(ax, label)), np.array(values) * 100)
    np.testing.assert_allclose(y(line(ax, "Full")), FULL * 100)
    assert not bands(ax)


def test_the_second_figure_is_the_gap_in_green_triangles() -> None:
    theirs = Figure().subplots()
    ax = plot_pruning_gap(made().table, ax=theirs)
    assert ax is theirs
    gap, zero = ax.lines
    np.testing.assert_allclose(y(gap), [9.0, 6.0, 1.0])
    assert (
        gap.get_marker() == "^"
        and to_hex(str(gap.get_color())).upper() == PALETTE["gap"] == "#009E73"
    )
    np.testing.assert_array_equal(y(zero), [0, 0])
    table = made().table
    for plot in (plot_pruning, plot_pruning_gap):
        with pytest.raises(InputError, match="high_purity and low_purity"):
            plot(table[table.strategy != "high_purity"])


def published(dataset: str = "EMOJI!") -> pd.DataFrame:
    rows = [
        (
            dataset,
            metric,
            strategy,
            k,
            0.1 + 0.01 * i + 0.001 * k,
            strategy == "random" and k == 200,
        )
        for i, strategy in enumerate(("high_purity", "random", "low_purity"))
        for metric in ("accuracy", "silhouette")
        for k in reversed(KS)
    ]
    return pd.DataFrame(
        rows, columns=["dataset", "metric", "strategy", "k", "value", "marker_partly_hidden"]
    )


@pytest.mark.parametrize(("metric", "scale"), [("accuracy", 100), ("silhouette", 0.1)])
def test_published_values_stand_open_beside_ours(metric: str, scale: float) -> None:
    given = made()
    ax = plot_published(given.table, metric, published=published())
    np.testing.assert_allclose(
        y(line(ax, "random order: median")), np.median(given.random, axis=0) * scale
    )
    check_band(bands(ax)[0], given.random * scale, 0.05, 0.95)
    for i, (strategy, marker) in enumerate(
        {"high purity": "o", "random": "D", "low purity": "s"}.items()
    ):
        (theirs,) = [drawn for drawn in ax.lines if drawn.get_label() == f"{strategy}, published"]
        expected = (0.1 + 0.01 * i + 0.001 * np.array(KS)) * (100 if metric == "accuracy" else 1)
        np.testing.assert_allclose(y(theirs), expected)
        assert theirs.get_marker() == marker and theirs.get_markerfacecolor() == "white"
    hidden = line(ax, "random, published, marker partly hidden")
    assert x(hidden).tolist() == [200] and hidden.get_marker() == "x"
    (theirs,) = [drawn for drawn in ax.lines if drawn.get_label() == "random, published"]
    assert theirs.get_markevery() == [0, 2]


def test_ours_stand_alone_where_nothing_was_published() -> None:
    alone = plot_published(made().table, published=published("another"))
    assert labels(alone) == labels(plot_published(made().table))
    assert {drawn.get_marker() for drawn in alone.lines} == {"o", "D", "s"}
    assert (
        "No silhouette"
        in plot_published(made(silhouette=np.nan).table, "silhouette").texts[0].get_text()
    )
    single = plot_published(made(draws=1).table)
    assert "random" in labels(single) and not bands(single)
    assert len(plot_published(made(draws=0).table).lines) == 2


def test_published_values_need_their_columns_and_a_known_metric() -> None:
    with pytest.raises(InputError, match="without the columns k, value"):
        plot_published(made().table, published=published().drop(columns=["k", "value"]))
    with pytest.raises(InputError, match="did you mean 'accuracy'"):
        plot_published(made().table, "acuracy")


def test_a_grid_has_each_data_set_once() -> None:
    table = joined(*(made(dataset=f"set {i}") for i in range(6)))
    figure = published_figure(table, published("set 4"))
    drawn = [ax for ax in figure.axes if ax.axison]
    assert [ax.get_title(loc="left") for ax in drawn if ax.get_title(loc="left")] == [
        f"set {i}" for i in range(6)
    ]
    assert len(drawn) == 12
    beside = [ax for ax in drawn if any("published" in label for label in labels(ax))]
    assert len(beside) == 2


def test_layers_are_the_relative_columns_by_depth() -> None:
    table = layer_table()
    for show in ("overlap", "effective_rank"):
        ax = plot_layers(table, show)
        for (tower, kind), rows in table.groupby(["tower", "kind"]):
            drawn = line(ax, f"{tower} tower, {kind}")
            np.testing.assert_array_equal(x(drawn), rows.depth)
            np.testing.assert_array_equal(y(drawn), rows[f"relative_{show}"])
            assert to_hex(str(drawn.get_color())).upper() == PALETTE[str(tower)]
        assert line(ax, "image tower, stem").get_linestyle() == "None"
        np.testing.assert_array_equal(y(line(ax, "random neurons")), [1, 1])
    theirs = Figure().subplots()
    assert plot_layers(table, ax=theirs) is theirs


def test_layers_that_cannot_be_drawn() -> None:
    table = layer_table()
    wrong: tuple[tuple[dict[str, Any], str], ...] = (
        ({"show": "overlaps"}, "did you mean 'overlap'"),
        ({"space": "weight"}, "did you mean 'weights'"),
        ({"space": "centred"}, "without centred"),
        ({"model": "b"}, "no model 'b'"),
    )
    for arguments, message in wrong:
        with pytest.raises(InputError, match=message):
            plot_layers(table, **arguments)
    with pytest.raises(InputError, match="without the columns depth"):
        plot_layers(table.drop(columns="depth"))
    with pytest.raises(InputError, match="2 models"):
        plot_layers(pd.concat([table, layer_table("b")]))
