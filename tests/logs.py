"""What is logged, without pytest's plugin for it, which looks at a thousand loggers three times a
test.
"""

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def logged() -> Iterator[io.StringIO]:
    """All warnings that are logged within the block, one a line."""
    told = io.StringIO()
    handler, root = logging.StreamHandler(told), logging.getLogger()
    root.addHandler(handler)
    try:
        yield told
    finally:
        root.removeHandler(handler)
