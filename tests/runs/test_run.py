"""A run that is stopped goes on: what it finished is kept, and the end is the same as without a
stop.
"""

import json
import shutil
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from purescope.datasets.dataset import Dataset
from purescope.errors import DatasetError, InputError, ModelError, OutputError
from purescope.features.extraction import quiet
from purescope.features.features import Features
from purescope.features.files import read_features, save_features
from purescope.files.writing import atomic_path
from purescope.maths.overlaps import Projections
from purescope.models.model import Model, Preprocess
from purescope.plots.folder import draw_folder
from purescope.report.writing import write_report
from purescope.runs import inputs
from purescope.runs import run as _run
from purescope.runs.inputs import Settings, Sources, features_of
from purescope.runs.pairs import Measurement, Opened, Study, Tables
from purescope.studies.neurons import cosine_maps
from purescope.studies.sweeps import Measured
from purescope.studies.sweeps import sweep as ps_sweep
from purescope.studies.synthetic import plant
from purescope.tables.columns import VOCABULARY
from purescope.tables.files import check_table, read_table
from purescope.tables.results import open_results
from purescope.tables.schemas import (
    ATTRIBUTIONS,
    CHOICES,
    CLASS_IMPORTANCE,
    COMPARISONS,
    CONFUSIONS,
    CURVE_POINTS,
    CURVES,
    EXAMPLES,
    IMPORTANCE,
    MEAN_POINTS,
    NULLS,
    ORDERS,
    RESULTS,
    RIVALS,
    SHARES,
    STANDINGS,
    THUMBNAILS,
    VERDICTS,
    WORDS,
)
from purescope.tables.schemas import NEURONS as NEURON_TABLE
from tests.undrawn import run, run_sweep
from tests.words import FEW, few_words

# Random features are no better than chance, and told so.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*(told from chance|is below chance|recall is 0)"),
]

NEURONS = 6
SETTINGS = Settings(keep=(2, 5), draws=2, resamples=20)


def rows(count: int, seed: int) -> torch.Tensor:
    return torch.randn(count, NEURONS, generator=torch.Generator().manual_seed(seed))


def model(label: str, seed: int) -> Model:
    return Model(
        label=label,
        spec="made by hand",
        weight_space=Projections(rows(NEURONS, seed), rows(NEURONS, seed + 1)),
        neurons=NEURONS,
        preprocess=Preprocess(2, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        encode_image=lambda pixels: pixels.flatten(1)[:, :NEURONS],
        encode_text=lambda texts: rows(len(texts), 9),
        identity={"weights": label},
    )


def data(name: str, seed: int) -> Features:
    return Features(
        rows(12, seed), rows(3, seed + 1), torch.arange(12) % 3, ("a", "b", "c"), "unknown", name
    )


MODELS = [model("One", 0), model("Two", 2)]
DATA = [data("first", 10), data("second", 20)]


def content(out: Path) -> dict[str, bytes]:
    """Every file but the manifest, which holds times."""
    files = (path for path in out.rglob("*") if path.is_file() and path.name != "manifest.json")
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in files
        if path.suffix != ".svg"
    }


def read(out: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((out / "manifest.json").read_text())
    return manifest


class StopHere(BaseException): ...


@pytest.fixture(autouse=True, scope="module")
def vocabulary() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        few_words(patch)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, vocabulary: None) -> Path:
    """All models on all data, in one go; to be looked at, or copied."""
    out = tmp_path_factory.mktemp("whole") / "out"
    run_sweep(MODELS, DATA, out, settings=SETTINGS)
    return out


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory, vocabulary: None) -> Path:
    """One model on one dataset; to be copied."""
    out = tmp_path_factory.mktemp("single") / "out"
    run_sweep(MODELS[:1], DATA[:1], out, settings=SETTINGS)
    return out


@pytest.fixture
def out(whole: Path, tmp_path: Path) -> Path:
    """A finished run of a test's own."""
    return shutil.copytree(whole, tmp_path / "out")


@pytest.fixture(scope="module")
def measurements() -> dict[tuple[str, str], Measurement]:
    return {}


