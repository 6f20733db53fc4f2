"""Plots of single neurons: overlap, cosines, importance."""

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from purescope.errors import InputError
from purescope.maths.overlaps import Projections
from purescope.plots.neurons import colour_limit, plot_cosines, plot_importance, plot_overlap
from purescope.studies.importance import importance_and_purity
from tests.plots.made import Floats, corners, importance_table, labels, neurons_table


def tops(ax: Axes, patch: int, scores: Floats) -> None:
    """Each bin of an outline holds as many scores as the table has there."""
    area = corners(ax.patches[patch].get_path())
    edges = np.unique(area[:, 0])
    for left, right in pairwise(edges):
        count = ((scores >= left) & (scores < right)).sum()
        assert count in area[np.isclose(area[:, 0], left), 1]
        assert count in area[np.isclose(area[:, 0], right), 1]


def test_overlap_of_a_table_has_as_many_random_neurons_as_outlines() -> None:
    table = neurons_table()
    table.loc[3, ["text_overlap", "total_overlap", "text_purity"]] = np.nan
    ax = plot_overlap(table)
    assert labels(ax) == [
        "image tower: 40 neurons",
        "text tower: 39 neurons",
        "image tower: as many random neurons",
        "text tower: as many random neurons",
    ]
    for patch, column in enumerate(
        ("image_overlap", "text_overlap", "image_random", "text_random")
    ):
        tops(ax, patch, table[column].dropna().to_numpy())
    assert ax.get_title(loc="left") == "a $x$: 40 neurons"
    theirs = Figure().subplots()
    assert plot_overlap(table, ax=theirs) is theirs


def test_towers_and_random_neurons_are_told_apart_by_lines_alone_and_alike_in_the_legend() -> None:
    """No hatches: a reader of PDF may leave them out of the plot and keep them in the legend."""
    ax = plot_overlap(neurons_table())
    looks = [look(patch) for patch in ax.patches]
    assert len({line for line, _ in looks}) == len(looks) == 4
    assert not any(patch.get_hatch() for patch in ax.patches)
    assert isinstance(ax.figure, Figure)
    (legend,) = ax.figure.legends
    assert [look(patch) for patch in legend.get_patches()] == looks


def look(patch: Patch) -> tuple[str, str]:
    """The line and the fill."""
    start, dashes = patch._dash_pattern  # type: ignore[attr-defined]
    return repr((float(start), [*map(float, dashes or ())])), to_hex(
        patch.get_facecolor(), keep_alpha=True
    )  # type: ignore[attr-defined]


def test_overlap_asks_for_a_model_and_for_a_table_of_neurons() -> None:
    both = pd.concat([neurons_table(), neurons_table("b")])
    with pytest.raises(InputError, match="2 models"):
        plot_overlap(both)
    assert plot_overlap(both, model="b").get_title(loc="left") == "b: 40 neurons"
    with pytest.raises(InputError, match="without the columns"):
        plot_overlap(both.drop(columns="image_random"))


def test_neurons_that_are_all_dead_are_said_to_be() -> None:
    dead = neurons_table().assign(
        image_overlap=np.nan, text_overlap=np.nan, image_random=np.nan, text_random=np.nan
    )
    with pytest.raises(InputError, match="without overlaps"):
        plot_overlap(dead)
    assert plot_overlap(Projections(torch.eye(3), torch.zeros(3, 4))).patches


def test_cosines_are_drawn_in_the_order_without_sign_and_diagonal() -> None:
    cosines = np.array([[1, -0.5, 0.25], [-0.5, 1, 0.75], [0.25, 0.75, 1]], dtype=np.float16)
    ax = plot_cosines(cosines, order=[2, 0, 1], tower="text", model="a $x$ <b>")
    shown: Any = np.ma.asarray(ax.images[0].get_array())
    expected = [[0, 0.25, 0.75], [0.25, 0, 0.5], [0.75, 0.5, 0]]
    np.testing.assert_array_equal(shown.filled(0), expected)
    assert shown.mask.tolist() == np.eye(3, dtype=bool).tolist()
    assert ax.get_title(loc="left") == "a $x$ <b>, text tower"
    assert ax.images[0].get_clim() == (0, 0.75)
    (bar,) = plot_cosines(cosines, order=[2, 0, 1], limit=0.5).child_axes
    assert bar.get_ylabel() == "|cosine|; 33.3 % are above 0.5"


