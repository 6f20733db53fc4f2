"""Test the tables of known keys against the libraries, and what is refused."""

import dataclasses
import inspect
import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from open_clip.coca_model import MultimodalCfg
from open_clip.hf_configs import arch_dict
from open_clip.model import CLIPTextCfg, CLIPVisionCfg

from purescope.errors import ModelError
from purescope.models import load_model
from purescope.models.configuration import (
    FLAG,
    NOTHING,
    NUMBER,
    TEXT,
    WHOLE,
    dictionary_of,
    list_of,
    one_of,
)
from purescope.models.convert import convert
from purescope.models.open_clip_config import DECODER, MODEL, TEXT_TOWER, VISION, check_model
from purescope.models.tokenizer_files import (
    CLASSES,
    OPTIONS,
    PrivateFolder,
    private_folder,
    rebuild,
)
from purescope.models.tokenizers import open_clip_hf_tokenizer
from purescope.models.transformers_config import TEXT_TOWERS, rebuild_text_tower
from purescope.specs import is_inside
from tests.checkpoints import write_open_clip
from tests.models.test_open_clip import CONFIGS
from tests.models.test_transformers import cased, word_tokenizer

transformers = pytest.importorskip("transformers")

SENTENCES = ["a photo of a cat", "A red flag!", "words beyond the context " * 30 + "end"]
TABLES = {CLIPVisionCfg: VISION, CLIPTextCfg: TEXT_TOWER, MultimodalCfg: DECODER}


@pytest.mark.parametrize("kind", TABLES)
def test_the_tables_are_open_clips_fields(kind: Any) -> None:
    assert TABLES[kind].keys() == {field.name for field in dataclasses.fields(kind)}


def test_the_table_is_what_open_clips_models_take() -> None:
    parameters = {
        name
        for model in (open_clip.CLIP, open_clip.CustomTextCLIP, open_clip.CoCa)
        for name in inspect.signature(model).parameters
    }
    assert MODEL.keys() == (parameters - {"cast_dtype"}) | {"custom_text"}


@pytest.mark.parametrize("name", open_clip.list_models())
def test_of_open_clips_own_configurations_nothing_is_left_out(name: str) -> None:
    config = open_clip.get_model_config(name)
    assert check_model(config, name) == config


@pytest.mark.parametrize("name", CONFIGS)
def test_of_good_configurations_nothing_is_left_out(name: str) -> None:
    assert check_model(CONFIGS[name], name) == CONFIGS[name]


def test_the_text_towers_are_open_clips() -> None:
    assert TEXT_TOWERS.keys() == arch_dict.keys()


@pytest.mark.parametrize("kind", TEXT_TOWERS)
def test_a_default_text_tower_keeps_what_it_is(kind: str, tmp_path: Path) -> None:
    config = transformers.AutoConfig.for_model(kind)
    config.save_pretrained(tmp_path)
    rebuilt = rebuild_text_tower(tmp_path / "config.json")
    again = transformers.AutoConfig.for_model(**rebuilt)
    changed = {key for key, value in config.to_dict().items() if again.to_dict().get(key) != value}
    assert changed <= {
        "num_decoder_layers",
        "decoder_layers",
        "decoder_ffn_dim",
        "decoder_attention_heads",
    }


SMALL: dict[str, dict[str, int]] = {
    **{
        kind: {
            "hidden_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 48,
        }
        for kind in ("bert", "roberta", "xlm-roberta")
    },
    "mt5": {"d_model": 32, "d_kv": 16, "d_ff": 48, "num_layers": 1, "num_heads": 2},
    "m2m_100": {
        "d_model": 32,
        "encoder_layers": 1,
        "encoder_ffn_dim": 32,
        "encoder_attention_heads": 2,
        "decoder_layers": 2,
        "decoder_ffn_dim": 32,
        "decoder_attention_heads": 2,
    },
}