@pytest.fixture
def measured_once(
    measurements: dict[tuple[str, str], Measurement], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each pair of this file is measured once, for tests of what becomes of a measured pair.

    That it measures the same again, `test_a_stopped_run_goes_on_where_it_stopped` tests.
    """
    measure = _run.measure_pair

    def once(opened: Opened, place: int, study: Study) -> Measurement:
        item, number = divmod(place, len(opened.models))
        given, usual = (opened.settings, study), (SETTINGS, Study(rotations=2, captions=True))
        ours = any(opened.models[number] is one for one in MODELS)
        if not ours or not any(opened.datasets[item] is one for one in DATA) or given != usual:
            return measure(opened, place, study)
        pair = opened.pairs[place]
        if pair not in measurements:
            measurements[pair] = measure(opened, place, study)
        found = measurements[pair]
        return replace(found, tables={name: one.copy() for name, one in found.tables.items()})

    monkeypatch.setattr(_run, "measure_pair", once)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The pairs that are measured, as they are."""
    pairs: list[tuple[str, str]] = []
    measure = _run.measure_pair

    def listed(opened: Opened, place: int, study: Study) -> Measurement:
        pairs.append(opened.pairs[place])
        return measure(opened, place, study)

    monkeypatch.setattr(_run, "measure_pair", listed)
    return pairs


def stop_after(times: int, monkeypatch: pytest.MonkeyPatch, name: str = "measure_pair") -> None:
    """Stop at the next call of a function of the run."""
    of_run, count = getattr(_run, name), [0]

    def stopping(*arguments: Any, **options: Any) -> Any:
        count[0] += 1
        if count[0] > times:
            raise StopHere
        return of_run(*arguments, **options)

    monkeypatch.setattr(_run, name, stopping)


@pytest.mark.parametrize("pairs", [0, 1, 3])
def test_a_stopped_run_goes_on_where_it_stopped(
    pairs: int, whole: Path, tmp_path: Path, measured: list[Any]
) -> None:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(StopHere):
        stop_after(pairs, patch)
        run_sweep(MODELS, DATA, tmp_path / "stopped", settings=SETTINGS)
    assert len(measured) == pairs
    table = run_sweep(MODELS, DATA, tmp_path / "stopped", settings=SETTINGS).table("results")
    assert len(measured) == len(set(measured)) == 4, "each pair once"
    pd.testing.assert_frame_equal(table, read_table(whole, RESULTS), check_exact=True)
    assert content(tmp_path / "stopped") == content(whole)
    told = json.loads((tmp_path / "stopped" / "manifest.json").read_text())
    assert [(timing["model"], timing["dataset"]) for timing in told["timings"]] == measured
    assert "finished" in told


@pytest.mark.usefixtures("measured_once")
def test_a_finished_pair_is_written_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    rename = Path.rename
    monkeypatch.setattr(
        Path, "rename", lambda path, to: written.append(to.name) or rename(path, to)
    )
    run_sweep(MODELS, DATA, tmp_path, settings=SETTINGS)
    assert written == ["0001", "0002", "0003", "0004", "0005", "0006"]  # and words of two models
    assert not (tmp_path / "pairs").exists()


def stopped_run(out: Path) -> None:
    """Two pairs of four."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(StopHere):
        stop_after(2, patch)
        run_sweep(MODELS, DATA, out, settings=SETTINGS)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory, vocabulary: None) -> Path:
    """A run with two pairs of four; to be copied."""
    out = tmp_path_factory.mktemp("stopped") / "out"
    stopped_run(out)
    return out


def test_what_a_stopped_run_finished_can_be_looked_at(
    whole: Path, stopped: Path, tmp_path: Path
) -> None:
    pairs = stopped / "pairs"
    assert (pairs / "0001").stat().st_mode == pairs.stat().st_mode, "others may read it"
    shutil.copytree(stopped, tmp_path, dirs_exist_ok=True)
    results = open_results(tmp_path)
    of_whole = read_table(whole, RESULTS)
    half = of_whole[of_whole.dataset == "first"].reset_index(drop=True)
    pd.testing.assert_frame_equal(pd.DataFrame(results.table("results")), half, check_exact=True)
    assert results.models == ["One", "Two"] and not results.verdicts
    assert write_report(tmp_path).is_file()
    assert draw_folder(tmp_path, tmp_path / "drawn", ["svg"]).written


@pytest.mark.usefixtures("measured_once")
@pytest.mark.parametrize("how", ["cut", "of another run", "of another pair", "no entry", "text"])
def test_a_damaged_pair_alone_is_measured_anew(
    how: str, whole: Path, stopped: Path, tmp_path: Path, measured: list[Any]
) -> None:
    shutil.copytree(stopped, tmp_path, dirs_exist_ok=True)
    second = tmp_path / "pairs" / "0002"
    entry = json.loads((second / "pair.json").read_text())
    match how:
        case "cut":
            (second / "orders.parquet").write_bytes(b"PAR1")
        case "of another run":
            (second / "pair.json").write_text(json.dumps(entry | {"run": "0" * 64}))
        case "of another pair":
            shutil.rmtree(second)
            shutil.copytree(tmp_path / "pairs" / "0001", second)
        case "no entry":
            (second / "pair.json").unlink()
        case "text":
            (second / "pair.json").write_text("[1, 2")
    with pytest.warns(UserWarning, match=r"measured anew, since .*0002"):
        run_sweep(MODELS, DATA, tmp_path, settings=SETTINGS)
    assert measured == [("Two", "first"), ("One", "second"), ("Two", "second")]
    assert content(tmp_path) == content(whole)


@pytest.mark.usefixtures("measured_once")
def test_of_a_pair_nothing_behind_a_link_and_nothing_of_others_is_removed(tmp_path: Path) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    stopped_run(out)
    shutil.move(out / "pairs" / "0002", elsewhere)
    (out / "pairs" / "0002").symlink_to(elsewhere)
    with pytest.raises(OutputError, match="0002 is a link to"):
        run_sweep(MODELS, DATA, out, settings=SETTINGS)
    run_sweep(MODELS, DATA, out, settings=SETTINGS, overwrite=True)
    assert (elsewhere / "pair.json").is_file() and (elsewhere / "results.parquet").is_file()
    shutil.rmtree(out)
    stopped_run(out)
    (out / "pairs" / "0001" / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"0001 holds mine\.txt, which is not purescope's"):
        run_sweep(MODELS, DATA, out, settings=SETTINGS, overwrite=True)
    assert (out / "pairs" / "0001" / "mine.txt").read_text() == "mine"


@pytest.mark.usefixtures("measured_once")
@pytest.mark.parametrize(
    ("name", "times", "encoded"),
    [
        ("vocabulary_table", 0, 2),
        ("vocabulary_table", 1, 1),
        ("_write_cosines", 0, 0),
        ("try_report", 0, 0),
    ],
)
def test_a_run_that_is_stopped_after_its_pairs_goes_on(
    name: str,
    times: int,
    encoded: int,
    whole: Path,
    tmp_path: Path,
    measured: list[Any],
    monkeypatch: Any,
) -> None:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(StopHere):
        stop_after(times, patch, name)
        has_report = name == "try_report"
        run_sweep(MODELS, DATA, tmp_path / "stopped", settings=SETTINGS, report=has_report)
    assert ("finished" in read(tmp_path / "stopped")) == (name == "try_report")
    measured.clear()
    vocabulary_table, told = _run.vocabulary_table, []
    monkeypatch.setattr(
        _run, "vocabulary_table", lambda *a, **o: told.append(a) or vocabulary_table(*a, **o)
    )
    run_sweep(MODELS, DATA, tmp_path / "stopped", settings=SETTINGS)
    assert not measured and len(told) == encoded
    assert content(tmp_path / "stopped") == content(whole)


def test_a_run_that_measured_nothing_leaves_its_folder_to_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, pytest.raises(InputError, match="a broken image"):
        patch.setattr(_run, "measure_pair", lambda *a, **o: _fail("a broken image"))
        run_sweep(MODELS, DATA, tmp_path, settings=SETTINGS)
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]
    run_sweep(MODELS[:1], DATA[:1], tmp_path, settings=replace(SETTINGS, seed=9))
    with pytest.raises(
        OutputError, match=r"its settings and models and datasets differ \(.*seed 9 there, 0 here"
    ):
        run_sweep(MODELS, DATA, tmp_path, settings=SETTINGS)


def _fail(came: str) -> NoReturn:
    raise InputError(came)


PORTRAYED = (IMPORTANCE, CLASS_IMPORTANCE, CONFUSIONS, EXAMPLES, WORDS, ORDERS)


def test_every_run_writes_what_a_page_needs(tmp_path: Path) -> None:
    images = [noise(seed) for seed in range(12)]
    pets = Dataset(
        "pets",
        "",
        ("a_b", "c"),
        torch.arange(12) % 2,
        images,
        ("a b", "c"),
        ("two {}.", "{}!"),
        {},
        "x",
    )
    bare = replace(model("Bare", 5), weight_space="its image tower ends in a pooling")
    settings = replace(SETTINGS, space="centred")
    tables = run([*MODELS, bare], [*DATA[:1], pets], tmp_path, settings=settings).tables
    kinds = (
        RESULTS,
        COMPARISONS,
        CURVES,
        CURVE_POINTS,
        ATTRIBUTIONS,
        SHARES,
        *PORTRAYED,
        NEURON_TABLE,
        THUMBNAILS,
        MEAN_POINTS,
        STANDINGS,
        VERDICTS,
        CHOICES,
    )
    assert read(tmp_path)["tables"] == [schema.name for schema in kinds] == [*tables]
    pairs = {(label, name) for label in ("One", "Two", "Bare") for name in ("first", "pets")}
    for schema in kinds:
        on_disk = read_table(tmp_path, schema)
        pd.testing.assert_frame_equal(
            on_disk, check_table(tables[schema.name], schema), check_exact=True
        )
        if schema in PORTRAYED:
            found = on_disk if schema is not WORDS else on_disk[on_disk.dataset != VOCABULARY]
            assert set(found[["model", "dataset"]].itertuples(index=False, name=None)) == pairs
    words = tables["words"]
    assert set(words.model[words.dataset == VOCABULARY]) == {"One", "Two", "Bare"}
    assert tables["neurons"].model.value_counts().to_dict() == {"One": NEURONS, "Two": NEURONS}
    maps = {path.name for path in tmp_path.glob("*.npz")}
    assert maps == {"cosines_one.npz", "cosines_two.npz"}
    with np.load(tmp_path / "cosines_two.npz") as stored:
        for tower, cosines in cosine_maps(MODELS[1].projections).items():
            np.testing.assert_array_equal(stored[tower], cosines)
    examples = tables["examples"]
    assert set(tables["thumbnails"].dataset) == {"pets"}, "features have no images"
    assert set(tables["thumbnails"].image) == set(examples.image[examples.dataset == "pets"])
    assert not (tmp_path / "thumbnails.csv").exists()


def noise(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (9, 9, 3), dtype=np.uint8))


def test_thumbnails_are_of_the_images_that_were_measured(tmp_path: Path) -> None:
    """Where damaged ones are skipped, all after them are renumbered."""
    for number in range(8):
        path = tmp_path / "pets" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise(number).save(path)
    (tmp_path / "pets" / "a" / "2.png").write_bytes(b"broken")
    sources = Sources(on_bad_image="skip")
    results = run(
        MODELS[:1],
        [f"folder:{tmp_path / 'pets'}"],
        tmp_path / "out",
        settings=SETTINGS,
        sources=sources,
    )
    kept = [0, 4, 6, 1, 3, 5, 7]
    from purescope.studies.neurons import thumbnail

    thumbnails = results.table("thumbnails")
    assert thumbnails.image.tolist() == list(range(7))
    assert thumbnails.thumbnail.tolist() == [thumbnail(noise(number)) for number in kept]


def test_words_are_encoded_once_a_model_whatever_the_run(tmp_path: Path) -> None:
    asked: list[str] = []

    def encode_text(texts: Any) -> torch.Tensor:
        asked.extend(texts)
        return rows(len(texts), 9)

    told = replace(MODELS[0], encode_text=encode_text)
    for name in ("one", "other"):
        run(
            [told],
            DATA,
            tmp_path / name,
            settings=SETTINGS,
            sources=Sources(cache=tmp_path / "cache"),
        )
    assert asked == [f"a photo of a {word}." for word in FEW]


def test_what_is_of_the_whole_run_is_not_made_again_once_it_has_finished(tmp_path: Path) -> None:
    made: list[str] = []

    def rivals(opened: Opened, tables: Tables) -> pd.DataFrame:
        made.append("rivals")
        assert set(tables["results"].dataset) == {"first", "second"}
        return pd.DataFrame(columns=[*RIVALS.columns])

    def again() -> dict[str, bytes]:
        run(
            MODELS,
            DATA[:2],
            tmp_path,
            study=Study(more_whole=[(RIVALS, rivals)]),
            settings=SETTINGS,
        )
        return content(tmp_path)

    before = again()
    assert again() == before and made == ["rivals"]
    (tmp_path / "rivals.parquet").write_bytes(b"damaged")
    (tmp_path / "rivals.csv").unlink()
    assert again() == before and made == ["rivals", "rivals"]
    manifest = {key: value for key, value in read(tmp_path).items() if key != "finished"}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    assert again() == before and made == ["rivals"] * 3


@pytest.mark.usefixtures("measured_once")
def test_a_report_that_fails_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write_report(out: Path) -> None:
        assert (out / "results.parquet").exists() and (out / "thumbnails.parquet").exists()
        raise RuntimeError("no ink")

    monkeypatch.setattr("purescope.report.writing.write_report", write_report)
    with pytest.warns(UserWarning, match=r"no report: no ink; `purescope report .*` draws it"):
        table = run_sweep(MODELS, DATA[:1], tmp_path, settings=SETTINGS, report=True).table(
            "results"
        )
    assert len(table) and "finished" in read(tmp_path)


def test_what_is_noted_while_loading_stands_in_the_manifest_once(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "f.npz",
        image=rows(12, 1).numpy(),
        text=rows(3, 2).numpy(),
        labels=np.arange(12) % 3,
    )
    for _ in range(2):
        with pytest.warns(UserWarning, match="does not say which model made it") as told:
            run(
                [model("a", 0)],
                [f"features:{tmp_path / 'f.npz'}"],
                tmp_path / "out",
                settings=SETTINGS,
            )
        assert len([note for note in told if "does not say which model" in str(note.message)]) == 1
        notes = json.loads((tmp_path / "out" / "manifest.json").read_text())["notes"]
        assert len([note for note in notes if "does not say which model made it" in note]) == 1


def test_notes_of_what_was_done_before_are_told_again(tmp_path: Path) -> None:
    lonely = replace(
        DATA[0], labels=torch.arange(12), text=rows(12, 1), classes=tuple("abcdefghijkl")
    )
    with (
        pytest.MonkeyPatch.context() as patch,
        pytest.raises(StopHere),
    ):
        stop_after(1, patch)
        run_sweep(MODELS, [lonely], tmp_path, settings=SETTINGS)
    with pytest.warns(UserWarning, match="no silhouette") as told:
        run_sweep(MODELS, [lonely], tmp_path, settings=SETTINGS)
    sentences = [str(warning.message) for warning in told]
    assert sorted(s[:12] for s in sentences if "no silhouette" in s) == [
        "One on first",
        "Two on first",
    ]


def small_set(**changes: Any) -> Dataset:
    made = Dataset(
        name="pictures", spec="made by hand", classes=("a", "b"), labels=torch.arange(8) % 2,
        images=[Image.new("RGB", (2, 2), (shade, 0, 9)) for shade in range(8)],
        display_names=("a", "b"), templates=("a {}.",), source={}, fingerprint="0",
    )  # fmt: skip
    return replace(made, **changes)


def test_notes_of_data_stand_in_the_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was told when a set was loaded, by the run or before it; told once, and kept when the
    run is made again.
    """

    def load(spec: str, sources: Sources) -> Dataset:
        warnings.warn("pictures are not whole", stacklevel=2)
        return small_set(notes=("pictures are not whole",))

    monkeypatch.setattr(inputs, "named_dataset", load)
    for data, loaded in (("pictures", True), (small_set(notes=("pictures are not whole",)), False)):
        for _ in range(2):
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                run_sweep(MODELS[:1], [data], tmp_path / str(loaded), settings=SETTINGS)
            assert [str(one.message) for one in told].count("pictures are not whole") == loaded
            assert read(tmp_path / str(loaded))["notes"].count("pictures are not whole") == 1


@pytest.mark.usefixtures("measured_once")
@pytest.mark.parametrize("how", ["overwrite", "another version", "no table"])
def test_everything_is_measured_anew(how: str, tmp_path: Path, measured: list[Any]) -> None:
    run_sweep(MODELS[:1], DATA[:2], tmp_path, settings=SETTINGS)
    measured.clear()
    manifest = tmp_path / "manifest.json"
    if how == "another version":
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"purescope": "0.0.1"}))
        with pytest.warns(
            UserWarning,
            match=r"measured anew, since its versions differ: purescope 0\.0\.1 there, 0\.1",
        ):
            run_sweep(MODELS[:1], DATA[:2], tmp_path, settings=SETTINGS)
    elif how == "no table":
        (tmp_path / "results.parquet").unlink()
        with pytest.warns(UserWarning, match=r"measured anew, since no results\.parquet"):
            run_sweep(MODELS[:1], DATA[:2], tmp_path, settings=SETTINGS)
    else:
        run_sweep(MODELS[:1], DATA[:2], tmp_path, settings=SETTINGS, overwrite=True)
    assert len(measured) == 2


