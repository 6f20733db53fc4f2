"""Rotations keep every logit, their prefix is their first axes, and their file is read safely."""

from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor

from purescope.errors import InputError
from purescope.maths.bases import BASES
from purescope.maths.overlaps import Projections, activation_space
from purescope.maths.scores import StrategyInput
from purescope.reduce.rotation import FILE, Rotation, fit_rotation, read_rotation, write_rotation
from tests.maths.test_overlaps import signed
from tests.maths.test_strategies import given_for

PROJECTIONS = Projections(signed(12, 9), signed(12, 20, seed=1))
GIVEN = given_for(PROJECTIONS)
EYE = torch.eye(3)


@pytest.mark.parametrize("axes", [*BASES, "svd@2", "cross@1"])
def test_all_axes_keep_every_logit(axes: str) -> None:
    assert GIVEN.image is not None and GIVEN.text is not None
    rotation = fit_rotation(axes, GIVEN, seed=3)
    image = rotation.apply(GIVEN.image, normalise=False)
    text = rotation.apply(GIVEN.text, tower="text", normalise=False)
    np.testing.assert_allclose(image @ text.T, GIVEN.image @ GIVEN.text.T, atol=1e-5)
    assert rotation.spectrum.sum().item() == pytest.approx(1, abs=1e-6)
    assert rotation.recipe["axes"] == axes and rotation.recipe["neurons"] == "12"


def test_the_spectrum_is_numpys_of_both_towers_of_equal_weight() -> None:
    towers = [tower.numpy() / np.linalg.norm(tower) for tower in vars(PROJECTIONS).values()]
    singular = np.linalg.svd(np.hstack(towers), compute_uv=False)
    spectrum = fit_rotation("svd", GIVEN).spectrum
    np.testing.assert_allclose(spectrum, singular**2 / 2, rtol=1e-5)
    assert fit_rotation("svd@2", GIVEN).spectrum[-2:].tolist() == pytest.approx(
        spectrum[[1, 0]].tolist()
    )


def test_a_rotation_fitted_on_embeddings_keeps_the_most_of_their_length() -> None:
    embeddings = signed(50, 12) * torch.linspace(1, 3, 12).double() + 2
    space = activation_space(embeddings, embeddings)
    rotation = fit_rotation("svd", StrategyInput(space)).keep(4)
    left = np.linalg.svd(embeddings.numpy(), compute_uv=False)[:4]
    kept = rotation.apply(embeddings, normalise=False)
    assert kept.square().sum().item() == pytest.approx((left**2).sum(), rel=1e-5)


def test_a_prefix_is_the_first_axes_and_says_so() -> None:
    rotation = fit_rotation("svd", GIVEN, model="clip")
    first = rotation.keep(5)
    assert (first.neurons, first.axes) == (12, 5)
    assert first.image.equal(rotation.image[:, :5]) and first.text.equal(rotation.text[:, :5])
    assert first.spectrum.equal(rotation.spectrum[:5])
    assert first.recipe == {"axes": "svd", "neurons": "12", "kept": "5", "model": "clip"}
    assert GIVEN.image is not None
    rows = first.apply(GIVEN.image)
    expected = GIVEN.image @ rotation.image[:, :5].double()
    np.testing.assert_allclose(rows, expected / expected.norm(dim=1, keepdim=True), atol=1e-6)


def test_a_row_of_zeros_stays_zeros() -> None:
    rotation = Rotation(EYE, EYE, torch.ones(3) / 3).keep(2)
    rows = rotation.apply(torch.tensor([[0.0, 0.0, 5.0], [3.0, 4.0, 5.0]]))
    assert rows.tolist() == [[0, 0], pytest.approx([0.6, 0.8])]


@pytest.mark.parametrize("k", [0, -1, 4])
def test_more_axes_than_there_are_cannot_be_kept(k: int) -> None:
    with pytest.raises(InputError, match=f"{k} axes to keep(?s:.*)1 to 3"):
        Rotation(EYE, EYE, torch.ones(3)).keep(k)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("image", "text", "message"),
    [
        (EYE.double(), EYE, "image is torch.float64"),
        (torch.ones(3), EYE, r"image is torch.float32 of shape \[3\]"),
        (torch.zeros(2, 3), EYE, r"image is torch.float32 of shape \[2, 3\]"),
        (EYE, 1.001 * EYE, "text holds axes whose products are wrong by 0.002"),
        (EYE, EYE * torch.nan, "text holds axes whose products are wrong by nan"),
        (EYE, torch.eye(4), r"shape \[3, 3\] for images, \[4, 4\] for texts"),
        (torch.eye(4), torch.eye(4), r"a spectrum of shape \[3\]"),
    ],
)
def test_what_is_no_rotation_is_refused(image: Tensor, text: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Rotation(image, text, torch.ones(3))


@pytest.mark.usefixtures("unchecked")
def test_embeddings_of_another_width_are_refused() -> None:
    with pytest.raises(InputError, match=r"embeddings of 4 dimensions(?s:.*)3, as the rotation"):
        Rotation(EYE, EYE, torch.ones(3)).apply(torch.ones(2, 4))


def test_unknown_axes_are_refused() -> None:
    with pytest.raises(InputError, match=r"unknown axes 'high_purity'(?s:.*)svd@8"):
        fit_rotation("high_purity", GIVEN)


# --- the file


def test_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    rotation = fit_rotation("cross", GIVEN, model="Café", fitted_on="weights").keep(7)
    file = write_rotation(rotation, tmp_path / "new" / FILE)
    for place in (file, file.parent, str(file)):
        again = read_rotation(place)
        for name in ("image", "text", "spectrum"):
            assert getattr(again, name).equal(getattr(rotation, name))
        assert again.recipe.items() >= rotation.recipe.items()


def save(file: Path, tensors: dict[str, Tensor], **metadata: str) -> None:
    safetensors.torch.save_file(tensors, file, metadata or None)


def test_a_damaged_or_foreign_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / FILE
    for content in (b"", b"not a rotation", (100).to_bytes(8, "little") + b"{}"):
        file.write_bytes(content)
        with pytest.raises(InputError, match=f"{FILE} cannot be read(?s:.*)purescope rebase"):
            read_rotation(file)
    file.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(InputError, match="git-lfs pointer"):
        read_rotation(file)
    save(file, {"image": EYE})
    with pytest.raises(InputError, match="no tensor text or spectrum"):
        read_rotation(tmp_path)
    save(file, {"image": EYE, "text": 2 * EYE, "spectrum": torch.ones(3)})
    with pytest.raises(InputError, match="text holds axes whose products are wrong by 3"):
        read_rotation(file)
    wide = torch.zeros(1, 20_000)
    save(file, {"image": wide, "text": wide.clone(), "spectrum": torch.ones(3)})
    with pytest.raises(InputError, match=r"shapes \[1, 20000\](?s:.*)at most 16,384 neurons"):
        read_rotation(file)
    with pytest.raises(InputError, match=r"there is no file(?s:.*)purescope rebase"):
        read_rotation(tmp_path / "none")


def test_two_entries_of_one_name_are_refused(tmp_path: Path) -> None:
    entry = '"image":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    header = f"{{{entry},{entry}}}".encode()
    file = tmp_path / FILE
    file.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(InputError, match="cannot be read"):
        read_rotation(file)
