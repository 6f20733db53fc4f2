"""Test that small files that ask for much are refused before anything is built or unpacked."""

import gzip
import json
import os
import pickle
import resource
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from purescope.errors import ModelError
from purescope.models import load_model
from purescope.models.checkpoint import read_tensors
from tests.checkpoints import (
    laclip_tensors,
    openai_model,
    write_laclip,
    write_open_clip,
    write_torchscript,
)
from tests.models.test_open_clip import CONFIGS, TEXT
from tests.models.test_transformers import word_tokenizer, write

LIMIT_BYTES, LIMIT_SECONDS = 1_000_000_000, 10


@pytest.fixture(autouse=True)
def within_limits(request: pytest.FixtureRequest) -> Iterator[None]:
    """Limit the time of each case and its rise of the peak memory."""
    for form in ("open_clip", "transformers"):
        if form in request.fixturenames:  # so that the fixture is not measured
            request.getfixturevalue(form)
    start, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert time.process_time() - start < LIMIT_SECONDS  # of CPU: however busy the machine is
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < LIMIT_BYTES


@pytest.fixture
def open_clip(tmp_path: Path) -> Path:
    write_open_clip(tmp_path / "model", CONFIGS["vit"])
    return tmp_path / "model"


@pytest.fixture
def transformers(tmp_path: Path) -> Path:
    pytest.importorskip("transformers")
    write(tmp_path / "clip", "clip")
    return tmp_path / "clip"


def set_in(path: Path, *keys: str, value: object) -> None:
    config = place = json.loads(path.read_text())
    for key in keys[:-1]:
        place = place.setdefault(key, {})
    place[keys[-1]] = value
    path.write_text(json.dumps(config))


OPEN_CLIP: dict[str, tuple[str, str, object, str]] = {
    "image layers": ("vision_cfg", "layers", 200_000, "200,001 layers"),
    "text layers": ("text_cfg", "layers", 200_000, "200,002 layers"),
    "blocks of a ResNet": ("vision_cfg", "layers", [1, 1, 10**6, 1], "1,000,004 layers"),
    "a few layers too many": (
        "vision_cfg",
        "layers",
        60,
        r"missing: visual\.transformer\.resblocks\.2\.",
    ),
    "layers of a decoder": ("multimodal_cfg", "layers", 10**6, "1,000,003 layers"),
    "image width": ("vision_cfg", "width", 16 * 10**6, "vision_cfg has a weight of"),
    "text width": ("text_cfg", "width", 10**6, "text_cfg has a weight of"),
    "vocabulary": ("text_cfg", "vocab_size", 10**9, "text_cfg has a weight of"),
    "context": ("text_cfg", "context_length", 10**6, "context_length is 1,000,000"),
    "images": ("vision_cfg", "image_size", 10**6, "image_size is 1,000,000"),
    "a side of images": ("vision_cfg", "image_size", [32, 10**6], "image_size is 1,000,000"),
    "neurons": ("", "embed_dim", 10**9, "wrong shape|cannot build"),
    "heads": ("text_cfg", "heads", 10**9, "1,000,000,000 heads over"),
    "a wide layer": ("vision_cfg", "mlp_ratio", 10**7, "wrong shape"),
    "queries": ("vision_cfg", "attn_pooler_queries", 10**9, None),
    "no number": ("vision_cfg", "width", 10**300, "width is 1000"),
    "a computed position": ("vision_cfg", "pos_embed_type", "sin_cos_2d", None),
}


@pytest.mark.parametrize("case", OPEN_CLIP)
def test_sizes_of_open_clip(case: str, open_clip: Path) -> None:
    section, key, value, message = OPEN_CLIP[case]
    keys = [section, key] if section else [key]
    set_in(open_clip / "open_clip_config.json", "model_cfg", *keys, value=value)
    if message is None:  # the key is not used here, or costs nothing
        load_model(str(open_clip))
        return
    with pytest.raises(ModelError, match=message):
        load_model(str(open_clip))


