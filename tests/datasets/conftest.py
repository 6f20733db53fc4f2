"""Provide fixtures for the tests of datasets."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def quiet_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give `datasets` its own cache, hide its progress bars, and fail on any use of a network."""

    hub = pytest.importorskip("datasets")

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("used the network")

    monkeypatch.setattr(hub.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    hub.disable_progress_bars()
    yield
    hub.enable_progress_bars()
