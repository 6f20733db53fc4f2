"""Test downloads from the hub, offline, with a cache on this disk in the hub's own layout."""

import json
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from open_clip import pretrained

from purescope.errors import ModelError
from purescope.files.hub import fetch_file, fetch_folder
from purescope.models import load_model
from tests.checkpoints import write_open_clip, write_torchscript
from tests.models.test_architectures_by_shapes import config_of, images_for, tiny, vit
from tests.models.test_open_clip import CONFIGS, SENTENCES, TEXT
from tests.models.test_transformers import word_tokenizer, write

__all__ = ["tiny", "vit"]

Cache = Callable[[str], Path]


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any) -> None:
        raise AssertionError(f"the network was asked: {arguments}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    """Make an empty cache of the hub; a call returns the folder for a repository's files."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))

    def repository(name: str) -> Path:
        root = tmp_path / "hub" / f"models--{name.replace('/', '--')}"
        (root / "refs").mkdir(parents=True, exist_ok=True)
        (root / "refs" / "main").write_text("0" * 40)
        snapshot = root / "snapshots" / ("0" * 40)
        snapshot.mkdir(parents=True, exist_ok=True)
        return snapshot

    return repository


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unset HF_HUB_OFFLINE, so that the argument `offline` has to work by itself."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)


def test_a_repository_in_open_clips_form(cache: Cache) -> None:
    theirs = write_open_clip(
        cache("org/my-clip"), CONFIGS["vit"], preprocess={"mean": [0.5, 0.5, 0.5]}
    )
    model = load_model("open_clip:hf-hub:org/my-clip")
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(
            model.encode_image(images), theirs.encode_image(images), rtol=1e-4, atol=1e-5
        )
    assert (model.label, model.preprocess.mean) == ("my-clip", (0.5, 0.5, 0.5))


def test_a_repository_of_transformers(cache: Cache) -> None:
    write(cache("org/my-siglip"), "siglip")
    model = load_model("hf:org/my-siglip")
    assert (model.label, model.neurons) == ("my-siglip", 48)


@pytest.mark.usefixtures("online")
@pytest.mark.parametrize(
    ("spec", "missing"),
    [
        ("open_clip:hf-hub:org/none", "open_clip_config.json of org/none: not on this disk"),
        (
            "open_clip:hf-hub:org/half",
            "open_clip_model.safetensors or open_clip_pytorch_model.bin of org/half",
        ),
        ("hf:org/none", "the repository org/none: not on this disk"),
        ("hf:org/half", r"config\.json: No such file"),
        (
            "open_clip:ViT-B-32/laion2b_s34b_b79k",
            "of laion/CLIP-ViT-B-32-laion2B-s34B-b79K: not on this disk",
        ),
        (
            "open_clip:ViT-B-16-quickgelu/openai",
            "of timm/vit_base_patch16_clip_224.openai: not on this disk",
        ),
        ("open_clip:RN50-quickgelu/cc12m", r"not on this disk"),
    ],
)
def test_offline_what_is_missing_is_named_before_any_call(
    spec: str, missing: str, cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    config = {"model_cfg": CONFIGS["vit"], "preprocess_cfg": {}}
    (cache("org/half") / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=missing):
        load_model(spec, offline=True)


@pytest.mark.usefixtures("cache", "online")
@pytest.mark.parametrize("prefix", ["local-dir:", ""])
def test_offline_what_a_folder_wants_from_the_hub_is_named(prefix: str, tmp_path: Path) -> None:
    write_open_clip(tmp_path / "model", CONFIGS["vit"])
    config = {**CONFIGS["vit"], "text_cfg": {"hf_model_name": "roberta-base"}}
    (tmp_path / "model" / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": config, "preprocess_cfg": {}})
    )
    with pytest.raises(
        ModelError, match=r"wants the text tower roberta-base.*not on this disk, and nothing"
    ):
        load_model(f"{prefix}{tmp_path / 'model'}", offline=True)


@pytest.mark.usefixtures("cache", "online")
def test_what_the_hub_says_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("not a name", "a/b/c"):
        with pytest.raises(ModelError, match="cannot be loaded from the hub: "):
            load_model(f"open_clip:hf-hub:{name}")
        with pytest.raises(ModelError, match="cannot be loaded from the hub: "):
            load_model(f"hf:{name}")

    def fail(*_: Any, **__: Any) -> None:
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fail)
    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    with pytest.raises(
        ModelError, match=r"a of x/y cannot be loaded from the hub: no route\s+to fix"
    ):
        fetch_file("x/y", ["a"], offline=False)
    with pytest.raises(
        ModelError, match=r"files of x/y cannot be loaded from the hub: no route\s+to fix"
    ):
        fetch_folder("x/y", ["a"], offline=False)


@pytest.mark.usefixtures("online")
@pytest.mark.parametrize(("offline", "is_absent"), [(False, True), (True, True), (True, False)])
def test_only_offline_and_absent_is_told_as_such(
    offline: bool, is_absent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise LocalEntryNotFoundError("not in the cache") if is_absent else OSError("disk is gone")

    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    message = r"files of x/y cannot be loaded from the hub: (not in the cache|disk is gone)"
    if offline and is_absent:
        message = "the repository x/y: not on this disk"
    with pytest.raises(ModelError, match=message):
        fetch_folder("x/y", ["a"], offline=offline)


@pytest.mark.usefixtures("online")
def test_online_the_next_name_is_tried_where_a_file_is_not_in_the_repository(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub.errors import RemoteEntryNotFoundError

    class AbsentError(RemoteEntryNotFoundError):
        def __init__(self) -> None:
            Exception.__init__(self, "404")

    asked = []

    def download(repository: str, name: str, **options: Any) -> str:
        asked.append((repository, name, options))
        if name == "b":
            return "/there/b"
        raise AbsentError

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    assert fetch_file("x/y", ["a", "b", "c"], offline=False) == Path("/there/b")
    assert asked == [("x/y", name, {"local_files_only": False}) for name in "ab"]
    with pytest.raises(ModelError, match="the hub's repository x/y has no a or c"):
        fetch_file("x/y", ["a", "c"], offline=False)


def tag(monkeypatch: pytest.MonkeyPatch, arch: str, **tags: dict[str, Any]) -> None:
    monkeypatch.setitem(pretrained._PRETRAINED, arch, tags)


def test_a_tag_of_open_clip(
    vit: Any,
    cache: Cache,
    tmp_path: Path,
    tiny: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from safetensors.torch import save_file

    arch = tiny(tmp_path, "tiny", config_of(quick_gelu=True))
    tag(monkeypatch, arch, mine=pretrained._slpcfg(hf_hub="org/weights/", quick_gelu=True))
    save_file(vit.state_dict(), cache("org/weights") / "open_clip_model.safetensors")
    model = load_model(f"open_clip:{arch}/mine")
    expected = open_clip.create_model(arch, pretrained="mine").eval()
    with torch.no_grad():
        image = expected.encode_image(images_for(vit))
    torch.testing.assert_close(model.encode_image(images_for(vit)), image, rtol=1e-4, atol=1e-5)
    assert (model.label, model.preprocess.resize) == ("tiny mine", "squash")
    with pytest.raises(
        ModelError,
        match=r"no weights 'mien' of tiny\s+expected: one of mine\s+to fix:   did you mean 'mine'",
    ):
        load_model(f"open_clip:{arch}/mien")


@pytest.mark.usefixtures("cache")
def test_a_tag_that_was_trained_with_quick_gelu_is_refused_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(
        ModelError, match=r"ViT-B-16 has no QuickGELU, .*openai was.*(?s:.*)give ViT-B-16-quickgelu"
    ):
        load_model("open_clip:ViT-B-16/openai")
    with pytest.raises(ModelError, match=r"ViT-B-32 has no QuickGELU"):
        load_model("open_clip:ViT-B/32/laion400m_e32")


@pytest.mark.slow
def test_a_tag_with_an_address_is_found_where_open_clip_keeps_it(
    vit: Any,
    cache: Cache,
    tmp_path: Path,
    tiny: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Load an archive of OpenAI by a tag with a URL, as before the hub had them."""
    monkeypatch.setenv("HOME", str(tmp_path))
    arch = tiny(tmp_path, "tiny-quickgelu", config_of(quick_gelu=True))
    tag(
        monkeypatch,
        arch,
        openai=pretrained._pcfg(url="https://example.org/Tiny.pt", quick_gelu=True),
    )
    with pytest.raises(
        ModelError,
        match=r"clip/Tiny\.pt, the weights of tiny-quickgelu/openai, *: not on this disk",
    ):
        load_model(f"open_clip:{arch}/openai")
    (tmp_path / ".cache" / "clip").mkdir(parents=True)
    write_torchscript(tmp_path / ".cache" / "clip" / "Tiny.pt", vit)
    model = load_model(f"open_clip:{arch}/openai")
    with torch.no_grad():
        image = vit.encode_image(images_for(vit))
    torch.testing.assert_close(model.encode_image(images_for(vit)), image, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ViT-B-32", "expected: open_clip:ARCH/TAG, ARCH/FILE or hf-hub:ORG/NAME"),
        ("ViT-B-23/openai", "no architecture 'ViT-B-23'"),
        ("ViT-B-32/", "no weights ''"),
        ("ViT-S-16-alt/x", "give a file of weights: open_clip:ViT-S-16-alt/FILE"),
    ],
)
def test_unknown_names_of_open_clip(name: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        load_model(f"open_clip:{name}")


@pytest.mark.filterwarnings("ignore:.*is the last of several layers")
@pytest.mark.parametrize("proj", ["linear", "mlp"])
@pytest.mark.parametrize("place", ["in its folder", "on the hub"])
def test_a_text_tower_of_transformers_in_open_clip(
    place: str, proj: str, cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import transformers

    text = transformers.RobertaConfig(
        vocab_size=64,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=48,
    )
    where = tmp_path / "model" / "roberta" if place == "in its folder" else cache("org/roberta")
    text.save_pretrained(where)
    name = "roberta" if place == "in its folder" else "org/roberta"
    (tmp_path / "model").mkdir(exist_ok=True)
    monkeypatch.chdir(tmp_path / "model")  # open_clip looks for the folder there
    tower = {"hf_model_name": name, "hf_tokenizer_name": "org/words", "hf_model_pretrained": False}
    tower |= {"hf_proj_type": proj, "context_length": 12}
    write_open_clip(tmp_path / "model", {**CONFIGS["vit"], "custom_text": True, "text_cfg": tower})
    tokenizer = word_tokenizer()
    tokenizer.pad_token = "</s>"  # which has Roberta's own number for it
    tokenizer.save_pretrained(tmp_path / "model")
    model = load_model(str(tmp_path / "model"))
    theirs = open_clip.create_model(f"local-dir:{tmp_path / 'model'}").eval()
    tokens = open_clip.get_tokenizer(f"local-dir:{tmp_path / 'model'}")(SENTENCES)
    with torch.no_grad():
        expected = theirs.encode_text(tokens)
        if proj == "linear":
            theirs.text.proj = torch.nn.Identity()
        else:
            theirs.text.proj[-1] = torch.nn.Identity()
        hidden = theirs.encode_text(tokens)
    torch.testing.assert_close(model.encode_text(SENTENCES), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(hidden @ model.projections.text.T, expected, rtol=1e-4, atol=1e-5)
    assert "9 entries" in model.identity["tokenizer"]


@pytest.mark.slow
def test_code_that_a_text_tower_names_is_refused(tmp_path: Path) -> None:
    tower = {"hf_model_name": ".", "hf_model_pretrained": False}
    write_open_clip(tmp_path / "model", CONFIGS["vit"])
    code = {"model_type": "evil", "auto_map": {"AutoConfig": "evil.C"}}
    (tmp_path / "model" / "config.json").write_text(json.dumps(code))
    config = {"model_cfg": {**CONFIGS["vit"], "text_cfg": {**TEXT, **tower}}}
    (tmp_path / "model" / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"wants code of its own \(auto_map\)"):
        load_model(str(tmp_path / "model"))


@pytest.mark.slow
def test_a_tokenizer_that_comes_from_the_hub(
    vit: Any, cache: Cache, tmp_path: Path, tiny: Callable[..., str]
) -> None:
    """Take the tokenizer from the repository that the architecture names, as for SigLIP."""
    config = config_of(quick_gelu=False)
    config["text_cfg"] |= {
        "hf_tokenizer_name": "org/words",
        "tokenizer_kwargs": {"clean": "canonicalize"},
    }
    arch = tiny(tmp_path, "tiny", config)
    path = tmp_path / "model.pt"
    torch.save(vit.state_dict(), path)
    with pytest.raises(ModelError, match="the repository org/words: not on this disk"):
        load_model(str(path), arch=arch)
    word_tokenizer().save_pretrained(cache("org/words"))
    model = load_model(str(path), arch=arch)
    assert "9 entries" in model.identity["tokenizer"]
    torch.testing.assert_close(model.encode_text(["A photo!"]), model.encode_text(["a photo"]))


def test_the_cache_is_what_the_hub_reads(cache: Cache, tmp_path: Path) -> None:
    """Make sure that a repository is missing once its files are removed."""
    write(cache("org/model"), "siglip")
    load_model("hf:org/model")
    shutil.rmtree(tmp_path / "hub")
    with pytest.raises(ModelError, match="not on this disk"):
        load_model("hf:org/model")


def test_a_user_without_a_home_is_told_where_files_can_be_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def homeless(*_: Any, **__: Any) -> str:
        raise RuntimeError("Could not determine home directory.")  # as pathlib says it

    monkeypatch.setattr("huggingface_hub.hf_hub_download", homeless)
    with pytest.raises(
        ModelError, match=r"this user has no home folder(.|\n)*to fix: +set HF_HOME"
    ):
        fetch_file("someone/model", ["model.safetensors"], offline=True)
