"""Test models of transformers, in folders as save_pretrained writes them."""

import copy
import json
import shutil
import string
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from purescope.errors import MissingExtraError, ModelError
from purescope.models import load_model
from purescope.models import transformers as _transformers
from purescope.models.model import Model
from tests.models.test_model import noise

transformers = pytest.importorskip("transformers")

SENTENCES = ["a photo of a cat", "A red flag", "words beyond the context " * 30]
FAMILIES = ("clip", "siglip")
TEXT = {
    "hidden_size": 48,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
}
TEXT |= {
    "vocab_size": 600,
    "max_position_embeddings": 16,
    "bos_token_id": 512,
    "eos_token_id": 513,
    "pad_token_id": 0,
}
VISION = {
    "hidden_size": 48,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
}
VISION |= {"image_size": 32, "patch_size": 16}


def write(folder: Path, family: str, **changes: Any) -> Any:
    """Write a small model with random weights, a tokenizer and a processor; return the model."""
    text, vision = {**TEXT, **changes.get("text", {})}, {**VISION, **changes.get("vision", {})}
    if family == "clip":
        text["hidden_size"] = 32
        text["num_attention_heads"] = 2
        both = {"text_config": text, "vision_config": vision, "projection_dim": 24}
        model = transformers.CLIPModel(transformers.CLIPConfig(**both))
        processor: Any = transformers.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32)
        symbols = [chr(code) for code in range(33, 127)]
        vocabulary = {
            word: i for i, word in enumerate([*symbols, *(symbol + "</w>" for symbol in symbols)])
        }
        vocabulary |= {"<|startoftext|>": 512, "<|endoftext|>": 513}
        tokenizer: Any = transformers.CLIPTokenizer(vocab=vocabulary, merges=[])
    else:
        config = transformers.SiglipConfig(text_config=text, vision_config=vision)
        model = transformers.SiglipModel(config)
        processor = transformers.SiglipImageProcessor(size={"height": 32, "width": 32})
        tokenizer = word_tokenizer()
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) / 8
    for part in (model, processor, tokenizer):
        part.save_pretrained(folder)
    return model.eval()


def word_tokenizer() -> Any:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    words = ["<pad>", "</s>", "<unk>", "a", "photo", "of", "cat", "red", "flag"]
    backend = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>")
    )
    backend.normalizer, backend.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", unk_token="<unk>", eos_token="</s>"
    )


def cased(folder: Path, **config: Any) -> None:
    """Replace a tokenizer by that of Gemma, which SigLIP 2 has and which distinguishes capitals."""
    from tokenizers import Tokenizer, models, normalizers, processors

    symbols = [
        "<pad>",
        "<eos>",
        "<bos>",
        "<unk>",
        "\u2581",
        *string.ascii_letters,
        *string.punctuation,
    ]
    backend = Tokenizer(
        models.BPE(
            vocab={symbol: i for i, symbol in enumerate(symbols)}, merges=[], unk_token="<unk>"
        )
    )
    backend.normalizer = normalizers.Replace(" ", "\u2581")
    backend.post_processor = processors.TemplateProcessing(
        single="$A <eos>", special_tokens=[("<eos>", 1)]
    )
    backend.save(str(folder / "tokenizer.json"))
    tokens = {f"{name}_token": f"<{name}>" for name in ("pad", "eos", "bos", "unk")}
    config = {"tokenizer_class": "GemmaTokenizer", **tokens, **config}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "special_tokens_map.json").unlink(missing_ok=True)