def test_several_maps_share_a_scale() -> None:
    first, second = np.full((2, 2), 0.1), np.full((2, 2), -0.3)
    limit = colour_limit(first, second)
    assert limit == pytest.approx(np.quantile([0.1, 0.1, 0.3, 0.3], 0.99))
    theirs = Figure().subplots()
    assert plot_cosines(first, order=[0, 1], limit=1.0, bar=False, ax=theirs) is theirs
    assert theirs.images[0].get_clim() == (0, 1) and not theirs.child_axes
    assert plot_cosines(first, order=[0, 1], limit=1.0).child_axes[0].get_ylabel() == "|cosine|"
    for neurons in (1, 3):  # nothing to tell apart
        assert plot_cosines(np.eye(neurons), order=range(neurons)).images[0].get_clim() == (0, 1)


@pytest.mark.parametrize(
    ("cosines", "order", "message"),
    [
        (np.ones((2, 3)), [0, 1], r"shape \[2, 3\]"),
        (np.full((2, 2), np.nan), [0, 1], "NaN"),
        (np.ones((2, 2)), [0, 0], "order"),
        (np.ones((2, 2)), [1, 2], "order"),
        (np.ones((0, 0)), [], "shape"),
    ],
)
def test_cosines_that_are_none(cosines: Floats, order: list[int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        plot_cosines(cosines, order=order)
    with pytest.raises(InputError, match="limit = 0"):
        plot_cosines(np.eye(2), order=[0, 1], limit=0.0)


def points(ax: Axes) -> Floats:
    (found,) = [drawn for drawn in ax.collections if isinstance(drawn, PathCollection)]
    return np.asarray(found.get_offsets(), dtype=float)


@pytest.mark.parametrize(
    ("importance", "scale", "turned"),
    [("accuracy_drop", 100, False), ("loss_change", 1000, False), ("margin_change", 1, True)],
)
def test_points_are_the_neurons_with_up_and_right_for_more(
    importance: str, scale: float, turned: bool
) -> None:
    table = importance_table()
    table.loc[5, "total_overlap"] = np.nan
    alive = table.dropna(subset=["total_overlap"])
    ax = plot_importance(table, importance=importance)
    np.testing.assert_allclose(points(ax), alive[["total_overlap", importance]] * [1, scale])
    assert ax.xaxis.get_inverted() and ax.yaxis.get_inverted() == turned
    ax = plot_importance(table, importance=importance, against="image_purity")
    np.testing.assert_allclose(points(ax), table[["image_purity", importance]] * [1, scale])
    assert not ax.xaxis.get_inverted()
    theirs = Figure().subplots()
    assert plot_importance(table, ax=theirs) is theirs


@pytest.mark.parametrize(
    ("against", "purity"), [("total_overlap", "both"), ("text_purity", "text")]
)
def test_rho_is_that_of_the_correlations(against: str, purity: str) -> None:
    table = importance_table()
    correlations = importance_and_purity(table)
    (row,) = correlations[
        (correlations.importance == "loss_change") & (correlations.purity == purity)
    ].itertuples()
    ax = plot_importance(
        table, importance="loss_change", against=against, correlations=correlations
    )
    numbers = [
        f"{getattr(row, name):+.2f}".replace("-", "\N{MINUS SIGN}")
        for name in ("rho", "low", "high")
    ]
    said = ax.get_xlabel().replace("\n", " ")
    assert "= {} (95 %: {} to {})".format(*numbers) in said
    with pytest.raises(InputError, match="without accuracy_drop and the purity of"):
        plot_importance(
            table,
            against=against,
            correlations=correlations[correlations.importance == "loss_change"],
        )


def test_importance_that_cannot_be_drawn() -> None:
    table = importance_table()
    with pytest.raises(InputError, match=r"unknown column 'lossy'(.|\n)*one of"):
        plot_importance(table, importance="lossy")
    with pytest.raises(InputError, match="did you mean 'text_purity'"):
        plot_importance(table, against="text_puritty")
    with pytest.raises(InputError, match="without total_overlap"):
        plot_importance(table.assign(total_overlap=np.nan))
    several = pd.concat([table, table.assign(ablation="mean")])
    with pytest.raises(InputError, match="2 ablations"):
        plot_importance(several)
    assert len(points(plot_importance(several, ablation="mean"))) == len(table)
