import copy
import gzip
import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import open_clip
import pytest
import torch
from open_clip.tokenizer import default_bpe
from torch import Tensor
from torch.overrides import TorchFunctionMode

from purescope.errors import ModelError
from purescope.maths.overlaps import activation_space
from purescope.maths.strategies import order_neurons
from purescope.models import load_model, sources
from purescope.models import open_clip as _open_clip
from purescope.models.model import Model
from tests.checkpoints import write_open_clip

SENTENCES = ["a photo of a cat", "a red flag", "words beyond the context, " * 30]
TEXT = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}


def timm_config(name: str, **vision: str) -> dict[str, Any]:
    return {
        "embed_dim": 24,
        "custom_text": True,
        "vision_cfg": {"image_size": 160, "timm_model_name": name, **vision},
        "text_cfg": TEXT,
    }


CONFIGS: dict[str, dict[str, Any]] = {
    "vit": {
        "embed_dim": 24,
        "quick_gelu": True,
        "vision_cfg": {
            "image_size": 32,
            "layers": 2,
            "width": 48,
            "head_width": 16,
            "patch_size": 16,
        },
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
        "vision_cfg": {
            "image_size": 160,
            "timm_model_name": "test_vit",
            "timm_pool": "token",
        },  # test_vit's own size
        "text_cfg": {**TEXT, "proj_bias": True},
    },
}
CONFIGS["custom text"] = {**CONFIGS["vit"], "custom_text": True, "quick_gelu": False}
CONFIGS["coca"] = {
    **CONFIGS["custom text"],
    "vision_cfg": {
        **CONFIGS["vit"]["vision_cfg"],
        "attentional_pool": True,
        "attn_pooler_heads": 3,
        "output_tokens": True,
    },
    "text_cfg": {**TEXT, "embed_cls": True, "output_tokens": True},
    "multimodal_cfg": {
        "context_length": 16,
        "vocab_size": 49408,
        "width": 24,
        "heads": 2,
        "layers": 1,
    },
}
CONFIGS["mlp head"] = timm_config("test_vit", timm_pool="token", timm_proj="mlp")
CONFIGS["attention pool"] = timm_config("test_convnext", timm_pool="abs_attn", timm_proj="")
CONFIGS["rotary pool"] = timm_config("test_convnext", timm_pool="rot_attn", timm_proj="")
CONFIGS["classifier"] = timm_config("test_resnet", timm_pool="avg", timm_proj="")
CONFIGS["siglip"] = {
    **timm_config("test_vit3", timm_pool="map", timm_proj="none"),
    "embed_dim": 96,  # test_vit3's width
    "init_logit_bias": -10,
    "text_cfg": {**TEXT, "no_causal_mask": True, "proj_bias": True, "pool_type": "last"},
}
# Where open_clip's towers keep their projections; and whose have a bias.
IMAGE_PLACES = {
    "vit": "visual.proj",
    "resnet": "visual.attnpool.c_proj",
    "timm": "visual.head.proj",
    "custom text": "visual.proj",
    "coca": "visual.proj",
    "mlp head": "visual.head.mlp.fc2",
    "attention pool": "visual.head.pool.proj",
    "rotary pool": "visual.head.pool.proj",
    "classifier": "visual.trunk.fc",
}
BIASED = {
    "resnet": "image",
    "timm": "text",
    "attention pool": "image",
    "rotary pool": "image",
    "classifier": "image",
    "siglip": "text",
}
LAST_OF_SEVERAL = "ignore:.*is the last of several layers"


@pytest.fixture(scope="module", params=CONFIGS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("open_clip") / str(request.param)
    preprocess: dict[str, Any] = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]}
    if request.param == "siglip":
        preprocess |= {"resize_mode": "squash", "interpolation": "bilinear"}
    write_open_clip(folder, CONFIGS[request.param], preprocess=preprocess)
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*is the last of several layers")
        return load_model(f"local-dir:{folder}")


@pytest.fixture(scope="module")
def tokens(folder: Path) -> Tensor:
    """As open_clip's own tokenizer of the folder makes them."""
    return open_clip.get_tokenizer(f"local-dir:{folder}")(SENTENCES)


def images_for(size: int) -> Tensor:
    return torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(1))