def test_attention_that_takes_gigabytes_without_a_weight(open_clip: Path) -> None:
    path = open_clip / "open_clip_config.json"
    for key, value in {"image_size": 2048, "head_width": 1}.items():
        set_in(path, "model_cfg", "vision_cfg", key, value=value)
    with pytest.raises(
        ModelError, match=r"vision_cfg has 48 heads over 16,384 tokens: 154,618,822,656 bytes"
    ):
        load_model(str(open_clip))


def test_positions_that_are_computed_are_not(open_clip: Path) -> None:
    """Refuse a table that open_clip computes with numpy, whatever the device."""
    path = open_clip / "open_clip_config.json"
    set_in(path, "model_cfg", "vision_cfg", "pos_embed_type", value="sin_cos_2d")
    set_in(path, "model_cfg", "vision_cfg", "image_size", value=2048)
    set_in(path, "model_cfg", "vision_cfg", "patch_size", value=1)
    with pytest.raises(ModelError, match="vision_cfg has a weight of 201,326,592 numbers"):
        load_model(str(open_clip))


TRANSFORMERS: dict[str, tuple[str, object, str]] = {
    "image layers": ("vision_config.num_hidden_layers", 200_000, "200,002 layers"),
    "text layers": ("text_config.num_hidden_layers", 200_000, "200,002 layers"),
    "layers, said twice": ("text_config_dict.num_hidden_layers", 200_000, "200,002 layers"),
    "width": ("vision_config.hidden_size", 3 * 10**8, "wrong shape|cannot build"),
    "inner width": ("vision_config.intermediate_size", 10**9, "wrong shape"),
    "vocabulary": ("text_config.vocab_size", 10**9, "wrong shape"),
    "positions": (
        "text_config.max_position_embeddings",
        10**9,
        "max_position_embeddings is 1,000,000,000",
    ),
    "images": ("vision_config.image_size", 10**6, "wrong shape"),
    "neurons": ("projection_dim", 10**9, "wrong shape"),
}


@pytest.mark.parametrize("case", TRANSFORMERS)
def test_sizes_of_transformers(case: str, transformers: Path) -> None:
    keys, value, message = TRANSFORMERS[case]
    set_in(transformers / "config.json", *keys.split("."), value=value)
    with pytest.raises(ModelError, match=message):
        load_model(str(transformers))


TOWERS: dict[str, dict[str, Any]] = {
    "bert": {"num_hidden_layers": 10**6},
    "roberta": {"hidden_size": 12 * 10**7, "num_hidden_layers": 1},
    "xlm-roberta": {"max_position_embeddings": 10**9},
    "mt5": {"num_layers": 10**6},
    "m2m_100": {"encoder_layers": 10**6},
}


@pytest.mark.parametrize("kind", TOWERS)
def test_sizes_of_text_towers(kind: str, open_clip: Path) -> None:
    pytest.importorskip("transformers")
    path = open_clip / "open_clip_config.json"
    set_in(
        path, "model_cfg", "text_cfg", value={"hf_model_name": "tower", "hf_tokenizer_name": "x"}
    )
    (open_clip / "tower").mkdir()
    (open_clip / "tower" / "config.json").write_text(
        json.dumps({"model_type": kind, **TOWERS[kind]})
    )
    with pytest.raises(ModelError, match=r"1,000,000 layers|missing: text|is 1,000,000,000"):
        load_model(str(open_clip))


def test_attention_of_a_text_tower(open_clip: Path) -> None:
    pytest.importorskip("transformers")
    text = {"hf_model_name": "tower", "hf_tokenizer_name": "x", "context_length": 4096}
    set_in(open_clip / "open_clip_config.json", "model_cfg", "text_cfg", value=text)
    (open_clip / "tower").mkdir()
    (open_clip / "tower" / "config.json").write_text(
        json.dumps({"model_type": "mt5", "num_heads": 40})
    )
    with pytest.raises(ModelError, match=r"it has 40 heads over 4,096 tokens"):
        load_model(str(open_clip))


