"""Test architectures described by a JSON file, for bare files of weights."""

import copy
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from click.testing import CliRunner

from purescope.cli.run import cli
from purescope.errors import ModelError
from purescope.models import load_model
from purescope.models.model import Model
from tests.checkpoints import VOCABULARY, write_open_clip

SENTENCES = ["a photo of a cat", "a red flag"]
OWN: dict[str, Any] = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16, "head_width": 32},
    "text_cfg": {
        "context_length": 16,
        "vocab_size": VOCABULARY,
        "width": 32,
        "heads": 1,
        "layers": 1,
    },
}
PREPROCESS = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25], "resize_mode": "squash"}
NOTE = "ignore:.*has no mean and standard deviation:UserWarning"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write weights under several names, and their architecture with and without a preprocess."""
    place = tmp_path_factory.mktemp("own")
    model = write_open_clip(place / "folder", OWN)
    for name in ("weights.pt", "weights", "epoch_1.ckpt"):
        torch.save(
            {"state_dict": {f"module.{key}": tensor for key, tensor in model.state_dict().items()}},
            place / name,
        )
    (place / "bare.json").write_text(json.dumps(OWN))
    (place / "whole.json").write_text(json.dumps({"model_cfg": OWN, "preprocess_cfg": PREPROCESS}))
    return place


def assert_same(model: Model, other: Model) -> None:
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    assert torch.equal(model.encode_image(images), other.encode_image(images))
    assert torch.equal(model.encode_text(SENTENCES), other.encode_text(SENTENCES))


@pytest.mark.parametrize(
    "file", ["weights.pt", "weights", "epoch_1.ckpt", "folder/open_clip_model.safetensors"]
)
@pytest.mark.parametrize("form", ["--arch", "open_clip:"])
def test_an_architecture_of_ones_own(
    file: str, form: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    model = (
        load_model(file, arch="whole.json")
        if form == "--arch"
        else load_model(f"open_clip:whole.json/{file}")
    )
    assert_same(model, load_model("folder"))
    assert (model.preprocess.mean, model.preprocess.resize) == ((0.5, 0.5, 0.5), "squash")
    assert json.loads(model.identity["architecture"]) == OWN
    assert model.identity["weights"] == load_model("folder").identity["weights"]


def test_one_without_preprocess_takes_open_clips_default_and_says_so(place: Path) -> None:
    with pytest.warns(
        UserWarning, match=r'bare\.json: has no mean and standard deviation .*add "preprocess_cfg"'
    ):
        model = load_model(f"{place}/weights.pt", arch=f"{place}/bare.json")
    assert model.preprocess.mean == (0.48145466, 0.4578275, 0.40821073)


@pytest.mark.filterwarnings(NOTE)
def test_one_with_a_vocabulary_beside_it(tmp_path: Path) -> None:
    config = copy.deepcopy(OWN)
    config["text_cfg"] |= {"vocab_size": 516, "tokenizer_kwargs": {"bpe_path": "own.txt.gz"}}
    model = write_open_clip(tmp_path / "folder", config)
    for folder in (tmp_path, tmp_path / "folder"):
        (folder / "own.txt.gz").write_bytes(gzip.compress(b"#version\na b\n"))
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    (tmp_path / "own.json").write_text(json.dumps(config))
    found = load_model(f"{tmp_path}/weights.pt", arch=f"{tmp_path}/own.json")
    assert_same(found, load_model(str(tmp_path / "folder")))


FAULTS: dict[str, tuple[str, str]] = {
    "no JSON": ("{", r"own\.json: no JSON"),
    "a list": ("[]", r"own\.json: no model"),
    "half": (
        json.dumps({"vision_cfg": {}}),
        r"own\.json: no model\n  expected: model_cfg with embed_dim",
    ),
    "an unknown key": (json.dumps({**OWN, "quick": True}), r"own\.json.* unknown key 'quick'"),
    "other sizes": (
        json.dumps({**OWN, "embed_dim": 20}),
        r"weights\.pt: the weights do not fit. wrong shape",
    ),
}


@pytest.mark.filterwarnings(NOTE)
@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_in_it_is_named(fault: str, place: Path, tmp_path: Path) -> None:
    content, message = FAULTS[fault]
    (tmp_path / "own.json").write_text(content)
    with pytest.raises(ModelError, match=message):
        load_model(f"{place}/weights.pt", arch=f"{tmp_path}/own.json")


@pytest.mark.parametrize(
    ("load", "message"),
    [
        (
            lambda at: load_model(f"{at}/weights.pt", arch=f"{at}/none.json"),
            r"none\.json: No such file",
        ),
        (
            lambda at: load_model(f"open_clip:{at}/none.json/{at}/weights.pt"),
            r"no file .*none\.json",
        ),
        (lambda at: load_model(f"open_clip:{at}/bare.json/none.pt"), r"no file none\.pt"),
        (
            lambda at: load_model(f"{at}/weights.pt", arch="my-arch"),
            r"no architecture 'my-arch'(?s:.*)--arch FILE\.json",
        ),
        (lambda at: load_model(f"{at}/weights.pt"), r"text width 32(?s:.*)--arch FILE\.json"),
    ],
    ids=["no file", "no file of open_clip's name", "no weights", "no architecture", "none named"],
)
def test_the_way_out_is_named(load: Callable[[Path], Model], message: str, place: Path) -> None:
    with pytest.raises(ModelError, match=message):
        load(place)


def test_it_is_open_clips_own_model(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare with open_clip's model of the same two files."""
    from open_clip import factory

    monkeypatch.setattr(factory, "_MODEL_CONFIG_PATHS", list(factory._MODEL_CONFIG_PATHS))
    monkeypatch.setattr(factory, "_MODEL_CONFIGS", dict(factory._MODEL_CONFIGS))
    open_clip.add_model_config(place / "bare.json")
    theirs = open_clip.create_model("bare", pretrained=str(place / "weights.pt")).eval()
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    model = load_model(f"{place}/weights.pt", arch=f"{place}/whole.json")
    with torch.no_grad():
        torch.testing.assert_close(
            model.encode_image(images), theirs.encode_image(images), rtol=1e-4, atol=1e-5
        )


COMMANDS: dict[str, list[str]] = {
    "purity": ["purity", "weights.pt"],
    "convert": ["convert", "weights.pt", "OUT"],
    "track": ["track", "epoch_*.ckpt", "--no-figures", "--no-report", "--out", "OUT"],
    "sweep": [
        "sweep",
        "weights.pt",
        "--data",
        "features:F",
        "--draws",
        "2",
        "--keep",
        "8",
        "--resamples",
        "5",
        "--no-figures",
        "--no-report",
        "--out",
        "OUT",
    ],
}


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_commands_take_it(
    command: str, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import numpy as np

    monkeypatch.chdir(place)
    rng = np.random.default_rng(0)
    np.savez(
        tmp_path / "f.npz",
        image=rng.normal(size=(12, 24)),
        text=rng.normal(size=(3, 24)),
        labels=np.arange(12) % 3,
    )
    names = {"OUT": str(tmp_path / "out"), "features:F": f"features:{tmp_path / 'f.npz'}"}
    words = [names.get(word, word) for word in COMMANDS[command]]
    result = CliRunner().invoke(cli, [*words, "--arch", "whole.json", "--offline"])
    assert result.exit_code == 0, result.output
    if command == "sweep":
        manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
        assert json.loads(manifest["models"][0]["architecture"]) == OWN
