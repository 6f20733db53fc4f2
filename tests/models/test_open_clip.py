import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from open_clip.tokenizer import default_bpe
from torch import Tensor

from purescope.errors import ModelError
from purescope.models import load_model
from tests.checkpoints import write_open_clip

SENTENCES = ["a photo of a cat", "a red flag", "words beyond the context, " * 30]
TEXT = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
CONFIGS: dict[str, dict[str, Any]] = {
    "vit": {
        "embed_dim": 24,
        "quick_gelu": True,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 48, "head_width": 16, "patch_size": 16},
        "text_cfg": TEXT,
    },
    "resnet": {
        "embed_dim": 24,
        "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None},
        "text_cfg": TEXT,
    },
    "timm": {
        "embed_dim": 24,
        "custom_text": True,
        "vision_cfg": {"image_size": 32, "timm_model_name": "test_vit", "timm_pool": "token"},
        "text_cfg": {**TEXT, "proj_bias": True},
    },
}
CONFIGS["timm"]["vision_cfg"]["image_size"] = 160  # test_vit's own


@pytest.fixture(scope="module", params=CONFIGS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("open_clip") / str(request.param)
    preprocess = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]}
    write_open_clip(folder, CONFIGS[request.param], preprocess=preprocess)
    return folder


def images_for(size: int) -> Tensor:
    return torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(1))


def test_features_and_preprocess_are_open_clips(folder: Path) -> None:
    model = load_model(f"local-dir:{folder}")
    theirs, transform = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    images = images_for(model.preprocess.size)
    with torch.no_grad():
        image, text = theirs.eval().encode_image(images), theirs.encode_text(tokenizer(SENTENCES))
    torch.testing.assert_close(model.encode_image(images), image, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model.encode_text(SENTENCES), text, rtol=1e-5, atol=1e-5)

    from tests.models.test_model import noise

    picture = noise(200, 190)
    ours = model.preprocess.normalise(model.preprocess.pixels(picture)[None])[0]
    assert torch.equal(ours, transform(picture))


def test_features_are_the_trunk_times_the_projection(folder: Path) -> None:
    """What open_clip's tower gives with its last layer taken out, times the projection."""
    model = load_model(str(folder))
    theirs = open_clip.create_model(f"local-dir:{folder}").eval()
    images = images_for(model.preprocess.size)
    trunk = theirs.visual
    if folder.name == "vit":
        trunk.proj, bias = None, torch.zeros(24)
    elif folder.name == "resnet":
        width = trunk.attnpool.c_proj.in_features
        bias = trunk.attnpool.c_proj.bias.detach()
        trunk.attnpool.c_proj = torch.nn.Linear(width, width, bias=False)
        torch.nn.init.eye_(trunk.attnpool.c_proj.weight)
    else:
        trunk.head, bias = torch.nn.Identity(), torch.zeros(24)
    with torch.no_grad():
        output = trunk(images)
    expected = output @ model.projections.image.T + bias
    torch.testing.assert_close(model.encode_image(images), expected, rtol=1e-4, atol=1e-5)


def test_text_features_are_the_trunk_times_the_projection(folder: Path) -> None:
    model = load_model(str(folder))
    theirs = open_clip.create_model(f"local-dir:{folder}").eval()
    text = getattr(theirs, "text", theirs)
    bias = text.text_projection.bias.detach() if folder.name == "timm" else torch.zeros(24)
    text.text_projection = None
    with torch.no_grad():
        output = theirs.encode_text(open_clip.get_tokenizer(f"local-dir:{folder}")(SENTENCES))
    expected = output @ model.projections.text.T + bias
    torch.testing.assert_close(model.encode_text(SENTENCES), expected, rtol=1e-5, atol=1e-5)