def tells_case(model: Model) -> bool:
    cased, lower = model.encode_text(["a Persian Cat.", "a persian cat."])
    return not torch.allclose(cased, lower, rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore:.*token_id must be:UserWarning")
@pytest.mark.parametrize("config", [{}, {"do_lower_case": True}], ids=str)
def test_sentences_for_a_model_of_lower_case_are_lower_cased(
    config: dict[str, bool], wholes: Path, tmp_path: Path
) -> None:
    """Lower-case sentences for SigLIP 2, as it was trained; its tokenizer does not."""
    folder = shutil.copytree(wholes / "siglip", tmp_path / "siglip2")
    cased(folder, **config)
    with pytest.warns(
        UserWarning, match="siglip2: sentences are lower-cased, as the model was trained"
    ):
        model = load_model(str(folder))
    assert not tells_case(model)
    assert model.identity["tokenizer"].startswith("GemmaTokenizer of lower-cased sentences, ")


def test_a_tokenizer_that_says_it_is_cased_stays_so(wholes: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(wholes / "siglip", tmp_path / "siglip2")
    cased(folder, do_lower_case=False)
    model = load_model(str(folder))
    assert tells_case(model)
    assert model.identity["tokenizer"].startswith("GemmaTokenizer, ")


@pytest.fixture(scope="module", params=FAMILIES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("transformers") / str(request.param)
    write(folder, request.param)
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return load_model(f"hf:{folder}")


def theirs(folder: Path) -> Any:
    return transformers.AutoModel.from_pretrained(folder).eval()


def images() -> Tensor:
    return torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def tokens_for(folder: Path) -> Any:
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    return tokenizer(
        SENTENCES, padding="max_length", truncation=True, max_length=16, return_tensors="pt"
    )


def pooled(output: Any) -> Tensor:
    """Return features of either version: a tensor before transformers 5, an output since."""
    result: Tensor = output if isinstance(output, Tensor) else output.pooler_output
    return result


def test_features_are_transformers_own(folder: Path, model: Model) -> None:
    other, tokens = theirs(folder), tokens_for(folder)
    # As its documentation has it: CLIP's padding is masked, SigLIP's is not.
    tokens = tokens if folder.name == "clip" else {"input_ids": tokens["input_ids"]}
    tokens = {key: value for key, value in tokens.items() if key in ("input_ids", "attention_mask")}
    with torch.no_grad():
        image, text = (
            pooled(other.get_image_features(images())),
            pooled(other.get_text_features(**tokens)),
        )
    torch.testing.assert_close(model.encode_image(images()), image, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model.encode_text(SENTENCES), text, rtol=1e-4, atol=1e-5)
    assert model.neurons == image.shape[1]


def test_clips_features_are_the_pooled_output_times_the_projection(
    folder: Path, model: Model
) -> None:
    if folder.name == "siglip":
        assert model.weight_space == "the image tower ends without a projection"
        with pytest.raises(
            ModelError, match=r"siglip: the image tower ends without a projection(?s:.*)activations"
        ):
            _ = model.projections
        return
    other = theirs(folder)
    with torch.no_grad():
        image = other.vision_model(pixel_values=images()).pooler_output
        text = other.text_model(input_ids=tokens_for(folder)["input_ids"]).pooler_output
    expected = image @ model.projections.image.T, text @ model.projections.text.T
    torch.testing.assert_close(model.encode_image(images()), expected[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model.encode_text(SENTENCES), expected[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(90, 60), (33, 80), (60, 70), (32, 32)])
def test_preprocess_is_the_processors(shape: tuple[int, int], folder: Path, model: Model) -> None:
    """Compare with the processors that use Pillow; torchvision's kernels round differently."""
    picture = noise(*shape)
    name = {"clip": "CLIPImageProcessor", "siglip": "SiglipImageProcessor"}[folder.name]
    processor = getattr(transformers, f"{name}Pil", getattr(transformers, name)).from_pretrained(
        folder
    )
    expected = processor(picture, return_tensors="pt")["pixel_values"][0]
    found = model.preprocess.normalise(model.preprocess.pixels(picture)[None])[0]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_identity(folder: Path, model: Model) -> None:
    identity = model.identity
    activation = {"clip": "quick_gelu", "siglip": "gelu_pytorch_tanh"}[folder.name]
    assert identity["activation"] == f"image {activation}, text {activation}"
    assert identity["format"] == "transformers"
    assert identity["projection_bias"] == {"clip": "none", "siglip": "text"}[folder.name]
    assert json.loads(identity["architecture"])["vision_config"]["image_size"] == 32
    assert "transformers_version" not in identity["architecture"]
    assert float(identity["logit_scale"]) == pytest.approx(
        theirs(folder).logit_scale.exp().item(), rel=1e-4
    )


def test_a_path_and_its_name_are_one_model(folder: Path, model: Model) -> None:
    bare = load_model(str(folder))
    assert bare.identity == model.identity
    assert model.label == folder.name
    assert bare.label == {"clip": "CLIP", "siglip": "siglip"}[folder.name]


def test_loading_draws_no_random_numbers(folder: Path) -> None:
    before = torch.random.get_rng_state()
    load_model(str(folder))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_encoding_in_threads(folder: Path, model: Model) -> None:
    batches = [images() + i for i in range(4)]
    expected = [model.encode_image(batch) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(model.encode_image, batches))
    assert all(map(torch.equal, found, expected))


def test_copies_of_a_model_are_independent(folder: Path) -> None:
    towers = _transformers.load(folder)
    towers.module.eval()
    twin = copy.deepcopy(towers)
    with torch.no_grad():
        image, text = twin.encode_image(images()), twin.encode_text(twin.tokenize(SENTENCES))
        for parameter in towers.module.parameters():
            parameter.zero_()
        assert torch.equal(twin.encode_image(images()), image)
        assert torch.equal(twin.encode_text(twin.tokenize(SENTENCES)), text)


def test_weights_in_parts_in_half_precision_and_with_positions(
    folder: Path, model: Model, tmp_path: Path
) -> None:
    """Store weights in several files, in half precision and with position ids."""
    parts = shutil.copytree(folder, tmp_path / folder.name)
    tensors = {
        name: tensor.half() for name, tensor in load_file(parts / "model.safetensors").items()
    }
    tensors["text_model.embeddings.position_ids"] = torch.arange(16)[None]
    (parts / "model.safetensors").unlink()
    names = sorted(tensors)
    place = {name: f"model-0000{1 + i % 2}-of-00002.safetensors" for i, name in enumerate(names)}
    for file in set(place.values()):
        save_file({name: tensors[name] for name in names if place[name] == file}, parts / file)
    (parts / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": place})
    )
    edit("config.json", dtype="float16")(parts)
    found = load_model(str(parts))
    torch.testing.assert_close(
        found.encode_image(images()), model.encode_image(images()), rtol=0.1, atol=0.02
    )
    assert next(iter(found.encode_text(["a"]))).dtype == torch.float32


def edit(name: str, **changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / name
        config = json.loads(path.read_text()) if path.is_file() else {}
        for key, value in changes.items():
            place, *keys = config, *key.split("__")
            for part in keys[:-1]:
                place = place[part]
            place[keys[-1]] = value
        path.write_text(json.dumps(config))

    return change


def put(name: str, content: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(content)


def drop(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def set_weight(name: str, value: Tensor) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        save_file({**tensors, name: value}, folder / "model.safetensors")

    return change


def in_parts(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        edit("model.safetensors.index.json", weight_map={"a": name})(folder)

    return change


def without_pooling(folder: Path) -> None:
    edit("config.json", vision_config__vision_use_head=False)(folder)
    tensors = load_file(folder / "model.safetensors")
    save_file(
        {name: t for name, t in tensors.items() if "vision_model.head." not in name},
        folder / "model.safetensors",
    )


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
PROCESSOR = "preprocessor_config.json"
FAULTS: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "no configuration": ("clip", drop("config.json"), r"config\.json: No such file"),
    "no JSON": ("clip", put("config.json", "{"), r"config\.json: no JSON"),
    "a list": ("clip", put("config.json", "[]"), r"config\.json: holds a list"),
    "another model": (
        "clip",
        edit("config.json", model_type="blip"),
        r"model_type 'blip'\s+expected: clip or siglip",
    ),
    "images of any size": (
        "siglip",
        edit("config.json", model_type="siglip2"),
        r"SigLIP 2 with one image size is",
    ),
    "an impossible width": (
        "clip",
        edit("config.json", vision_config__hidden_size=49),
        "cannot build this clip model",
    ),
    "words for numbers": (
        "clip",
        edit("config.json", vision_config__hidden_size="x"),
        "cannot build this clip model",
    ),
    "another width": (
        "clip",
        edit("config.json", vision_config__hidden_size=24),
        r"wrong shape: \S+ \[",
    ),
    "more layers": (
        "siglip",
        edit("config.json", text_config__num_hidden_layers=3),
        r"missing: text_model",
    ),
    "surplus": ("clip", set_weight("more", torch.zeros(1)), r"surplus: more"),
    "NaN": (
        "clip",
        set_weight("visual_projection.weight", torch.full((24, 48), torch.nan)),
        r"NaN or infinite: vis",
    ),
    "no weights": ("clip", drop("model.safetensors"), r"no model\.safetensors among config\.json"),
    "broken weights": (
        "clip",
        put("model.safetensors", "hello"),
        r"model\.safetensors: not a readable safetensors",
    ),
    "parts elsewhere": (
        "clip",
        in_parts("../model.safetensors"),
        r"index\.json: no list of files of weights",
    ),
    "parts that are missing": ("clip", in_parts("b.safetensors"), r"b\.safetensors: no such file"),
    "no pooling": ("siglip", without_pooling, "vision_use_head False"),
    "no processor": (
        "clip",
        drop(PROCESSOR),
        r"clip: no preprocessor_config\.json, (?s:.*)copy it from the model",
    ),
    "a pointer": (
        "clip",
        put("model.safetensors", POINTER),
        r"model\.safetensors: a git-lfs pointer",
    ),
    "a pointer for a configuration": (
        "clip",
        put("config.json", POINTER),
        r"config\.json: a git-lfs pointer",
    ),
    "a pointer for a tokenizer": (
        "clip",
        put("tokenizer.json", POINTER),
        r"tokenizer\.json: a git-lfs pointer",
    ),
    "another processor": (
        "clip",
        edit(PROCESSOR, image_processor_type="ViTImageProcessor"),
        "type ViTImage",
    ),
    "another size": (
        "clip",
        edit(PROCESSOR, size={"shortest_edge": 48}, crop_size=48),
        r"48 pixels for .* 32",
    ),
    "a crop of a larger image": (
        "clip",
        edit(PROCESSOR, size={"shortest_edge": 40}),
        r"size .*40.* crop_size .*32",
    ),
    "no crop": ("clip", edit(PROCESSOR, do_center_crop=False), r"size .* with crop_size"),
    "longest side": ("clip", edit(PROCESSOR, size={"longest_edge": 32}), r"size .*longest_edge"),
    "an oblong": ("siglip", edit(PROCESSOR, size={"height": 32, "width": 64}), r"size .*64"),
    "words for a size": (
        "siglip",
        edit(PROCESSOR, size={"height": [3], "width": [3]}),
        r"size .*\[3\]",
    ),
    "no scaling": ("clip", edit(PROCESSOR, do_rescale=False), r"do_rescale off"),
    "another scale": ("clip", edit(PROCESSOR, rescale_factor=1 / 127.5), r"rescale_factor 0\.0078"),
    "another filter": ("clip", edit(PROCESSOR, resample=0), r"resample 0"),
    "a list of filters": ("clip", edit(PROCESSOR, resample=[3]), r"resample \[3\]"),
    "grey": ("clip", edit(PROCESSOR, image_mean=[0.5]), r"image_mean \[0\.5\]"),
    "no spread": ("clip", edit(PROCESSOR, image_std=[0, 1, 1]), r"no zero"),
    "no tokenizer": ("clip", drop("tokenizer.json"), r"clip: no tokenizer: "),
    "broken tokenizer": ("siglip", put("tokenizer.json", "{}"), r"siglip: no tokenizer: "),
    "half a tokenizer": (
        "clip",
        lambda folder: (drop("tokenizer.json")(folder), put("vocab.json", "{}")(folder)),
        r"vocab\.json without merges\.txt",
    ),
    "a smaller vocabulary": (
        "clip",
        lambda folder: (
            edit("config.json", text_config__vocab_size=100)(folder),
            set_weight("text_model.embeddings.token_embedding.weight", torch.zeros(100, 32))(
                folder
            ),
        ),
        r"514 tokens for a vocab_size of 100",
    ),
}


@pytest.fixture(scope="module")
def wholes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("wholes")
    for family in FAMILIES:
        write(place / family, family)
    return place


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_in_a_folder_is_named(fault: str, wholes: Path, tmp_path: Path) -> None:
    family, damage, message = FAULTS[fault]
    folder = shutil.copytree(wholes / family, tmp_path / family)
    damage(folder)
    with pytest.raises(ModelError, match=message) as caught:
        load_model(f"hf:{folder}")
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize("family", FAMILIES)
def test_code_that_a_configuration_names_is_not_run(
    family: str, wholes: Path, tmp_path: Path
) -> None:
    """Run neither a module in the folder nor a kernel of the hub: such keys are not passed on."""
    folder = shutil.copytree(wholes / family, tmp_path / family)
    put("evil.py", "raise SystemExit('this was run')")(folder)
    edit(
        "config.json",
        auto_map={"AutoModel": "evil.Model", "AutoConfig": "evil.Config"},
        attn_implementation="some/kernel",
        text_config___attn_implementation="some/kernel",
    )(folder)
    edit("tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.Tokenizer", None]})(folder)
    edit(PROCESSOR, auto_map={"AutoImageProcessor": "evil.Processor"})(folder)
    assert load_model(str(folder)).identity == load_model(str(wholes / family)).identity


@pytest.mark.slow
def test_the_form_in_which_newer_processors_are_saved(wholes: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(wholes / "siglip", tmp_path / "siglip")
    settings = json.loads((folder / PROCESSOR).read_text())
    drop(PROCESSOR)(folder)
    edit("processor_config.json", image_processor=settings)(folder)
    assert load_model(str(folder)).preprocess == load_model(str(wholes / "siglip")).preprocess
    edit("processor_config.json", image_processor=[1])(folder)
    with pytest.raises(ModelError, match=r"processor_config\.json: image_processor is \[1\]"):
        load_model(str(folder))


def test_without_transformers_the_extra_is_named(
    wholes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'purescope\[hf\]'"):
        load_model(str(wholes / "clip"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "value"), [("model_type", [None]), ("text_config", "x"), ("projection_dim", "x")]
)
def test_a_value_of_another_type_is_refused(key: str, value: object, tmp_path: Path) -> None:
    write(tmp_path, "clip")
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(ModelError):
        load_model(f"hf:{tmp_path}")
