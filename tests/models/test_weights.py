"""Test weights inside the wrappers of training scripts, and how they fit an architecture."""

import hashlib
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from purescope.errors import ModelError
from purescope.models import load_model
from purescope.models.checkpoint import read_tensors
from purescope.models.weights import find_weights, fingerprint, fit
from tests.checkpoints import laclip_tensors, openai_marks, write_laclip

PATH = Path("run/last.pt")
MODEL = {
    "logit_scale": torch.tensor(1.5),
    "visual.conv1.weight": torch.ones(2),
    "ln_final.bias": torch.zeros(2),
}
OTHER = {name: tensor + 1 for name, tensor in MODEL.items()}
OPTIMIZER = {
    "state": {0: {"exp_avg": torch.ones(2), "step": torch.tensor(3.0)}},
    "param_groups": [{"lr": 1e-3}],
}


def under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in tensors.items()}


def assert_is(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize(
    "key", ["state_dict", "model_state_dict", "model", "module", "net", "model.state_dict"]
)
def test_the_one_model_of_a_checkpoint_is_found_under_any_key(key: str) -> None:
    content: Any = MODEL
    for name in reversed(key.split(".")):
        content = {name: content}
    beside = {
        "epoch": 3,
        "optimizer_state_dict": OPTIMIZER,
        "scaler": {},
        "loss": torch.tensor(0.5),
    }
    assert_is(find_weights(PATH, {**beside, **content}), MODEL)


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ({"model": MODEL, "model_ema": OTHER}, ["model", "model_ema"]),
        ({"state_dict": MODEL, "state_dict_ema": OTHER}, ["state_dict", "state_dict_ema"]),
        (
            {"state_dict": {**under("model.", MODEL), **under("teacher.", OTHER)}},
            ["model", "teacher"],
        ),
        ({"state_dict": {**under("module.", MODEL), **under("ema.", OTHER)}}, ["module", "ema"]),
        ({"a": {"model": MODEL}, "b": {"model": OTHER}}, ["a.model", "b.model"]),
        ({"a": under("x.", MODEL), "b": under("x.", OTHER)}, ["a.x", "b.x"]),
        ({**MODEL, **under("teacher.", OTHER)}, ["", "teacher"]),
    ],
)
def test_of_several_models_none_is_chosen_in_silence(content: Any, parts: list[str]) -> None:
    names = ", ".join(f"last.pt#{part}" for part in parts)
    with pytest.raises(
        ModelError, match=f"run/last.pt: holds 2 models\n  expected: one of {names}\n"
    ):
        find_weights(PATH, content)
    assert_is(find_weights(PATH, content, parts[0]), MODEL)
    assert_is(find_weights(PATH, content, parts[1]), OTHER)
    with pytest.raises(ModelError, match="holds 2 models, none or several of which are 'student'"):
        find_weights(PATH, content, "student")


def test_a_part_of_a_file_with_one_model() -> None:
    assert_is(find_weights(PATH, {"model": MODEL}, "model"), MODEL)
    with pytest.raises(ModelError, match=r"no part 'model_ema'\n  expected: one model"):
        find_weights(PATH, {"model": MODEL}, "model_ema")


WRAPPERS = ["_orig_mod.", "module.", "_fsdp_wrapped_module."]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_wrappers_go_in_any_order_and_number(count: int) -> None:
    for wrappers in permutations(WRAPPERS * 2, count):
        assert_is(find_weights(PATH, under("".join(wrappers), MODEL)), MODEL)
        assert_is(
            find_weights(PATH, {"state_dict": under("".join(["model.", *wrappers]), MODEL)}), MODEL
        )


def test_a_tower_may_be_compiled_alone() -> None:
    inner = {name.replace("visual.", "visual._orig_mod."): tensor for name, tensor in MODEL.items()}
    assert_is(find_weights(PATH, inner), MODEL)
    with pytest.raises(
        ModelError,
        match=r"holds weights twice, under their own names and as visual\._orig_mod\.conv1",
    ):
        find_weights(PATH, {**MODEL, **inner})


def test_a_name_that_only_looks_like_a_wrapper_stays() -> None:
    names = {**MODEL, "my_orig_mod.weight": torch.ones(1), "visual.module.bias": torch.ones(1)}
    assert_is(find_weights(PATH, names), names)


def test_heads_beside_a_model_are_left_out_and_named() -> None:
    content = {
        "state_dict": {**under("clipmodel.", MODEL), "ff_head.weight": torch.ones(3), "steps": 4}
    }
    with pytest.warns(
        UserWarning,
        match=r"left out weights that are not part of the model clipmodel\.\*: ff_head\.weight, s",
    ):
        assert_is(find_weights(PATH, content), MODEL)


def test_openais_marks_may_be_plain_numbers() -> None:
    numbers = {name: int(mark) for name, mark in openai_marks().items()}
    assert_is(find_weights(PATH, {**MODEL, **numbers}), {**MODEL, **openai_marks()})
    with pytest.raises(ModelError, match="not plain tensors: epoch"):
        find_weights(PATH, {**MODEL, "epoch": 3})