def test_a_finished_run_is_read_again(tmp_path: Path, measured: list[Any]) -> None:
    first = run_sweep(MODELS[:1], DATA, tmp_path, settings=SETTINGS)
    before = content(tmp_path)
    measured.clear()
    again = run_sweep(MODELS[:1], DATA, tmp_path, settings=SETTINGS)
    assert list(again.tables) == list(first.tables)
    for name, table in first.tables.items():
        pd.testing.assert_frame_equal(again.tables[name], table, check_exact=True)
    assert measured == []
    assert content(tmp_path) == before
    with pytest.raises(OutputError, match="its settings differ"):
        run_sweep(MODELS[:1], DATA, tmp_path, settings=replace(SETTINGS, seed=3))


def test_progress_is_not_shown_for_what_needs_no_encoding(tmp_path: Path) -> None:
    def progress(iterable: Iterable[Any], label: str, total: int) -> Iterator[Any]:
        raise AssertionError(label)

    run_sweep(MODELS, DATA[:1], tmp_path, settings=SETTINGS, progress=progress)


def test_a_model_without_projection_is_refused_before_anything_is_encoded(tmp_path: Path) -> None:
    bare = replace(MODELS[0], weight_space="its image tower ends in a pooling")
    with pytest.raises(
        ModelError, match=r"One: its image tower ends in a pooling\n.*\n.*--space activations"
    ):
        run_sweep([bare], DATA, tmp_path / "out", settings=SETTINGS)
    assert not (tmp_path / "out").exists()
    table = run_sweep(
        [bare], DATA, tmp_path / "out", settings=replace(SETTINGS, space="centred")
    ).table("results")
    assert set(table.space) == {"centred"}


