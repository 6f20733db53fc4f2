"""Writing the page of a folder of results; what is heavy is imported while another process prepares
to draw.
"""

import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from purescope import errors
from purescope.errors import OutputError, PurescopeError
from purescope.report.pictures import drawing, plain_environment
from purescope.specs import to_path

_ELSEWHERE = "import sys; from purescope.report.writing import answer; print(answer(sys.argv[1]))"


def write_report(out: Path) -> Path:
    """Write ``report.html`` into a folder, from what that folder holds.

    The page is one file that asks no network for anything; below 8 MB, thumbnails being left out
    where there are too many of them.

    Args:
        out: the folder of a sweep, evidence or comparison, or with tables of purity, layers or a
            training.

    Returns:
        Where it stands.

    Raises:
        InputError: the folder holds nothing to show, or a file in it cannot be read.
        OutputError: the folder does not take it.

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
    if sys.flags.optimize > 1:  # then there are no docstrings, on which altair depends
        _with_docstrings(out)
        return out / "report.html"
    with drawing() as pictures:
        with _some_home():
            from purescope.report.document import page
        from purescope.files.writing import atomic_path
        from purescope.tables.results import open_results

        text = page(open_results(out), pictures)
    with atomic_path(out / "report.html") as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
    return out / "report.html"


@contextmanager
def _some_home() -> Iterator[None]:
    """Import altair, which asks where home is, for a user who has none, as containers have them."""
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
    """Have a process write the page that does not run under ``PYTHONOPTIMIZE=2``, and warn and
    raise as it does.
    """
    command = [sys.executable, "-P", "-c", _ELSEWHERE, str(out)]
    done = subprocess.run(command, capture_output=True, env=plain_environment(), check=False)
    try:
        told = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError) as error:
        last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise OutputError(
            f"no report: {last}", fix="without PYTHONOPTIMIZE=2, on which altair fails"
        ) from error
    for message in told["warnings"]:
        warnings.warn(message, stacklevel=3)
    if "error" in told:
        raise getattr(errors, told["kind"])(
            told["error"], expected=told["expected"], fix=told["fix"]
        )


def answer(out: str) -> str:
    """Write the page for another process, and return as JSON what to tell it."""
    told: dict[str, object] = {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default", UserWarning)
        try:
            write_report(Path(out))
        except PurescopeError as error:
            told = {
                "kind": type(error).__name__,
                "error": error.came,
                "expected": error.expected,
                "fix": error.fix,
            }
    return json.dumps(told | {"warnings": [str(one.message) for one in caught]})