@pytest.mark.parametrize("name", ["model.safetensors", "weights", "model.bin"])
def test_a_file_of_safetensors_is_known_by_what_it_holds(name: str, tmp_path: Path) -> None:
    save_file(under("_orig_mod.module.", MODEL), tmp_path / name)
    assert_is(read_tensors(tmp_path / name), MODEL)


@pytest.mark.parametrize("name", ["model.pt", "model.safetensors", "weights"])
def test_a_pointer_of_git_lfs_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
    )
    with pytest.raises(
        ModelError, match=rf"{name}: a git-lfs pointer, (?s:.*)to fix:   git lfs pull"
    ):
        read_tensors(tmp_path / name)


@pytest.mark.slow
def test_a_part_is_named_after_the_file(tmp_path: Path) -> None:
    first, second = (
        laclip_tensors(depth=1, text_depth=1),
        laclip_tensors(depth=1, text_depth=1, seed=1),
    )
    torch.save({"model": first, "model_ema": second}, tmp_path / "last.pt")
    model = load_model(f"{tmp_path}/last.pt#model_ema")
    assert (model.label, model.spec) == ("last model ema", f"{tmp_path}/last.pt#model_ema")
    torch.testing.assert_close(model.projections.image, second["image_projection"].T)
    assert load_model(f"A={tmp_path}/last.pt#model").label == "A"
    with pytest.raises(
        ModelError, match=r"holds 2 models(?s:.*)last\.pt#model, last\.pt#model_ema"
    ):
        load_model(f"{tmp_path}/last.pt")
    (tmp_path / "last.pt").rename(tmp_path / "a#b.pt")
    assert load_model(f"{tmp_path}/a#b.pt#model").label == "a#b model"


def test_a_part_of_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="a folder holds one model"):
        load_model(f"{tmp_path}#model")


def test_keys_are_searched_two_deep() -> None:
    """Find no model deeper than that: the tensors of an optimizer are there."""
    assert_is(find_weights(PATH, {"a": {"b": MODEL}}), MODEL)
    with pytest.raises(ModelError, match="not plain tensors: a"):
        find_weights(PATH, {"a": {"b": {"c": MODEL}}})


SMALL = {"a": torch.arange(6.0).view(2, 3), "b": torch.tensor(-1.5), "c": torch.tensor([3])}


def test_weights_do_not_stay_tied_to_the_file(tmp_path: Path) -> None:
    """Copy weights: the file is mapped into memory while it is read."""
    path = write_laclip(tmp_path / "model.pt", SMALL)
    fitted = fit(path, read_tensors(path), SMALL)
    path.write_bytes(bytes(path.stat().st_size))
    assert torch.equal(fitted["a"], SMALL["a"])


def test_fit_takes_the_wanted_dtype() -> None:
    found = {name: tensor.half() for name, tensor in SMALL.items()}
    fitted = fit(Path("model.pt"), found, SMALL)
    assert {name: tensor.dtype for name, tensor in fitted.items()} == {
        n: t.dtype for n, t in SMALL.items()
    }


@pytest.mark.parametrize(
    "dtype", [torch.int8, torch.bool, torch.uint16, torch.float8_e4m3fn], ids=str
)
def test_weights_that_want_a_scale_are_refused(dtype: torch.dtype) -> None:
    found = {**SMALL, "a": SMALL["a"].to(dtype)}
    with pytest.raises(
        ModelError, match=rf"wrong type: a {dtype}(?s:.*)before they were quantised"
    ):
        fit(Path("model.pt"), found, SMALL)


def test_fit_counts_what_it_does_not_name() -> None:
    with pytest.raises(ModelError, match=r"missing: a, b, c; surplus: s0, s1, s2 and 4 more"):
        fit(Path("model.pt"), {f"s{i}": torch.zeros(1) for i in range(7)}, SMALL)


def test_fingerprint_is_the_hash_of_its_definition() -> None:
    digest = hashlib.sha256()
    for name, shape in (("a", "[2, 3]"), ("b", "[]"), ("c", "[1]")):
        digest.update(
            f"{name} {SMALL[name].dtype} {shape}\n".encode() + SMALL[name].numpy().tobytes()
        )
    assert fingerprint(SMALL) == digest.hexdigest()
    assert fingerprint(dict(reversed(SMALL.items()))) == digest.hexdigest()


CHANGES = {
    "shape": {"a": SMALL["a"].T},
    "dtype": {"b": SMALL["b"].double()},
    "name": {"d": SMALL["c"]},
}


@pytest.mark.parametrize("change", CHANGES)
def test_fingerprint_tells_shapes_dtypes_and_names_apart(change: str) -> None:
    assert fingerprint({**SMALL, **CHANGES[change]}) != fingerprint(SMALL)


def test_fingerprint_of_any_dtype() -> None:
    assert (
        len({fingerprint({"a": SMALL["a"].to(dtype)}) for dtype in (torch.float16, torch.bfloat16)})
        == 2
    )
