"""All figures of a folder: which, of what size, with which fonts, and `purescope plot` as a user
types it.
"""

import re
import shutil
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from purescope.cli.showing import plot as command
from purescope.errors import InputError, OutputError
from purescope.files.writing import slug
from purescope.plots.curves import plot_accuracy
from purescope.plots.dynamics import dynamics_figure
from purescope.plots.experiment import plot_pruning
from purescope.plots.folder import (
    draw_folder,
    gap_figure,
    pruning_figure,
    published_figure,
)
from purescope.plots.neurons import plot_overlap
from purescope.plots.saving import save_figure
from purescope.plots.style import VENUES, WIDTHS, style
from purescope.studies.importance import importance_and_purity
from purescope.studies.training.tracking import TrackSettings, track
from purescope.tables.files import write_csv, write_table
from purescope.tables.results import write_results
from purescope.tables.schemas import CORRELATIONS, IMPORTANCE, NEURONS
from tests.plots.made import Made, importance_table, joined, layer_table, made, neurons_table
from tests.studies.training import made as training

pytestmark = pytest.mark.slow

HOSTILE = "<b>&amp; 50% $x_1$ \\frac ä \N{GREEK SMALL LETTER ALPHA}"
STEMS = [
    "neuron_pruning_emoji",
    "purity_gap_emoji",
    f"experiment_{slug(HOSTILE)}_emoji",
    "experiment_clip_emoji",
    f"published_style_{slug(HOSTILE)}",
    "published_style_clip",
    f"overlap_{slug(HOSTILE)}",
    f"cosines_{slug(HOSTILE)}",
    "importance_emoji",
    f"layers_{slug(HOSTILE)}",
]
# One venue of each size: the names are in `test_a_wrong_call_is_told`, all else is the size.
SIZES = list({size: venue for venue, size in VENUES.items()}.values())
# Each way to lay a page out: in a column of two, over both, and in the only one; and the files that
# tests read.
FORMATS_OF: dict[tuple[str, str], list[str]] = {
    ("acl", "column"): ["pdf", "svg", "png"],
    ("acl", "text"): ["pdf"],
    ("cvpr", "column"): [],
    ("neurips", "text"): [],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a run of a hostile label, and of a model without projections."""
    out = tmp_path_factory.mktemp("run")
    write_results(joined(made(HOSTILE), made("clip")), out)
    write_table(neurons_table(HOSTILE), out, NEURONS)
    without = importance_table("clip").assign(
        total_overlap=np.nan, image_purity=np.nan, text_purity=np.nan
    )
    importance = importance_table(HOSTILE)
    write_table(pd.concat([importance, without], ignore_index=True), out, IMPORTANCE)
    write_table(importance_and_purity(importance), out, CORRELATIONS)
    cosines = np.random.default_rng(0).uniform(-0.5, 0.5, (40, 40)).astype(np.float16)
    np.savez(out / f"cosines_{slug(HOSTILE)}.npz", image=cosines, text=cosines.T)
    write_csv(layer_table(HOSTILE), out / f"layers_{slug(HOSTILE)}.csv")
    return out


@dataclass(frozen=True)
class Printed:
    """A folder's figures in the paper style, as they were saved, and their files."""

    figures: list[Figure]
    files: list[Path]


@pytest.fixture(scope="module")
def printed(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, str], Printed]:
    """The folder's figures for a venue and a width, drawn once for all tests, one after another."""

    @cache
    def drawn(venue: str, width: str) -> Printed:
        figures: list[Figure] = []

        def keep(figure: Figure, stem: Path, formats: Sequence[str]) -> list[Path]:
            figures.append(figure)
            return save_figure(figure, stem, formats)

        with pytest.MonkeyPatch.context() as patch, style("paper", venue=venue, width=width):
            patch.setattr("purescope.plots.saving.save_figure", keep)
            written = draw_folder(
                folder, tmp_path_factory.mktemp("printed"), FORMATS_OF[venue, width]
            ).written
        return Printed(figures, list(written))

    return drawn


def fonts(pdf: Path) -> set[str]:
    """Of a PDF: the types of its fonts."""
    return set(re.findall(r"/Subtype */(Type3|Type42|TrueType|CIDFontType2|Type1)\b", opened(pdf)))


def opened(pdf: Path) -> str:
    """Of a PDF: its text, object streams unpacked."""
    data = pdf.read_bytes()
    packed = re.findall(rb"/ObjStm.*?stream\r?\n(.*?)endstream", data, re.DOTALL)
    return b"\n".join([data, *map(zlib.decompress, packed)]).decode("latin-1")