def test_a_doubtful_result_is_told_and_recorded(tmp_path: Path) -> None:
    eye = torch.eye(3, NEURONS)
    shifted = replace(
        DATA[0], image=eye.repeat(20, 1), text=eye[[1, 2, 0]], labels=torch.arange(60) % 3
    )
    with pytest.warns(
        UserWarning, match=r"One on first: .*are the class names in the right order\?"
    ):
        run_sweep(MODELS[:1], [shifted], tmp_path, settings=SETTINGS)
    assert "right order?" in " ".join(json.loads((tmp_path / "manifest.json").read_text())["notes"])


# --- features that someone else made


def made_by(model: Model, **identity: str) -> Features:
    told = {f"model_{key}": value for key, value in model.identity.items()}
    return replace(DATA[0], identity={**told, "protocol": "native", **identity})


@pytest.mark.parametrize(
    ("features", "settings", "says"),
    [
        (made_by(MODELS[1]), SETTINGS, "not those of One: their weights differ"),
        (
            made_by(MODELS[0], protocol="paper"),
            SETTINGS,
            "under protocol paper, not native(?s:.*)--protocol paper",
        ),
        (
            made_by(MODELS[0]),
            replace(SETTINGS, protocol="paper"),
            "under protocol native, not paper",
        ),
    ],
)
def test_features_of_something_else_are_refused_before_anything_is_measured(
    features: Features, settings: Settings, says: str, tmp_path: Path, measured: list[Any]
) -> None:
    with pytest.raises(InputError, match=says):
        run_sweep(MODELS[:1], [DATA[1], features], tmp_path / "out", settings=settings)
    assert not measured and not (tmp_path / "out").exists()
    with pytest.raises(InputError, match=says):
        features_of(MODELS[0], features, settings, Sources(), quiet)


