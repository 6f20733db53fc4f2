"""Folders of models that want to run code: each payload makes a file, and nothing else, if it is
run.

A payload changes a good folder. Its name says what it tries; what should come of it stands beside
it: words of the refusal, or `LOADS`, where what it has added is left out and the model is as good
as without.
"""

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

LOADS = ""
BERT = {
    "model_type": "bert",
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "vocab_size": 100,
    "max_position_embeddings": 32,
}
OPEN_CLIP, TRANSFORMERS = "open_clip_config.json", "config.json"


class Mark:
    """Unpickled the ordinary way, it makes a folder."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, (str(self.mark),)


class Payload(NamedTuple):
    """What is done to a folder, with the mark that code would leave; and what is to come of it."""

    write: Callable[[Path, Path], object]
    outcome: str


def change(folder: Path, name: str, **changes: Any) -> None:
    """Change keys of a configuration; "a__b" is the key b of the section a."""
    path = folder / name
    config = json.loads(path.read_text()) if path.is_file() else {}
    for key, value in changes.items():
        place, *keys = config, *key.split("__")
        for part in keys[:-1]:
            place = place.setdefault(part, {})
        place[keys[-1]] = value
    path.unlink(missing_ok=True)  # it may be a hard link to the good one
    path.write_text(json.dumps(config))


def text_cfg(folder: Path, **changes: Any) -> None:
    change(
        folder,
        OPEN_CLIP,
        **{f"model_cfg__text_cfg__{key}": value for key, value in changes.items()},
    )


def module(folder: Path, mark: Path, *names: str) -> None:
    """Modules that leave the mark as soon as they are imported, with every class that may be asked
    for.
    """
    code = f"import os\nos.makedirs({str(mark)!r}, exist_ok=True)\n"
    code += "from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerFast\n"
    code += "class C(PretrainedConfig):\n    model_type = 'custom'\n"
    code += "class M(PreTrainedModel):\n    config_class = C\nclass T(PreTrainedTokenizerFast):\n    pass\n"
    for name in names or ("custom",):
        (folder / f"{name}.py").write_text(code)


AUTO = {
    "AutoConfig": "custom.C",
    "AutoModel": "custom.M",
    "AutoTokenizer": ["custom.T", "custom.T"],
}
LOADER_OPTIONS: dict[str, Any] = {
    "weights_only": False,
    "use_safetensors": False,
    "trust_remote_code": True,
    "local_files_only": False,
    "subfolder": "elsewhere",
    "revision": "main",
    "code_revision": "main",
    "cache_dir": "/tmp",
    "proxies": {},
    "token": True,
    "gguf_file": "x.gguf",
    "tokenizer_file": "/etc/passwd",
    "vocab_file": "/etc/passwd",
    "tokenizer_type": "bert",
    "use_fast": False,
    "config": {},
    "state_dict": {},
    "from_tf": True,
    "mistral_format": True,
    "quantization_config": {},
    "adapter_kwargs": {},
    "tokenizer_object": "x",
    "name_or_path": "x",
    "auto_map": AUTO,
}
NOT_TOKENIZERS = (
    *(
        "AutoModel",
        "AutoModelForCausalLM",
        "AutoModelForImageClassification",
        "AutoProcessor",
        "AutoImageProcessor",
    ),
    *(
        "AutoVideoProcessor",
        "AutoFeatureExtractor",
        "AutoTokenizer",
        "AutoConfig",
        "AutoBackbone",
        "AutoModelFast",
    ),
    *("BertModel", "CLIPModel", "CLIPProcessor", "pipeline", "custom.T", "T", "os.system"),
)


def weights_for_a_tokenizer(
    folder: Path, mark: Path, *, shards: str = "", file: str = "pytorch_model.bin"
) -> None:
    """A tokenizer whose class is a model, with its weights as a pickle; or in a shard of any
    name.
    """
    (folder / "config.json").write_text(json.dumps(BERT))
    change(folder, "tokenizer_config.json", tokenizer_class="BertModel")
    torch.save({"a": Mark(mark)}, folder / (shards or file))
    if shards:
        index = {"metadata": {}, "weight_map": {"a": shards}}
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))


def kwargs(**options: Any) -> Callable[[Path, Path], None]:
    def write(folder: Path, mark: Path) -> None:
        weights_for_a_tokenizer(folder, mark)
        text_cfg(folder, hf_tokenizer_name="x", tokenizer_kwargs=options)

    return write


def tower(text: str, *, name: str = "tower", **files: Any) -> Callable[[Path, Path], None]:
    """A text tower in the model's own folder, whose config.json is this text."""

    def write(folder: Path, mark: Path) -> None:
        place = folder / name
        place.mkdir(exist_ok=True)
        module(place, mark)
        module(folder, mark)
        (place / "config.json").write_text(text)
        for file, content in files.items():
            (place / f"{file.replace('__', '.')}.json").write_text(json.dumps(content))
        text_cfg(folder, hf_model_name=name, hf_pooler_type="mean_pooler")

    return write