def page(pdf: Path) -> tuple[float, float]:
    """Of a PDF: width and height in points."""
    found = re.search(r"/MediaBox *\[ *0 0 ([\d.]+) ([\d.]+) *\]", opened(pdf))
    assert found is not None
    return float(found[1]), float(found[2])


def test_all_that_a_run_has_is_drawn(folder: Path, tmp_path: Path) -> None:
    drawn = draw_folder(folder, tmp_path, ["svg"])
    assert [path.relative_to(tmp_path).as_posix() for path in drawn.written] == [
        f"{stem}.svg" for stem in STEMS
    ]
    assert sorted(tmp_path.iterdir()) == sorted(drawn.written)
    missing, _ = drawn.missing
    assert missing.startswith("training curves: no track.parquet")
    for path in drawn.written:
        root = ElementTree.parse(path).getroot()
        assert not [element for element in root.iter() if element.tag.endswith(("}b", "}script"))]
    texts = [
        element.text
        for element in ElementTree.parse(drawn.written[0]).getroot().iter()
        if element.text
    ]
    assert HOSTILE in texts


@pytest.mark.parametrize("width", WIDTHS)
def test_pages_are_as_wide_as_the_venue_and_fonts_are_embedded(
    printed: Callable[[str, str], Printed], width: str
) -> None:
    column, wide = 7.7 / 2.54 * 72, 16 / 2.54 * 72
    files = printed("acl", width).files
    assert len(files) == len(STEMS) * len(FORMATS_OF["acl", width])
    for path in files:
        points = column if width == "column" or path.stem.startswith("overlap") else wide
        if path.suffix == ".pdf":
            assert page(path)[0] == pytest.approx(points, abs=0.01)
            assert fonts(path) and "Type3" not in fonts(path)
            assert "/FontFile2" in opened(path) and "STIXGeneral" in opened(path)
        elif path.suffix == ".png":
            with Image.open(path) as image:
                assert image.width == pytest.approx(points / 72 * 400, abs=1)


@pytest.mark.parametrize("venue", SIZES)
def test_one_panel_fits_a_column_of_every_venue(tmp_path: Path, venue: str) -> None:
    with style("paper", venue=venue):
        figure = plot_pruning(made().table).figure
        assert isinstance(figure, Figure)
        (path,) = save_figure(figure, tmp_path / "one", ["svg"])  # for PDF see above
    column, wide = VENUES[venue]
    width = ElementTree.parse(path).getroot().attrib["width"]
    assert width.endswith("pt") and float(width[:-2]) == pytest.approx(72 * column, abs=0.01)
    assert 3 < column <= wide <= 7.2


@pytest.fixture(scope="module")
def tables() -> list[pd.DataFrame]:
    """Of one, two and three models."""
    return [joined(*(made(f"model {i}") for i in range(models))) for models in (1, 2, 3)]


@pytest.mark.parametrize("venue", SIZES)
def test_up_to_four_panels_stand_in_one_column_where_a_venue_has_two(
    tables: list[pd.DataFrame], venue: str
) -> None:
    column, wide = VENUES[venue]
    with style("paper", venue=venue):
        panels = {
            len(figure.axes): figure
            for figure in (*map(pruning_figure, tables), gap_figure(tables[2]))
        }
    assert sorted(panels) == [2, 3, 4, 6] or (column == wide and sorted(panels) == [2, 4, 6])
    for count, figure in panels.items():
        assert figure.get_figwidth() == (column if count <= 4 else wide)
        across = {ax.get_subplotspec().get_gridspec().ncols for ax in figure.axes}  # type: ignore[union-attr]
        assert across == {1 if column < wide and count <= 4 else 2}
        assert figure.get_figheight() < 8  # of 9 to 10 inches that a page has
    with style("paper", venue=venue, width="text"):
        assert pruning_figure(tables[0]).get_figwidth() == wide


def test_a_stack_says_once_what_its_panels_count() -> None:
    with style("paper", venue="ieee"):
        (top, *rest, last) = pruning_figure(joined(made("a"), made("b"))).axes
        assert [ax.get_xlabel() for ax in (top, *rest)] == [
            ""
        ] * 3 and last.get_xlabel() == "Neurons kept (k of 512)"
        assert [ax.get_title(loc="left") for ax in (top, *rest, last)] == ["a", "", "b", ""]
        other = Made(made("b").table.assign(neurons=640), made("b").random)
        labels = [ax.get_xlabel() for ax in gap_figure(joined(made("a"), other)).axes]
        assert labels == ["Neurons kept (k of 512)", "Neurons kept (k of 640)"]
        # A panel that says that there is no silhouette shows no axis.
        table = made(silhouette=np.nan).table
        assert pruning_figure(table).axes[0].get_xlabel() == "Neurons kept (k of 512)"
        assert published_figure(table).axes[0].get_xlabel() == "Number of Retained Neurons"


