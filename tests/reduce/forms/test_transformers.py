"""Smaller models are read by CLIPModel, with their tokenizer and their preprocess."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from purescope.errors import ModelError
from purescope.reduce.cutting import cut
from purescope.reduce.forms.checking import make_pictures, make_sentences
from purescope.reduce.forms.transformers import to_transformers, write_transformers
from tests.models.test_open_clip import CONFIGS, TEXT
from tests.reduce.test_cutting import draw_rotation, load

transformers = pytest.importorskip("transformers")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["vit", "custom text", "openai", "transformers"])
def test_a_clip_model_makes_the_kept_dimensions(kind: str, tmp_path: Path) -> None:
    towers = load(tmp_path, kind)
    kept = draw_rotation(towers.neurons).keep(5)
    (tmp_path / "small").mkdir()
    write_transformers(cut(towers, kept), tmp_path / "small")

    model = transformers.CLIPModel.from_pretrained(tmp_path / "small").eval()
    config = model.config
    sections = (config, config.text_config, config.vision_config)
    assert [section.projection_dim for section in sections] == [5, 5, 5]
    processor = transformers.AutoProcessor.from_pretrained(tmp_path / "small", backend="pil")
    sentences, pictures = make_sentences(towers), make_pictures(towers)
    inputs = processor(
        text=sentences, images=pictures, return_tensors="pt", padding=True, truncation=True,
        max_length=config.text_config.max_position_embeddings,
    )  # fmt: skip
    pixels = torch.stack([towers.preprocess.pixels(picture) for picture in pictures])
    towers.module.eval()
    with torch.inference_mode():
        output = model(**inputs)
        image = towers.encode_image(towers.preprocess.normalise(pixels))
        text = towers.encode_text(towers.tokenize(sentences))
    for tower, rows, whole in (
        ("image", output.image_embeds, image),
        ("text", output.text_embeds, text),
    ):
        torch.testing.assert_close(rows, kept.apply(whole, tower=tower), rtol=0, atol=1e-5)
    assert model.logit_scale.exp().item() == pytest.approx(
        float(towers.identity["logit_scale"]), rel=1e-5
    )


@pytest.mark.parametrize(
    ("kind", "changes", "reason"),
    [
        ("resnet", {}, "whose image tower is a ResNet"),
        ("timm", {}, "with the image tower test_vit of timm"),
        ("coca", {}, "of CoCa"),
        ("laclip", {}, "of LaCLIP"),
        ("vit", {"init_logit_bias": -10}, "with a bias of its logits"),
        ("custom text", {"text_cfg": {**TEXT, "proj_bias": True}}, "with text_cfg.proj_bias True"),
        ("vit", {"vision_cfg": {"no_ln_pre": True}}, "with vision_cfg.no_ln_pre True"),
        ("vit", {"vision_cfg": {"qk_norm": True}}, "with vision_cfg.qk_norm True"),
        ("vit", {"text_cfg": {**TEXT, "ls_init_value": 0.1}}, "with text_cfg.ls_init_value 0.1"),
        (
            "vit",
            {"text_cfg": {**TEXT, "tokenizer_kwargs": {"clean": "canonicalize"}}},
            "with the tokenizer options {'clean': 'canonicalize'}",
        ),
    ],
)
def test_what_a_clip_model_has_not_is_refused_by_name(
    kind: str,
    changes: dict[str, Any],
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if changes:
        vision = {**CONFIGS[kind]["vision_cfg"], **changes.get("vision_cfg", {})}
        changed = {**CONFIGS[kind], **changes, "vision_cfg": vision}
        monkeypatch.setitem(CONFIGS, kind, changed)
    with pytest.raises(ModelError, match=f"a model {reason}(?s:.*)has no transformers form"):
        to_transformers(load(tmp_path, kind))


def test_sizes_that_open_clip_leaves_out_are_its_defaults(tmp_path: Path) -> None:
    """Each size of the configuration is that of a weight."""
    config, weights = to_transformers(load(tmp_path, "vit"))
    vision, text = config["vision_config"], config["text_config"]
    assert text["bos_token_id"] + 1 == text["eos_token_id"] == text["pad_token_id"]
    table = weights["text_model.embeddings.token_embedding.weight"].shape
    assert table == (text["vocab_size"], text["hidden_size"])
    inner = weights["vision_model.encoder.layers.0.mlp.fc1.weight"].shape
    assert inner == (vision["intermediate_size"], vision["hidden_size"])
    assert vision["num_attention_heads"] == 3 and text["num_attention_heads"] == 2
    assert json.loads(json.dumps(config))["vision_config"]["hidden_act"] == "quick_gelu"
