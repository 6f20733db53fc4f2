"""Devices and precision: what is chosen by itself every device has, and each has its own copy."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from purescope.models import load_model
from purescope.models.towers import _choose_precision
from tests.checkpoints import laclip_tensors, write_laclip


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


def test_each_of_several_devices_encodes_by_itself(tmp_path: Path) -> None:
    file = str(write_laclip(tmp_path / "model.pt", laclip_tensors()))
    alone, both = load_model(file, device="cpu"), load_model(file, device="cpu,cpu")
    assert (alone.lanes, both.lanes) == (0, 2)
    size = alone.preprocess.size
    images = torch.randn(6, 3, size, size, generator=torch.Generator().manual_seed(0))
    with ThreadPoolExecutor(2) as threads:
        found = torch.cat(list(threads.map(both.encode_image, images.split(1))))
    torch.testing.assert_close(found, alone.encode_image(images), rtol=0, atol=1e-5)
