"""What the tests of datasets share."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def quiet_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep `datasets` to the test: its cache, no progress bars, and whatever it asks of a network
    is a failure.
    """

    hub = pytest.importorskip("datasets")

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("asked the network")

    monkeypatch.setattr(hub.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    hub.disable_progress_bars()
    yield
    hub.enable_progress_bars()
