"""Write the page of a folder of results.

Another process, which runs this file as a script, draws the still pictures: V8 ends its process
without an exception when memory or threads run out. Imports that take long happen inside functions,
so that both processes start at once.
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

from purescope import errors
from purescope.errors import OutputError, PurescopeError
from purescope.specs import to_path

_SCRIPT = Path(__file__)
_VEGA = "window.vegaEmbed = vegaEmbed;"
_CHILD = "import sys; from purescope.report.writing import answer; print(answer(sys.argv[1]))"
_library: list[str] = []  # Vega's script, once it is bundled; all pages share it


def write_report(out: Path) -> Path:
    """Write ``report.html`` into a folder, from the results in that folder.

    The page is one file and needs no network. It stays below 8 MB: with too many thumbnails, some
    are left out.

    Args:
        out: the folder of a sweep, evidence or comparison, or a folder with tables of purity,
            layers or a training.

    Returns:
        The path of the page.

    Raises:
        InputError: the folder holds nothing to show, or a file in it cannot be read.
        OutputError: the page cannot be drawn, or cannot be written into the folder.

    Examples:
        >>> import tempfile, purescope as ps
        >>> from purescope.studies.synthetic import plant
        >>> from purescope.tables.results import write_results
        >>> made = plant(effect=1.0, neurons=16, images=60, classes=3)
        >>> table = ps.sweep(made.features, made.projections, keep=[4, 8], draws=2, resamples=100)
        >>> with tempfile.TemporaryDirectory() as out:
        ...     write_results(table, Path(out))
        ...     page = write_report(Path(out))
        ...     page.name, page.stat().st_size > 100_000
        ('report.html', True)
    """
    out = to_path(out)
    if sys.flags.optimize > 1:  # Python dropped the docstrings, which altair needs
        _with_docstrings(out)
        return out / "report.html"
    with drawing() as pictures:
        with _any_home():
            from purescope.report.charts import VEGA_LITE
            from purescope.report.content import gather
            from purescope.report.document import page
        from purescope.files.writing import atomic_path
        from purescope.tables.results import open_results
        from purescope.tables.schema import plain_texts

        results = open_results(out)
        with plain_texts():
            content = gather(results)
        pictures.order({figure.name: figure.spec for figure in content.figures}, VEGA_LITE)
        text = page(results, content, pictures.wait)
    with atomic_path(out / "report.html") as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
    return out / "report.html"


def try_report(folder: Path, *, later: Path | None = None) -> None:
    """Write the report of a folder; an error becomes a warning, because the run is complete.

    Args:
        folder: the results.
        later: where the folder is going to be.
    """
    try:
        write_report(folder)
    except Exception as error:
        place = later or folder
        warnings.warn(f"no report: {error}; `purescope report {place}` draws it", stacklevel=2)


@contextmanager
def _any_home() -> Iterator[None]:
    """Set a home directory for a user without one, as in containers: altair asks for it."""
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = tempfile.gettempdir()
        try:
            yield
        finally:
            del os.environ["HOME"]
    else:
        yield


def _with_docstrings(out: Path) -> None:
    """Write the page in a process without ``PYTHONOPTIMIZE=2``; pass its warnings and errors on."""
    command = [sys.executable, "-P", "-c", _CHILD, str(out)]
    done = subprocess.run(command, capture_output=True, env=_plain_environment(), check=False)
    try:
        outcome = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError) as error:
        last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise OutputError(
            f"no report: {last}", fix="run without PYTHONOPTIMIZE=2, with which altair fails"
        ) from error
    for message in outcome["warnings"]:
        warnings.warn(message, stacklevel=3)
    if "error" in outcome:
        raise getattr(errors, outcome["kind"])(
            outcome["error"], expected=outcome["expected"], fix=outcome["fix"]
        )


def answer(out: str) -> str:
    """Write the page for another process; return its warnings and its error as JSON."""
    outcome: dict[str, object] = {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default", UserWarning)
        try:
            write_report(Path(out))
        except PurescopeError as error:
            outcome = {
                "kind": type(error).__name__,
                "error": error.came,
                "expected": error.expected,
                "fix": error.fix,
            }
    return json.dumps(outcome | {"warnings": [str(warning.message) for warning in caught]})


class Pictures:
    """The still pictures of a page, drawn by another process.

    Args:
        process: the process, which runs this file.
    """

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process
        self._output, self._complaint = b"", b""
        self._exchange = Thread(target=self._communicate, args=(b"",))

    def order(self, specs: Mapping[str, object], version: str) -> None:
        """Start to draw.

        Args:
            specs: specifications of Vega-Lite, by name of figure.
            version: version of Vega-Lite.
        """
        order = json.dumps({"version": version, "specs": specs}).encode()
        self._exchange = Thread(target=self._communicate, args=(order,))
        self._exchange.start()

    def wait(self) -> tuple[dict[str, str], str]:
        """Wait for the pictures.

        Returns:
            SVG by name of figure, and Vega's script.

        Raises:
            OutputError: the process failed.
        """
        self._exchange.join()
        if self._process.returncode:
            raise _failure(self._process.returncode, self._complaint.decode(errors="replace"))
        try:
            output = json.loads(self._output)
        except ValueError as error:
            raise _failure(0, "its answer is not whole") from error
        if not _library:
            _library.append(output["library"])
        return output["pictures"], _library[0]

    def end(self) -> None:
        """End the process, whatever it is doing."""
        self._process.kill()
        if self._exchange.ident is not None:
            self._exchange.join()

    def _communicate(self, order: bytes) -> None:
        self._output, self._complaint = self._process.communicate(order)


@contextmanager
def drawing() -> Iterator[Pictures]:
    """Start the process that draws; it prepares meanwhile, and ends with the block.

    Raises:
        OutputError: it cannot be started.
    """
    command = [sys.executable, "-P", str(_SCRIPT), *([] if _library else ["library"])]
    try:
        process = subprocess.Popen(
            command, stdin=-1, stdout=-1, stderr=-1, env=_plain_environment()
        )
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


def _plain_environment() -> dict[str, str]:
    """Return an environment for Python that keeps docstrings, with the same search path."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONOPTIMIZE"}
    return kept | {
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "PYTHONIOENCODING": "utf-8",
    }


