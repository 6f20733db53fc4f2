"""Test that safe copies are the same model, for purescope and for the library of the form."""

import gzip
import json
import os
import stat
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from click.testing import CliRunner
from open_clip.tokenizer import default_bpe
from torch import Tensor

from purescope.cli import main
from purescope.cli.run import cli
from purescope.errors import ModelError, OutputError
from purescope.files.writing import umask
from purescope.models import load_model
from purescope.models.convert import convert
from purescope.models.model import Model
from tests.checkpoints import (
    laclip_tensors,
    openai_model,
    write_laclip,
    write_open_clip,
    write_torchscript,
)
from tests.models.test_open_clip import CONFIGS, TEXT

SENTENCES = ["a photo of a cat", "a red flag"]


def images_for(model: Model) -> Tensor:
    size = model.preprocess.size
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))


def assert_same(copy: Model, model: Model) -> None:
    """Compare features to the last bit, and the identity apart from the format."""
    images = images_for(model)
    assert torch.equal(copy.encode_image(images), model.encode_image(images))
    assert torch.equal(copy.encode_text(SENTENCES), model.encode_text(SENTENCES))
    assert copy.preprocess == model.preprocess
    for key in ("activation", "tokenizer", "logit_scale", "projection_bias"):
        assert copy.identity[key] == model.identity[key]


def assert_open_clip_reads(folder: Path, model: Model) -> None:
    theirs, transform = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    tokens = open_clip.get_tokenizer(f"local-dir:{folder}")(SENTENCES)
    images = images_for(model)
    with torch.no_grad():
        image, text = (
            theirs.eval().encode_image(images, normalize=False),
            theirs.encode_text(tokens, normalize=False),
        )
    torch.testing.assert_close(model.encode_image(images), image, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model.encode_text(SENTENCES), text, rtol=1e-5, atol=1e-5)
    from tests.models.test_model import noise

    picture = noise(70, 90)
    assert torch.equal(
        model.preprocess.normalise(model.preprocess.pixels(picture)[None])[0], transform(picture)
    )


@pytest.mark.slow
@pytest.mark.parametrize("family", ["vit", "resnet", "coca", "siglip"])
def test_models_of_open_clip(family: str, tmp_path: Path) -> None:
    preprocess = {
        "mean": [0.5, 0.4, 0.3],
        "std": [0.2, 0.3, 0.4],
        "interpolation": "bilinear",
        "resize_mode": "squash",
    }
    write_open_clip(tmp_path / "model", CONFIGS[family], preprocess=preprocess, dtype=torch.float16)
    assert convert(str(tmp_path / "model"), tmp_path / "copy") == "open_clip"
    model = load_model(str(tmp_path / "model"))
    assert_same(load_model(f"local-dir:{tmp_path / 'copy'}"), model)
    assert_open_clip_reads(tmp_path / "copy", model)


@pytest.mark.slow
def test_an_archive_of_openai(tmp_path: Path) -> None:
    path = write_torchscript(tmp_path / "model.pt", openai_model())
    assert convert(str(path), tmp_path / "copy") == "open_clip"
    model = load_model(str(path))
    assert_same(load_model(str(tmp_path / "copy")), model)
    assert_open_clip_reads(tmp_path / "copy", model)
    for file in (tmp_path / "copy").iterdir():  # whoever may read other new files may read these
        assert stat.S_IMODE(file.stat().st_mode) == 0o666 & ~umask(), file


def test_a_vocabulary_of_its_own_comes_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    merges = gzip.decompress(Path(default_bpe()).read_bytes()).decode().split("\n")[:101]
    options = {"vocab_size": 512 + 100 + 2, "tokenizer_kwargs": {"bpe_path": "words/merges.txt.gz"}}
    write_open_clip(tmp_path / "model", {**CONFIGS["vit"], "text_cfg": {**TEXT, **options}})
    (tmp_path / "model" / "words").mkdir()
    (tmp_path / "model" / "words" / "merges.txt.gz").write_bytes(
        gzip.compress("\n".join(merges).encode())
    )
    convert(str(tmp_path / "model"), tmp_path / "copy")
    assert_same(load_model(str(tmp_path / "copy")), load_model(str(tmp_path / "model")))


TAKEN = (
    "open_clip_model.safetensors",
    "open_clip_config.json",
    "pytorch_model.bin",
    "-x.gz",
    "merges",
)


@pytest.mark.slow
@pytest.mark.parametrize("name", TAKEN)
def test_a_vocabulary_takes_no_name_of_another_file(name: str, tmp_path: Path) -> None:
    write_open_clip(
        tmp_path / "model",
        {**CONFIGS["vit"], "text_cfg": {**TEXT, "tokenizer_kwargs": {"bpe_path": f"sub/{name}"}}},
    )
    (tmp_path / "model" / "sub").mkdir()
    (tmp_path / "model" / "sub" / name).write_bytes(Path(default_bpe()).read_bytes())
    convert(str(tmp_path / "model"), tmp_path / "copy")
    there = sorted(path.name for path in (tmp_path / "copy").iterdir())
    twin = ["tokenizer.json", "tokenizer_config.json"]
    assert there == ["merges.txt.gz", "open_clip_config.json", "open_clip_model.safetensors", *twin]
    assert_same(load_model(str(tmp_path / "copy")), load_model(str(tmp_path / "model")))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vocab.txt", "tokenizer.json", "special_tokens_map.json"])