@pytest.mark.slow
def test_features_and_preprocess_are_open_clips(folder: Path, model: Model, tokens: Tensor) -> None:
    theirs, transform = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    theirs.eval()
    images = images_for(model.preprocess.size)
    with torch.no_grad():
        image, text = (
            theirs.encode_image(images, normalize=False),
            theirs.encode_text(tokens, normalize=False),
        )
    torch.testing.assert_close(model.encode_image(images), image, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model.encode_text(SENTENCES), text, rtol=1e-5, atol=1e-5)

    from tests.models.test_model import noise

    picture = noise(200, 190)
    ours = model.preprocess.normalise(model.preprocess.pixels(picture)[None])[0]
    assert torch.equal(ours, transform(picture))


def take_out(model: Any, place: str) -> Tensor:
    """Replace the projection at a place by the identity, and its bias by zeros."""
    above, name = model.get_submodule(place.rpartition(".")[0]), place.rpartition(".")[2]
    projection = getattr(above, name)
    if isinstance(projection, torch.nn.Parameter):
        setattr(above, name, None)
        return torch.zeros(projection.shape[1])
    identity = torch.nn.Linear(projection.in_features, projection.in_features, bias=False)
    torch.nn.init.eye_(identity.weight)
    setattr(above, name, identity)
    return (
        torch.zeros(projection.out_features)
        if projection.bias is None
        else projection.bias.detach()
    )


def test_features_are_the_trunk_times_the_projection(
    folder: Path, model: Model, tokens: Tensor
) -> None:
    """Multiply the output of open_clip's towers without their last layers by the projections."""
    if folder.name == "siglip":
        pytest.skip("has no projections to multiply by; see below")
    theirs = open_clip.create_model(f"local-dir:{folder}").eval()
    images = images_for(model.preprocess.size)
    image_bias = take_out(theirs, IMAGE_PLACES[folder.name])
    text_bias = take_out(
        theirs, "text.text_projection" if hasattr(theirs, "text") else "text_projection"
    )
    with torch.no_grad():
        image, text = (
            theirs.encode_image(images, normalize=False),
            theirs.encode_text(tokens, normalize=False),
        )
    expected = image @ model.projections.image.T + image_bias
    torch.testing.assert_close(model.encode_image(images), expected, rtol=1e-4, atol=1e-4)
    expected = text @ model.projections.text.T + text_bias
    torch.testing.assert_close(model.encode_text(SENTENCES), expected, rtol=1e-5, atol=1e-5)


def test_siglips_image_tower_has_no_projection_and_the_alternative_is_named(
    folder: Path, model: Model
) -> None:
    if folder.name != "siglip":
        assert model.projections.neurons == model.neurons == 24
        return
    assert model.weight_space == "the image tower ends without a projection"
    assert model.neurons == 96
    with pytest.raises(
        ModelError, match=r"siglip: the image tower ends without a projection(?s:.*)activations"
    ):
        _ = model.projections
    space = activation_space(model.encode_image(images_for(160)), model.encode_text(SENTENCES))
    assert sorted(order_neurons(space).tolist()) == list(range(96))


def test_a_head_of_several_layers_is_told(tmp_path: Path) -> None:
    write_open_clip(tmp_path, CONFIGS["mlp head"])
    with pytest.warns(UserWarning, match=r"visual\.head\.mlp\.fc2 is the last of several layers"):
        load_model(str(tmp_path))


IMAGE_TOKENS = {"vit": "first", "timm": "first", "custom text": "first", "mlp head": "first"}
TEXT_TOKENS = {"coca": "last", "siglip": "last"}


def test_the_token_that_a_feature_is_read_from(folder: Path, model: Model) -> None:
    """Know the token of each tower: all tokens of an image by default, the end of a sentence."""
    assert model.towers["image"].token == IMAGE_TOKENS.get(folder.name, "mean")
    assert model.towers["text"].token == TEXT_TOKENS.get(folder.name, "end")
    assert (model.towers["text"].end, model.towers["text"].padding) == (None, None)