def _failure(code: int, complaint: str) -> OutputError:
    """Return the error for a process that ended with this code and complaint."""
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
    lines = [text for line in complaint.splitlines() if (text := line.strip(" #"))]
    # V8 gives the reason in its first line, Python in its last one.
    reason = lines[-1 if "Traceback" in complaint else 0] if lines else "it gave no reason"
    return OutputError(
        f"the process that draws the report's figures {how}: {reason}",
        expected="memory and threads for V8, which reserves much address space",
        fix="run `purescope report` without limits on either (ulimit -v, ulimit -u); it draws the "
        "page from the results in the folder",
    )


def draw(order: dict[str, Any]) -> dict[str, str]:
    """Draw each figure as SVG, with ids that no other picture has.

    Figures that differ only in their rows are compiled from Vega-Lite to Vega once.

    Args:
        order: the version of Vega-Lite, and the specifications by name of figure.

    Returns:
        SVG by name of figure.
    """
    import vl_convert

    compiled: dict[str, Any] = {}
    drawn = {}
    for name, spec in order["specs"].items():
        rows = spec["datasets"]
        same = json.dumps({**spec, "datasets": list(rows)})
        if same not in compiled:
            compiled[same] = vl_convert.vegalite_to_vega(spec, vl_version=order["version"])
        vega = compiled[same]
        data = [
            {**source, "values": rows[source["name"]]} if source["name"] in rows else source
            for source in vega["data"]
        ]
        svg = vl_convert.vega_to_svg({**vega, "data": data})
        svg = re.sub(r'id="([^"]+)"', rf'id="{name}-\1"', svg)
        drawn[name] = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", svg)
    return drawn


def main() -> None:
    """Draw as a process of its own: bundle Vega's script if asked to, then draw the figures.

    The script is bundled while the other process still prepares the figures.
    """
    import vl_convert

    library = vl_convert.javascript_bundle(_VEGA) if "library" in sys.argv[1:] else ""
    order = json.load(sys.stdin.buffer)
    sys.stdout.write(json.dumps({"pictures": draw(order), "library": library}))
    sys.stdout.flush()  # and not when Python ends: V8's threads may end the process before


if __name__ == "__main__":
    main()
