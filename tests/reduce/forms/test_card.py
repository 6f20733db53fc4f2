"""A model card is read by the hub, its program runs, and no name in it is read as Markdown."""

import re
from pathlib import Path
from typing import Any

import markdown_it
import pytest
import torch
import yaml

from purescope.errors import InputError
from purescope.models import find_towers
from purescope.models.convert import write_towers
from purescope.reduce.forms.card import Number, Origin, model_card
from purescope.reduce.forms.transformers import write_transformers
from purescope.reduce.rotation import FILE, Rotation, write_rotation
from tests.checkpoints import laclip_tensors, write_laclip, write_open_clip
from tests.models.test_open_clip import CONFIGS
from tests.reduce.forms.cards import assert_similar, run_card

FORMS = ("open_clip", "transformers", "sentence-transformers", "onnx", "purescope", "rotation")
ORIGIN = Origin("hf:openai/clip-vit-base-patch32", "CLIP", 512, 256, {"axes": "svd"}, "purescope x")
NUMBER = Number("accuracy", 256, 0.9, 0.88, 0.91, 0.99, 0.981, "flags")
HOSTILE = (
    "<script>alert(1)</script> [x](https://evil) `code` **b** | a\n---\n"
    'license: "mit"\n```\n# h\x1b[2J'
)


def metadata(card: str) -> dict[str, Any]:
    _, front, _ = card.split("---\n", 2)
    content: dict[str, Any] = yaml.safe_load(front)
    return content


def render(card: str) -> str:
    body = card.split("---\n", 2)[2]
    return str(markdown_it.MarkdownIt("commonmark", {"html": True}).enable("table").render(body))


@pytest.mark.parametrize("form", FORMS)
def test_the_hub_reads_its_metadata(form: str) -> None:
    card = model_card(form, ORIGIN)
    assert metadata(card)["base_model"] == "openai/clip-vit-base-patch32"
    assert "license" not in metadata(card) and "purescope" in metadata(card)["tags"]
    hub = pytest.importorskip("huggingface_hub").ModelCard(card).data
    assert hub.to_dict()["library_name"] == metadata(card)["library_name"]


@pytest.mark.parametrize("spec", ["bundled:clip", "open_clip:ViT-B-32/laion2b", "{folder}/model"])
def test_a_model_that_is_no_repository_has_no_base(spec: str, tmp_path: Path) -> None:
    spec = spec.format(folder=tmp_path)
    assert "base_model" not in metadata(model_card("onnx", Origin(spec, "CLIP", 4, 2)))


def test_a_folder_is_no_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runs" / "clip").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert "base_model" not in metadata(model_card("onnx", Origin("hf:runs/clip", "CLIP", 4, 2)))


def test_numbers_have_intervals_and_what_is_missing_has_a_command() -> None:
    html = render(model_card("onnx", ORIGIN, numbers=[NUMBER], measured_by="purescope sweep y"))
    cells = re.findall("<td>(.*?)</td>", html)
    row = ["256", "90.0", "88.0 to 91.0", "99.0 %", "98.1 %"]
    assert [*cells[2:]] == ["<code>accuracy</code> on <code>flags</code>", *row]
    assert "Nothing was measured" not in html and "purescope sweep y" in html
    assert "as the numbers below do." in html
    without = render(model_card("onnx", ORIGIN, measured_by="purescope sweep y"))
    for form in FORMS:  # nothing was measured, so no number does anything
        assert "numbers below" not in model_card(form, ORIGIN)
    assert "Nothing was measured on this export" in without and "purescope sweep y" in without


def test_what_it_is_depends_on_what_is_kept() -> None:
    assert "# `CLIP`: 256 of 512 dimensions" in model_card("transformers", ORIGIN)
    whole = model_card("sentence-transformers", Origin("bundled:clip", "CLIP", 8, 8))
    assert "# `CLIP`: 8 rotated dimensions" in whole and "truncate_dim=4" in whole
    raw = model_card("onnx", Origin("bundled:clip", "CLIP", 8, 4, normalise=False))
    assert (
        "Compare embeddings as they are" in raw and "Scale" not in raw and "truncate_dim" not in raw
    )
    with pytest.raises(InputError, match=r"unknown form 'onx'(.|\n)*did you mean 'onnx'"):
        model_card("onx", ORIGIN)


def test_hostile_names_stay_text() -> None:
    recipe = {HOSTILE: HOSTILE, **{str(number): "x" * 10_000 for number in range(100)}}
    origin = Origin(HOSTILE, HOSTILE, 8, 4, recipe, f"purescope {HOSTILE}")
    number = Number(HOSTILE, 4, 0.5, 0.4, 0.6, dataset=HOSTILE)
    card = model_card("onnx", origin, numbers=[number], measured_by=HOSTILE)
    assert metadata(card) == metadata(model_card("onnx", Origin("x", "x", 8, 4)))
    html = render(card)
    assert "<script" not in html and "<a " not in html and "<strong" not in html
    assert (html.count("<h1>"), html.count("<h2>"), html.count("<table>")) == (1, 4, 2)
    assert html.count("<td>") == 2 * 41 + 6 and "\x1b" not in card
    assert len(card) < 60_000


@pytest.mark.slow
@pytest.mark.parametrize("form", ["open_clip", "transformers", "purescope"])
def test_the_program_of_a_card_runs(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = tmp_path / "model", tmp_path / "out"
    if form == "purescope":
        write_laclip(source, laclip_tensors(depth=1, text_depth=1))
    else:
        write_open_clip(source, CONFIGS["vit"])
    towers, _ = find_towers(str(source))
    towers.module.eval()
    out.mkdir()
    (write_transformers if form == "transformers" else write_towers)(towers, out)
    names = run_card(form, out, monkeypatch, neurons=512, kept=towers.neurons)
    assert_similar(names, towers)


def test_the_program_of_a_rotation_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    image, text = (
        torch.linalg.qr(torch.randn(6, 6, generator=generator))[0][:, :3].clone() for _ in range(2)
    )
    rotation = Rotation(image, text, torch.full((3,), 0.1))
    write_rotation(rotation, tmp_path / FILE)
    names = run_card("rotation", tmp_path, monkeypatch, neurons=6, kept=3)
    rows = torch.randn(4, 6, generator=generator)
    for tower in ("image", "text"):
        shorter = names["shorten"](rows.numpy(), tower)
        assert torch.tensor(shorter).allclose(rotation.apply(rows, tower=tower), atol=1e-6)
    assert names["similarities"].shape == (10, 10)