@pytest.mark.slow
def test_copies_of_a_model_are_independent(folder: Path) -> None:
    """Make sure that a copy on another device does not use the weights of the first."""
    source = sources.from_folder(folder, offline=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*is the last of several layers")
        towers = _open_clip.load(source)
    towers.module.eval()
    twin = copy.deepcopy(towers)
    images = images_for(towers.preprocess.size)
    with torch.no_grad():
        image, text = twin.encode_image(images), twin.encode_text(twin.tokenize(SENTENCES))
        for parameter in towers.module.parameters():
            parameter.zero_()
        assert torch.equal(twin.encode_image(images), image)
        assert torch.equal(twin.encode_text(twin.tokenize(SENTENCES)), text)


def test_identity(folder: Path, model: Model) -> None:
    identity, config = model.identity, CONFIGS[folder.name]
    assert identity["format"] == "open_clip"
    assert json.loads(identity["architecture"]) == config
    assert identity["projection_bias"] == BIASED.get(folder.name, "none")
    image = "timm's own" if "timm_model_name" in config["vision_cfg"] else "GELU"
    image = {"vit": "QuickGELU", "resnet": "ReLU"}.get(folder.name, image)
    assert (
        identity["activation"]
        == f"image {image}, text {'QuickGELU' if folder.name == 'vit' else 'GELU'}"
    )
    assert "49408 entries" in identity["tokenizer"]


@pytest.mark.filterwarnings(LAST_OF_SEVERAL)
def test_loading_draws_no_random_numbers(folder: Path) -> None:
    before = torch.random.get_rng_state()
    load_model(str(folder))
    assert torch.equal(torch.random.get_rng_state(), before)


class Fills(TorchFunctionMode):
    """Count how often weights are filled with random numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.times = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.times += getattr(func, "__name__", "").endswith(("normal_", "uniform_"))
        return func(*args, **(kwargs or {}))


@pytest.mark.filterwarnings(LAST_OF_SEVERAL)
def test_no_weights_are_drawn_to_be_replaced(folder: Path) -> None:
    with Fills() as fills:
        load_model(f"local-dir:{folder}")
        assert fills.times == 0
        torch.nn.Embedding(3, 4)
    assert fills.times == 1


def test_a_vocabulary_of_the_folders_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write a model like the bundled ones: half precision, and shortened merges in the folder."""
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
        save_file(
            {**tensors, **{name.replace("__", "."): value for name, value in changes.items()}}, path
        )

    return change


def drop_projection(folder: Path) -> None:
    write_open_clip(folder, {**CONFIGS["vit"], "text_cfg": {**TEXT, "proj_type": "none"}})


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
    "unknown option": (
        set_in(MODEL, TOWER, "colour", value=1),
        r"cannot build this model_cfg.*colour",
    ),
    "impossible option": (set_in(MODEL, TOWER, "width", value=49), r"cannot build this model_cfg"),
    "unknown timm model": (
        set_in(MODEL, TOWER, "timm_model_name", value="vit_none"),
        r"cannot build .*vit_none",
    ),
    "another width": (
        set_in(MODEL, TOWER, "width", value=32),
        r"wrong shape: visual\.\S+ \[\S+ instead of \[",
    ),
    "more layers": (
        set_in(MODEL, TOWER, "layers", value=3),
        r"missing: visual\.transformer\.resblocks\.2\.",
    ),
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
        set_in(MODEL, "text_cfg", "hf_model_name", value="x/roberta"),
        r"config\.json of x/roberta: not on this disk",
    ),
    "transformers' words": (
        set_in(MODEL, "text_cfg", "hf_tokenizer_name", value="t5"),
        r"model: no tokenizer: ",
    ),
    "CoCa without a decoder": (
        lambda folder: (
            set_in(MODEL, "custom_text", value=True)(folder),
            set_in(MODEL, "multimodal_cfg", value={"width": 8})(folder),
        ),
        r"missing: \S+_",
    ),
    "no such vocabulary": (
        set_in(MODEL, "text_cfg", "tokenizer_kwargs", value={"bpe_path": "none.gz"}),
        r"no tokenizer from .*none\.gz",
    ),
    "unknown tokenizer option": (
        set_in(MODEL, "text_cfg", "tokenizer_kwargs", value={"colour": 1}),
        r"no tokenizer from .*colour",
    ),
    "padded images": (
        set_in("preprocess_cfg", "resize_mode", value="longest"),
        r"resize_mode 'shortest' or 'squash'",
    ),
    "grey images": (
        set_in("preprocess_cfg", "mean", value=[0.5]),
        r"mean and std of three numbers",
    ),
    "one number": (set_in("preprocess_cfg", "mean", value=0.5), r"mean and std of three numbers"),
    "words for numbers": (
        set_in("preprocess_cfg", "std", value=["1", "1", "1"]),
        r"mean and std of three numbers",
    ),
    "no spread": (
        set_in("preprocess_cfg", "std", value=[1, 0, 1]),
        r"preprocess_cfg: preprocess std .*\s.*no zero",
    ),
    "no dictionary": (set_in("preprocess_cfg", value=[1]), r"preprocess_cfg \[1\]"),
    "features of another width": (
        drop_projection,
        r"features of \[24, 32\] neurons\s+expected: embed_dim, 24",
    ),
}