def test_identity(folder: Path) -> None:
    identity = load_model(str(folder)).identity
    assert identity["format"] == "open_clip"
    assert json.loads(identity["architecture"]) == CONFIGS[folder.name]
    assert identity["projection_bias"] == {"vit": "none", "resnet": "image", "timm": "text"}[folder.name]
    image = {"vit": "QuickGELU", "resnet": "ReLU", "timm": "timm's own"}[folder.name]
    assert identity["activation"] == f"image {image}, text {'QuickGELU' if folder.name == 'vit' else 'GELU'}"
    assert "49408 entries" in identity["tokenizer"]


def test_loading_draws_no_random_numbers(folder: Path) -> None:
    before = torch.random.get_rng_state()
    load_model(str(folder))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_vocabulary_of_the_folders_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the bundled models: half precision, and CLIP's merges cut short in a file beside the weights."""
    merges = gzip.decompress(Path(default_bpe()).read_bytes()).decode().split("\n")[:101]
    text = {**TEXT, "vocab_size": 512 + 100 + 2, "tokenizer_kwargs": {"bpe_path": "merges.txt.gz"}}
    config = {**CONFIGS["resnet"], "text_cfg": text}
    theirs = write_open_clip(tmp_path / "model", config, dtype=torch.float16)
    (tmp_path / "model" / "merges.txt.gz").write_bytes(gzip.compress("\n".join(merges).encode()))
    monkeypatch.chdir(tmp_path)
    model = load_model("local-dir:model")
    tokenizer = open_clip.get_tokenizer("local-dir:model", bpe_path="model/merges.txt.gz")
    with torch.no_grad():
        expected = theirs.encode_text(tokenizer(SENTENCES))
    torch.testing.assert_close(model.encode_text(SENTENCES), expected, rtol=1e-5, atol=1e-5)
    assert "614 entries" in model.identity["tokenizer"]
    assert model.projections.image.dtype == torch.float32


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "open_clip_config.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))


def set_in(*keys: str, value: object) -> Callable[[Path], None]:
    def change(config: dict[str, Any]) -> None:
        for key in keys[:-1]:
            config = config[key]
        config[keys[-1]] = value

    return lambda folder: edit(folder, change)


