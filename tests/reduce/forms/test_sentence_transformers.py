"""Exported folders are read by sentence-transformers, and encode to what is kept."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from purescope.errors import InputError, MissingExtraError, ModelError
from purescope.models import find_towers
from purescope.models.towers import Towers
from purescope.reduce.forms import sentence_transformers as form
from purescope.reduce.forms.sentence_transformers import write_sentence_transformers
from purescope.reduce.rotation import Rotation
from tests.checkpoints import write_open_clip
from tests.models.test_model import noise
from tests.models.test_open_clip import CONFIGS
from tests.models.test_transformers import cased, write
from tests.reduce.forms.cards import assert_similar, run_card

SENTENCES = ["a photo of a cat", "A red FLAG", "words beyond the context " * 30]
SIZES = ((32, 32), (70, 90))


def rotation(neurons: int, kept: int, *, seed: int = 0, apart: bool = False) -> Rotation:
    """Orthonormal axes, the same for both towers or not."""
    generator = torch.Generator().manual_seed(seed)
    image, text = (
        torch.linalg.qr(torch.randn(neurons, neurons, generator=generator))[0][:, :kept].clone()
        for _ in range(2)
    )
    spectrum = torch.full((kept,), 1 / neurons)
    return Rotation(image, text if apart else image, spectrum, {"axes": "random_rotation"})


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Towers]:
    folder = tmp_path_factory.mktemp("models")
    for family in ("clip", "siglip"):
        write(folder / family, family)
    return {family: find_towers(str(folder / family))[0] for family in ("clip", "siglip")}


def load(folder: Path, **options: Any) -> Any:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder), device="cpu", local_files_only=True, **options)


def by_hand(towers: Towers, axes: dict[str, Tensor] | None = None) -> dict[str, Tensor]:
    """Embeddings of the pictures and sentences below, of unit length over what is kept."""
    with torch.no_grad():
        pixels = torch.stack([towers.preprocess.pixels(noise(*size)) for size in SIZES])
        rows = {
            "image": towers.encode_image(towers.preprocess.normalise(pixels)),
            "text": towers.encode_text(towers.tokenize(SENTENCES)),
        }
    kept = {name: row @ axes[name] if axes else row for name, row in rows.items()}
    return {name: row / row.norm(dim=1, keepdim=True) for name, row in kept.items()}


def assert_encodes(model: Any, expected: dict[str, Tensor], **options: Any) -> None:
    images = model.encode([noise(*size) for size in SIZES], **options)
    np.testing.assert_allclose(images, expected["image"], atol=1e-5)
    np.testing.assert_allclose(model.encode(SENTENCES, **options), expected["text"], atol=1e-5)


@pytest.mark.slow
def test_a_model_as_it_is(
    models: dict[str, Towers], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    towers = models["clip"]
    write_sentence_transformers(towers, tmp_path / "out")
    model = load(tmp_path / "out")
    assert_encodes(model, by_hand(towers))
    assert model.get_embedding_dimension() == towers.neurons
    similarity = model.similarity(*(model.encode(SENTENCES[:2]) for _ in range(2)))
    np.testing.assert_allclose(similarity.diagonal(), 1, atol=1e-6)
    names = run_card("sentence-transformers", tmp_path / "out", monkeypatch, neurons=24, kept=24)
    assert_similar(names, towers)
    assert names["short"].shape == (2, 12)
    weights = tmp_path / "out" / "model.safetensors"
    assert weights.stat().st_mode == (tmp_path / "out" / "config.json").stat().st_mode
    assert not any(
        str(tmp_path).encode() in path.read_bytes()
        for path in (tmp_path / "out").rglob("*")
        if path.is_file()
    )


@pytest.mark.slow
@pytest.mark.parametrize("apart", [False, True])
def test_a_linear_map_behind_what_cannot_be_cut(
    apart: bool, models: dict[str, Towers], tmp_path: Path
) -> None:
    towers = models["siglip"]
    axes = rotation(towers.neurons, 5, apart=apart)
    write_sentence_transformers(towers, tmp_path / "out", rotation=axes)
    model = load(tmp_path / "out")
    assert_encodes(model, by_hand(towers, {"image": axes.image, "text": axes.text}))
    assert model.get_embedding_dimension() == 5
    write_sentence_transformers(towers, tmp_path / "raw", rotation=axes, normalise=False)
    raw = load(tmp_path / "raw").encode(SENTENCES)
    with torch.no_grad():
        expected = towers.encode_text(towers.tokenize(SENTENCES)) @ axes.text
    np.testing.assert_allclose(raw, expected, atol=1e-5 * expected.norm(dim=1).max().item())


@pytest.mark.slow
def test_the_rows_of_a_rotated_model_are_cut_when_it_is_used(
    models: dict[str, Towers], tmp_path: Path
) -> None:
    towers = models["clip"]
    axes = rotation(towers.neurons, towers.neurons)
    write_sentence_transformers(towers, tmp_path / "out", rotation=axes)
    first = {"image": axes.image[:, :6], "text": axes.text[:, :6]}
    model = load(tmp_path / "out", truncate_dim=6)
    assert_encodes(model, by_hand(towers, first), normalize_embeddings=True)
    assert model.encode(SENTENCES).shape == (3, 6)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*token_id must be:UserWarning")
@pytest.mark.filterwarnings("ignore:.*sentences are lower-cased:UserWarning")
def test_sentences_are_lower_cased_as_the_model_was_trained(tmp_path: Path) -> None:
    write(tmp_path / "siglip2", "siglip")
    cased(tmp_path / "siglip2")
    towers, _ = find_towers(str(tmp_path / "siglip2"))
    write_sentence_transformers(towers, tmp_path / "out")
    cat, other = load(tmp_path / "out").encode(["a Persian Cat", "a persian cat"])
    np.testing.assert_array_equal(cat, other)


@pytest.mark.slow
def test_an_export_that_encodes_something_else_is_refused(
    models: dict[str, Towers], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_dense = form._write_dense
    monkeypatch.setattr(form, "_write_dense", lambda path, axes: write_dense(path, axes.flip(1)))
    axes = rotation(24, 5)
    with pytest.raises(ModelError, match="sentence-transformers: its text tower differs"):
        write_sentence_transformers(models["clip"], tmp_path / "out", rotation=axes)

    def without_modules(folder: Path, modules: object) -> None:
        (folder / "modules.json").write_text("[]")

    monkeypatch.setattr(form, "_write_modules", without_modules)
    with pytest.raises(ModelError, match="sentence-transformers cannot load or run the export"):
        write_sentence_transformers(models["clip"], tmp_path / "out", rotation=axes)
    assert not list(tmp_path.iterdir())


def test_what_has_no_such_form_is_refused(
    models: dict[str, Towers], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="a rotation of 23 dimensions\n  expected: 24"):
        write_sentence_transformers(models["clip"], tmp_path / "out", rotation=rotation(23, 5))
    write_open_clip(tmp_path / "resnet", CONFIGS["resnet"])
    towers, _ = find_towers(str(tmp_path / "resnet"))
    with pytest.raises(ModelError, match=r"sentence-transformers: .* ResNet (.|\n)*--to onnx"):
        write_sentence_transformers(towers, tmp_path / "out")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        MissingExtraError, match=r"pip install 'purescope\[sentence-transformers\]'"
    ):
        write_sentence_transformers(towers, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["resnet"]


@pytest.mark.slow
@pytest.mark.parametrize("family", ["vit", "custom text"])
def test_a_model_of_open_clip_that_transformers_has_too(family: str, tmp_path: Path) -> None:
    write_open_clip(tmp_path / "model", CONFIGS[family])
    towers, _ = find_towers(str(tmp_path / "model"))
    axes = rotation(towers.neurons, 5)
    write_sentence_transformers(towers, tmp_path / "out", rotation=axes)
    expected = by_hand(towers, {"image": axes.image, "text": axes.text})
    assert_encodes(load(tmp_path / "out"), expected)


@pytest.mark.slow
def test_code_beside_an_export_is_not_run(models: dict[str, Towers], tmp_path: Path) -> None:
    """What the export holds names modules of the library, and nothing of its folder."""
    write_sentence_transformers(models["siglip"], tmp_path / "out", rotation=rotation(48, 5))
    modules = json.loads((tmp_path / "out" / "modules.json").read_text())
    assert all(entry["type"].startswith("sentence_transformers.") for entry in modules)
    assert not list((tmp_path / "out").rglob("*.py")) and not list(
        (tmp_path / "out").rglob("*.bin")
    )
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert "auto_map" not in config