def outside(name: str) -> Callable[[Path, Path], None]:
    """A text tower elsewhere; FOLDER stands for the model's own."""

    def write(folder: Path, mark: Path) -> None:
        module(folder, mark)
        (folder / "config.json").write_text(json.dumps({"model_type": "custom", "auto_map": AUTO}))
        text_cfg(
            folder, hf_model_name=name.replace("FOLDER", str(folder)), hf_pooler_type="mean_pooler"
        )

    return write


def vocabulary(name: str) -> Callable[[Path, Path], None]:
    return lambda folder, mark: text_cfg(folder, tokenizer_kwargs={"bpe_path": name})


def pickled(name: str, **options: Any) -> Callable[[Path, Path], None]:
    """Weights that are a pickle, in place of the good ones."""

    def write(folder: Path, mark: Path) -> None:
        for path in folder.glob("*.safetensors"):
            path.unlink()
        torch.save({"state_dict": {"a": torch.zeros(2), "b": Mark(mark)}}, folder / name, **options)

    return write


def tokenizer_class(
    name: object, where: str = "tokenizer_config.json"
) -> Callable[[Path, Path], None]:
    def write(folder: Path, mark: Path) -> None:
        module(folder, mark)
        torch.save({"a": Mark(mark)}, folder / "pytorch_model.bin")
        text_cfg(folder, hf_tokenizer_name="x") if (folder / OPEN_CLIP).exists() else None
        if where != "tokenizer_config.json" and (folder / "tokenizer_config.json").exists():
            (folder / "tokenizer_config.json").unlink()
        change(folder, where, tokenizer_class=name, auto_map={**AUTO, str(name): "custom.M"})

    return write


def everywhere(key: str, value: object) -> Callable[[Path, Path], None]:
    """A key in every configuration that lies in the folder, and in all that could."""

    def write(folder: Path, mark: Path) -> None:
        module(folder, mark)
        names = (
            "tokenizer_config",
            "preprocessor_config",
            "processor_config",
            "generation_config",
            "special_tokens_map",
        )
        for name in (*names, *(("config",) if (folder / TRANSFORMERS).exists() else ())):
            change(folder, f"{name}.json", **{key: value})
        if (folder / TRANSFORMERS).exists():
            change(
                folder,
                TRANSFORMERS,
                **{f"text_config__{key}": value, f"vision_config__{key}": value},
            )

    return write


def templates(folder: Path, mark: Path) -> None:
    code = "{{ cycler.__init__.__globals__.os.mkdir('" + str(mark) + "') }}"
    change(folder, "tokenizer_config.json", chat_template=code)
    (folder / "chat_template.jinja").write_text(code)
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "a.jinja").write_text(code)