def drop(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def write(name: str, content: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(content)


def save(**changes: Tensor) -> Callable[[Path], None]:
    from safetensors.torch import load_file, save_file

    def change(folder: Path) -> None:
        path = folder / "open_clip_model.safetensors"
        tensors = load_file(path)
        save_file({**tensors, **{name.replace("__", "."): value for name, value in changes.items()}}, path)

    return change


CONFIG, WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"
MODEL, TOWER = "model_cfg", "vision_cfg"
FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no configuration": (drop(CONFIG), rf"{CONFIG}: No such file"),
    "no weights": (drop(WEIGHTS), rf"no weights among {CONFIG}"),
    "no JSON": (write(CONFIG, "{"), rf"{CONFIG}: no JSON"),
    "a list": (write(CONFIG, "[]"), rf"{CONFIG}: no model"),
    "no model": (write(CONFIG, "{}"), rf"{CONFIG}: no model"),
    "half a model": (set_in(MODEL, "text_cfg", value=None), rf"{CONFIG}: no model"),
    "broken weights": (write(WEIGHTS, "hello"), rf"{WEIGHTS}: not a readable safetensors"),
    "unknown option": (set_in(MODEL, TOWER, "colour", value=1), r"cannot build this model_cfg.*colour"),
    "impossible option": (set_in(MODEL, TOWER, "width", value=49), r"cannot build this model_cfg"),
    "unknown timm model": (
        set_in(MODEL, TOWER, "timm_model_name", value="vit_none"),
        r"cannot build .*vit_none",
    ),
    "another width": (
        set_in(MODEL, TOWER, "width", value=32),
        r"wrong shape: visual\.\S+ \[\S+ instead of \[",
    ),
    "more layers": (set_in(MODEL, TOWER, "layers", value=3), r"missing: visual\.transformer\.resblocks\.2\."),
    "fewer layers": (
        set_in(MODEL, TOWER, "layers", value=1),
        r"surplus: visual\.transformer\.resblocks\.1\.",
    ),
    "surplus": (save(more=torch.zeros(1)), rf"{WEIGHTS}: .*surplus: more"),
    "NaN": (
        save(visual__proj=torch.full((48, 24), torch.nan)),
        rf"{WEIGHTS}: .*NaN or infinite: visual\.proj",
    ),
    "a tower without projection": (
        set_in(MODEL, "text_cfg", "proj_type", value="none"),
        r"surplus: text_projection",
    ),
    "a hub's tower": (
        set_in(MODEL, TOWER, "timm_model_name", value="hf-hub:x/y"),
        r"wants an image tower from a hub",
    ),
    "transformers' text": (
        set_in(MODEL, "text_cfg", "hf_model_name", value="roberta"),
        r"wants a text tower of tr",
    ),
    "transformers' words": (
        set_in(MODEL, "text_cfg", "hf_tokenizer_name", value="t5"),
        r"wants a tokenizer of tr",
    ),
    "CoCa": (set_in(MODEL, "multimodal_cfg", value={"width": 8}), r"wants CoCa"),
    "no such vocabulary": (
        set_in(MODEL, "text_cfg", "tokenizer_kwargs", value={"bpe_path": "none.gz"}),
        r"no tokenizer from .*none\.gz",
    ),
    "unknown tokenizer option": (
        set_in(MODEL, "text_cfg", "tokenizer_kwargs", value={"colour": 1}),
        r"no tokenizer from .*colour",
    ),
    "squashed images": (set_in("preprocess_cfg", "resize_mode", value="squash"), r"resize_mode 'shortest'"),
    "grey images": (set_in("preprocess_cfg", "mean", value=[0.5]), r"mean \(0\.5,\)"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_in_a_folder_is_named(
    fault: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    whole = tmp_path_factory.getbasetemp() / "whole_open_clip_folder"
    if not whole.exists():
        write_open_clip(whole, {**CONFIGS["vit"], "text_cfg": {**TEXT, "width": 16}})
    folder = shutil.copytree(whole, tmp_path / "model")
    damage, message = FAULTS[fault]
    damage(folder)
    with pytest.raises(ModelError, match=message) as caught:
        load_model(f"local-dir:{folder}")
    assert str(folder) in str(caught.value)


def test_counters_of_batch_norms_may_be_missing(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    theirs = write_open_clip(tmp_path, CONFIGS["resnet"])
    tensors = load_file(tmp_path / WEIGHTS)
    kept = {name: tensor for name, tensor in tensors.items() if "num_batches_tracked" not in name}
    assert len(kept) < len(tensors)
    save_file(kept, tmp_path / WEIGHTS)
    images = images_for(64)
    with torch.no_grad():
        expected = theirs.encode_image(images)
    torch.testing.assert_close(load_model(str(tmp_path)).encode_image(images), expected, rtol=1e-4, atol=1e-5)


def test_a_vocabulary_larger_than_the_tower(tmp_path: Path) -> None:
    write_open_clip(tmp_path, {**CONFIGS["vit"], "text_cfg": {**TEXT, "vocab_size": 100}})
    with pytest.raises(ModelError, match="49408 tokens for a vocab_size of 100"):
        load_model(str(tmp_path))


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"timm_proj": "mlp"}, r"ends with visual\.head\.mlp\.\S+, a \w+"),
        ({"timm_proj": "none"}, r"ends with visual\."),
    ],
)
def test_an_image_tower_without_a_linear_end_is_named(change: dict[str, str], found: str, tmp_path: Path) -> None:
    config = {**CONFIGS["timm"], "vision_cfg": {**CONFIGS["timm"]["vision_cfg"], **change}}
    write_open_clip(tmp_path, config)
    with pytest.raises(ModelError, match=found):
        load_model(str(tmp_path))


def test_a_text_tower_without_projection_is_named(tmp_path: Path) -> None:
    text = {**TEXT, "proj_type": "none", "width": 24}
    write_open_clip(tmp_path, {**CONFIGS["vit"], "text_cfg": text})
    with pytest.raises(ModelError, match="the text tower ends without a projection"):
        load_model(str(tmp_path))