@pytest.mark.parametrize(
    "options", [{"decoder_layers": 10**6}, {"decoder_ffn_dim": 10**9}], ids=str
)
def test_the_decoder_of_a_text_tower_is_not_built(options: dict[str, int], open_clip: Path) -> None:
    pytest.importorskip("transformers")
    path = open_clip / "open_clip_config.json"
    set_in(path, "model_cfg", "text_cfg", value={"hf_model_name": ".", "hf_tokenizer_name": "x"})
    small = {
        "d_model": 16,
        "encoder_layers": 1,
        "encoder_ffn_dim": 16,
        "encoder_attention_heads": 1,
        "vocab_size": 64,
    }
    (open_clip / "config.json").write_text(
        json.dumps({"model_type": "m2m_100", **small, **options})
    )
    with pytest.raises(ModelError, match="missing: text"):
        load_model(str(open_clip))


@pytest.mark.slow
@pytest.mark.parametrize("per_block", [1, 12])
def test_thousands_of_blocks(per_block: int, tmp_path: Path) -> None:
    """Count the layers of LaCLIP's image tower by their names."""
    tensors, one = (
        laclip_tensors(),
        torch.zeros(1),
    )  # one storage, because torch takes long to write thousands
    more = {
        f"visual.blocks.{i}.x{j}": one for i in range(6000 // per_block) for j in range(per_block)
    }
    with pytest.raises(ModelError, match=r"layers, and 6,\d+ tensors of weights"):
        load_model(str(write_laclip(tmp_path / "model.pt", {**tensors, **more})))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["visual.transformer.resblocks", "transformer.resblocks"])
def test_thousands_of_blocks_of_openai(name: str, tmp_path: Path) -> None:
    tensors, one = openai_model().state_dict(), torch.zeros(1)
    marks = {mark: torch.tensor(1) for mark in ("input_resolution", "context_length", "vocab_size")}
    more = {f"{name}.{i}.x": one for i in range(5000)}
    torch.save({**tensors, **marks, **more}, tmp_path / "model.pt")
    with pytest.raises(ModelError, match=r"5,\d+ layers"):
        load_model(str(tmp_path / "model.pt"))


def test_a_sentence_of_any_length(tmp_path: Path) -> None:
    tensors = {**laclip_tensors(), "positional_embedding": torch.zeros(50_000, 64)}
    with pytest.raises(ModelError, match="positions of a sentence is 50,000"):
        load_model(str(write_laclip(tmp_path / "model.pt", tensors)))


def test_views_of_one_number(tmp_path: Path) -> None:
    """Declare a model of terabytes in a file of a kilobyte, by tensors without strides."""
    torch.save({"a": torch.zeros(1).expand(10**6, 10**6)}, tmp_path / "model.pt")
    with pytest.raises(ModelError, match=r"declares 4,000 GB in a file of"):
        read_tensors(tmp_path / "model.pt")


def test_many_names_of_one_tensor(tmp_path: Path) -> None:
    one = torch.zeros(250_000)
    torch.save({f"a{i}": one for i in range(5000)}, tmp_path / "model.pt")
    with pytest.raises(ModelError, match=r"declares 5\.0 GB in a file of"):
        read_tensors(tmp_path / "model.pt")


@pytest.mark.parametrize("entry", ["data.pkl", "data/0"])
def test_packed_checkpoints(entry: str, tmp_path: Path) -> None:
    """Refuse a compressed zip: torch writes none, and unpacks whatever it gets."""
    torch.save({"a": torch.zeros(5_000_000)}, tmp_path / "good.pt")
    with (
        zipfile.ZipFile(tmp_path / "good.pt") as good,
        zipfile.ZipFile(tmp_path / "model.pt", "w", zipfile.ZIP_STORED) as bad,
    ):
        for item in good.infolist():
            kind = zipfile.ZIP_DEFLATED if item.filename.endswith(entry) else zipfile.ZIP_STORED
            bad.writestr(item.filename, good.read(item), kind)
    with pytest.raises(ModelError, match=rf"holds \S+{entry} compressed"):
        read_tensors(tmp_path / "model.pt")


@pytest.mark.slow
def test_a_packed_tree_of_torchscript(tmp_path: Path) -> None:
    write_torchscript(tmp_path / "good.pt", openai_model())
    with (
        zipfile.ZipFile(tmp_path / "good.pt") as good,
        zipfile.ZipFile(tmp_path / "model.pt", "w", zipfile.ZIP_DEFLATED) as bad,
    ):
        for item in good.infolist():
            bad.writestr(item.filename, good.read(item))
    with pytest.raises(ModelError, match=r"data\.pkl is compressed"):
        read_tensors(tmp_path / "model.pt")


