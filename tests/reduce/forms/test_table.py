"""Every form is written and compared, or refused before anything is written."""

from pathlib import Path

import pytest
import torch

from purescope.errors import InputError, ModelError
from purescope.models import find_towers
from purescope.reduce.forms.table import (
    FORMS,
    Smaller,
    compare_copy,
    default_forms,
    parse_forms,
    write_form,
)
from purescope.reduce.rotation import read_rotation
from tests.reduce.test_cutting import draw_rotation, load


def test_names_of_forms() -> None:
    assert parse_forms([" onnx", "rotation", "onnx"]) == ("onnx", "rotation")
    with pytest.raises(InputError, match=r"unknown form 'opnclip'(?s:.*)did you mean 'open_clip'"):
        parse_forms("opnclip")
    with pytest.raises(InputError, match="no form"):
        parse_forms(" ,")


def test_own_forms(tmp_path: Path) -> None:
    for kind, forms in (
        ("laclip", ("purescope", "rotation")),
        ("vit", ("open_clip", "rotation")),
        ("siglip", ("rotation",)),
    ):
        (tmp_path / kind).mkdir()
        assert default_forms(load(tmp_path / kind, kind)) == forms


@pytest.mark.parametrize(("kind", "form"), [("laclip", "purescope"), ("vit", "open_clip")])
def test_a_copy_is_loaded_and_compared(kind: str, form: str, tmp_path: Path) -> None:
    towers = load(tmp_path, kind)
    smaller = Smaller(towers, draw_rotation(24).keep(6))
    FORMS[form].require(towers, 6)
    (tmp_path / "small").mkdir()
    error = write_form(form, smaller, tmp_path / "small")
    assert error is not None and error < 1e-5
    assert find_towers(str(tmp_path / "small"))[0].neurons == 6
    other = Smaller(towers, draw_rotation(24).keep(7).keep(6))
    other.cut.module.get_parameter(towers.last_maps["image"]).data[0] += 1
    with pytest.raises(ModelError, match="its image tower differs from the model"):
        compare_copy(form, other.cut, tmp_path / "small")


def test_a_rotation_is_for_any_model(tmp_path: Path) -> None:
    towers = load(tmp_path, "siglip")
    kept = draw_rotation(towers.neurons).keep(6)
    FORMS["rotation"].require(towers, 6)
    assert write_form("rotation", Smaller(towers, kept), tmp_path) is None
    assert torch.equal(read_rotation(tmp_path).image, kept.image)


def test_forms_that_cannot_hold_a_model(tmp_path: Path) -> None:
    siglip, laclip = load(tmp_path, "siglip"), load(tmp_path, "laclip")
    for form in ("open_clip", "transformers", "onnx"):
        with pytest.raises(ModelError, match="without a linear map"):
            FORMS[form].require(siglip, 6)
    for form in ("open_clip", "transformers", "sentence-transformers"):
        with pytest.raises(ModelError, match="LaCLIP"):
            FORMS[form].require(laclip, 6)
    with pytest.raises(ModelError, match=r"purescope's own form(?s:.*)--to open_clip"):
        FORMS["purescope"].require(siglip, 6)


@pytest.mark.parametrize(
    ("form", "package", "extra"),
    [
        ("onnx", "onnxruntime", "onnx"),
        ("sentence-transformers", "sentence_transformers", "sentence-transformers"),
    ],
)
def test_a_missing_library_is_named_first(
    form: str, package: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == package else find(name)
    )
    with pytest.raises(ImportError, match=rf"pip install 'purescope\[{extra}\]'"):
        FORMS[form].require(load(tmp_path, "vit"), 6)
