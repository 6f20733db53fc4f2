from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from purescope.errors import ModelError
from purescope.models import load_model
from purescope.models.laclip import find_architecture
from purescope.models.model import Model
from tests.checkpoints import Tensors, laclip_tensors, training_extras, write_laclip
from tests.models.laclip_oracle import image_features, quick_gelu, text_features

SENTENCES = ["a photo of a cat", "a dog", "Zürich at night, " * 30]
# CLIP's published ids: start, a, photo, of, a, cat, end.
CAT = [49406, 320, 1125, 539, 320, 2368, 49407]


@pytest.fixture(scope="module")
def tensors() -> Tensors:
    tensors = laclip_tensors(width=48, head_width=16, text_width=128)
    for name in ("visual.cls_token", "visual.pos_embed"):
        tensors[name] *= 0.01  # a small variance, so that the eps of a layer norm matters
    return tensors


@pytest.fixture(scope="module")
def light(tensors: Tensors) -> Tensors:
    """Use one embedding for every token, so that the file has kilobytes."""
    name = "token_embedding.weight"
    return {**tensors, name: tensors[name][:1].clone().expand_as(tensors[name])}


@pytest.fixture(scope="module")
def path(tensors: Tensors, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_laclip(tmp_path_factory.mktemp("laclip") / "cc3m_laclip.pt", tensors)


@pytest.fixture(scope="module")
def model(path: Path) -> Model:
    return load_model(str(path))


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def double(tensors: Tensors) -> Tensors:
    return {name: tensor.double() for name, tensor in tensors.items()}


def tokens_of(sentence: str) -> Tensor:
    from open_clip import tokenize

    tokens: Tensor = tokenize([sentence])[0]
    return tokens


def test_image_features_are_those_of_the_definition(
    model: Model, tensors: Tensors, images: Tensor
) -> None:
    expected = torch.stack(
        [image_features(double(tensors), image.double(), heads=3) for image in images]
    )
    torch.testing.assert_close(model.encode_image(images), expected.float(), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_text_features_are_those_of_the_definition(model: Model, tensors: Tensors) -> None:
    expected = torch.stack(
        [text_features(double(tensors), tokens_of(sentence)) for sentence in SENTENCES]
    )
    torch.testing.assert_close(model.encode_text(SENTENCES), expected.float(), rtol=1e-5, atol=1e-5)


def test_text_is_tokenized_as_clip_does(model: Model, tensors: Tensors) -> None:
    cat = torch.tensor(CAT + [0] * (77 - len(CAT)))
    expected = text_features(double(tensors), cat).float()
    torch.testing.assert_close(
        model.encode_text(["A  photo of a cat "])[0], expected, rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize(
    "mistake",
    [{"eps": 1e-5}, {"activation": quick_gelu}, {"normed": False}],
    ids=lambda mistake: next(iter(mistake)),
)
def test_the_comparison_sees_what_is_easily_mistaken(
    mistake: dict[str, Any], model: Model, tensors: Tensors, images: Tensor
) -> None:
    """Make sure that these changes move features by more than the tolerance of 1e-5."""
    wrong = image_features(double(tensors), images[0].double(), **{"heads": 3, **mistake}).float()
    assert (wrong - model.encode_image(images)[0]).abs().max() > 1e-3


def test_timm_vit_takes_the_visual_weights_as_they_are(
    model: Model, tensors: Tensors, images: Tensor
) -> None:
    from timm.models.vision_transformer import VisionTransformer

    visual = VisionTransformer(
        img_size=32,
        embed_dim=48,
        depth=2,
        num_heads=3,
        qk_norm=True,
        num_classes=0,
        norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
    )
    weights = {n.removeprefix("visual."): t for n, t in tensors.items() if n.startswith("visual.")}
    visual.load_state_dict(weights, strict=True)
    with torch.no_grad():
        expected = visual.eval()(images) @ tensors["image_projection"]
    torch.testing.assert_close(model.encode_image(images), expected, rtol=1e-5, atol=1e-5)


def test_projections_have_neurons_as_rows(model: Model, tensors: Tensors) -> None:
    assert torch.equal(model.projections.image, tensors["image_projection"].T)
    assert torch.equal(model.projections.text, tensors["text_projection"].T)
    assert not model.projections.image.requires_grad


def test_features_are_the_trunk_times_the_projection(
    model: Model, tensors: Tensors, images: Tensor, tmp_path: Path
) -> None:
    """Use the identity as projection, so that features are the output of the trunk."""
    trunk = dict(tensors, image_projection=torch.eye(48), text_projection=torch.randn(128, 48))
    outputs = load_model(str(write_laclip(tmp_path / "trunk.pt", trunk))).encode_image(images)
    expected = outputs @ model.projections.image.T
    torch.testing.assert_close(model.encode_image(images), expected, rtol=1e-5, atol=1e-5)


def test_preprocess_is_the_authors_own(model: Model) -> None:
    assert (model.preprocess.size, model.preprocess.interpolation) == (32, "bilinear")
    assert model.preprocess.mean == (0.485, 0.456, 0.406)
    assert model.preprocess.std == (0.229, 0.224, 0.225)


@pytest.mark.slow
def test_identity_tells_models_apart(model: Model, tensors: Tensors, tmp_path: Path) -> None:
    bare = load_model(str(write_laclip(tmp_path / "other_name.pt", tensors, prefix="")))
    changed = dict(tensors, logit_scale=tensors["logit_scale"] + 1)
    other = load_model(str(write_laclip(tmp_path / "changed.pt", changed)))
    assert bare.identity == model.identity
    differs = {key for key in other.identity if other.identity[key] != model.identity[key]}
    assert differs == {"weights", "logit_scale"}
    assert model.identity["format"] == "laclip"
    assert float(model.identity["logit_scale"]) == pytest.approx(
        tensors["logit_scale"].exp().item(), rel=1e-5
    )


@pytest.mark.parametrize(
    "form", ["training", "no prefix", "no wrapper", "legacy", "half", "safetensors"]
)
def test_every_form_of_one_checkpoint_is_the_same_model(
    form: str, model: Model, tensors: Tensors, images: Tensor, tmp_path: Path
) -> None:
    path, tolerance = tmp_path / "model.pt", 1e-5
    if form == "training":
        write_laclip(path, tensors, extras=training_extras(tensors))
    elif form == "no prefix":
        write_laclip(path, tensors, prefix="")
    elif form == "no wrapper":
        torch.save(tensors, path)
    elif form == "legacy":
        torch.save({"state_dict": tensors}, path, _use_new_zipfile_serialization=False)
    elif form == "half":
        write_laclip(path, {name: tensor.half() for name, tensor in tensors.items()})
        tolerance = 0.05
    else:
        from safetensors.torch import save_file

        path = tmp_path / "model.safetensors"
        save_file(tensors, path)
    other = load_model(str(path))
    assert other.projections.image.dtype == torch.float32
    difference = other.encode_image(images) - model.encode_image(images)
    assert difference.abs().max() < tolerance
    assert (other.encode_text(SENTENCES) - model.encode_text(SENTENCES)).abs().max() < tolerance


SIZES = {"ViT-S/16": (384, 12, 12), "ViT-B/16": (768, 12, 12), "ViT-L/16": (1024, 24, 16)}


@pytest.mark.parametrize("qk_norm", [True, False])
@pytest.mark.parametrize("name", SIZES)
def test_sizes_are_found_from_shapes(name: str, qk_norm: bool) -> None:
    width, depth, heads = SIZES[name]
    tensors = laclip_tensors(
        width=width,
        depth=depth,
        head_width=width // heads if qk_norm else None,
        image=224,
        text_width=512,
        text_depth=12,
        neurons=512,
        device="meta",
    )
    found = find_architecture(Path("model.pt"), tensors)
    assert (found.name, found.heads, found.qk_norm) == (name, heads, qk_norm)
    assert (found.image_size, found.patch, found.neurons) == (224, 16, 512)
    assert (found.text_width, found.text_depth, found.context, found.vocabulary) == (
        512,
        12,
        77,
        49408,
    )


def test_a_checkpoint_without_query_norms_needs_a_known_width(
    tmp_path: Path, images: Tensor
) -> None:
    tensors = laclip_tensors(width=384, depth=1, head_width=None)
    model = load_model(str(write_laclip(tmp_path / "slip.pt", tensors)))
    expected, wrong = (
        image_features(double(tensors), images[0].double(), heads=n).float() for n in (12, 6)
    )
    torch.testing.assert_close(model.encode_image(images)[0], expected, rtol=1e-5, atol=1e-5)
    assert (wrong - expected).abs().max() > 1e-3
    with pytest.raises(ModelError, match=r"no known number of heads for width 64"):
        load_model(str(write_laclip(tmp_path / "tiny.pt", laclip_tensors(head_width=None))))


def without(tensors: Tensors, *names: str) -> Tensors:
    return {name: tensor for name, tensor in tensors.items() if name not in names}


def broken(tensors: Tensors, name: str, value: float) -> Tensors:
    tensor = tensors[name].clone()
    tensor.view(-1)[-1] = value
    return dict(tensors, **{name: tensor})


NORM, CLASS_TOKEN = "visual.norm.weight", "visual.cls_token"
FAULTS: dict[str, tuple[Callable[[Tensors], dict[str, Any]], str]] = {
    "one missing": (lambda t: without(t, NORM), rf"missing: {NORM}"),
    "a missing projection": (
        lambda t: without(t, "image_projection"),
        r"missing: image_projection",
    ),
    "many missing": (
        lambda t: {name: tensor for name, tensor in t.items() if "resblocks.1.attn" not in name},
        r"missing: transformer\.resblocks\.1\.attn\.\S+, \S+, \S+ and 1 more",
    ),
    "surplus": (lambda t: dict(t, image_mlp=torch.zeros(1)), r"surplus: image_mlp"),
    "wrong shape": (lambda t: dict(t, **{NORM: torch.ones(5)}), rf"{NORM} \[5\] instead of \[48\]"),
    "a flat projection": (
        lambda t: dict(t, image_projection=torch.ones(5)),
        r"image_projection \[5\]",
    ),
    "an empty projection": (
        lambda t: dict(t, image_projection=torch.ones(0, 5)),
        r"image_projection \[0, 5\]",
    ),
    "towers that disagree": (
        lambda t: dict(t, text_projection=torch.ones(128, 7)),
        r"text_projection \[128, 7\] instead of \[128, 24\]",
    ),
    "no square": (
        lambda t: dict(t, **{"visual.pos_embed": torch.ones(1, 4, 48)}),
        r"visual\.pos_embed \[1, 4",
    ),
    "NaN": (lambda t: broken(t, NORM, float("nan")), rf"NaN or infinite: {NORM}"),
    "infinity": (
        lambda t: broken(t, CLASS_TOKEN, float("-inf")),
        rf"NaN or infinite: {CLASS_TOKEN}",
    ),
    "another vocabulary": (
        lambda t: dict(t, **{"token_embedding.weight": torch.ones(100, 128)}),
        r"token_embedding\.weight has 100 rows",
    ),
    "an odd text width": (
        lambda t: dict(t, **{"token_embedding.weight": torch.ones(49408, 100)}),
        r"text width 100",
    ),
    "an odd q_norm": (
        lambda t: dict(t, **{"visual.blocks.0.attn.q_norm.weight": torch.ones(7)}),
        r"q_norm of 7 does not divide the width 48",
    ),
    "a list of numbers": (
        lambda t: dict(t, image_projection=[1.0]),
        r"not plain tensors: image_projection",
    ),
    "a tensor without values": (
        lambda t: dict(t, **{NORM: torch.empty(48, device="meta")}),
        r"not plain tensors: visual\.norm\.weight",
    ),
    "transformers' form": (
        lambda t: {"visual_projection.weight": torch.ones(1)},
        r"give the whole folder of transformers",
    ),
    "another format": (lambda t: {"conv1.weight": torch.ones(1)}, r"it holds conv1\.weight"),
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_what_does_not_fit_is_named(fault: str, light: Tensors, tmp_path: Path) -> None:
    change, message = FAULTS[fault]
    path = write_laclip(tmp_path / "broken.pt", change(light), prefix="")
    with pytest.raises(ModelError, match=message) as caught:
        load_model(str(path))
    assert str(path) in str(caught.value)


def test_all_faults_are_told_at_once(light: Tensors, tmp_path: Path) -> None:
    changed = dict(without(light, "ln_final.bias"), more=torch.zeros(1), **{NORM: torch.ones(5)})
    with pytest.raises(
        ModelError, match=r"missing: ln_final\.bias; surplus: more; wrong shape: visual\.norm"
    ):
        load_model(str(write_laclip(tmp_path / "broken.pt", changed)))


def test_loading_draws_no_random_numbers(path: Path) -> None:
    before = torch.random.get_rng_state()
    load_model(str(path))
    assert torch.equal(torch.random.get_rng_state(), before)
