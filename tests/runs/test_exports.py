"""An export keeps the first dimensions of what is asked for, in every form at once, or nothing."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import purescope as ps
from purescope.errors import InputError, ModelError, OutputError, PurescopeError
from purescope.models import find_towers
from purescope.reduce.rotation import read_rotation
from purescope.runs.exports import export
from purescope.runs.rotations import rebase
from tests.checkpoints import laclip_tensors, write_laclip, write_open_clip
from tests.maths.test_overlaps import signed
from tests.models.test_open_clip import CONFIGS
from tests.reduce.test_cutting import embeddings, load

NEURONS = 24


@pytest.fixture(scope="module")
def laclip(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("model") / "m.pt"
    return str(write_laclip(path, laclip_tensors(depth=1)))


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model") / "vit"
    write_open_clip(folder, CONFIGS["vit"])
    return str(folder)


def kept(folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    return embeddings(find_towers(str(folder))[0])


@pytest.mark.slow
def test_every_form_of_a_plain_model(vit: str, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    forms = ["open_clip", "transformers", "rotation"]
    folders = export(vit, keep=6, to=forms, out=tmp_path / "out")
    assert folders == {form: (tmp_path / "out" / form).resolve() for form in forms}
    rotation = read_rotation(folders["rotation"])
    whole = embeddings(find_towers(vit)[0])
    for form in ("open_clip", "transformers"):
        for tower, rows, given in zip(("image", "text"), kept(folders[form]), whole, strict=True):
            expected = rotation.apply(given, tower=tower)
            torch.testing.assert_close(
                torch.nn.functional.normalize(rows, dim=1), expected, rtol=0, atol=1e-5
            )
    for form in forms:
        card = (folders[form] / "README.md").read_text()
        assert "6 of 24 dimensions" in card
        assert f"--keep 6 --to {','.join(forms)} --axes svd --out DIR" in card
        assert "--strategies svd --keep 6 --renormalise --out results" in card


@pytest.mark.slow
def test_sentence_transformers(vit: str, tmp_path: Path) -> None:
    """For ONNX see the test of its form."""
    form = "sentence-transformers"
    pytest.importorskip("sentence_transformers")
    folder = export(vit, keep=6, to=form, out=tmp_path / "out")[form]
    assert (folder / "README.md").is_file() and len(list(folder.iterdir())) > 2


@pytest.mark.slow
def test_a_siglip_gets_a_linear_map_behind_it(tmp_path: Path) -> None:
    library = pytest.importorskip("sentence_transformers")
    load(tmp_path, "hf siglip")
    rows = signed(60, 48).float()
    np.save(tmp_path / "rows.npy", rows)
    model, data = str(tmp_path / "model"), [f"features:{tmp_path / 'rows.npy'}"]
    with pytest.raises(ModelError, match=r"ends? without(?s:.*)--data DATASET"):
        export(model, keep=6, to="sentence-transformers", out=tmp_path / "out")
    forms = ("sentence-transformers", "rotation")
    folders = export(model, keep=6, to=forms, data=data, out=tmp_path / "out")
    theirs = library.SentenceTransformer(str(folders["sentence-transformers"]), device="cpu")
    sentences = ["a photo of a cat", "a red flag"]
    whole = ps.load_model(model, device="cpu").encode_text(sentences)
    expected = read_rotation(folders["rotation"]).apply(whole, tower="text")
    np.testing.assert_allclose(theirs.encode(sentences), expected, atol=1e-5)


def test_neurons_of_an_order(laclip: str, tmp_path: Path) -> None:
    towers, _ = find_towers(laclip)
    whole, weights = embeddings(towers), towers.weight_space
    assert isinstance(weights, ps.Projections)
    order = ps.order_neurons(weights, "high_purity")
    (tmp_path / "order.txt").write_text("\n".join(map(str, order.tolist())))
    for number, given in enumerate(("high_purity", tmp_path / "order.txt", order.tolist())):
        folders = export(laclip, keep=4, order=given, out=tmp_path / f"out{number}")
        assert list(folders) == ["purescope", "rotation"]
        for rows, all_rows in zip(kept(folders["purescope"]), whole, strict=True):
            torch.testing.assert_close(rows, all_rows[:, order[:4]], rtol=1e-5, atol=1e-6)
    card = (tmp_path / "out0" / "rotation" / "README.md").read_text()
    assert "--order high_purity --out DIR" in card and "--strategies high_purity" in card
    assert "--strategies" not in (tmp_path / "out1" / "rotation" / "README.md").read_text()


def test_a_rotation_of_this_model(laclip: str, tmp_path: Path) -> None:
    rotation = rebase(laclip, axes="random_rotation", seed=5, out=tmp_path / "rotated")
    for given in (tmp_path / "rotated", rotation):
        out = tmp_path / f"out{isinstance(given, Path)}"
        folder = export(laclip, keep=3, rotation=given, to="rotation", out=out)["rotation"]
        assert read_rotation(folder).image.equal(rotation.image[:, :3])
    assert "--axes random_rotation --seed 5 --out DIR" in (folder / "README.md").read_text()
    other = write_laclip(tmp_path / "other.pt", laclip_tensors(depth=1, seed=1))
    with pytest.raises(InputError, match=r"is of m, with 24 neurons and other weights"):
        export(str(other), keep=3, rotation=rotation, out=tmp_path / "out")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"keep": 0}, InputError, r"0 dimensions to keep(?s:.*)1 to 24"),
        ({"keep": 25}, InputError, "25 dimensions to keep"),
        ({"to": "tensorflow"}, InputError, "unknown form 'tensorflow'"),
        ({"axes": "svd", "order": [1]}, InputError, "--axes and --order"),
        ({"order": [1], "data": ["bundled:flags"]}, InputError, "--data with --order"),
        ({"axes": "high_purity"}, InputError, r"unknown axes(?s:.*)--order high_purity"),
        ({"axes": "best"}, InputError, "unknown axes 'best'"),
        ({"order": "hi_purity"}, InputError, "did you mean 'high_purity'"),
        ({"order": "ape"}, InputError, "the order 'ape', which needs features of data"),
        ({"order": [1]}, InputError, "2 axes to keep"),
        ({"order": [1, 24]}, InputError, "with neuron 24"),
        ({"axes": "pca"}, InputError, "pca without image features"),
        ({"to": "rotation,open_clip"}, ModelError, "LaCLIP checkpoint has no open_clip form"),
        ({"rotation": "none"}, InputError, "there is no file none"),
    ],
)
def test_nothing_is_written_where_something_is_wrong(
    arguments: dict[str, Any],
    error: type[PurescopeError],
    message: str,
    laclip: str,
    tmp_path: Path,
) -> None:
    with pytest.raises(error, match=message):
        export(laclip, **{"keep": 2, "out": tmp_path / "out", **arguments})
    assert not list(tmp_path.iterdir())


def test_what_is_there_is_left_alone(laclip: str, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(OutputError, match="holds mine"):
        export(laclip, keep=2, out=tmp_path)