def test_features_are_taken_whatever_precision_they_were_made_in_unless_one_is_named(
    tmp_path: Path,
) -> None:
    here = replace(MODELS[0], identity={**MODELS[0].identity, "precision": "fp32"})
    there = made_by(here, model_precision="bf16", model_format="another")
    run_sweep([here], [there], tmp_path / "auto", settings=SETTINGS)
    with pytest.raises(InputError, match="their precision differ"):
        run_sweep([here], [there], tmp_path / "fp32", settings=replace(SETTINGS, precision="fp32"))


def test_a_file_that_does_not_say_what_made_it_is_told_once(tmp_path: Path) -> None:
    file = save_features(DATA[0], tmp_path / "mine.npz")
    with pytest.warns(UserWarning) as told:
        run_sweep(MODELS, [f"mine=features:{file}"], tmp_path / "out", settings=SETTINGS)
    sentences = [str(warning.message) for warning in told]
    told_of = [sentence for sentence in sentences if "does not say which model made it" in sentence]
    assert len(told_of) == 1 and told_of[0].startswith(f"features:{file} ")


def test_features_alone_are_ranked_by_their_activations(tmp_path: Path) -> None:
    arrays = {name: getattr(DATA[0], name).numpy() for name in ("image", "text", "labels")}
    named = tmp_path / "mine.npz"
    np.savez(
        named,
        **arrays,
        classes=[f"c{i}" for i in range(len(DATA[0].text))],
        model="My encoder",
        dataset="pets",
    )
    settings = replace(SETTINGS, space="activations")
    table = run_sweep([], [f"features:{named}"], tmp_path / "out", settings=settings).table(
        "results"
    )
    notes = json.loads((tmp_path / "out" / "manifest.json").read_text())["notes"]
    assert not [
        note for note in notes if "does not say which model" in note
    ]  # there is none that they must fit
    direct = ps_sweep(
        read_features(named), space="activations", keep=settings.keep, draws=settings.draws
    )
    assert set(table.model) == {"My encoder"} and set(table.dataset) == {"pets"}
    same = ["strategy", "draw", "k", "metric", "value"]
    pd.testing.assert_frame_equal(table[same], direct[same])
    assert VOCABULARY not in set(read_table(tmp_path / "out", WORDS).dataset)
    again = content(tmp_path / "out")
    run_sweep([], [f"features:{named}"], tmp_path / "out", settings=settings)
    assert {
        name: made for name, made in content(tmp_path / "out").items() if name.endswith(".csv")
    } == {name: made for name, made in again.items() if name.endswith(".csv")}