def shadows(folder: Path, mark: Path) -> None:
    """Modules of the names that Python and the libraries look for, for when this is the current
    folder.
    """
    names = (
        "sitecustomize",
        "usercustomize",
        "conftest",
        "sentencepiece",
        "tiktoken",
        "mistral_common",
        "custom",
    )
    module(folder, mark, *names, "transformers_modules", "flash_attn", "xformers", "google", "nltk")


def big_numpy(folder: Path, mark: Path) -> None:
    """Weights as npz, of objects: numpy unpickles them where it is allowed to."""
    for path in folder.glob("*.safetensors"):
        path.unlink()
    with (folder / "open_clip_pytorch_model.bin").open("wb") as file:
        np.savez(file, a=np.array([Mark(mark)], dtype=object))


def plain_pickle(folder: Path, mark: Path) -> None:
    for path in folder.glob("*.safetensors"):
        path.unlink()
    (folder / "open_clip_pytorch_model.bin").write_bytes(pickle.dumps(Mark(mark), protocol=2))


def index_of_pickles(folder: Path, mark: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({"a": Mark(mark)}, folder / "pytorch_model.bin")
    change(folder, "model.safetensors.index.json", weight_map={"a": "pytorch_model.bin"})


AUTO_MAP = json.dumps({**BERT, "auto_map": AUTO})
ESCAPED = json.dumps({"model_type": "custom", "auto_map": AUTO}).replace(
    "auto_map", "auto\\u005fmap"
)
OF_OPEN_CLIP: dict[str, Payload] = {
    "loader options": Payload(
        kwargs(weights_only=False, use_safetensors=False), "unknown key 'weights_only'"
    ),
    **{
        f"loader option {name}": Payload(
            kwargs(**{name: value}), f"unknown key '{name}'|is the wrong|no tokenizer"
        )
        for name, value in LOADER_OPTIONS.items()
    },
    "a model for a tokenizer": Payload(kwargs(), "class 'BertModel'"),
    "a shard": Payload(
        lambda folder, mark: (
            weights_for_a_tokenizer(folder, mark, shards="words.dat"),
            text_cfg(folder, hf_tokenizer_name="x", tokenizer_kwargs={"weights_only": False}),
        ),
        "unknown key 'weights_only'",
    ),
    "auto_map": Payload(tower(AUTO_MAP), "wants code of its own"),
    "auto_map escaped": Payload(tower(ESCAPED), "wants code of its own"),
    "auto_map twice": Payload(
        tower(AUTO_MAP[:-1] + ', "auto_map": null}'), "wants code of its own"
    ),
    "auto_map of a repository": Payload(
        tower(
            json.dumps({"model_type": "custom", "auto_map": {"AutoConfig": "org/evil--custom.C"}})
        ),
        "code of its own",
    ),
    "auto_map deeper": Payload(
        tower(json.dumps({**BERT, "text_config": {"auto_map": AUTO}})), r"missing: text\."
    ),
    "configuration_files": Payload(
        tower(
            json.dumps({"model_type": "custom", "configuration_files": ["config.4.0.0.json"]}),
            config__4__0__0={"model_type": "custom", "auto_map": AUTO},
        ),
        "model_type 'custom'",
    ),
    "configuration_files of a known tower": Payload(
        tower(
            json.dumps({**BERT, "configuration_files": ["config.4.0.0.json"]}),
            config__4__0__0={"model_type": "custom", "auto_map": AUTO},
        ),
        r"missing: text\.",
    ),
    "itself": Payload(tower(ESCAPED, name="."), "wants code of its own"),
    "itself by its path": Payload(outside("FOLDER"), "hf_model_name"),
    "a folder above": Payload(outside("../evil"), "hf_model_name"),
    "a folder of a user": Payload(outside("~/evil"), "hf_model_name"),
    "an unknown tower": Payload(tower(json.dumps({"model_type": "custom"})), "model_type 'custom'"),
    "a list for a kind": Payload(tower(json.dumps({"model_type": ["bert"]})), "model_type"),
    "an image tower of a hub": Payload(
        lambda folder, mark: change(
            folder, OPEN_CLIP, model_cfg__vision_cfg__timm_model_name="hf-hub:org/evil"
        ),
        "image tower from a hub",
    ),
    "an image tower of a folder": Payload(
        lambda folder, mark: change(
            folder, OPEN_CLIP, model_cfg__vision_cfg__timm_model_name="local-dir:."
        ),
        "image tower from a hub",
    ),
    **{
        f"vocabulary {name}": Payload(vocabulary(name), "bpe_path|no tokenizer")
        for name in (
            "/etc/passwd",
            "../x.gz",
            "~/x.gz",
            "/dev/zero",
            "C:\\x.gz",
            "open_clip_config.json",
        )
    },
    "an unknown section": Payload(
        lambda folder, mark: change(folder, OPEN_CLIP, model_cfg__trust_remote_code=True),
        "unknown key 'trust_remote",
    ),
    "a syntax mask": Payload(
        lambda folder, mark: text_cfg(folder, tokenizer_kwargs={"reduction_mask": "syntax"}),
        "reduction_mask",
    ),
    "an expression": Payload(
        lambda folder, mark: text_cfg(
            folder, tokenizer_kwargs={"additional_special_tokens": ["(a+)+$"]}
        ),
        "expression",
    ),
    "a pickle .bin": Payload(pickled("open_clip_pytorch_model.bin"), "reading it would run"),
    "a pickle .pth": Payload(pickled("open_clip_pytorch_model.pth"), "reading it would run"),
    "an old pickle": Payload(
        pickled("open_clip_pytorch_model.bin", _use_new_zipfile_serialization=False),
        "reading it would run",
    ),
    "a plain pickle": Payload(plain_pickle, "reading it would run"),
    "an npz": Payload(big_numpy, "not a readable torch checkpoint"),
    "shadows": Payload(shadows, LOADS),
    "templates": Payload(templates, LOADS),
    "auto_map in other files": Payload(everywhere("auto_map", AUTO), LOADS),
}
OF_TRANSFORMERS: dict[str, Payload] = {
    **{f"class {name}": Payload(tokenizer_class(name), "no tokenizer") for name in NOT_TOKENIZERS},
    **{
        f"class {name} in config.json": Payload(
            tokenizer_class(name, "config.json"), "no tokenizer"
        )
        for name in NOT_TOKENIZERS[:4]
    },
    "class of another type": Payload(tokenizer_class(["AutoModel"]), "tokenizer_class is"),
    "auto_map": Payload(everywhere("auto_map", AUTO), LOADS),
    "trust_remote_code": Payload(everywhere("trust_remote_code", True), LOADS),
    "configuration_files": Payload(everywhere("configuration_files", ["config.4.0.0.json"]), LOADS),
    "_name_or_path": Payload(everywhere("_name_or_path", "org/evil"), LOADS),
    "quantization": Payload(everywhere("quantization_config", {"quant_method": "custom"}), LOADS),
    "a kernel": Payload(everywhere("attn_implementation", "org/evil-kernel"), LOADS),
    "gguf_file": Payload(everywhere("gguf_file", "x.gguf"), LOADS),
    "tokenizer_file": Payload(everywhere("tokenizer_file", "/etc/passwd"), LOADS),
    "vocab_file": Payload(everywhere("vocab_file", "/etc/passwd"), LOADS),
    "init_inputs": Payload(everywhere("init_inputs", ["/etc/passwd"]), LOADS),
    "templates": Payload(templates, LOADS),
    "shadows": Payload(shadows, LOADS),
    "an index of pickles": Payload(index_of_pickles, "no list of files of weights"),
    "a pickle .bin": Payload(pickled("pytorch_model.bin"), r"no model\.safetensors"),
    "another kind of model": Payload(
        lambda folder, mark: (
            module(folder, mark),
            change(folder, TRANSFORMERS, model_type="custom", auto_map=AUTO),
        ),
        "model_type 'custom'",
    ),
}