def test_files_of_a_zip_that_lie_on_each_other(tmp_path: Path) -> None:
    """List one megabyte two hundred times in a zip."""
    torch.save({"a": torch.zeros(250_000)}, tmp_path / "model.pt")
    with zipfile.ZipFile(tmp_path / "model.pt", "a") as archive:
        (entry,) = (item for item in archive.infolist() if item.filename.endswith("data/0"))
        for number in range(1, 200):
            again = zipfile.ZipInfo(entry.filename[:-1] + str(number))
            for name in ("header_offset", "file_size", "compress_size", "CRC", "compress_type"):
                setattr(again, name, getattr(entry, name))
            archive.filelist.append(again)
            archive.NameToInfo[again.filename] = again
        archive.writestr("x/more", b"")  # so that the list is written again
    with pytest.raises(
        ModelError, match=r"a list of files that declares more than its [\d,]+ bytes"
    ):
        read_tensors(tmp_path / "model.pt")


def test_a_pickle_that_declares_any_size(tmp_path: Path) -> None:
    """Declare huge storages in torch's old format, where sizes precede the numbers."""
    torch.save({"a": torch.zeros(3)}, tmp_path / "model.pt", _use_new_zipfile_serialization=False)
    content = (tmp_path / "model.pt").read_bytes()
    assert content.count(pickle.BININT1 + b"\x03") >= 1
    huge = pickle.BININT + (2**31 - 1).to_bytes(4, "little")
    (tmp_path / "model.pt").write_bytes(content.replace(pickle.BININT1 + b"\x03", huge))
    with pytest.raises(ModelError, match=r"not a readable torch checkpoint|declares"):
        read_tensors(tmp_path / "model.pt")


@pytest.mark.slow
@pytest.mark.parametrize("megabytes", [17, 300])
def test_a_vocabulary_that_unpacks_to_any_size(megabytes: int, open_clip: Path) -> None:
    set_in(
        open_clip / "open_clip_config.json",
        "model_cfg",
        "text_cfg",
        "tokenizer_kwargs",
        value={"bpe_path": "m.gz"},
    )
    with gzip.open(open_clip / "m.gz", "wb", compresslevel=1) as file:
        for _ in range(megabytes):
            file.write(b"a b\n" * 250_000)
    with pytest.raises(ModelError, match="unpacks to more than 16,000,000 bytes"):
        load_model(str(open_clip))