@pytest.mark.parametrize(("venue", "width"), FORMATS_OF)
def test_nothing_leaves_the_page_or_lies_on_another_panel(
    printed: Callable[[str, str], Printed], venue: str, width: str
) -> None:
    figures = printed(venue, width).figures
    assert len(figures) == len(STEMS)
    for figure in figures:
        if not FORMATS_OF[venue, width]:
            figure.draw_without_rendering()  # the others were drawn when they were saved
        boxes = {part: part.get_tightbbox() for part in figure.get_children() if part.get_visible()}
        sheet = figure.bbox.padded(0.02 * figure.dpi)
        for box in boxes.values():
            if box is not None and box.width and box.height:
                assert sheet.x0 <= box.x0 <= box.x1 <= sheet.x1
                assert sheet.y0 <= box.y0 <= box.y1 <= sheet.y1
        assert len(figure.legends) <= 1
        parts = [boxes[ax] for ax in figure.axes if ax.axison]
        parts += [legend.get_window_extent() for legend in figure.legends]
        assert not [
            pair
            for pair in combinations(parts, 2)
            if pair[0].padded(-1).overlaps(pair[1].padded(-1))
        ]  # type: ignore[union-attr]
        texts = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
        assert {text.get_fontsize() for text in texts} <= {8.0, 9.0}


