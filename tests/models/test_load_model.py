import json
import logging
from pathlib import Path

import pytest
import torch

from purescope.errors import InputError, ModelError
from purescope.models import available_models, load_model
from tests.checkpoints import laclip_tensors, write_laclip, write_open_clip

CONFIG = {
    "embed_dim": 12,
    "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write one model in each form into a folder."""
    place = tmp_path_factory.mktemp("models")
    write_open_clip(place / "my-run_clip", CONFIG)
    (place / "lr=3").mkdir()
    for name in ("cc3m_laclip.pt", "lr=3/best.pt"):
        write_laclip(place / name, laclip_tensors())
    return place


@pytest.mark.parametrize(
    ("spec", "label"),
    [
        ("cc3m_laclip.pt", "CC3M LaCLIP"),
        ("./cc3m_laclip.pt", "CC3M LaCLIP"),
        ("lr=3/best.pt", "best"),
        ("Mine=cc3m_laclip.pt", "Mine"),
        ("My LaCLIP=lr=3/best.pt", "My LaCLIP"),
        ("my-run_clip", "my run CLIP"),
        ("local-dir:my-run_clip", "my run CLIP"),
        ("local-dir:my-run_clip/", "my run CLIP"),
        ("A=local-dir:my-run_clip", "A"),
    ],
)
def test_names_and_labels(
    spec: str, label: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    model = load_model(spec)
    assert (model.label, model.spec) == (label, spec)


def test_an_argument_goes_before_the_label_in_the_name(place: Path) -> None:
    assert load_model(f"A={place / 'my-run_clip'}", label="B").label == "B"


def test_a_path_may_start_at_home(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(place))
    assert load_model("local-dir:~/my-run_clip").label == "my run CLIP"
    assert load_model("A=~/my-run_clip").label == "A"


@pytest.mark.parametrize("label", ["", " ", "a/b", "a\\b", "a\nb"])
def test_a_label_is_part_of_file_names(label: str, place: Path) -> None:
    with pytest.raises(ModelError, match="label"):
        load_model(str(place / "my-run_clip"), label=label)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("bundled:lclip", "did you mean 'laclip' or 'clip'"),
        ("bundle:clip", "did you mean 'bundled:clip'"),
        ("bundled:", "no bundled model ''"),
        ("clip", "did you mean 'bundled:clip'"),
        ("CLIP", "did you mean 'bundled:clip'"),
        ("openclip:ViT-B-32/openai", "did you mean 'open_clip:ViT-B-32/openai'"),
        ("ViT-B/32", "did you mean 'open_clip:ViT-B/32/TAG'"),
        ("openai/clip-vit-base", "did you mean 'hf:openai/clip-vit-base'"),
        (
            "weights/gone.pt",
            r"no model or file 'weights/gone.pt'\n  expected: .*`purescope models` lists$",
        ),
        ("lr=3/another.bin", r"`purescope models` lists$"),
        ("", "no model or file ''"),
        ("A=", "no model or file ''"),
        ("local-dir:none", "none/open_clip_config.json: No such file"),
        ("./lr=3/bst.pt", "did you mean 'lr=3/best.pt'"),
        ("lr=3", r"lr=3: no model\s+expected: a folder with open_clip_config.json or"),
        ("~nobody-of-that-name/model.pt", "no model or file"),
        ("x" * 5000, "no model or file"),
        ("a\0b", "no model or file"),
    ],
)
def test_unknown_names(
    spec: str, message: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    with pytest.raises(ModelError, match=message):
        load_model(spec)


FOLDERS: dict[str, tuple[list[str], str]] = {
    "sentence-transformers": (
        ["0_CLIPModel/config.json", "modules.json"],
        "name the inner folder: .*0_CLIPModel",
    ),
    "an adapter": (
        ["adapter_config.json", "adapter_model.safetensors"],
        "merge the adapter into its model first",
    ),
    "DCP": (
        [".metadata", "__0_0.distcp"],
        "write it as one file first: .* dcp_to_torch .* FILE.pt",
    ),
    "DeepSpeed": (["mp_rank_00_model_states.pt"], "name the file: .*mp_rank_00_model_states.pt"),
    "something else": (["readme.txt"], "check the path"),
}


@pytest.mark.parametrize("kind", FOLDERS)
def test_folders_without_a_model_say_what_they_are(kind: str, tmp_path: Path) -> None:
    names, fix = FOLDERS[kind]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(
        ModelError, match=rf"expected: a folder with open_clip_config\.json(?s:.*)to fix:   {fix}"
    ):
        load_model(str(tmp_path))


def test_weights_of_an_adapter(tmp_path: Path) -> None:
    torch.save({"base_model.model.q_proj.lora_A.weight": torch.ones(2, 2)}, tmp_path / "adapter.pt")
    with pytest.raises(ModelError, match="merge the adapter into its model first"):
        load_model(str(tmp_path / "adapter.pt"))


def test_a_bundled_model(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bundled" / "models").mkdir(parents=True)
    (tmp_path / "bundled" / "models" / "laclip").symlink_to(place / "my-run_clip")
    monkeypatch.setattr(
        "purescope.models.files", lambda package: tmp_path if package == "purescope" else None
    )
    assert load_model("bundled:laclip").label == "Bundled LaCLIP"
    assert {row.spec: row.present for row in available_models()} == {
        "bundled:clip": False,
        "bundled:laclip": True,
        "open_clip:ARCH/TAG": None,
        "open_clip:ARCH/FILE": None,
        "open_clip:hf-hub:ORG/NAME": None,
        "hf:ORG/NAME": None,
        "local-dir:PATH": None,
        "PATH": None,
    }
    with pytest.raises(ModelError, match="No such file"):
        load_model("bundled:clip")


def test_what_comes_out_is_plain_float32(place: Path) -> None:
    model = load_model(str(place / "my-run_clip"))
    features = model.encode_image(torch.zeros(2, 3, 64, 64))
    features += model.encode_text(["a", "b"]).add_(1)  # an inference tensor would refuse
    assert features.dtype == torch.float32
    assert features.shape == (2, 12)
    assert not features.requires_grad


def test_any_number_of_sentences(place: Path) -> None:
    model = load_model(str(place / "my-run_clip"))
    sentences = [f"number {i}" for i in range(600)]
    many = model.encode_text(sentences)
    assert many.shape == (600, 12)
    some = [0, 255, 256, 599]
    torch.testing.assert_close(many[some], model.encode_text([sentences[i] for i in some]))
    assert model.encode_text([]).shape == (0, 12)
    with pytest.raises(InputError, match="one string"):
        model.encode_text("a photo of a cat")


@pytest.mark.parametrize("name", ["my-run_clip", "cc3m_laclip.pt"])
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_precision(precision: str, name: str, place: Path) -> None:
    exact, rough = (load_model(str(place / name), precision=p) for p in ("fp32", precision))
    size = exact.preprocess.size
    images = torch.randn(4, 3, size, size, generator=torch.Generator().manual_seed(0))
    for encode in ("encode_image", "encode_text"):
        features, expected = (
            getattr(model, encode)(images if encode == "encode_image" else ["a cat", "a dog"])
            for model in (rough, exact)
        )
        assert features.dtype == torch.float32
        assert not torch.equal(features, expected)
        assert torch.nn.functional.cosine_similarity(features, expected).min() > 0.99
    with torch.autocast("cpu", getattr(torch, {"bf16": "bfloat16", "fp16": "float16"}[precision])):
        assert torch.equal(rough.encode_image(images), exact.encode_image(images)), (
            "autocast, to the bit"
        )
    assert (exact.identity["precision"], rough.identity["precision"]) == ("fp32", precision)


def test_unknown_precision_and_device(place: Path) -> None:
    with pytest.raises(ModelError, match="did you mean 'bf16'"):
        load_model(str(place / "my-run_clip"), precision="bf")
    with pytest.raises(ModelError, match="device 'gpu'"):
        load_model(str(place / "my-run_clip"), device="gpu")


@pytest.mark.parametrize(("accelerator", "device"), [(None, "cpu"), ("cpu:0", "cpu:0")])
def test_the_device_is_the_accelerator_that_is_there(
    place: Path, accelerator: str | None, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An accelerator that every machine has stands in for one."""
    monkeypatch.setattr("torch.accelerator.is_available", lambda: accelerator is not None)
    monkeypatch.setattr(
        "torch.accelerator.current_accelerator", lambda: torch.device(accelerator or "cuda")
    )
    assert load_model(str(place / "my-run_clip")).device == device
    assert load_model(str(place / "my-run_clip"), device="cpu").device == "cpu"


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="tells of a machine without CUDA")
def test_a_device_that_is_not_there(place: Path) -> None:
    with pytest.raises(ModelError, match="device 'cuda'"):
        load_model(str(place / "my-run_clip"), device="cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("name", ["my-run_clip", "cc3m_laclip.pt"])
def test_cuda(name: str, place: Path) -> None:
    here, there = (load_model(str(place / name), device=device) for device in ("cpu", "cuda"))
    images = torch.randn(4, 3, here.preprocess.size, here.preprocess.size)
    assert there.encode_image(images).device.type == "cpu"
    torch.testing.assert_close(
        there.encode_image(images), here.encode_image(images), rtol=1e-2, atol=1e-3
    )
    torch.testing.assert_close(
        there.encode_text(["a cat"]), here.encode_text(["a cat"]), rtol=1e-2, atol=1e-3
    )


def test_loading_leaves_the_users_logging_alone(place: Path) -> None:
    before = list(logging.getLogger().handlers)
    load_model(str(place / "my-run_clip"))
    assert logging.getLogger().handlers == before


def test_a_folder_without_weights_names_what_it_has(tmp_path: Path) -> None:
    config = {"model_cfg": {"embed_dim": 8, "vision_cfg": {}, "text_cfg": {}}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(
        ModelError,
        match=r"no weights among notes\.txt, open_clip_config\.json(?s:.*)copy the whole",
    ):
        load_model(f"local-dir:{tmp_path}")