def waits(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def endless(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to("/dev/zero")


def folder(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir()


def sparse(path: Path) -> None:
    path.unlink(missing_ok=True)
    with path.open("wb") as file:
        file.truncate(10**12)


def deep(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.write_text("[" * 1_000_000)


STRANGE: dict[Callable[[Path], None], str] = {
    waits: "not a regular file",
    endless: "not a regular file",
    folder: "(?i)a directory|a folder",
    sparse: r"bytes|not a readable|no JSON",
    deep: r"nested too deep|not a readable|no tokenizer|no torch checkpoint",
}


@pytest.mark.slow
@pytest.mark.parametrize("strange", STRANGE, ids=lambda strange: strange.__name__)
@pytest.mark.parametrize(
    "name",
    [
        "open_clip_config.json",
        "open_clip_model.safetensors",
        "m.gz",
        "tokenizer.json",
        "tokenizer_config.json",
    ],
)
def test_files_of_open_clip_that_are_none(
    name: str, strange: Callable[[Path], None], open_clip: Path
) -> None:
    if name == "m.gz":
        options = {**TEXT, "tokenizer_kwargs": {"bpe_path": name}}
        set_in(open_clip / "open_clip_config.json", "model_cfg", "text_cfg", value=options)
    if name.startswith("tokenizer"):
        pytest.importorskip("transformers")
        word_tokenizer().save_pretrained(open_clip)
        set_in(
            open_clip / "open_clip_config.json",
            "model_cfg",
            "text_cfg",
            "hf_tokenizer_name",
            value="x",
        )
    strange(open_clip / name)
    message = "no tokenizer" if name == "m.gz" and strange in (sparse, deep) else STRANGE[strange]
    with pytest.raises(ModelError, match=message):
        load_model(f"local-dir:{open_clip}")


@pytest.mark.parametrize("strange", STRANGE, ids=lambda strange: strange.__name__)
@pytest.mark.parametrize(
    "name",
    [
        "config.json",
        "model.safetensors",
        "model.safetensors.index.json",
        "preprocessor_config.json",
        "tokenizer.json",
    ],
)
def test_files_of_transformers_that_are_none(
    name: str, strange: Callable[[Path], None], transformers: Path
) -> None:
    if "index" in name:
        (transformers / "model.safetensors").unlink()
    strange(transformers / name)
    with pytest.raises(ModelError, match=STRANGE[strange]):
        load_model(f"hf:{transformers}")


REPLACE = {"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}
SHORTEN = {"type": "Replace", "pattern": {"String": "b" * 1000}, "content": "c"}
TOKENIZERS: dict[str, tuple[str, str, object, str]] = {
    "doubled, where another step shortens what it finds": (
        "tokenizer.json",
        "normalizer",
        {"type": "Sequence", "normalizers": [*[REPLACE] * 14, SHORTEN]},
        "larger than memory",
    ),
    "of no class": ("tokenizer_config.json", "tokenizer_class", 7, "tokenizer_class is 7"),
    "doubled": (
        "tokenizer.json",
        "normalizer",
        {"type": "Sequence", "normalizers": [REPLACE] * 14},
        "larger than memory",
    ),
    "long": (
        "tokenizer.json",
        "normalizer",
        {"type": "Prepend", "prepend": "b" * 10**6},
        "larger than memory",
    ),
    "words": (
        "tokenizer.json",
        "added_tokens",
        [{"id": i, "content": f"a{i}"} for i in range(30_000)],
        "30,000 words",
    ),
    "special": (
        "tokenizer_config.json",
        "additional_special_tokens",
        [f"{i:0500}" for i in range(3000)],
        "3,000 w",
    ),
    "numbered": (
        "tokenizer_config.json",
        "added_tokens_decoder",
        {str(i): {"content": f"a{i}"} for i in range(30_000)},
        "30,000 words",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", TOKENIZERS)
def test_tokenizers_that_make_much_of_little(case: str, transformers: Path) -> None:
    name, key, value, message = TOKENIZERS[case]
    set_in(transformers / name, key, value=value)
    with pytest.raises(ModelError, match=message):
        load_model(str(transformers))


def test_thousands_of_parts(transformers: Path) -> None:
    """Name a hundred thousand files in an index."""
    (transformers / "model.safetensors").unlink()
    parts = {f"a{i}": f"part-{i}.safetensors" for i in range(100_000)}
    (transformers / "model.safetensors.index.json").write_text(json.dumps({"weight_map": parts}))
    with pytest.raises(ModelError, match="no such file"):
        load_model(str(transformers))


def test_a_tensor_in_two_parts(transformers: Path) -> None:
    """Refuse a name in two files: the order of the files must not decide."""
    tensors = load_file(transformers / "model.safetensors")
    (transformers / "model.safetensors").unlink()
    name, *rest = sorted(tensors)
    save_file({name: tensors[name]}, transformers / "a.safetensors")
    save_file({**tensors, name: tensors[name] + 7}, transformers / "b.safetensors")
    parts = {name: "a.safetensors", **dict.fromkeys(rest, "b.safetensors")}
    (transformers / "model.safetensors.index.json").write_text(json.dumps({"weight_map": parts}))
    with pytest.raises(ModelError, match="also in another file"):
        load_model(str(transformers))


@pytest.mark.slow
def test_thousands_of_names(open_clip: Path) -> None:
    """Check each of many names once."""
    save_file(
        {f"a{i}": torch.zeros(1) for i in range(20_000)}, open_clip / "open_clip_model.safetensors"
    )
    with pytest.raises(ModelError, match=r"surplus: a0, a1, a10 and 19,997 more"):
        load_model(str(open_clip))