def test_what_a_link_leads_to_is_not_copied(name: str, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    from tests.models.test_transformers import write

    write(tmp_path / "clip", "clip")
    path, secret = tmp_path / "clip" / name, tmp_path / "secret"
    secret.write_bytes(path.read_bytes() if path.exists() else b"{}")
    path.unlink(missing_ok=True)
    path.symlink_to(secret)
    load_model(str(tmp_path / "clip"))
    with pytest.raises(ModelError, match=rf"{name}: a link out of the folder, to \S+secret"):
        convert(str(tmp_path / "clip"), tmp_path / "copy")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["clip", "secret"]


@pytest.mark.slow
def test_a_vocabulary_that_is_a_link(tmp_path: Path) -> None:
    options = {**TEXT, "tokenizer_kwargs": {"bpe_path": "m.txt.gz"}}
    write_open_clip(tmp_path / "model", {**CONFIGS["vit"], "text_cfg": options})
    (tmp_path / "model" / "m.txt.gz").symlink_to(default_bpe())
    with pytest.raises(ModelError, match=r"m\.txt\.gz: a link out of the folder"):
        convert(str(tmp_path / "model"), tmp_path / "copy")


def test_only_an_old_copy_of_ours_is_removed(tmp_path: Path) -> None:
    path = small(tmp_path / "model.pt")
    names = {
        ".copy.mine.partial": "config.json",
        ".copy.12.partial": "config.json",
        ".copy.13.partial": "thesis.txt",
    }
    for folder, file in names.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / file).write_text("x")
        os.utime(tmp_path / folder, (1, 1))
    (tmp_path / ".copy.14.partial").mkdir()
    (tmp_path / ".copy.14.partial" / "config.json").write_text("x")  # too new to be removed
    convert(str(path), tmp_path / "copy")
    left = sorted(entry.name for entry in tmp_path.iterdir() if entry.name.startswith("."))
    assert left == [".copy.13.partial", ".copy.14.partial", ".copy.mine.partial"]


@pytest.mark.slow
@pytest.mark.parametrize("head_width", [16, None])
def test_a_laclip_checkpoint_takes_a_form_that_says_so(
    head_width: int | None, tmp_path: Path
) -> None:
    width = {16: 64, None: 384}[head_width]
    tensors = laclip_tensors(width=width, depth=1, head_width=head_width)
    path = write_laclip(tmp_path / "model.pt", tensors)
    assert convert(str(path), tmp_path / "cc3m_laclip") == "purescope"
    model, copy = load_model(str(path)), load_model(str(tmp_path / "cc3m_laclip"))
    assert_same(copy, model)
    assert copy.identity == model.identity
    assert copy.label == "CC3M LaCLIP"
    config = json.loads((tmp_path / "cc3m_laclip" / "purescope_laclip.json").read_text())
    assert config["form"].startswith("purescope's own")


@pytest.mark.slow
@pytest.mark.parametrize("family", ["clip", "siglip"])
def test_models_of_transformers(family: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    from tests.models.test_transformers import write

    theirs = write(tmp_path / family, family)
    assert convert(f"hf:{tmp_path / family}", tmp_path / "copy") == "transformers"
    model = load_model(str(tmp_path / family))
    assert_same(load_model(str(tmp_path / "copy")), model)
    again = transformers.AutoModel.from_pretrained(tmp_path / "copy")
    assert all(
        torch.equal(weight, theirs.state_dict()[name])
        for name, weight in again.state_dict().items()
    )
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path / "copy")
    assert tuple(processor.image_mean) == model.preprocess.mean


def small(path: Path) -> Path:
    tensors = laclip_tensors()
    name = "token_embedding.weight"
    return write_laclip(path, {**tensors, name: tensors[name][:1].clone().expand_as(tensors[name])})


@pytest.mark.slow
def test_what_is_there_is_left_alone(tmp_path: Path) -> None:
    path = small(tmp_path / "model.pt")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    for out, message in ((tmp_path / "full", "full: holds mine"), (path, "Not a directory")):
        with pytest.raises(
            OutputError,
            match=rf"{message}\s+expected: a folder that does not exist, or an empty one",
        ):
            convert(str(path), out)
    (tmp_path / "empty").mkdir()
    convert(str(path), tmp_path / "empty")
    convert(str(path), tmp_path / "new" / "folder")
    assert (
        load_model(str(tmp_path / "empty")).identity
        == load_model(str(tmp_path / "new" / "folder")).identity
    )
    assert (tmp_path / "full" / "mine").read_text() == "mine"


def test_half_a_copy_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = small(tmp_path / "model.pt")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(OutputError, match="copy: cannot be written: No space left on device"):
        convert(str(path), tmp_path / "copy")
    with pytest.raises(ModelError, match="no model or file"):
        convert(str(tmp_path / "none.pt"), tmp_path / "copy")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["model.pt"]


@pytest.mark.slow
def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_open_clip(tmp_path / "model", CONFIGS["vit"])
    run = CliRunner().invoke(cli, ["convert", str(tmp_path / "model"), str(tmp_path / "copy")])
    assert run.output == (
        f"{tmp_path / 'copy'}: in the form of open_clip\n  open_clip loads it as "
        f"local-dir:{tmp_path / 'copy'}\n"
    )
    run = CliRunner().invoke(
        cli, ["convert", str(small(tmp_path / "model.pt")), str(tmp_path / "ours")]
    )
    assert run.output == f"{tmp_path / 'ours'}: in the form of purescope\n"
    with pytest.raises(SystemExit, match="2"):
        main(["convert", str(tmp_path / "model"), str(tmp_path / "copy")])
    assert "holds open_clip_" in capsys.readouterr().err
