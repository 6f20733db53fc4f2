"""Block sizes with which accuracy and silhouette must give the same results."""

from typing import Any

import pytest

from purescope.maths import accuracy, cells, silhouette

# Values for the constants: the defaults; blocks of 5, which end within classes, and one order at a
# time; one sample in each block.
LOOPS = {
    "one block": {},
    "blocks of 5, orders in turns": {"samples": 5, "sums": 1, "rows": 1},
    "blocks by bytes, orders in pairs": {
        "samples": 1024,
        "bytes": 1200,
        "sums": 2 * 8 * 7 * 11 * 11,
        "rows": 2 * 7 * 11,
    },
    "one sample a block": {"bytes": 1},
}
CONSTANTS: dict[str, tuple[Any, str]] = {
    "samples": (cells, "BLOCK_SAMPLES"),
    "bytes": (cells, "BLOCK_BYTES"),
    "sums": (silhouette, "_GROUP_BYTES"),
    "rows": (accuracy, "_PRODUCT_ROWS"),
}


@pytest.fixture(params=LOOPS)
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in LOOPS[request.param].items():
        monkeypatch.setattr(*CONSTANTS[name], value)
