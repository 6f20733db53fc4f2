from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from purescope.errors import InputError, OutputError
from purescope.formats import PALETTE
from purescope.maths.overlaps import Projections, overlap, random_overlap
from purescope.plots.curves import plot_accuracy, plot_gap, plot_silhouette
from purescope.plots.folder import gap_figure, pruning_figure, write_figures
from purescope.plots.neurons import plot_overlap
from purescope.plots.saving import save_figure
from tests.plots.made import (
    FULL,
    HIGH,
    KS,
    LOW,
    bands,
    check_band,
    corners,
    edges,
    joined,
    labels,
    line,
    made,
    x,
    y,
)

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize(("plot", "scale"), [(plot_accuracy, 100), (plot_silhouette, -0.3)])
def test_lines_and_bands_are_the_values_of_the_table(plot: Any, scale: float) -> None:
    given = made(silhouette=-0.3)
    ax = plot(given.table)
    for label, values in (("highest purity", HIGH), ("lowest purity", LOW)):
        np.testing.assert_array_equal(x(line(ax, label)), KS)
        np.testing.assert_allclose(y(line(ax, label)), np.array(values) * scale)
    np.testing.assert_allclose(y(line(ax, "random order")), np.median(given.random, axis=0) * scale)
    np.testing.assert_allclose(y(line(ax, "all 512 neurons")), FULL * scale)
    widest, band = bands(ax)
    check_band(widest, given.random * scale, 0, 1)
    check_band(band, given.random * scale, 0.05, 0.95)
    assert "7 draws" in str(line(ax, "random order").get_label())


def test_gap_is_in_percentage_points_beside_what_a_random_order_differs_by() -> None:
    given = made()
    ax = plot_gap(given.table)
    np.testing.assert_allclose(y(line(ax, "highest minus lowest")), [9.0, 6.0, 1.0])
    expected = (np.array(HIGH) - np.median(given.random, axis=0)) * 100
    np.testing.assert_allclose(y(line(ax, "highest purity minus median random")), expected)
    differences = (given.random - np.median(given.random, axis=0)) * 100
    (band,) = bands(ax)
    check_band(band, differences, 0.05, 0.95)
    assert "7 orders" in str(band.get_label())
    assert any(np.array_equal(y(drawn), [0, 0]) for drawn in ax.lines)


def test_lines_are_told_apart_without_colour() -> None:
    for ax in (plot_accuracy(made(classes=3).table), plot_gap(made().table)):
        named = [drawn for drawn in ax.lines if not str(drawn.get_label()).startswith("_")]
        looks = {(drawn.get_marker(), repr(drawn._dash_pattern)) for drawn in named}  # type: ignore[attr-defined]
        assert len(looks) == len(named) >= 2
    ax = plot_accuracy(made().table)
    assert {line(ax, "highest").get_marker(), line(ax, "lowest").get_marker()} == {"o", "s"}
    assert to_hex(str(line(ax, "highest").get_color())).upper() == PALETTE["high_purity"]


def test_chance_is_drawn_only_where_it_is_in_view() -> None:
    assert "chance (33.3 %)" in labels(plot_accuracy(made(classes=3).table))
    np.testing.assert_allclose(y(line(plot_accuracy(made(classes=3).table), "chance")), 100 / 3)
    ax = plot_accuracy(made(classes=66).table)  # 1.5 %, below every value
    assert not any(label.startswith("chance") for label in labels(ax))
    assert ax.get_ylim()[0] > 10


def test_words_on_the_axes() -> None:
    ax = plot_accuracy(made().table)
    assert ax.get_title(loc="left") == "CC3M LaCLIP on emoji, 66 classes, 1,500 images"
    assert ax.get_xlabel() == "Neurons kept (k of 512)"
    assert ax.get_ylabel() == "Zero-shot accuracy (%)"


def test_a_legend_stands_outside_the_data_of_our_figures_and_is_left_to_the_owner_of_others() -> (
    None
):
    ours = plot_accuracy(made().table)
    assert isinstance(ours.figure, Figure)
    (legend,) = ours.figure.legends
    assert [text.get_text() for text in legend.get_texts()] == labels(ours)
    ours.figure.draw_without_rendering()
    assert legend.get_window_extent().y1 < ours.get_tightbbox().y0  # type: ignore[union-attr]
    assert legend.get_window_extent().x1 < ours.figure.bbox.x1
    theirs = Figure().subplots()
    assert plot_accuracy(made().table, ax=theirs) is theirs
    assert theirs.get_legend() is None
    assert not theirs.figure.legends