@pytest.mark.slow
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
    torch.testing.assert_close(
        load_model(str(tmp_path)).encode_image(images), expected, rtol=1e-4, atol=1e-5
    )


def test_a_scale_may_be_a_list_of_one(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    write_open_clip(tmp_path, CONFIGS["vit"])
    expected = load_model(f"local-dir:{tmp_path}").identity["logit_scale"]
    tensors = load_file(tmp_path / WEIGHTS)
    tensors["logit_scale"] = tensors["logit_scale"].reshape(1)
    save_file(tensors, tmp_path / WEIGHTS)
    assert load_model(f"local-dir:{tmp_path}").identity["logit_scale"] == expected


def test_a_vocabulary_larger_than_the_tower(tmp_path: Path) -> None:
    write_open_clip(tmp_path, {**CONFIGS["vit"], "text_cfg": {**TEXT, "vocab_size": 100}})
    with pytest.raises(ModelError, match="49408 tokens for a vocab_size of 100"):
        load_model(str(tmp_path))


def test_a_text_tower_without_projection(tmp_path: Path) -> None:
    text = {**TEXT, "proj_type": "none", "width": 24}
    write_open_clip(tmp_path, {**CONFIGS["vit"], "text_cfg": text})
    model = load_model(str(tmp_path))
    assert model.weight_space == "the text tower ends without a projection"
    assert model.encode_text(SENTENCES).shape == (3, 24)


@pytest.mark.parametrize(
    ("tower", "key", "value"),
    [
        ("text_cfg", "tokenizer_kwargs", "x"),
        ("text_cfg", "eos_id", [1, 2, 3]),
        ("text_cfg", "context_length", None),
        ("vision_cfg", "head_width", -1),
        ("vision_cfg", "image_size", [[None]]),
    ],
)
def test_a_value_of_another_type_is_refused(
    tower: str, key: str, value: object, tmp_path: Path
) -> None:
    write_open_clip(tmp_path / "model", CONFIGS["vit"])
    config = {**CONFIGS["vit"], tower: {**CONFIGS["vit"][tower], key: value, "pool_type": "eos"}}
    (tmp_path / "model" / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": config, "preprocess_cfg": {}})
    )
    with pytest.raises(ModelError):
        load_model(f"local-dir:{tmp_path / 'model'}")


def test_a_device_without_numbers_is_refused() -> None:
    with pytest.raises(ModelError, match="device 'meta' holds no numbers"):
        load_model("bundled:clip", device="meta")


def test_a_context_of_which_nothing_is_said_is_open_clips() -> None:
    assert open_clip.CLIPTextCfg().context_length == _open_clip._CONTEXT


def test_the_projection_of_a_text_tower_is_the_last_of_its_layers() -> None:
    first, last = torch.nn.Linear(4, 5), torch.nn.Linear(5, 3, bias=False)
    head = torch.nn.Sequential(first, torch.nn.GELU(), last)
    with pytest.warns(UserWarning, match=r"text\.proj is the last of several layers"):
        assert _open_clip._find_text_linear(SimpleNamespace(proj=head), "here") == "proj.2"
    for single in (first, last):
        assert _open_clip._find_text_linear(SimpleNamespace(proj=single), "here") == "proj"
    assert _open_clip._find_text_linear(SimpleNamespace(proj=torch.nn.Identity()), "here") is None
