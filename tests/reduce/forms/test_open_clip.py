"""Smaller models are read by open_clip itself, and what it cannot hold is refused by name."""

import warnings
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch

from purescope.errors import ModelError
from purescope.reduce.cutting import cut
from purescope.reduce.forms.open_clip import require_open_clip_form, write_open_clip
from tests.models.test_open_clip import CONFIGS, timm_config
from tests.reduce.test_cutting import SENTENCES, draw_rotation, embeddings, load

WHOLE = ["vit", "resnet", "timm", "custom text", "classifier", "attention pool", "openai"]
REASONS = {
    "coca": "it is a CoCa, with attentional pooling and a caption decoder",
    "mlp head": "its image tower has an MLP head",
    "attentional": "its image tower has attentional pooling",
    "pool and linear": "its image tower has attentional pooling",
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", WHOLE)
def test_open_clip_makes_the_kept_dimensions(kind: str, tmp_path: Path) -> None:
    towers = load(tmp_path, kind)
    kept = draw_rotation(towers.neurons).keep(5)
    require_open_clip_form(towers, 5)
    (tmp_path / "small").mkdir()
    write_open_clip(cut(towers, kept), tmp_path / "small")

    theirs, _ = open_clip.create_model_from_pretrained(f"local-dir:{tmp_path / 'small'}")
    tokens = open_clip.get_tokenizer(f"local-dir:{tmp_path / 'small'}")(SENTENCES)
    size = towers.preprocess.size
    images = torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        got = theirs.eval().encode_image(images), theirs.encode_text(tokens)
    for tower, rows, whole in zip(("image", "text"), got, embeddings(towers), strict=True):
        expected = kept.apply(whole, tower=tower, normalise=False)
        assert rows.shape == (3, 5)
        assert (rows - expected).abs().max() < 1e-5 * whole.norm(dim=1).max()


@pytest.mark.parametrize("kind", REASONS)
def test_what_follows_embed_dim_is_refused_by_name(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain: dict[str, Any] = CONFIGS["coca"]
    attentional = {key: value for key, value in plain.items() if key != "multimodal_cfg"}
    text = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
    monkeypatch.setitem(CONFIGS, "attentional", {**attentional, "text_cfg": text})
    linear = timm_config("test_convnext", timm_pool="rot_attn", timm_proj="linear")
    monkeypatch.setitem(CONFIGS, "pool and linear", linear)
    towers = load(tmp_path, kind)
    require_open_clip_form(towers, towers.neurons)  # all dimensions, rotated, are no problem
    with pytest.raises(ModelError, match=f"with 5 of 24 dimensions: {REASONS[kind]}") as caught:
        require_open_clip_form(towers, 5)
    assert "--to onnx" in caught.value.fix
    # It is refused for a reason: open_clip has other sizes for that number.
    (tmp_path / "small").mkdir()
    write_open_clip(cut(towers, draw_rotation(24).keep(6)), tmp_path / "small")
    with warnings.catch_warnings(), pytest.raises((ModelError, RuntimeError)):
        warnings.simplefilter("ignore")
        from purescope.models import find_towers

        find_towers(str(tmp_path / "small"))


def test_a_text_tower_with_a_head_of_several_layers() -> None:
    from purescope.reduce.forms.open_clip import _find_reason

    model = {"embed_dim": 24, "vision_cfg": {}, "text_cfg": {"hf_model_name": "tower"}}
    assert _find_reason(model) == "its text tower has an MLP head"
    model["text_cfg"] = {"hf_model_name": "tower", "hf_proj_type": "linear"}
    assert _find_reason(model) == ""


@pytest.mark.parametrize(
    ("kind", "message", "fix"),
    [
        ("laclip", "which normalises queries and keys", "--to purescope"),
        ("transformers", "a model of transformers has no open_clip form", "--to transformers"),
    ],
)
def test_models_of_other_libraries(kind: str, message: str, fix: str, tmp_path: Path) -> None:
    towers = load(tmp_path, kind)
    with pytest.raises(ModelError, match=message) as caught:
        require_open_clip_form(towers, towers.neurons)
    assert fix in caught.value.fix
