"""A rebased model is the same model: every cosine stays, and its folder holds the rotation."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import purescope as ps
from purescope.errors import InputError, ModelError, OutputError
from purescope.features.cache import default_folder
from purescope.features.features import Features
from purescope.maths.scores import StrategyInput
from purescope.models import find_towers
from purescope.reduce.fitting import fit_to_moments, measure_moments
from purescope.reduce.rotation import fit_rotation, read_rotation
from purescope.runs.rotations import rebase
from tests.checkpoints import laclip_tensors, write_laclip
from tests.maths.test_overlaps import signed
from tests.reduce.test_cutting import cosines, embeddings, load
from tests.reduce.test_shrinking import LONG, WRITERS, small_blocks

__all__ = ["small_blocks"]  # a block of vectors has few rows in this file too

NEURONS = 24


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_laclip(tmp_path_factory.mktemp("model") / "m.pt", laclip_tensors(depth=1))


@pytest.fixture
def features(tmp_path: Path) -> Path:
    image, text = (signed(rows, NEURONS, seed=rows).float() for rows in (40, 3))
    made = Features(image, text, torch.arange(40) % 3)
    return ps.save_features(made, tmp_path / "mine.npz")


def test_a_rotated_model_says_how_it_was_made(model: Path, tmp_path: Path) -> None:
    rotation = rebase(str(model), axes="cross", out=tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "model.safetensors",
        "purescope_laclip.json",
        "rotation.safetensors",
    ]
    towers, copy = find_towers(str(model))[0], find_towers(str(tmp_path / "out"))[0]
    whole, rotated = cosines(*embeddings(towers)), cosines(*embeddings(copy))
    torch.testing.assert_close(rotated, whole, rtol=0, atol=1e-5)
    assert rotated.argmax(dim=1).equal(whole.argmax(dim=1))
    written = read_rotation(tmp_path / "out")
    assert written.image.equal(rotation.image)
    assert rotation.recipe == {
        "axes": "cross",
        "neurons": "24",
        "kept": "24",
        "model": "m",
        "model_weights": towers.identity["weights"],
        "fitted_on": "weights",
        "seed": "0",
    }
    # Fitted to a rotated model, the axes are its neurons already.
    again = rebase(str(tmp_path / "out"), axes="cross", out=tmp_path / "again")
    np.testing.assert_allclose(again.image.abs(), torch.eye(NEURONS), atol=1e-3)


@pytest.mark.slow
def test_the_bundled_model_keeps_every_answer(tmp_path: Path) -> None:
    rebase("bundled:clip", out=tmp_path / "out")
    flags = ps.load_dataset("bundled:flags")
    images = [flags.images[place] for place in range(0, 457, 8)]
    dataset = replace(flags, labels=flags.labels[::8], images=images, fingerprint="some of flags")
    whole, rotated = (
        ps.extract(
            ps.load_model(name, device="cpu"), dataset, protocol="paper", cache=default_folder()
        )
        for name in ("bundled:clip", str(tmp_path / "out"))
    )
    logits, turned = (one.image.double() @ one.text.double().T for one in (whole, rotated))
    torch.testing.assert_close(turned, logits, rtol=0, atol=1e-5)
    assert turned.argmax(dim=1).equal(logits.argmax(dim=1))


def test_axes_are_fitted_to_embeddings_in_place_of_weights(
    model: Path, features: Path, tmp_path: Path
) -> None:
    with pytest.warns(UserWarning, match="does not say which model made it"):
        rotation = rebase(str(model), data=[f"features:{features}"], out=tmp_path / "out")
    weights = fit_rotation("svd", _input(model))
    alone = rebase(data=[f"features:{features}"], out=tmp_path / "alone")
    assert rotation.image.equal(alone.image)
    assert not torch.allclose(rotation.image, weights.image, atol=0.1)
    assert rotation.recipe["fitted_on"] == "dataset"
    assert rotation.recipe["fitted_on_images"].startswith("40 (")
    assert rotation.recipe["fitted_on_texts"].startswith("3 (")


def test_embeddings_of_another_model_are_refused(model: Path, tmp_path: Path) -> None:
    identity = {"model_weights": "of another", "protocol": "paper"}
    rows = signed(9, NEURONS).float()
    other = Features(rows, rows[:3], torch.arange(9) % 3, identity=identity)
    file = ps.save_features(other, tmp_path / "other.npz")
    with pytest.raises(InputError, match="are not those of m: their weights differ"):
        rebase(str(model), data=[f"features:{file}"], out=tmp_path / "out")
    own = {**identity, "model_weights": find_towers(str(model))[0].identity["weights"]}
    made = Features(rows, rows[:3], torch.arange(9) % 3, dataset="nine", identity=own)
    rotation = rebase(str(model), data=[made], out=tmp_path / "out")
    assert rotation.recipe["fitted_on"] == "nine"


def _input(model: Path) -> StrategyInput:
    weights = find_towers(str(model))[0].weight_space
    assert not isinstance(weights, str)
    return StrategyInput(weights)


def test_embeddings_alone_give_a_rotation_alone(tmp_path: Path) -> None:
    rows = signed(60, 5)
    for number, part in enumerate(np.split(rows.numpy(), 3)):
        (tmp_path / "vectors").mkdir(exist_ok=True)
        np.save(tmp_path / "vectors" / f"{number}.npy", part.astype(np.float32))
    data = [f"mine=features:{tmp_path / 'vectors'}"]
    rotation = rebase(data=data, out=tmp_path / "out", normalise=False)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["rotation.safetensors"]
    left = np.linalg.svd(rows.numpy(), full_matrices=False)[1]
    spectrum = left**2 / (left**2).sum()
    np.testing.assert_allclose(rotation.spectrum, spectrum, rtol=1e-4)
    assert rotation.recipe["fitted_on"] == "mine" and rotation.recipe["rows"] == "as they are"
    half = rebase(data=data, out=tmp_path / "half", fit_on=0.5, seed=3)
    assert half.recipe["part"] == "0.5" and half.recipe["seed"] == "3"
    assert 15 < int(half.recipe["fitted_on_images"].split()[0]) < 45
    twice = rebase(data=data * 2, out=tmp_path / "twice", normalise=False)
    torch.testing.assert_close(twice.spectrum, rotation.spectrum)
    assert twice.recipe["fitted_on_images"].startswith("120 (")


@pytest.mark.parametrize(("name", "write"), WRITERS.items())
@pytest.mark.parametrize("fit_on", [1.0, 0.5])
def test_the_rotation_is_the_same_from_every_format(
    name: str, write: Callable[[Path], None], fit_on: float, tmp_path: Path
) -> None:
    """And so are the rows that a seed draws."""
    np.save(tmp_path / "rows.npy", LONG)
    write(tmp_path / name)
    options = {"array": "vector"} if name.endswith((".npz", ".safetensors")) else {}
    first, second = (
        rebase(data=[f"v=features:{tmp_path / file}"], out=tmp_path / out, fit_on=fit_on, **named)
        for file, out, named in (("rows.npy", "a", {}), (name, "b", options))
    )
    assert first.recipe == second.recipe and first.image.equal(second.image)
    one_block = measure_moments([torch.from_numpy(LONG)], part=fit_on)
    assert first.recipe["fitted_on_images"] == f"{one_block.rows} ({one_block.digest})"


def test_a_folder_of_clip_retrieval_has_vectors_of_both_towers(tmp_path: Path) -> None:
    rows = {"img_emb": signed(40, 6).float(), "text_emb": signed(30, 6, seed=1).float()}
    for tower, own in rows.items():
        (tmp_path / "laion" / tower).mkdir(parents=True)
        for first in range(2):
            file = tmp_path / "laion" / tower / f"{tower}_{first}.npy"
            np.save(file, own.split(20)[first].numpy())
    data = [f"features:{tmp_path / 'laion'}"]
    rotation = rebase(data=data, axes="cross", out=tmp_path / "out")
    moments = [measure_moments([own]) for own in rows.values()]
    assert rotation.image.equal(fit_to_moments("cross", *moments).image)
    assert rotation.recipe["fitted_on"] == "laion"
    np.save(file, np.ones((3, 5), np.float32))
    with pytest.raises(InputError, match="holds vectors of 5 dimensions"):
        rebase(data=data, out=tmp_path / "other")
    np.save(tmp_path / "laion" / "text_emb" / "text_emb_0.npy", np.ones((3, 5), np.float32))
    with pytest.raises(InputError, match="6 dimensions in img_emb, 5 in text_emb"):
        rebase(data=data, out=tmp_path / "other")


def test_nothing_is_written_where_something_is_wrong(
    model: Path, features: Path, tmp_path: Path
) -> None:
    pytest.importorskip("transformers")
    out = tmp_path / "out"
    np.save(tmp_path / "wide.npy", np.ones((3, 99), dtype=np.float32))
    wide, mine = f"features:{tmp_path / 'wide.npy'}", f"features:{features}"
    siglip = tmp_path / "siglip"
    siglip.mkdir()
    load(siglip, "hf siglip")
    for arguments, error, message in (
        ({"model": None}, InputError, "no MODEL and no --data"),
        ({"model": None, "data": ["bundled:flags"]}, ModelError, "no MODEL was named"),
        ({"model": str(model), "axes": "best"}, InputError, "unknown axes 'best'"),
        ({"model": str(model), "axes": "pca"}, InputError, "pca without image features"),
        ({"model": str(model), "data": [wide]}, InputError, "have 99 dimensions, m 24"),
        ({"model": None, "data": [mine, wide]}, InputError, "24 and 99 dimensions"),
        ({"model": None, "data": [wide], "axes": "cross"}, InputError, "cross of one collection"),
        ({"model": None, "data": [wide], "fit_on": 2.0}, InputError, "2.0 of the rows"),
        ({"model": str(siglip / "model")}, ModelError, "without a linear map"),
    ):
        with pytest.raises(error, match=message):
            rebase(**{"out": out, **arguments})  # type: ignore[arg-type]
        assert not out.exists()
    (out / "mine").mkdir(parents=True)
    with pytest.raises(OutputError, match="out: holds mine"):
        rebase(str(model), out=out)