@pytest.mark.parametrize("draws", [0, 1, 2])
def test_few_draws(draws: int) -> None:
    given = made(draws=draws)
    ax = plot_accuracy(given.table)
    assert len(bands(ax)) == (2 if draws == 2 else 0)
    assert len([label for label in labels(ax) if label.startswith("random")]) == min(draws, 1)
    assert len(bands(plot_gap(given.table))) == (1 if draws == 2 else 0)
    assert len(labels(plot_gap(given.table))) == 1 + draws


def test_a_single_k_shows_points_and_a_band_of_some_width() -> None:
    ax = plot_accuracy(made(ks=(256,)).table)
    assert all(
        line(ax, label).get_marker() not in ("", "None")
        for label in ("highest", "lowest", "random")
    )
    assert len(bands(ax)) == 2
    assert all(min(edges(band)) < 256 < max(edges(band)) for band in bands(ax))
    assert ax.get_xticks().tolist() == [256]


def test_no_silhouette_is_said_in_its_place() -> None:
    ax = plot_silhouette(made(silhouette=np.nan).table)
    assert not ax.lines
    assert "No silhouette" in ax.texts[0].get_text()


def test_a_table_of_several_asks_which() -> None:
    table = joined(made(), made(model="CLIP", dataset="flags"), made(dataset="flags"))
    with pytest.raises(InputError, match=r"2 models(.|\n)*model=: CLIP, CC3M LaCLIP"):
        plot_accuracy(table, dataset="flags")
    with pytest.raises(InputError, match=r"2 datasets(.|\n)*dataset=: emoji, flags"):
        plot_gap(table, model="CC3M LaCLIP")
    with pytest.raises(InputError, match=r"no model 'CLIPP'(.|\n)*did you mean 'CLIP'"):
        plot_silhouette(table, model="CLIPP", dataset="flags")
    # One name is enough where it leaves one of the other.
    assert plot_accuracy(table, model="CLIP").get_title(loc="left").startswith("CLIP on flags")
    assert (
        plot_accuracy(table, dataset="emoji")
        .get_title(loc="left")
        .startswith("CC3M LaCLIP on emoji")
    )


def test_a_table_without_what_is_asked_for() -> None:
    table = made().table
    with pytest.raises(InputError, match="without silhouette"):
        plot_silhouette(table[table.metric == "accuracy"])
    with pytest.raises(InputError, match="high_purity and low_purity"):
        plot_gap(table[table.strategy != "low_purity"])
    with pytest.raises(InputError, match="without the columns"):
        plot_accuracy(table.drop(columns="k"))


def test_overlap_histogram_counts_every_live_neuron_once() -> None:
    generator = torch.Generator().manual_seed(0)
    text = torch.randn(40, 16, generator=generator)
    text[3] = 0
    ax = plot_overlap(Projections(torch.randn(40, 64, generator=generator), text), model="tiny")
    assert labels(ax)[:2] == [
        "image tower: 40 neurons of width 64",
        "text tower: 39 neurons of width 16",
    ]
    scores = overlap(text)[torch.arange(40) != 3].numpy()
    area = corners(ax.patches[1].get_path())
    assert area[:, 0].min() <= scores.min() < scores.max() <= area[:, 0].max()
    # The outline runs along the bars' tops and back along zero: the tops' distinct x are the edges
    # of the bins.
    edges = np.unique(area[:, 0])
    tops = [area[np.isclose(area[:, 0], edge), 1] for edge in edges]
    for left, right, low, high in zip(tops[:-1], tops[1:], edges[:-1], edges[1:], strict=True):
        count = sum(low <= score < high for score in scores)
        assert count in left
        assert count in right
    for width in (64, 16):
        np.testing.assert_allclose(
            x(line(ax, f"random neurons of width {width}")), random_overlap(width)
        )


def test_overlap_of_equal_widths_has_one_reference_and_of_equal_neurons_one_bar() -> None:
    ax = plot_overlap(Projections(torch.ones(5, 8), torch.zeros(5, 8)))
    assert labels(ax) == ["image tower: 5 neurons of width 8", "random neurons of width 8"]
    (bar,) = ax.patches
    assert corners(bar.get_path())[:, 1].max() == 5