def test_a_run_without_models_says_when_it_needs_one(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="space activations"):
        run_sweep([], [DATA[0]], tmp_path / "out", settings=SETTINGS)
    with pytest.raises(ModelError, match="no MODEL was named"):
        run_sweep([], [], tmp_path / "out", settings=SETTINGS)
    assert not (tmp_path / "out").exists()


def test_features_of_another_width_are_refused_before_the_folder_is_taken(tmp_path: Path) -> None:
    wide = replace(MODELS[0], neurons=MODELS[0].neurons + 1)
    with pytest.raises(InputError, match=r"neurons(.|\n)*to fix: +name the model that made them"):
        run_sweep([wide], [DATA[0]], tmp_path / "out", settings=SETTINGS)
    assert not (tmp_path / "out").exists()
    run_sweep([MODELS[0]], [DATA[0]], tmp_path / "out", settings=SETTINGS)


def test_other_features_of_the_same_shape_are_another_run(tmp_path: Path) -> None:
    run_sweep(MODELS, DATA[:1], tmp_path, settings=SETTINGS)
    other = replace(DATA[1], dataset=DATA[0].dataset)
    with pytest.raises(OutputError, match="its datasets differ"):
        run_sweep(MODELS, [other], tmp_path, settings=SETTINGS)


# --- words that would not be used


