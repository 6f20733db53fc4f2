"""The page: what the folder holds, put into the template, within the size that a page may have."""

import base64
import hashlib
import subprocess
import sys
from functools import cache, partial
from importlib import resources
from pathlib import Path

import vl_convert
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from purescope.report import _numbers as numbers
from purescope.report._content import Content, gather
from purescope.report._figures import stills
from purescope.report._folder import Folder, read_folder
from purescope.report._json import packed_json, script_json
from purescope.tables import atomic_path

LIMIT = 8_000_000
"""Bytes of a page, at most."""

_MARGIN = 2_000  # bytes for what is said about pictures that are left out
_VEGA = "window.vegaEmbed = vegaEmbed;"
_BUNDLE = f"import vl_convert; open(1, 'wb').write(vl_convert.javascript_bundle({_VEGA!r}).encode())"


def write_report(out: Path) -> Path:
    """Write ``report.html`` into a folder, from what that folder holds.

    The page is one file that asks no network for anything; below 8 MB, thumbnails being left out where there are too
    many of them.

    Args:
        out: the folder of a sweep, evidence or comparison, or with tables of purity, layers or a training.

    Returns:
        Where it stands.

    Raises:
        InputError: the folder holds nothing to show, or a file in it cannot be read.
        OutputError: the folder does not take it.

    Examples:
        >>> import tempfile, purescope as ps
        >>> from purescope.planted import plant
        >>> from purescope.tables import write_results
        >>> made = plant(effect=1.0, neurons=16, images=60, classes=3)
        >>> table = ps.sweep(made.features, made.projections, keep=[4, 8], draws=2, resamples=100)
        >>> with tempfile.TemporaryDirectory() as out:
        ...     write_results(table, Path(out))
        ...     page = write_report(Path(out))
        ...     page.name, page.stat().st_size > 100_000
        ('report.html', True)
    """
    out = Path(out)
    page = _page(read_folder(out))
    with atomic_path(out / "report.html") as temporary:
        temporary.write_text(page, encoding="utf-8", errors="backslashreplace", newline="\n")
    return out / "report.html"


@cache
def _bundling() -> subprocess.Popen[bytes]:
    """Begin to bundle Vega's script, which takes more than a second, in a process of its own."""
    command = [sys.executable, "-P", "-c", _BUNDLE]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


@cache
def _library() -> str:
    """Vega's script; bundled here where the other process cannot."""
    bundled, _ = _bundling().communicate()
    return bundled.decode() or str(vl_convert.javascript_bundle(_VEGA))


def _page(folder: Folder) -> str:
    _bundling()
    content = gather(folder)
    pictures = {name: Markup(svg) for name, svg in stills(content.figures).items()}
    data = Markup(script_json({name: part for name, part in content.data.items() if name != "details"}))
    charts = Markup(script_json(content.live))
    details = Markup(packed_json(content.data["details"]))
    scripts = {"library": _library(), "page": _asset("report.js"), "early": _asset("early.js")}
    template = _environment().get_template("report.html")
    render = partial(
        template.render,
        content=content,
        folder=folder,
        still=pictures,
        data=data,
        charts=charts,
        details=details,
        styles=Markup(_asset("report.css")),
        notice=Markup(_asset("notice.txt")),
        scripts={name: Markup(text) for name, text in scripts.items()},
        hashes=[f"'sha256-{_sha(text)}'" for text in scripts.values()],
    )
    every = {name for name, _, _ in content.thumbnails}
    bare = render(thumbnails=Markup(""), shown=every, left_out=0)  # what is left out takes less
    rules, shown = _thumbnails(folder, content, LIMIT - _MARGIN - len(bare.encode("utf-8", "backslashreplace")))
    return render(thumbnails=Markup(rules), shown=shown, left_out=len(content.thumbnails) - len(shown))


def _thumbnails(folder: Folder, content: Content, room: int) -> tuple[str, set[str]]:
    """A style rule for each picture, so that each stands on the page once; and the names of those that fit."""
    rules, shown = [], set[str]()
    for name, dataset, image in content.thumbnails:
        picture = base64.b64encode(folder.thumbnails[dataset, image]).decode()
        rule = f".{name}{{background-image:url(data:image/webp;base64,{picture})}}\n"
        room -= len(rule)
        if room < 0:
            break
        rules.append(rule)
        shown.add(name)
    return "".join(rules), shown


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("purescope.report", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    shown = ("percent", "points", "plain", "short", "measure", "purer")
    environment.filters |= {name: getattr(numbers, name) for name in shown}
    return environment


def _asset(name: str) -> str:
    return resources.files("purescope.report").joinpath("page", name).read_text(encoding="utf-8")


def _sha(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