def test_figures_drawn_at_once_are_those_drawn_one_after_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And so are the order they are told in, their warnings and their errors."""
    write_results(made("旗").table, tmp_path / "run")
    monkeypatch.setattr("purescope.plots.saving.WORTH", 2)
    stems = [
        "neuron_pruning_emoji",
        "purity_gap_emoji",
        "experiment_旗_emoji",
        "published_style_旗",
    ]
    runs = []
    for name, processes in (("a", 1), ("b", 2)):
        (tmp_path / name / f"{stems[-1]}.svg").mkdir(
            parents=True
        )  # where the last figure cannot be written
        told: list[Path] = []
        with (
            pytest.warns(UserWarning, match="no font here has cjk unified") as caught,
            pytest.raises(OutputError, match=r"cannot write(.|\n)*choose another --out") as error,
            style("paper", venue="acl"),
        ):
            draw_folder(
                tmp_path / "run", tmp_path / name, ["svg"], processes=processes, tell=told.append
            )
        assert [path.stem for path in told] == stems[:-1]
        runs.append(
            [(path.name, path.read_bytes()) for path in told]
            + [str(one.message) for one in caught]
            + [str(error.value).replace(str(tmp_path / name), "out")]
        )
    assert runs[0] == runs[1]


def test_a_style_ends_with_its_block() -> None:
    before = dict(matplotlib.rcParams)
    with style("paper", venue="icml"):
        paper = plot_accuracy(made().table)
        assert paper.get_title(loc="left") == "" and paper.figure.bbox.width == 3.25 * 100
    assert dict(matplotlib.rcParams) == before
    assert plot_accuracy(made().table).figure.bbox.width == 6.8 * 100
    with pytest.raises(InputError, match="did you mean 'icml'"), style("paper", venue="icmll"):
        pass
    with pytest.raises(InputError, match="screen or paper"), style("poster"):
        pass
    with (
        pytest.raises(InputError, match=r"unknown width 'columns'(.|\n)*did you mean 'column'"),
        style("paper", width="columns"),
    ):
        pass


@pytest.mark.parametrize("name", ["screen", "paper"])
def test_type_is_as_large_as_the_style_says(name: str) -> None:
    with style(name):
        ax = plot_pruning(made().table)
        sizes = {
            label.get_fontsize()
            for label in (ax.xaxis.label, ax.yaxis.label, *ax.get_xticklabels())
        }
    assert sizes == ({9.0, 8.0} if name == "paper" else {10.0, 9.0})


def test_letters_that_no_font_has_are_told_once(tmp_path: Path) -> None:
    with pytest.warns(
        UserWarning, match="overlap: no font here has cjk unified ideograph-65d7"
    ) as caught:
        save_figure(Figure(), tmp_path / "empty")
        figure = plot_overlap(neurons_table("旗")).figure
        assert isinstance(figure, Figure)
        written = save_figure(figure, tmp_path / "overlap", ["png", "svg", "pdf"])
    assert len(caught) == 1 and "旗" in written[1].read_text(encoding="utf-8")


def test_a_training_and_a_reproduction_are_known_by_their_files(tmp_path: Path) -> None:
    pairs = [(step, training.make_model(step)) for step in (1, 20)]
    track(
        pairs,
        [training.make_dataset()],
        out=tmp_path / "track",
        settings=TrackSettings(keep=[3], draws=3),
    )
    drawn = draw_folder(tmp_path / "track", tmp_path / "out", ["svg"])
    assert [path.name for path in drawn.written] == ["dynamics.svg"] and len(drawn.missing) == 6

    alone = pd.concat([track(pairs, []).assign(model=model) for model in ("a", "b")])
    titles = [ax.get_title(loc="left") for ax in dynamics_figure(alone).axes]
    assert titles == [
        "a",
        "b",
        "",
        "",
    ]  # without data the models stand side by side, overlap above order

    for part in ("paper", "native"):
        write_results(made("clip").table, tmp_path / "both" / part)
    columns = ["dataset", "metric", "strategy", "k", "value", "marker_partly_hidden"]
    theirs = pd.DataFrame([("emoji", "accuracy", "high_purity", 100, 0.5, False)], columns=columns)
    drawn = draw_folder(tmp_path / "both", tmp_path / "out", ["svg"], published=theirs)
    names = [path.relative_to(tmp_path / "out").as_posix() for path in drawn.written]
    stems = [stem for stem in STEMS[:6] if slug(HOSTILE) not in stem]
    assert len(stems) == 4 and names == [
        f"{part}/{stem}.svg" for part in ("paper", "native") for stem in stems
    ]
    assert "high purity, published" in drawn.written[3].read_text(encoding="utf-8")


def test_what_cannot_be_drawn(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no results in(.|\n)*purescope sweep"):
        draw_folder(tmp_path, tmp_path)
    with pytest.raises(
        InputError,
        match=r"there is no folder .*gone\n(.|\n)*to fix:   name one, or make one: `pure",
    ):
        draw_folder(tmp_path / "gone", tmp_path)
    with pytest.raises(
        InputError, match=rf"no results in(.|\n)*to fix:   did you mean .*{folder.name}"
    ):
        draw_folder(folder.parent, tmp_path)
    with pytest.raises(
        InputError, match=rf"no folder(.|\n)*to fix:   did you mean .*{folder.name}\?"
    ):
        draw_folder(folder.with_name(f"{folder.name}s"), tmp_path)
    with pytest.raises(InputError, match="unknown figure format 'eps'"):
        draw_folder(folder, tmp_path, ["eps"])
    write_csv(layer_table(), tmp_path / "layers_a.csv")
    (tmp_path / "results.parquet").write_bytes(b"no table")
    with pytest.raises(InputError, match="cannot be read"):
        draw_folder(tmp_path, tmp_path)


def test_the_command_prints_what_it_wrote_and_draws_the_same_bytes_again(
    folder: Path, printed: Callable[[str, str], Printed], tmp_path: Path
) -> None:
    run = shutil.copytree(folder, tmp_path / "run")
    result = CliRunner().invoke(
        command, [str(run), "--style", "paper", "--venue", "acl", "--format", "pdf,svg"]
    )
    assert result.exit_code == 0, result.output
    figures = run / "figures" / "paper_acl"
    names = [str(figures / f"{stem}.{suffix}") for stem in STEMS for suffix in ("pdf", "svg")]
    assert result.stdout.splitlines()[: len(names)] == names
    before = {
        path.name: path.read_bytes()
        for path in printed("acl", "column").files
        if path.suffix != ".png"
    }
    assert {path.name: path.read_bytes() for path in figures.iterdir()} == before
    assert "Not drawn: training curves: no track.parquet" in result.output
    assert result.stderr.splitlines()[0] == f"drawing the figures of {run}"


def test_the_command_says_what_it_could_not_draw(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (layers,) = folder.glob("layers_*.csv")
    shutil.copy(layers, tmp_path / "run")
    result = CliRunner().invoke(
        command, [str(tmp_path / "run"), "--out", str(tmp_path / "out"), "--format", "svg"]
    )
    assert result.exit_code == 0, result.output
    assert [path.name for path in (tmp_path / "out").iterdir()] == [f"{STEMS[-1]}.svg"]
    told = [line for line in result.output.splitlines() if line.startswith("Not drawn: ")]
    assert len(told) == 6 and told[0].startswith("Not drawn: accuracy")


def test_a_wrong_call_is_told(folder: Path, tmp_path: Path) -> None:
    for option, word in (("--venue", "icml"), ("--width", "text")):
        assert (
            f"{option} goes with" in CliRunner().invoke(command, [str(folder), option, word]).output
        )
    assert isinstance(CliRunner().invoke(command, [str(tmp_path)]).exception, InputError)
    venues = next(option for option in command.params if option.name == "venue").type
    assert list(venues.choices) == list(VENUES)  # type: ignore[attr-defined]
    widths = next(option for option in command.params if option.name == "width").type
    assert tuple(widths.choices) == WIDTHS  # type: ignore[attr-defined]