@pytest.mark.parametrize("name", ["classnames", "templates"])
def test_words_that_would_not_be_used_are_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "words.json").write_text('["a {c}", "b {c}"]')
    file = save_features(made_by(MODELS[0]), tmp_path / "mine.npz")
    sources = Sources(**{name: tmp_path / "words.json"})  # type: ignore[arg-type]
    for spec, settings in (
        (f"features:{file}", SETTINGS),
        ("bundled:flags", replace(SETTINGS, protocol="paper")),
    ):
        with pytest.raises(InputError, match=f"--{name} would not be used"):
            run_sweep(MODELS[:1], [spec], tmp_path / "out", settings=settings, sources=sources)
    assert not (tmp_path / "out").exists()


def test_the_manifest_has_the_prompts_that_were_used(tmp_path: Path) -> None:
    images = [Image.new("RGB", (2, 2), (i, 9 * i, 255 - i)) for i in range(12)]
    pets = Dataset(
        "pets",
        "",
        ("a_b", "c"),
        torch.arange(12) % 2,
        images,
        ("a b", "c"),
        ("two {}.", "{}!"),
        {},
        "x",
    )
    for protocol, templates in (("native", ["two {}.", "{}!"]), ("paper", ["a photo of a {}"])):
        run_sweep(
            MODELS[:1], [pets], tmp_path / protocol, settings=replace(SETTINGS, protocol=protocol)
        )
        assert read(tmp_path / protocol)["datasets"][0]["templates"] == templates
    names = [read(tmp_path / protocol)["datasets"][0]["names"] for protocol in ("native", "paper")]
    assert names[0] != names[1]


# --- the folder


def test_overwriting_leaves_nothing_of_the_run_before(out: Path, tmp_path: Path) -> None:
    run_sweep(MODELS[1:], DATA[:1], tmp_path / "alone", settings=SETTINGS)
    figures = [tmp_path / "out" / "figures" / f"purity_gap_first.{end}" for end in ("png", "svg")]
    others = [
        tmp_path / "out" / name
        for name in ("notes.csv", "result_mine/notes.txt", "figures/mine.png")
    ]
    for path in (*figures, *others, tmp_path / "out" / "nulls.parquet"):
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
    run_sweep(MODELS[1:], DATA[:1], tmp_path / "out", settings=SETTINGS, overwrite=True)
    left = content(tmp_path / "out")
    assert left == content(tmp_path / "alone") | {
        path.relative_to(tmp_path / "out").as_posix(): b"x" for path in others
    }
    assert not (tmp_path / "out" / "result_one").exists()


@pytest.mark.usefixtures("measured_once")
def test_a_finished_run_mends_what_was_lost_or_damaged(
    whole: Path, out: Path, measured: list[Any]
) -> None:
    (out / "results.csv").write_text("junk")
    for name in ("curves.csv", "confusions.csv", "cosines_two.npz", "neurons.parquet"):
        (out / name).unlink()
    (out / "thumbnails.parquet").write_bytes(b"junk")
    shutil.rmtree(out / "result_one")
    run_sweep(MODELS, DATA, out, settings=SETTINGS)
    assert content(out) == content(whole)
    assert measured == []


DAMAGED = {
    "timings": [[1], [{}], ["abc"], "abc", 3, {"a": 1}, [{"model": ["One"], "dataset": {}}]],
    "notes": [3, None, [{}], "abc", {}],
}


@pytest.mark.usefixtures("measured_once")
@pytest.mark.parametrize(
    ("key", "value"), [(key, value) for key, values in DAMAGED.items() for value in values]
)
def test_a_damaged_manifest_is_refused_until_it_may_be_replaced(
    key: str, value: Any, single: Path, tmp_path: Path, measured: list[Any]
) -> None:
    """By the run and by the report, in the same words: nothing says whose the tables are."""
    shutil.copytree(single, tmp_path, dirs_exist_ok=True)
    before, manifest = content(tmp_path), read(tmp_path)
    (tmp_path / "manifest.json").write_text(json.dumps(manifest | {key: value}))
    for use in (
        lambda: run_sweep(MODELS[:1], DATA[:1], tmp_path, settings=SETTINGS),
        lambda: write_report(tmp_path),
    ):
        with pytest.raises(
            OutputError, match=rf"manifest\.json {key} is not a list of {key}(?s:.*)--overwrite"
        ):
            use()
    assert not measured and content(tmp_path) == before
    run_sweep(MODELS[:1], DATA[:1], tmp_path, settings=SETTINGS, overwrite=True)
    assert len(measured) == 1 and content(tmp_path) == before
    assert isinstance(read(tmp_path)["timings"][0]["seconds"], dict)


