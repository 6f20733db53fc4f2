"""Test bare files in CLIP's layout: archives and state dicts of OpenAI, and files of open_clip."""

import json
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from torch import Tensor

from purescope.errors import ModelError
from purescope.models import load_model
from purescope.models.architectures import Architecture, find_name_by_shapes, fit_sizes
from purescope.models.checkpoint import read_tensors
from tests.checkpoints import Tensors, openai_marks, openai_model, write_laclip, write_torchscript

WEIGHT = torch.zeros(8, 3, 16, 16)
SENTENCES = ["a photo of a cat", "a red flag"]
VISIONS: dict[str, dict[str, Any]] = {
    "vit": {"image_size": 32, "layers": 2, "width": 128, "patch_size": 16},
    "resnet": {"image_size": 64, "layers": [1, 2, 1, 1], "width": 64, "patch_size": None},
}


@pytest.fixture(scope="module", params=VISIONS)
def theirs(request: pytest.FixtureRequest) -> Any:
    return openai_model(vision=VISIONS[request.param])


@pytest.fixture(scope="module")
def vit() -> Any:
    return openai_model()


@pytest.fixture
def tiny() -> Iterator[Callable[..., str]]:
    """Register small architectures with open_clip by its own function; remove them afterwards."""
    from open_clip import factory

    paths, configs = list(factory._MODEL_CONFIG_PATHS), dict(factory._MODEL_CONFIGS)
    yield (
        lambda path, name, config: (
            (path / f"{name}.json").write_text(json.dumps(config))
            and (open_clip.add_model_config(path / f"{name}.json") or name)
        )
    )
    factory._MODEL_CONFIG_PATHS[:] = paths
    factory._MODEL_CONFIGS.clear()
    factory._MODEL_CONFIGS.update(configs)


def config_of(quick_gelu: bool, head_width: int = 64) -> dict[str, Any]:
    return {
        "embed_dim": 24,
        **({"quick_gelu": True} if quick_gelu else {}),
        "vision_cfg": {**VISIONS["vit"], "head_width": head_width},
        "text_cfg": {
            "context_length": 16,
            "vocab_size": 49408,
            "width": 64,
            "heads": 1,
            "layers": 1,
        },
    }


def images_for(model: Any) -> Tensor:
    size = model.visual.image_size
    size = size if isinstance(size, int) else size[0]
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))


def features_of(model: Any) -> tuple[Tensor, Tensor]:
    tokens = open_clip.tokenize(SENTENCES, context_length=16)
    with torch.no_grad():
        return model.encode_image(images_for(model)), model.encode_text(tokens)


def assert_features(path: Path, theirs: Any, **options: Any) -> None:
    model = load_model(str(path), **options)
    image, text = features_of(theirs)
    torch.testing.assert_close(model.encode_image(images_for(theirs)), image, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model.encode_text(SENTENCES), text, rtol=1e-4, atol=1e-5)


def save(path: Path, model: Any, marks: bool = True, **changes: Any) -> Path:
    torch.save({**model.state_dict(), **(openai_marks() if marks else {}), **changes}, path)
    return path


@pytest.mark.slow
def test_an_archive_of_openai_is_its_model(theirs: Any, tmp_path: Path) -> None:
    path = write_torchscript(tmp_path / "model.pt", theirs)
    assert_features(path, theirs)
    model = load_model(str(path))
    assert model.identity["format"] == "openai"
    image = (
        "ReLU"
        if isinstance(theirs.visual, open_clip.modified_resnet.ModifiedResNet)
        else "QuickGELU"
    )
    assert model.identity["activation"] == f"image {image}, text QuickGELU"
    assert (model.preprocess.mean[0], model.preprocess.interpolation) == (0.48145466, "bicubic")
    assert model.projections.image.dtype == torch.float32
    assert torch.equal(model.projections.text, theirs.text_projection.T)