@pytest.mark.parametrize("kind", TEXT_TOWERS)
def test_every_text_tower_gives_open_clips_features(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also load its copy, which contains the configuration of the tower."""
    folder = tmp_path / "model"
    folder.mkdir()
    monkeypatch.chdir(folder)  # open_clip looks for the tower there
    config = transformers.AutoConfig.for_model(kind, vocab_size=64, **SMALL[kind])
    config.save_pretrained(folder / "tower")
    text = {
        "hf_model_name": "tower",
        "hf_tokenizer_name": "org/words",
        "hf_model_pretrained": False,
    }
    text |= {"hf_proj_type": "linear", "hf_pooler_type": "mean_pooler", "context_length": 12}
    theirs = write_open_clip(folder, {**CONFIGS["vit"], "custom_text": True, "text_cfg": text})
    tokenizer = word_tokenizer()
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(config.pad_token_id)
    tokenizer.save_pretrained(folder)
    sentences = ["a photo of a cat", "red flag"]
    with torch.no_grad():
        expected = theirs.encode_text(open_clip.get_tokenizer(f"local-dir:{folder}")(sentences))
    torch.testing.assert_close(
        load_model(".").encode_text(sentences), expected, rtol=1e-4, atol=1e-5
    )
    convert(".", tmp_path / "copy")
    shutil.rmtree(folder / "tower")
    found = load_model(str(tmp_path / "copy")).encode_text(sentences)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def classes() -> list[Any]:
    """Return the classes of the table that are installed together with their libraries."""
    found = []
    for name in sorted(CLASSES | {f"{name}Fast" for name in CLASSES}):
        kind = getattr(transformers, name, None)
        if isinstance(kind, type) and not getattr(
            kind, "_backends", None
        ):  # a stand-in, whose own library is missing
            found.append(kind)
    return list(dict.fromkeys(found))


@pytest.mark.parametrize("kind", classes(), ids=lambda kind: kind.__name__)
def test_everything_that_a_tokenizer_can_be_told_is_in_the_table(kind: Any) -> None:
    told = {
        name
        for base in kind.__mro__
        if "__init__" in vars(base) and base.__module__.startswith("transformers")
        for name in inspect.signature(vars(base)["__init__"]).parameters
    }
    files = {
        "vocab",
        "merges",
        "vocab_file",
        "merges_file",
        "tokenizer_file",
        "spm_file",
        "tokenizer_object",
    }
    assert told - OPTIONS.keys() - files <= {"self", "args", "kwargs", "_spm_precompiled_charsmap"}


@pytest.mark.parametrize("kind", classes(), ids=lambda kind: kind.__name__)
def test_a_tokenizer_is_what_transformers_makes_of_its_own_files(kind: Any, tmp_path: Path) -> None:
    """Train a tokenizer on a few words, with a special token, saved as transformers saves it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tokenizer = kind()
        if kind.model.__name__ not in ("Unigram",):
            tokenizer = tokenizer.train_new_from_iterator(SENTENCES, 300)
        tokenizer.add_tokens(["photo", "red"])
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
    tokenizer.save_pretrained(tmp_path)
    expected = transformers.AutoTokenizer.from_pretrained(tmp_path)
    found = open_clip_hf_tokenizer(tmp_path, 12, {}, mode=None)
    ids = expected(SENTENCES, padding="max_length", truncation=True, max_length=12)["input_ids"]
    assert found.kind == type(expected).__name__
    assert found(SENTENCES).tolist() == ids
    assert len({tuple(row) for row in ids}) == len(SENTENCES)
    copy = tmp_path / "copy"
    copy.mkdir()
    found.save(copy)
    again = open_clip_hf_tokenizer(copy, 12, {}, mode=None)
    assert (again.identity, again(SENTENCES).tolist()) == (found.identity, ids)


def test_open_clips_tokenizer_that_should_lower_case_and_does_not_is_told(tmp_path: Path) -> None:
    """Warn that open_clip leaves sentences as they are, whatever `do_lower_case` says."""
    cased(tmp_path, do_lower_case=True)
    with pytest.warns(
        UserWarning,
        match=r"asks for lower case \(do_lower_case\), and open_clip's does not apply it",
    ):
        found = open_clip_hf_tokenizer(tmp_path, 16, {}, mode=None)
    assert not found(["A cat"]).equal(found(["a cat"]))
    lower = open_clip_hf_tokenizer(tmp_path, 16, {"clean": "lower"}, mode=None)
    assert lower(["A cat"]).equal(lower(["a cat"]))


def test_a_tokenizer_of_its_own_file(tmp_path: Path) -> None:
    word_tokenizer().save_pretrained(tmp_path)
    for name in ("PreTrainedTokenizerFast", "PreTrainedTokenizer", "TokenizersBackend"):
        config = json.loads((tmp_path / "tokenizer_config.json").read_text())
        (tmp_path / "tokenizer_config.json").write_text(
            json.dumps(config | {"tokenizer_class": name})
        )
        assert open_clip_hf_tokenizer(tmp_path, 12, {}, mode=None).vocab_size == 9


def test_files_as_they_were_kept_before(tmp_path: Path) -> None:
    """Write a vocabulary, merges and maps of tokens; the class follows from the model type."""
    letters = [chr(code) for code in range(33, 127)]
    words = ["<s>", "<pad>", "</s>", "<unk>", *letters, "Ġ", "ca", "cat"]
    (tmp_path / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\nc a\nca t\n")
    (tmp_path / "config.json").write_text('{"model_type": "roberta"}')
    special = {
        "bos_token": "<s>",
        "eos_token": {"content": "</s>", "lstrip": False, "rstrip": False},
    }
    (tmp_path / "special_tokens_map.json").write_text(json.dumps(special))
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<mine>": len(words)}))
    expected = transformers.AutoTokenizer.from_pretrained(tmp_path)
    found = open_clip_hf_tokenizer(tmp_path, 12, {}, mode=None)
    assert found.kind == type(expected).__name__
    rows = expected(["cat <mine>"], padding="max_length", truncation=True, max_length=12)[
        "input_ids"
    ]
    assert found(["cat <mine>"]).tolist() == rows


FAULTS: dict[str, tuple[str, object, str]] = {
    "a token with a class": (
        "tokenizer_config.json",
        {"pad_token": {"content": "x", "class": "y"}},
        "pad_token is",
    ),
    "another type": (
        "tokenizer_config.json",
        {"__type": "x", "bos_token": {"__type": "M"}},
        "bos_token is",
    ),
    "a path for a model": (
        "tokenizer_config.json",
        {"sp_model_kwargs": {"model_file": "/x"}},
        "sp_model_kwargs is",
    ),
    "a list": ("tokenizer_config.json", [1], "holds a list"),
    "no JSON": ("tokenizer_config.json", None, "no JSON"),
    "numbers for words": ("added_tokens.json", {"a": "b"}, "no map of tokens"),
    "a map of lists": ("special_tokens_map.json", {"bos_token": [1]}, "bos_token is"),
    "millions of tokens": ("tokenizer_config.json", {"extra_ids": 10**9}, "extra_ids is"),
    "no number": (
        "tokenizer_config.json",
        {"added_tokens_decoder": {"x": {"content": "y"}}},
        "added_tokens_decoder is",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_in_the_files_of_a_tokenizer(fault: str, tmp_path: Path) -> None:
    word_tokenizer().save_pretrained(tmp_path)
    name, content, message = FAULTS[fault]
    (tmp_path / name).write_text("{" if content is None else json.dumps(content))
    with pytest.raises(ModelError, match=message) as caught:
        open_clip_hf_tokenizer(tmp_path, 12, {}, mode=None)
    assert str(tmp_path) in str(caught.value)


def test_private_folders_are_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove private folders after a good tokenizer, a broken one, and the last reference."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    word_tokenizer().save_pretrained(tmp_path / "good")
    open_clip_hf_tokenizer(tmp_path / "good", 12, {}, mode=None)
    (tmp_path / "good" / "tokenizer.json").write_text("{")
    with pytest.raises(ModelError, match="no tokenizer"):
        open_clip_hf_tokenizer(tmp_path / "good", 12, {}, mode=None)
    with pytest.raises(KeyError), private_folder() as path:
        (path / "a").write_text("a")
        raise KeyError
    assert list((tmp_path / "temporary").iterdir()) == []
    folder = PrivateFolder()
    assert folder.path.is_dir()
    path = folder.path
    del folder
    assert not path.exists()


def test_a_link_in_a_folder_is_followed_as_in_a_cache_of_the_hub(tmp_path: Path) -> None:
    word_tokenizer().save_pretrained(tmp_path / "blobs")
    (tmp_path / "snapshot").mkdir()
    (tmp_path / "target").mkdir()
    for file in (tmp_path / "blobs").iterdir():
        (tmp_path / "snapshot" / file.name).symlink_to(file)
    rebuild(tmp_path / "snapshot", tmp_path / "target")
    assert not any(file.is_symlink() for file in (tmp_path / "target").iterdir())
    assert (tmp_path / "target" / "tokenizer.json").read_bytes() == (
        tmp_path / "blobs" / "tokenizer.json"
    ).read_bytes()


@pytest.mark.parametrize(
    "name", ["", "/x", "../x", "a/../../x", "~", "~root/x", "\\\\host\\x", "c:x", "a\0b"]
)
def test_names_that_lead_out_of_a_folder(name: str) -> None:
    assert not is_inside(name)


KINDS = {
    NUMBER: ([0, 1.5, -3], [True, "1", None, float("nan"), float("inf"), [1], 10**400]),
    WHOLE: ([0, -1, 10**9], [1.0, True, 10**12, "1"]),
    FLAG: ([True, False], [0, 1, "true", None]),
    TEXT: (["", "a"], [1, None, "a" * 1001, ["a"]]),
    NOTHING: ([None], [0, "", False]),
    TEXT | NOTHING: (["a", None], [1]),
    list_of(WHOLE, least=2, most=2): ([[1, 2], (1, 2)], [[1], [1, 2, 3], [1, "2"], 1]),
    dictionary_of({"eps": NUMBER}): ([{}, {"eps": 1}], [{"device": "cuda"}, {"eps": "1"}, []]),
    one_of("left", "right"): (["left"], ["Left", 1, ["left"], {}]),
}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.words)
def test_kinds_of_values(kind: Any) -> None:
    good, bad = KINDS[kind]
    assert all(kind.holds(value) for value in good)
    assert not any(kind.holds(value) for value in bad)


@pytest.mark.parametrize("section", ["", "vision_cfg", "text_cfg"])
def test_an_unknown_key_is_refused_with_the_one_that_was_meant(
    section: str, tmp_path: Path
) -> None:
    write_open_clip(tmp_path, CONFIGS["vit"])
    path = tmp_path / "open_clip_config.json"
    config = json.loads(path.read_text())
    place = config["model_cfg"][section] if section else config["model_cfg"]
    place["embed_dmi" if not section else "widht"] = 1
    path.write_text(json.dumps(config))
    with pytest.raises(
        ModelError, match=r"unknown key '(widht|embed_dmi)'(?s:.*)did you mean '(width|embed_dim)'"
    ):
        load_model(str(tmp_path))


def test_a_vocabulary_of_a_repository_is_fetched_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gzip

    from open_clip.tokenizer import default_bpe

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    root = tmp_path / "hub" / "models--org--clip"
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text("0" * 40)
    folder = root / "snapshots" / ("0" * 40)
    text = {
        **CONFIGS["vit"]["text_cfg"],
        "vocab_size": 614,
        "tokenizer_kwargs": {"bpe_path": "words/merges.txt.gz"},
    }
    write_open_clip(folder, {**CONFIGS["vit"], "text_cfg": text})
    with pytest.raises(ModelError, match=r"words/merges\.txt\.gz of org/clip: not on this disk"):
        load_model("open_clip:hf-hub:org/clip")
    (folder / "words").mkdir()
    merges = gzip.decompress(Path(default_bpe()).read_bytes()).decode().split("\n")[:101]
    (folder / "words" / "merges.txt.gz").write_bytes(gzip.compress("\n".join(merges).encode()))
    model = load_model("open_clip:hf-hub:org/clip")
    assert "614 entries" in model.identity["tokenizer"]
    assert model.encode_text(["a cat"]).equal(
        load_model(f"local-dir:{folder}").encode_text(["a cat"])
    )