def test_a_pair_may_have_no_row_in_a_table(tmp_path: Path) -> None:
    """As correlations are empty where a model has no projection; it is not measured again and again
    for that.
    """
    calls = []

    def pair_tables(measured: Measured, tables: Tables) -> Tables:
        calls.append(measured.features.dataset)
        return {"nulls": pd.DataFrame(columns=[*NULLS.columns])}

    for _ in range(2):
        study = Study(pair_tables, [NULLS])
        tables = run(MODELS[:1], DATA[:2], tmp_path, study=study, settings=SETTINGS).tables
        assert tables["nulls"].empty and len(tables["results"])
    assert calls == ["first", "second"]


def test_what_a_kill_left_is_removed(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    before = content(tmp_path)
    for path in [path for path in tmp_path.rglob("*") if path.is_file()]:
        with suppress(KeyboardInterrupt), monkey_killed(), atomic_path(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt
    assert (
        len([path for path in tmp_path.rglob(".*") if path.is_file()]) == len(before) + 1
    )  # and the manifest
    (tmp_path / ".mine.csv").write_text("x")
    run_sweep(MODELS, DATA, tmp_path, settings=SETTINGS)
    assert content(tmp_path) == before | {".mine.csv": b"x"}


@contextmanager
def monkey_killed() -> Iterator[None]:
    """Nothing is cleaned up, as after a kill."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "unlink", lambda *_, **__: None)
        yield


def test_a_run_is_the_same_however_it_is_spelt(
    tmp_path: Path, measured: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        path = tmp_path / "pets" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (2, 2), (40 * number, 0, 0)).save(path)
    (tmp_path / "words.json").write_text('["cat", "dog"]')
    monkeypatch.chdir(tmp_path)
    for root in ("", f"{tmp_path}/", "./"):
        sources = Sources(classnames=f"{root}words.json")
        run_sweep(
            [replace(MODELS[0], spec=root)],
            [f"folder:{root}pets"],
            "out",
            settings=SETTINGS,
            sources=sources,
        )
    assert len(measured) == 1
    assert read(tmp_path / "out")["datasets"][0]["spec"] == "folder:./pets"


@pytest.mark.parametrize("name", ["x" * 101, "é" * 51, "\udcff", "a/b", " ", VOCABULARY])
def test_a_name_that_makes_no_file_is_refused_before_anything_is_measured(
    name: str, tmp_path: Path, measured: list[Any]
) -> None:
    with pytest.raises(ModelError, match="part of a file name"):
        run_sweep([replace(MODELS[0], label=name)], DATA, tmp_path / "out", settings=SETTINGS)
    with pytest.raises(DatasetError, match="part of a file name"):
        run_sweep(MODELS, [replace(DATA[0], dataset=name)], tmp_path / "out", settings=SETTINGS)
    assert not measured and not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["caf\udce9", "x" * 300])
def test_a_folder_that_cannot_be_is_refused_before_anything_is_measured(
    name: str, tmp_path: Path, measured: list[Any]
) -> None:
    with pytest.raises(OutputError, match="choose another --out"):
        run_sweep(MODELS, DATA, tmp_path / name, settings=SETTINGS)
    assert not measured


def test_the_longest_names_make_files(tmp_path: Path) -> None:
    run_sweep(
        [replace(MODELS[0], label="é" * 50)],
        [replace(DATA[0], dataset="x" * 100)],
        tmp_path,
        settings=SETTINGS,
    )
    assert len(list(tmp_path.glob("result_*/*_vs_sam.csv"))) == 2


def test_a_path_that_is_no_text_stands_in_the_manifest(tmp_path: Path, measured: list[Any]) -> None:
    odd = replace(MODELS[0], spec="One=caf\udce9.pt")
    for _ in range(2):
        run_sweep([odd], DATA[:1], tmp_path, settings=SETTINGS)
    assert len(measured) == 1
    assert read(tmp_path)["models"][0]["spec"] == odd.spec


def test_the_attribution_is_asked_as_often_as_is_said(tmp_path: Path) -> None:
    """By default where it takes seconds; a folder with another answer is another run's."""
    made = plant(1.0, neurons=NEURONS, images=60, classes=3, signal=1.0)
    features = replace(made.features, model="One")
    drawn = {}
    for rotations in (None, 0, 3):
        out = tmp_path / str(rotations)
        run_sweep(MODELS[:1], [features], out, settings=SETTINGS, rotations=rotations)
        drawn[rotations] = read_table(out, ATTRIBUTIONS).null.value_counts().to_dict()
        assert read(out)["settings"]["rotations"] == rotations
    assert drawn == {
        None: {"none": 1, "rotation": 200, "norms": 200},
        0: {},
        3: {"none": 1, "rotation": 3, "norms": 3},
    }
    with pytest.raises(OutputError, match="rotations"):
        run_sweep(MODELS[:1], [features], tmp_path / "0", settings=SETTINGS, rotations=3)
