"""The forms that a smaller model is written in: what each can hold, and how it is written."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import torch

from purescope.errors import InputError, ModelError, near_miss
from purescope.models import find_towers
from purescope.models.convert import own_form, write_towers
from purescope.models.towers import Towers
from purescope.models.transformers_config import require_transformers
from purescope.reduce.cutting import can_cut, cut, require_last_maps
from purescope.reduce.forms.checking import make_pixels, make_sentences, require_equal
from purescope.reduce.forms.onnx import write_onnx
from purescope.reduce.forms.open_clip import require_open_clip_form, write_open_clip
from purescope.reduce.forms.sentence_transformers import write_sentence_transformers
from purescope.reduce.forms.transformers import require_transformers_form, write_transformers
from purescope.reduce.forms.writing import require_extra
from purescope.reduce.rotation import FILE, Rotation, write_rotation


@dataclass(frozen=True, eq=False)
class Smaller:
    """A model, and the axes of its embedding that are kept.

    Args:
        towers: the whole model.
        rotation: the axes to keep, and no others.
    """

    towers: Towers
    rotation: Rotation

    @cached_property
    def cut(self) -> Towers:
        """The model that ends in the kept axes.

        Raises:
            ModelError: a tower does not end in a linear map.
        """
        return cut(self.towers, self.rotation)


@dataclass(frozen=True)
class Form:
    """A form of smaller models.

    Args:
        require: raises an error for a model and a number of dimensions that it cannot hold, or if a
            library is missing.
        write: writes a smaller model into an empty folder.
        loads: whether purescope loads the folder again.
    """

    require: Callable[[Towers, int], None]
    write: Callable[[Smaller, Path], object]
    loads: bool = False


def parse_forms(names: str | Iterable[str]) -> tuple[str, ...]:
    """Return the names of forms, each once.

    Args:
        names: names, or one text with commas.

    Raises:
        InputError: one is unknown, or there is none.

    Examples:
        >>> parse_forms("open_clip, rotation,open_clip")
        ('open_clip', 'rotation')
    """
    split = names.split(",") if isinstance(names, str) else names
    forms = tuple(dict.fromkeys(name.strip() for name in split if name.strip()))
    for name in forms:
        if name not in FORMS:
            raise InputError(f"unknown form {name!r}", **near_miss(name, FORMS))
    if not forms:
        raise InputError("no form", expected=f"one or more of {', '.join(FORMS)}")
    return forms


def default_forms(towers: Towers) -> tuple[str, ...]:
    """Return the form that a model has itself, if it can be cut, and its rotation."""
    return (own_form(towers), "rotation") if can_cut(towers) else ("rotation",)


def write_form(name: str, smaller: Smaller, folder: Path) -> float | None:
    """Write a smaller model in a form into an empty folder, load it again and compare it.

    Returns:
        The largest difference of an embedding of the copy from the model that was written, as a
        share of its length; None for a form that its own writer compares.

    Raises:
        ModelError: the form cannot hold the model, or the copy differs.
    """
    form = FORMS[name]
    form.write(smaller, folder)
    return compare_copy(name, smaller.cut, folder) if form.loads else None


def compare_copy(name: str, towers: Towers, folder: Path) -> float:
    """Load a written model, and compare its embeddings with those of the model it was made from.

    Raises:
        ModelError: it cannot be loaded, or an embedding differs.
    """
    copy, _ = find_towers(str(folder), offline=True)
    copy.module.eval()
    sentences, pixels = make_sentences(towers), make_pixels(towers)
    with torch.inference_mode():
        return max(
            require_equal(name, "image", copy.encode_image(pixels), towers.encode_image(pixels)),
            require_equal(
                name,
                "text",
                copy.encode_text(copy.tokenize(sentences)),
                towers.encode_text(towers.tokenize(sentences)),
            ),
        )


def _require_open_clip(towers: Towers, k: int) -> None:
    require_last_maps(towers)
    require_open_clip_form(towers, k)


def _require_transformers(towers: Towers, k: int) -> None:
    require_last_maps(towers)
    require_transformers_form(towers)
    require_transformers()


def _require_purescope(towers: Towers, k: int) -> None:
    if own_form(towers) != "purescope":
        raise ModelError(
            "purescope's own form of a model that another library has",
            expected="a LaCLIP checkpoint, which no other library holds",
            fix=f"--to {own_form(towers)}",
        )


def _require_nothing(towers: Towers, k: int) -> None:
    """Every model has a rotation."""


def _require_onnx(towers: Towers, k: int) -> None:
    require_last_maps(towers)
    require_extra("onnx", "onnx", "onnxruntime", "onnxscript")


def _require_sentence_transformers(towers: Towers, k: int) -> None:
    require_extra("sentence-transformers", "sentence_transformers")
    require_transformers_form(towers)


def _write_sentence_transformers(smaller: Smaller, folder: Path) -> None:
    if can_cut(smaller.towers):
        write_sentence_transformers(smaller.cut, folder)
    else:  # a linear map behind the model does what its last weights cannot
        write_sentence_transformers(smaller.towers, folder, rotation=smaller.rotation)


def _write_cut(write: Callable[[Towers, Path], object], smaller: Smaller, folder: Path) -> None:
    write(smaller.cut, folder)


FORMS: Mapping[str, Form] = {
    "open_clip": Form(_require_open_clip, partial(_write_cut, write_open_clip), loads=True),
    "transformers": Form(
        _require_transformers, partial(_write_cut, write_transformers), loads=True
    ),
    "sentence-transformers": Form(_require_sentence_transformers, _write_sentence_transformers),
    "onnx": Form(_require_onnx, partial(_write_cut, write_onnx)),
    "purescope": Form(_require_purescope, partial(_write_cut, write_towers), loads=True),
    "rotation": Form(
        _require_nothing,
        lambda smaller, folder: write_rotation(smaller.rotation, folder / FILE),
    ),
}
"""What ``--to`` takes."""
