"""A cut model makes the embeddings that its rotation makes of the whole one's, in every format."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from purescope.errors import InputError, ModelError
from purescope.models import find_towers
from purescope.models.convert import written_weights
from purescope.models.towers import Towers
from purescope.models.weights import fingerprint
from purescope.reduce.cutting import cut
from purescope.reduce.rotation import Rotation
from tests.checkpoints import (
    laclip_tensors,
    openai_model,
    write_laclip,
    write_open_clip,
    write_torchscript,
)
from tests.models.test_open_clip import CONFIGS

SENTENCES = ["a photo of a cat", "a red flag", "two dogs"]
OPEN_CLIP = sorted(set(CONFIGS) - {"siglip"})
OTHERS = {"laclip", "openai", "transformers"}


def load(folder: Path, kind: str) -> Towers:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*is the last of several layers")
        return find_towers(str(MAKERS.get(kind, _write_open_clip)(folder, kind)))[0]


def _write_open_clip(folder: Path, kind: str) -> Path:
    write_open_clip(folder / "model", CONFIGS[kind])
    return folder / "model"


def _write_transformers(folder: Path, kind: str) -> Path:
    pytest.importorskip("transformers")
    from tests.models.test_transformers import write

    write(folder / "model", "siglip" if kind == "hf siglip" else "clip")
    return folder / "model"


MAKERS: dict[str, Callable[[Path, str], Path]] = {
    "laclip": lambda folder, _: write_laclip(folder / "m.pt", laclip_tensors(depth=1)),
    "openai": lambda folder, _: write_torchscript(folder / "m.pt", openai_model()),
    "transformers": _write_transformers,
    "hf siglip": _write_transformers,
}


def draw_rotation(neurons: int, *, apart: bool = False) -> Rotation:
    """Orthonormal axes, the same for both towers or not."""
    generator = torch.Generator().manual_seed(neurons)
    image, text = (
        torch.linalg.qr(torch.randn(neurons, neurons, generator=generator).double())[0].float()
        for _ in range(2)
    )
    share = torch.full((neurons,), 1 / neurons)
    return Rotation(image, text if apart else image, share, {"axes": "random_rotation"})


def embeddings(towers: Towers) -> tuple[Tensor, Tensor]:
    size = towers.preprocess.size
    images = torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(1))
    towers.module.eval()
    with torch.inference_mode():
        image = towers.encode_image(images)
        return image, towers.encode_text(towers.tokenize(SENTENCES))


def cosines(image: Tensor, text: Tensor) -> Tensor:
    image, text = (torch.nn.functional.normalize(rows.double(), dim=1) for rows in (image, text))
    return image @ text.T


@pytest.mark.parametrize("kind", [*OPEN_CLIP, *sorted(OTHERS)])
def test_cut_models(kind: str, tmp_path: Path) -> None:
    towers = load(tmp_path, kind)
    before = fingerprint(written_weights(towers))
    image, text = embeddings(towers)
    rotation = draw_rotation(towers.neurons)

    rebased = embeddings(cut(towers, rotation))
    torch.testing.assert_close(cosines(*rebased), cosines(image, text), rtol=0, atol=1e-5)
    assert cosines(*rebased).argmax(dim=1).equal(cosines(image, text).argmax(dim=1))

    kept = rotation.keep(5)
    smaller = cut(towers, kept)
    got = embeddings(smaller)
    for tower, rows, whole in zip(("image", "text"), got, (image, text), strict=True):
        expected = kept.apply(whole, tower=tower, normalise=False)
        error = (rows - expected).abs().max() / whole.norm(dim=1).max()
        assert rows.shape == (3, 5) and error < 1e-5
    assert smaller.neurons == 5 and not isinstance(smaller.weight_space, str)
    assert smaller.weight_space.image.shape[0] == smaller.weight_space.text.shape[0] == 5
    # The whole model is as it was.
    assert fingerprint(written_weights(towers)) == before
    torch.testing.assert_close(embeddings(towers), (image, text), rtol=0, atol=0)
    assert smaller.identity["weights"] == fingerprint(written_weights(smaller)) != before


def test_each_tower_has_its_own_axes(tmp_path: Path) -> None:
    towers = load(tmp_path, "laclip")
    rotation = draw_rotation(towers.neurons, apart=True)
    image, text = embeddings(towers)
    got = embeddings(cut(towers, rotation))
    torch.testing.assert_close(got[0], image @ rotation.image, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(got[1], text @ rotation.text, rtol=1e-4, atol=1e-5)


def test_biases_are_rotated_and_recorded(tmp_path: Path) -> None:
    """Without its bias, an embedding of CustomText would miss by the bias's length."""
    towers = load(tmp_path, "timm")
    assert towers.identity["projection_bias"] == "text"
    smaller = cut(towers, draw_rotation(towers.neurons).keep(3))
    bias = smaller.module.get_submodule("text.text_projection").bias
    assert isinstance(bias, Tensor) and bias.shape == (3,) and bool(bias.any())
    assert smaller.identity["projection_bias"] == "text"


def test_all_other_weights_are_shared(tmp_path: Path) -> None:
    towers = load(tmp_path, "vit")
    whole = dict(towers.module.named_parameters())
    parts = dict(cut(towers, draw_rotation(24).keep(3)).module.named_parameters())
    own = {name for name in whole if whole[name].data_ptr() != parts[name].data_ptr()}
    assert own == {"visual.proj", "text_projection"}


def test_the_number_of_neurons_stands_at_every_place(tmp_path: Path) -> None:
    smaller = cut(load(tmp_path, "transformers"), draw_rotation(24).keep(7))
    for config in (
        smaller.configurations["config.json"],
        json.loads(smaller.identity["architecture"]),
    ):
        sections = (config, config["text_config"], config["vision_config"])
        assert [section["projection_dim"] for section in sections] == [7, 7, 7]
    (tmp_path / "other").mkdir()
    other = cut(load(tmp_path / "other", "vit"), draw_rotation(24).keep(7))
    assert json.loads(other.identity["architecture"])["embed_dim"] == 7


@pytest.mark.parametrize("kind", ["siglip", "hf siglip"])
def test_what_ends_without_a_linear_map_is_refused(kind: str, tmp_path: Path) -> None:
    towers = load(tmp_path, kind)
    with pytest.raises(ModelError, match=r"tower(s end| ends) without a linear map") as caught:
        cut(towers, draw_rotation(towers.neurons))
    assert "--to sentence-transformers" in caught.value.fix


def test_a_rotation_of_another_width_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a rotation of 8 neurons for a model of 24"):
        cut(load(tmp_path, "laclip"), draw_rotation(8))
