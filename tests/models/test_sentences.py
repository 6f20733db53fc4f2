"""Sentences are encoded to the end of the longest, wherever what is behind it changes nothing."""

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from purescope.models import load_model
from purescope.models.model import Model
from purescope.models.sentences import cut_padding, encode_causal, find_ends
from tests.checkpoints import laclip_tensors, write_laclip, write_open_clip
from tests.models.test_open_clip import CONFIGS, LAST_OF_SEVERAL, TEXT
from tests.models.test_transformers import write as write_transformers

LONGEST = ["a", "a red flag"]  # five tokens with both ends
WHOLE = 16  # the length of a row

_EOS = {**CONFIGS["custom text"], "text_cfg": {**TEXT, "pool_type": "eos", "eos_id": 49407}}
_LAST = {**CONFIGS["custom text"], "text_cfg": {**TEXT, "pool_type": "last"}}
_FIRST = {**CONFIGS["custom text"], "text_cfg": {**TEXT, "pool_type": "first"}}
_BOTH_WAYS = {**CONFIGS["custom text"], "text_cfg": {**TEXT, "no_causal_mask": True}}


def read_lengths(model: Model, sentences: list[str]) -> set[int]:
    """The lengths of the rows that the embedding of tokens is given."""
    (embedding,) = (
        module
        for part in model.towers["text"].modules.values()
        for module in part.modules()
        if isinstance(module, torch.nn.Embedding) and module.num_embeddings > 500
    )
    lengths: list[int] = []
    handle = embedding.register_forward_hook(lambda _, given, __: lengths.append(given[0].shape[1]))
    model.encode_text(sentences)
    handle.remove()
    return set(lengths)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (CONFIGS["vit"], 5),
        (CONFIGS["resnet"], 5),
        (CONFIGS["custom text"], 5),
        (CONFIGS["timm"], 5),  # whose projection has a bias
        (_EOS, 5),
        (_LAST, WHOLE),
        (_FIRST, WHOLE),
        (_BOTH_WAYS, WHOLE),
        (CONFIGS["siglip"], WHOLE),
        (CONFIGS["coca"], WHOLE),
    ],
    ids=["vit", "resnet", "custom", "bias", "eos", "last", "first", "both ways", "siglip", "coca"],
)
def test_towers_of_open_clip(config: dict[str, Any], expected: int, tmp_path: Path) -> None:
    theirs = write_open_clip(tmp_path, config)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", LAST_OF_SEVERAL.removeprefix("ignore:"))
        model = load_model(f"local-dir:{tmp_path}")
    assert read_lengths(model, LONGEST) == {expected}
    whole = ["a flag " * 30]
    assert read_lengths(model, whole) == {WHOLE}
    with torch.no_grad():
        for sentences in (LONGEST, whole):
            features = theirs.encode_text(rows(sentences), normalize=False)
            torch.testing.assert_close(model.encode_text(sentences), features, rtol=1e-5, atol=1e-5)


def rows(sentences: list[str]) -> Tensor:
    import open_clip

    return open_clip.tokenize(sentences, context_length=WHOLE)


def test_other_families(tmp_path: Path) -> None:
    write_laclip(tmp_path / "laclip.pt", laclip_tensors(depth=1, text_depth=1))
    assert read_lengths(load_model(str(tmp_path / "laclip.pt")), LONGEST) == {5}
    theirs = write_transformers(tmp_path / "clip", "clip")
    model = load_model(str(tmp_path / "clip"))
    (length,) = read_lengths(model, ["ab", "a"])
    assert length == 4 < theirs.config.text_config.max_position_embeddings
    write_transformers(tmp_path / "siglip", "siglip")
    (length,) = read_lengths(load_model(str(tmp_path / "siglip")), ["a b", "a"])
    assert length == theirs.config.text_config.max_position_embeddings


def test_old_configurations_of_transformers_mean_the_highest_id(tmp_path: Path) -> None:
    """They name 2 as the end, whatever its token is."""
    new = write_transformers(tmp_path / "new", "clip")
    write_transformers(tmp_path / "old", "clip", text={"eos_token_id": 2})
    model = load_model(str(tmp_path / "old"))
    assert model.towers["text"].end is None and new.config.text_config.eos_token_id == 513
    assert read_lengths(model, ["ab", "a"]) == {4}
    features = load_model(str(tmp_path / "new")).encode_text(["ab", "a"])
    torch.testing.assert_close(model.encode_text(["ab", "a"]), features)


def test_what_is_behind_an_end_is_cut_off() -> None:
    tokens = torch.tensor([[5, 1, 9, 9, 9], [5, 9, 0, 0, 0]])
    assert find_ends(tokens, None).tolist() == [2, 1]
    assert cut_padding(tokens, None).tolist() == [[5, 1, 9], [5, 9, 0]]
    # An end that is not the highest id, and a row without one, which is read at its start.
    tokens = torch.tensor([[5, 1, 9, 3], [5, 9, 0, 0]])
    assert find_ends(tokens, 1).tolist() == [1, 0]
    assert cut_padding(tokens, 1).tolist() == [[5, 1], [5, 9]]
    assert cut_padding(tokens[:0], None).shape == (0, 4)


def test_an_end_that_is_not_the_highest_token(tmp_path: Path) -> None:
    """The tower reads at the id that its configuration names."""
    theirs = write_open_clip(tmp_path, {**_EOS, "text_cfg": {**_EOS["text_cfg"], "eos_id": 7}})
    tokens = torch.tensor([[3, 7, 49407, 5, *[0] * 12], [3, 4, 4, 7, *[9] * 12]])
    with torch.no_grad():
        torch.testing.assert_close(
            encode_causal(theirs.text, cut_padding(tokens, 7), 7),
            theirs.text(tokens),
            rtol=1e-5,
            atol=1e-6,
        )