@pytest.mark.slow
def test_the_archive_is_what_torch_and_open_clip_read(theirs: Any, tmp_path: Path) -> None:
    """Compare every tensor with the archive's own state_dict, and the model with open_clip's."""
    path = write_torchscript(tmp_path / "model.pt", theirs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = torch.jit.load(path).state_dict()
        read = open_clip.load_openai_model(str(path), precision="fp32", device="cpu")
    found = read_tensors(path)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert_features(path, read)


def test_a_causal_mask_among_the_weights_is_none(vit: Any, tmp_path: Path) -> None:
    assert_features(write_torchscript(tmp_path / "model.pt", vit, mask_is_weight=True), vit)


def test_a_state_dict_of_openai(vit: Any, tmp_path: Path) -> None:
    assert_features(save(tmp_path / "model.pt", vit), vit)


def test_another_activation_would_show(vit: Any, tmp_path: Path) -> None:
    """Make sure that the comparisons above would notice another activation."""
    config = config_of(quick_gelu=False)
    wrong = open_clip.CLIP(**config)
    wrong.load_state_dict(vit.state_dict())
    for ours, other in zip(features_of(vit), features_of(wrong.eval()), strict=True):
        assert (ours - other).abs().max() > 1e-3


@pytest.mark.slow
def test_no_code_of_an_archive_is_read(vit: Any, tmp_path: Path) -> None:
    """Read an archive without its program, which may be anything."""
    whole, path = write_torchscript(tmp_path / "whole.pt", vit), tmp_path / "model.pt"
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(path, "w") as target:
        for entry in source.infolist():
            if "/code/" not in entry.filename:
                target.writestr(entry, source.read(entry))
    assert_features(path, vit)


@pytest.mark.slow
def test_an_openai_file_is_never_read_with_another_activation(
    vit: Any, tmp_path: Path, tiny: Callable[..., str]
) -> None:
    path = write_torchscript(tmp_path / "model.pt", vit)
    arch = tiny(tmp_path, "tiny", config_of(quick_gelu=False))
    with pytest.raises(
        ModelError,
        match=r"tiny has no QuickGELU, and \S+model.pt is OpenAI's(?s:.*)an architecture",
    ):
        load_model(str(path), arch=arch)
    twin = tiny(tmp_path, "tiny-quickgelu", config_of(quick_gelu=True))
    with pytest.raises(ModelError, match="give tiny-quickgelu in place of tiny"):
        load_model(str(path), arch=arch)
    assert_features(path, vit, arch=twin)


@pytest.mark.slow
@pytest.mark.parametrize("prefix", ["module.", ""])
def test_a_training_file_of_open_clip_by_the_name_of_its_architecture(
    prefix: str, vit: Any, tmp_path: Path, tiny: Callable[..., str]
) -> None:
    path = write_laclip(
        tmp_path / "epoch_1.pt", vit.state_dict(), prefix=prefix, extras={"epoch": 1, "name": "run"}
    )
    arch = tiny(tmp_path, "tiny", config_of(quick_gelu=True, head_width=32))
    expected = open_clip.create_model(arch, pretrained=str(path)).eval()
    assert_features(path, expected, arch=arch)
    from safetensors.torch import save_file

    save_file(vit.state_dict(), tmp_path / "model.safetensors")
    assert_features(tmp_path / "model.safetensors", expected, arch=arch)


@pytest.mark.slow
def test_an_architecture_with_one_preprocess_brings_it(
    vit: Any, tmp_path: Path, tiny: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from open_clip import pretrained

    arch = tiny(tmp_path, "tiny", config_of(quick_gelu=True))
    path = save(tmp_path / "model.pt", vit, marks=False)
    squashed = pretrained._slpcfg(hf_hub="x/y/")
    monkeypatch.setitem(pretrained._PRETRAINED, "tiny", {"a": squashed, "b": squashed})
    found = load_model(str(path), arch=arch).preprocess
    assert (found.mean, found.resize) == ((0.5, 0.5, 0.5), "squash")
    monkeypatch.setitem(
        pretrained._PRETRAINED, "tiny", {"a": squashed, "b": pretrained._pcfg(hf_hub="x/y/")}
    )
    with pytest.warns(
        UserWarning, match=r"of tiny have different ones \(a: mean 0\.5, .* name a tag .*: tiny/TAG"
    ):
        found = load_model(str(path), arch=arch).preprocess
    assert (found.mean[0], found.resize) == (0.48145466, "shortest")
    for spec, options in ((str(path), {"arch": f"{arch}/a"}), (f"open_clip:{arch}/a/{path}", {})):
        found = load_model(spec, **options).preprocess
        assert (found.mean, found.resize) == ((0.5, 0.5, 0.5), "squash")
    assert load_model(str(path), arch=f"{arch}/b").preprocess.resize == "shortest"
    with pytest.raises(ModelError, match=r"no weights 'c' of tiny\n  expected: one of a, b"):
        load_model(str(path), arch=f"{arch}/c")


@pytest.mark.slow
def test_a_bare_file_is_taken_for_open_clips_architecture_of_its_shapes(
    vit: Any, tmp_path: Path, tiny: Callable[..., str]
) -> None:
    path = save(tmp_path / "laion400m_laclip.pt", vit, marks=False)
    with pytest.raises(
        ModelError, match=r"none of open_clip's architectures has these shapes(?s:.*)--arch NAME"
    ):
        load_model(str(path))
    tiny(tmp_path, "tiny-quickgelu", config_of(quick_gelu=True, head_width=32))
    tiny(tmp_path, "tiny", config_of(quick_gelu=False, head_width=32))
    with pytest.warns(
        UserWarning, match="taken for open_clip's tiny with GELU; .* give --arch tiny-quickgelu"
    ):
        model = load_model(str(path))
    expected = open_clip.create_model("tiny", pretrained=str(path)).eval()
    torch.testing.assert_close(
        model.encode_image(images_for(vit)), features_of(expected)[0], rtol=1e-4, atol=1e-5
    )
    tiny(tmp_path, "other", config_of(quick_gelu=False, head_width=64))
    with pytest.raises(ModelError, match=r"several of open_clip's architectures \(other, tiny\)"):
        load_model(str(path))


@pytest.mark.parametrize("kind", VISIONS)
def test_sizes_are_those_of_the_position_embeddings(
    kind: str, tmp_path: Path, tiny: Callable[..., str]
) -> None:
    vision = VISIONS[kind]
    theirs = openai_model(vision={**vision, "image_size": 96})
    config = {**config_of(quick_gelu=True), "vision_cfg": vision}
    arch = tiny(
        tmp_path, "tiny", {**config, "text_cfg": {**config["text_cfg"], "context_length": 77}}
    )
    path = save(tmp_path / "model.pt", theirs, marks=False)
    message = (
        rf"takes images of 96 pixels, not {vision['image_size']} and sentences of 16 tokens, "
        r"not 77 as tiny"
    )
    with pytest.warns(UserWarning, match=message):
        model = load_model(str(path), arch=arch)
    assert model.preprocess.size == 96
    torch.testing.assert_close(
        model.encode_image(images_for(theirs)), features_of(theirs)[0], rtol=1e-4, atol=1e-5
    )
    torch.testing.assert_close(
        model.encode_text(SENTENCES), features_of(theirs)[1], rtol=1e-4, atol=1e-5
    )


def test_another_size_of_a_known_architecture_is_found_from_shapes() -> None:
    config = open_clip.get_model_config("ViT-S-32-alt")
    config["vision_cfg"]["image_size"] = 320
    with torch.device("meta"):
        tensors: Tensors = open_clip.CLIP(**config).state_dict()
    with pytest.warns(UserWarning, match="taken for open_clip's ViT-S-32-alt with GELU"):
        assert find_name_by_shapes(Path("model.pt"), tensors) == "ViT-S-32-alt"


def test_sizes_of_a_tower_of_timm() -> None:
    tensors = {
        "visual.trunk.pos_embed": torch.zeros(1, 16, 8),
        "visual.trunk.patch_embed.proj.weight": WEIGHT,
    }
    found = Architecture("tiny", {"vision_cfg": {"image_size": 32}, "text_cfg": {}}, {})
    with pytest.warns(UserWarning, match="images of 64 pixels, not 32"):
        assert fit_sizes(Path("a.pt"), found, tensors)["vision_cfg"]["image_size"] == 64
    with_class = {**tensors, "visual.trunk.pos_embed": torch.zeros(1, 5, 8)}
    assert fit_sizes(Path("a.pt"), found, with_class) is found.model
    oblong = {**tensors, "visual.trunk.pos_embed": torch.zeros(1, 8, 8)}
    assert fit_sizes(Path("a.pt"), found, oblong) is found.model


def test_a_bare_file_in_openais_precisions_is_asked_about(
    vit: Any, tmp_path: Path, tiny: Callable[..., str]
) -> None:
    tiny(tmp_path, "tiny", config_of(quick_gelu=False))
    half = {
        name: tensor.half()
        for name, tensor in vit.state_dict().items()
        if tensor.ndim > 1 and "emb" not in name
    }
    path = save(tmp_path / "model.pt", vit, marks=False, **half)
    with pytest.raises(ModelError, match=r"GELU or QuickGELU(?s:.*)--arch tiny-quickgelu"):
        load_model(str(path))


KNOWN = ["ViT-B-32", "ViT-B-16", "ViT-L-14", "ViT-H-14", "RN50"]


@pytest.mark.parametrize("name", KNOWN)
def test_the_architectures_of_published_files_are_found_from_shapes(name: str) -> None:
    with torch.device("meta"):
        tensors: Tensors = open_clip.CLIP(**open_clip.get_model_config(name)).state_dict()
    with pytest.warns(UserWarning, match=f"taken for open_clip's {name} with GELU"):
        assert find_name_by_shapes(Path("model.pt"), tensors) == name


def test_an_architecture_is_for_a_bare_file(vit: Any, tmp_path: Path) -> None:
    path = save(tmp_path / "model.pt", vit)
    with pytest.raises(
        ModelError, match=r"no architecture 'ViT-B-23'(?s:.*)to fix:   did you mean 'ViT-B-32'"
    ):
        load_model(str(path), arch="ViT-B-23")
    for spec in (str(tmp_path), "bundled:clip", "open_clip:ViT-B-32/openai"):
        with pytest.raises(ModelError, match="an architecture for a bare file only"):
            load_model(spec, arch="ViT-B-32")


FAULTS: dict[str, tuple[Callable[[Tensors], dict[str, Any]], str]] = {
    "no positions": (
        lambda t: {
            name: tensor for name, tensor in t.items() if name != "visual.positional_embedding"
        },
        r"missing: visual\.positional_embedding",
    ),
    "a flat weight": (
        lambda t: {**t, "positional_embedding": torch.zeros(3)},
        r"positional_embedding \[3\]",
    ),
    "an empty weight": (
        lambda t: {**t, "visual.positional_embedding": torch.zeros(0, 128)},
        r"\[0, 128\]",
    ),
    "an odd width": (
        lambda t: {**t, "visual.conv1.weight": torch.zeros(100, 3, 16, 16)},
        r"image width 100\s+expected: CLIP's towers, whose heads are 64 wide",
    ),
    "one position": (
        lambda t: {**t, "visual.positional_embedding": torch.zeros(1, 128)},
        "no positions of patches",
    ),
    "a layer too few": (
        lambda t: {name: tensor for name, tensor in t.items() if "resblocks.0.ln_1" not in name},
        r"missing: \S+resblocks\.0\.ln_1",
    ),
    "another vocabulary": (
        lambda t: {**t, "token_embedding.weight": torch.zeros(9, 64)},
        "49408 tokens for a vocab",
    ),
    "NaN": (
        lambda t: {**t, "ln_final.bias": torch.full((64,), torch.nan)},
        r"NaN or infinite: ln_final\.bias",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_does_not_fit_is_named(fault: str, vit: Any, tmp_path: Path) -> None:
    change, message = FAULTS[fault]
    path = tmp_path / "model.pt"
    torch.save(change({**vit.state_dict(), **openai_marks()}), path)
    with pytest.raises(ModelError, match=message) as caught:
        load_model(str(path))
    assert str(path) in str(caught.value)
