"""What holds for every test. What needs no code, as warnings being errors, is in pyproject.toml."""

import os
from collections.abc import Iterator

import hypothesis
import jaxtyping
import pytest

# Whatever a test names, nothing is fetched: a missing file is an error, on this machine and on any other.
os.environ["HF_HUB_OFFLINE"] = "1"

# The same examples every time, and no verdict by the clock: a shared machine is slow when it likes.
hypothesis.settings.register_profile("purescope", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("purescope")


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Shapes go unchecked, as for users: to test what the library itself says about a wrong shape."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
