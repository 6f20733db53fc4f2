"""The still pictures of a page and the script that makes them live, drawn by a process of its
own.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

from purescope.errors import OutputError

_SCRIPT = Path(__file__).with_name("render.py")
_library: list[str] = []  # Vega's, once it is bundled; the same for every page


class Pictures:
    """What the other process draws.

    Args:
        process: that runs ``render.py``.
    """

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process
        self._written, self._complaint = b"", b""
        self._talk = Thread(target=self._answered, args=(b"",))

    def order(self, specs: Mapping[str, object], version: str) -> None:
        """Begin to draw.

        Args:
            specs: of Vega-Lite, by the figures' names.
            version: of Vega-Lite.
        """
        order = json.dumps({"version": version, "specs": specs}).encode()
        self._talk = Thread(target=self._answered, args=(order,))
        self._talk.start()

    def wait(self) -> tuple[dict[str, str], str]:
        """Wait for what was ordered.

        Returns:
            SVG by the figures' names, and Vega's script.

        Raises:
            OutputError: the process did not make them.
        """
        self._talk.join()
        if self._process.returncode:
            raise _failed(self._process.returncode, self._complaint.decode(errors="replace"))
        answer = json.loads(self._written)
        if not _library:
            _library.append(answer["library"])
        return answer["pictures"], _library[0]

    def end(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        if self._talk.ident is not None:
            self._talk.join()

    def _answered(self, order: bytes) -> None:
        self._written, self._complaint = self._process.communicate(order)


@contextmanager
def drawing() -> Iterator[Pictures]:
    """Start the other process, which prepares while this one finds out what to draw; it ends with
    the block.

    Raises:
        OutputError: it cannot be started.
    """
    command = [sys.executable, "-P", str(_SCRIPT), *([] if _library else ["library"])]
    try:
        process = subprocess.Popen(command, stdin=-1, stdout=-1, stderr=-1, env=plain_environment())
    except OSError as error:
        raise OutputError(
            f"the process that draws figures cannot be started: {error.strerror}"
        ) from error
    pictures = Pictures(process)
    with process:
        try:
            yield pictures
        finally:
            pictures.end()


def plain_environment() -> dict[str, str]:
    """The environment for a process of Python that keeps docstrings and assertions, and finds what
    this one finds.
    """
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONOPTIMIZE"}
    return kept | {
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "PYTHONIOENCODING": "utf-8",
    }


def _failed(code: int, complaint: str) -> OutputError:
    """What to say of a process that ended so."""
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
    lines = [text for line in complaint.splitlines() if (text := line.strip(" #"))]
    # V8 says why in its first line, Python in its last one.
    said = lines[-1 if "Traceback" in complaint else 0] if lines else "it did not say why"
    return OutputError(
        f"the process that draws the report's figures {how}: {said}",
        expected="memory and threads for V8, which reserves much address space",
        fix="without limits on either (ulimit -v, ulimit -u), `purescope report` draws it from "
        "what is measured",
    )
