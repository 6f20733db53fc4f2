"""A precision that is chosen by itself is one that every device has."""

import pytest
import torch

from purescope.models.towers import _choose_precision


@pytest.mark.parametrize(
    ("devices", "is_available", "has_bf16", "expected"),
    [
        (["cpu"], False, False, "fp32"),
        (["cpu"], True, True, "fp32"),
        (["cuda:0"], True, True, "bf16"),
        (["cuda:0", "cuda:1"], True, True, "bf16"),
        (["cuda:0", "cpu"], True, True, "fp32"),
        (["cuda:0"], True, False, "fp32"),
        (["cuda:0"], False, True, "fp32"),
    ],
)
def test_bf16_is_chosen_where_every_device_has_it(
    devices: list[str],
    is_available: bool,
    has_bf16: bool,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: is_available)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: has_bf16)
    assert _choose_precision("auto", [torch.device(name) for name in devices]) == expected
    assert _choose_precision("fp32", [torch.device("cuda:0")]) == "fp32"