def test_without_both_purities_all_that_was_measured_is_drawn() -> None:
    """And nothing else is named in the legend."""
    table = made().table
    renamed = table.assign(
        strategy=table.strategy.replace({"high_purity": "svd", "low_purity": "first_k"})
    )
    ax = plot_accuracy(renamed)
    np.testing.assert_allclose(y(line(ax, "SVD basis kept")), np.array(HIGH) * 100)
    np.testing.assert_allclose(y(line(ax, "first by index kept")), np.array(LOW) * 100)
    named = [str(drawn.get_label()) for drawn in ax.lines]
    assert not [label for label in named if "purity" in label] and len(named) == 4
    looks = {(drawn.get_linestyle(), drawn.get_marker(), drawn.get_color()) for drawn in ax.lines}
    assert len(looks) == 4
    (alone,) = plot_accuracy(table[table.strategy == "high_purity"]).lines
    assert alone.get_label() == "highest purity kept"
    # Beside both purities, the other strategies would cover the experiment.
    extra = table[table.strategy == "high_purity"].assign(strategy="svd")
    both = plot_accuracy(pd.concat([table, extra], ignore_index=True))
    assert not [drawn for drawn in both.lines if "SVD" in str(drawn.get_label())]


def test_without_both_purities_there_is_no_gap(tmp_path: Path) -> None:
    table = made().table
    table = table[table.strategy != "low_purity"]
    written = write_figures(table, tmp_path, ("svg",))
    assert [path.stem.startswith("neuron_pruning_") for path in written] == [True]


@pytest.mark.slow
def test_write_figures_writes_just_these_files(tmp_path: Path) -> None:
    table = joined(made(), made(model="CLIP"), made(dataset="Oxford-IIIT Pets", silhouette=np.nan))
    written = write_figures(table, tmp_path / "run")
    names = [
        f"{figure}_{dataset}.{suffix}"
        for dataset in ("emoji", "oxford_iiit_pets")
        for figure in ("neuron_pruning", "purity_gap")
        for suffix in ("png", "svg")
    ]
    assert written == [tmp_path / "run" / "figures" / name for name in names]
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(written)
    for path in written:
        if path.suffix == ".png":
            with Image.open(path) as image:
                image.verify()
                assert image.width == 1800
        else:
            assert ElementTree.parse(path).getroot().tag == f"{SVG}svg"


@pytest.mark.slow
def test_figures_are_the_same_bytes_for_the_same_table(tmp_path: Path) -> None:
    runs = []
    for run in ("a", "b"):
        written = write_figures(made().table, tmp_path / run, ("svg",))
        written += save_figure(Figure(), tmp_path / run / "empty", ("png", "pdf"))
        runs.append([path.read_bytes() for path in written])
    assert runs[0] == runs[1]


def test_names_are_shown_as_they_are(tmp_path: Path) -> None:
    model, dataset = "<b>&amp; $x$ & _y", "</svg><script>alert(1)</script> $\\frac$"
    (path, _) = write_figures(made(model=model, dataset=dataset).table, tmp_path, ("svg",))
    root = ElementTree.parse(path).getroot()
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert model in texts
    assert f"{dataset}, 66 classes, 1,500 images" in texts
    assert not list(root.iter(f"{SVG}script"))


@pytest.mark.slow
def test_long_names_stay_on_the_page() -> None:
    long = made(model="a model " * 20, dataset="x" * 200).table
    for figure in (
        plot_accuracy(long).figure,
        pruning_figure(long),
        gap_figure(joined(made(), made(model="x" * 99))),
    ):
        assert isinstance(figure, Figure)
        figure.draw_without_rendering()
        for text in figure.findobj(Text):
            box = text.get_window_extent()
            assert 0 <= box.x0 <= box.x1 <= figure.bbox.x1
            assert 0 <= box.y0 <= box.y1 <= figure.bbox.y1


def test_what_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown figure format 'jpeg'"):
        write_figures(made().table, tmp_path, ("jpeg",))
    with pytest.raises(InputError, match="file name of its own"):
        write_figures(joined(made(dataset="a b"), made(dataset="A-b")), tmp_path)
    with pytest.raises(InputError, match=r"datasets \[\]"):
        write_figures(made().table.iloc[:0], tmp_path)
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot make"):
        save_figure(Figure(), tmp_path / "file" / "figure")


def test_an_interrupted_save_leaves_the_old_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path,) = save_figure(Figure(), tmp_path / "figure", ("svg",))
    before = path.read_bytes()

    def broken(self: Figure, file: Path, **options: Any) -> None:
        file.write_bytes(b"half a fi")
        raise KeyboardInterrupt

    monkeypatch.setattr(Figure, "savefig", broken)
    with pytest.raises(KeyboardInterrupt):
        save_figure(Figure(), tmp_path / "figure", ("svg",))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
