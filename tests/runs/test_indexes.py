"""What is searched is opened by its name, whatever it is, and the folder has table and manifest."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import purescope as ps
from purescope.errors import InputError, MissingExtraError, ModelError, OutputError
from purescope.reduce.orders import order_rotation
from purescope.reduce.rotation import write_rotation
from purescope.reduce.searching import SearchSet
from purescope.runs import indexes
from purescope.runs.inputs import Sources
from purescope.runs.search_data import Search, expand, open_search
from purescope.studies.spectra import Spectrum, make_embeddings
from purescope.tables.searches import SEARCHES

WIDTH, ROWS = 8, 60
MADE = make_embeddings(ROWS, spectrum=Spectrum(neurons=WIDTH), topics=4)
SEARCH = Search(("f32",), "svd", "", 10, 1000, 20, True, 0, 100)
FEATURES = ps.Features(MADE.image, MADE.text[:4], MADE.labels, dataset="features")
CAPTIONS = ps.CaptionFeatures(MADE.image, MADE.text, torch.arange(ROWS), dataset="captions")


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    np.save("mine.npy", MADE.image.numpy())
    ps.save_features(FEATURES, "features.npz")
    ps.save_caption_features(CAPTIONS, "captions.npz")
    for tower, rows in (("img_emb", MADE.image), ("text_emb", MADE.text)):
        Path("laion", tower).mkdir(parents=True)
        np.save(Path("laion", tower, f"{tower}_0.npy"), rows.numpy().astype(np.float16))
    return tmp_path


def opened(item: Any, **options: Any) -> SearchSet:
    return open_search(item, None, replace(SEARCH, **options), Sources(), lambda items, *_: items)[
        0
    ]


@pytest.mark.filterwarnings("ignore:.*there are no captions")
def test_everything_is_opened_by_its_name(files: Path) -> None:
    for item, dataset, asked, task in (
        ("mine.npy", "mine", "held-out", ""),
        ("other=mine.npy", "other", "held-out", ""),
        ("features:mine.npy", "mine", "held-out", ""),
        ("features:features.npz", "features", "held-out", "same_label"),
        (FEATURES, "features", "held-out", "same_label"),
        ("captions:captions.npz", "captions", "text", "own_image"),
        (CAPTIONS, "captions", "text", "own_image"),
        ("laion", "laion", "text", "own_image"),
        ("features:laion", "laion", "text", "own_image"),
    ):
        given = opened(item)
        assert (given.dataset, given.asked, given.task) == (dataset, asked, task), item
        assert len(given.queries) == 10 and given.vectors.shape[1] == WIDTH
        assert len(given.vectors) == (ROWS if asked == "text" else ROWS - 10)


def test_queries_are_those_that_are_asked_for(files: Path) -> None:
    assert opened("captions:captions.npz", ask="held-out").task == ""
    given = opened("features:features.npz", ask="text")
    assert given.asked == "text" and torch.allclose(given.queries, FEATURES.text)
    with pytest.raises(InputError, match="no texts to ask with"):
        opened("mine.npy", ask="text")


def test_a_large_collection_is_sampled(files: Path) -> None:
    for item in ("mine.npy", FEATURES, CAPTIONS):
        with pytest.warns(UserWarning, match="a sample of [0-9]+ of its 60 vectors is searched"):
            given = opened(item, rows=20)
        assert len(given.vectors) == 20 + (given.asked == "held-out") * (10 - len(given.queries))


@pytest.mark.filterwarnings("ignore::UserWarning")  # of equal captions
def test_a_dataset_needs_a_model(files: Path) -> None:
    for item in ("bundled:flags", "captions:bundled:flags"):
        with pytest.raises(ModelError, match="no model to encode flags"):
            opened(item)


def test_a_folder_of_results_stands_for_its_data(files: Path) -> None:
    Path("swept").mkdir()
    manifest = {
        "purescope": "0",
        "models": [{"label": "a", "spec": "a.pt"}, {"label": "b", "spec": "b.pt"}],
        "datasets": [{"name": "c", "spec": "bundled:c"}],
    }
    Path("swept", "manifest.json").write_text(json.dumps(manifest))
    assert list(expand(["swept", "mine.npy"], None)) == [
        ("bundled:c", "a.pt"),
        ("bundled:c", "b.pt"),
        ("mine.npy", None),
    ]
    assert list(expand("swept", "own.pt")) == [("bundled:c", "own.pt")]
    manifest["datasets"] = [{"name": "c", "spec": "features"}]
    Path("swept", "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=r"swept: these results do not name(?s:.*)features:PATH"):
        list(expand("swept", None))


@pytest.mark.filterwarnings("ignore:.*learns its codebooks")
def test_the_folder_has_table_and_manifest(files: Path) -> None:
    write_rotation(order_rotation([3, 1, 5], WIDTH, recipe={"axes": "mine"}), Path("axes.st"))
    results = ps.index(
        [CAPTIONS, "mine.npy"],
        out="out",
        by="axes.st",
        keep=3,
        codes="f32,pq2",
        queries=10,
        candidates=15,
        resamples=100,
        figures=False,
        report=False,
    )
    table = results.table("searches")
    assert len(table) == 8 and set(table["axes"]) == {"mine"} and set(table.k) == {3}
    assert table.dataset.unique().tolist() == ["captions", "mine"]
    assert sorted(path.name for path in Path("out").iterdir()) == [
        "manifest.json",
        "searches.csv",
        "searches.parquet",
    ]
    assert set(results.manifest["hashes"]) == {"searches.parquet"}
    assert results.manifest["datasets"][1]["name"] == "mine"
    assert any("pq learns its codebooks from 60 vectors" in note for note in results.notes)
    # By the definition: cosines of three dimensions, each caption against all images.
    short = [
        torch.nn.functional.normalize(rows[:, [3, 1, 5]], dim=1)
        for rows in (MADE.image, opened(CAPTIONS).queries)
    ]
    nearest = (short[1] @ short[0].T).topk(10).indices
    asked = opened(CAPTIONS).query_labels
    assert asked is not None
    found = (nearest == asked[:, None]).any(dim=1).double().mean()
    row = table[(table.code == "f32") & (table.stage == "single")].iloc[0]
    assert row.task == pytest.approx(float(found)) and row.task_metric == "own_image"
    with pytest.raises(OutputError, match="holds manifest"):
        ps.index("mine.npy", out="out")


def test_mistakes_are_answered(files: Path) -> None:
    np.save("few.npy", np.eye(8)[:4])
    for data, options, message in (
        ("gone.npy", {}, "there is no file or folder gone.npy"),
        ("few.npy", {}, "few: 4 vectors"),
        ([], {}, "no DATA"),
        ("mine.npy", {"codes": "f8"}, "unknown code 'f8'"),
        ("mine.npy", {"axes": "cross"}, "axes cross(?s:.*)--by DIR"),
        ("mine.npy", {"axes": "best"}, "unknown axes 'best'"),
        ("mine.npy", {"candidates": 9}, "candidates = 9"),
        ("mine.npy", {"queries": 1}, "queries = 1"),
        ("mine.npy", {"keep": 9}, "k = 9"),
        ("mine.npy", {"ask": "images"}, "ask 'images'"),
        ("mine.npy", {"by": order_rotation([0], 9)}, "a rotation of 9"),
    ):
        with pytest.raises(InputError, match=message):
            ps.index(data, out="out", **{"queries": 10, "codes": "f32", **options})
        assert not Path("out").exists()


def test_two_collections_of_one_name_are_refused(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexes, "measure_searches", lambda *_, **__: None)
    with pytest.raises(InputError, match="two collections called mine"):
        ps.index(["mine.npy", "mine.npy"], out="out", codes="f32")


def test_without_faiss_the_extra_is_named(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'purescope\[index\]'"):
        ps.index("mine.npy", out="out")


def test_axes_are_fitted_to_the_vectors_in_the_index(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def measured(given: SearchSet, rotation: ps.Rotation, **options: Any) -> Any:
        seen.append((given, rotation, options))
        raise InputError("stop")

    monkeypatch.setattr(indexes, "measure_searches", measured)
    for axes in ("svd", "first_k", "pca", "svd@2"):
        with pytest.raises(InputError, match="stop"):
            ps.index(FEATURES, out="nowhere", axes=axes, codes="f32")
    given, rotation, options = seen[0]
    _, lengths, expected = torch.linalg.svd(given.vectors.double(), full_matrices=False)
    cosines = (expected @ rotation.image.double()).diagonal().abs()
    assert torch.allclose(cosines, torch.ones(WIDTH).double(), atol=1e-4)
    assert rotation.spectrum.double() == pytest.approx(
        (lengths**2 / (lengths**2).sum()).tolist(), abs=1e-5
    )
    assert options["keep"] == list(range(1, WIDTH + 1))
    assert seen[1][1].image.equal(torch.eye(WIDTH))
    assert [rotation.recipe["axes"] for _, rotation, _ in seen[2:]] == ["pca", "svd@2"]
    assert SEARCHES.name == "searches"
