"""Test that open_clip loads models with their own merges from any working directory."""

import json
import shutil
import socket
from importlib.resources import files
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from torch import Tensor

from purescope.errors import ModelError
from purescope.models import BUNDLED, load_model
from purescope.models.convert import convert
from purescope.models.tokenizer_twins import make_twin
from tests.models.test_model import noise

pytest.importorskip("transformers")

FOLDERS = Path(str(files("purescope") / "bundled" / "models"))
SENTENCES = [
    "a photo of a red flag",
    "Don't PANIC! It's 42° in a naïve café's",
    "ΣΊΣΥΦΟΣ",
    "Straße, İstanbul",
    "日本の旗 🏳️‍🌈 1/2",
    " a\n\tb &amp;amp; c_d-e...!!!",
    "e\u0301 ﬁ ½ ²",
    "",
    "words beyond the context " * 30,
]


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in another folder, without a network."""

    def refuse(*_: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path


def up_to_the_end(rows: Tensor) -> list[list[int]]:
    """Compare tokens up to the end, the highest number; no text tower reads the padding."""
    return [row[: int(row.argmax()) + 1].tolist() for row in rows]


def assert_open_clips(folder: Path, expected: Any) -> None:
    theirs, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    tokens = open_clip.get_tokenizer(f"local-dir:{folder}")(SENTENCES)
    merges = next(folder.glob("*.gz"))
    own = open_clip.SimpleTokenizer(str(merges), context_length=tokens.shape[1])(SENTENCES)
    assert up_to_the_end(tokens) == up_to_the_end(own)
    picture = transform(noise(70, 90))[None]
    with torch.no_grad():
        image, text = theirs.eval().encode_image(picture), theirs.encode_text(tokens)
    torch.testing.assert_close(expected.encode_image(picture), image, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(expected.encode_text(SENTENCES), text, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", BUNDLED)
def test_open_clip_loads_the_bundled_models_from_anywhere(name: str, elsewhere: Path) -> None:
    assert_open_clips(FOLDERS / name, load_model(f"bundled:{name}"))


def test_a_copy_of_one_is_one(elsewhere: Path) -> None:
    convert("bundled:clip", elsewhere / "copy")
    model, copy = load_model("bundled:clip"), load_model(str(elsewhere / "copy"))
    assert_open_clips(elsewhere / "copy", model)
    assert [copy.identity[key] == model.identity[key] for key in ("architecture", "tokenizer")] == [
        True,
        True,
    ]
    configs = [
        json.loads((at / "open_clip_config.json").read_text())
        for at in (FOLDERS / "clip", elsewhere / "copy")
    ]
    assert configs[0]["model_cfg"] == configs[1]["model_cfg"]


def test_the_identity_is_that_of_the_merges_alone(tmp_path: Path) -> None:
    """Make sure that a twin does not change the identity, which is part of the cache key."""
    alone = shutil.copytree(FOLDERS / "clip", tmp_path / "alone")
    config = json.loads((alone / "open_clip_config.json").read_text())
    text = config["model_cfg"]["text_cfg"]
    del text["hf_tokenizer_name"], text["tokenizer_kwargs"]["clean"]
    (alone / "open_clip_config.json").write_text(json.dumps(config))
    assert load_model(str(alone)).identity == load_model("bundled:clip").identity


@pytest.mark.parametrize("fault", ["missing", "another word", "another order", "no model"])
def test_a_twin_of_other_tokens_is_refused(fault: str, tmp_path: Path) -> None:
    folder = shutil.copytree(FOLDERS / "clip", tmp_path / "model")
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    path.unlink()
    if fault == "another word":
        content["model"]["vocab"]["</w>!"] = content["model"]["vocab"].pop("!</w>")
    elif fault == "another order":
        content["model"]["merges"].reverse()
    elif fault == "no model":
        content["model"] = None
    if fault != "missing":
        path.write_text(json.dumps(content))
    with pytest.raises(
        ModelError, match=r"tokenizer\.json: (missing|another vocabulary than bpe_path names)"
    ):
        load_model(str(folder))


@pytest.mark.parametrize("name", BUNDLED)
def test_the_bundled_twin_is_what_is_made_of_the_merges(name: str) -> None:
    merges = next((FOLDERS / name).glob("*.gz"))
    tokenizer = open_clip.SimpleTokenizer(str(merges))
    bundled = json.loads((FOLDERS / name / "tokenizer.json").read_text())
    assert json.loads(json.dumps(make_twin(tokenizer))) == bundled
