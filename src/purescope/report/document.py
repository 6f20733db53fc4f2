"""The page: what the folder holds, put into the template, within the size that a page may have.

JSON may stand in a script element of a page: whatever the names are, they stay data.
"""

import base64
import gzip
import hashlib
import json
import math
from functools import cache, partial
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from purescope import __version__, formats
from purescope.report.content import Content, gather
from purescope.report.figures import VEGA_LITE
from purescope.report.pictures import Pictures
from purescope.tables.results import Results

_ESCAPED = {
    "<": "\\u003c",
    ">": "\\u003e",
    "&": "\\u0026",
    "\u2028": "\\u2028",
    "\u2029": "\\u2029",
}


def script_json(value: Any) -> str:
    r"""The value as JSON without a character that ends a script; NaN and infinite numbers are null.

    Examples:
        >>> script_json({"</script>": float("nan")})
        '{"\\u003c/script\\u003e":null}'
    """
    text = _dumped(value)
    for character, escaped in _ESCAPED.items():
        text = text.replace(character, escaped)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def packed_json(value: Any) -> str:
    """The value as JSON, compressed and in base64, for what is large and read by a script alone.

    Examples:
        >>> import base64, gzip
        >>> gzip.decompress(base64.b64decode(packed_json([1.5])))
        b'[1.5]'
    """
    text = _dumped(value).encode("utf-8", "surrogatepass")
    return base64.b64encode(gzip.compress(text, compresslevel=6, mtime=0)).decode()


def _dumped(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except ValueError:  # there are some that JSON has no word for
        return json.dumps(
            _finite(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False
        )


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


LIMIT = 8_000_000
"""Bytes of a page, at most."""

_MARGIN = 2_000  # bytes for what is said about pictures that are left out


def page(folder: Results, pictures: Pictures) -> str:
    """Return the page of what a folder holds.

    Args:
        folder: as `open_results` gave it.
        pictures: who draws its figures.

    Raises:
        OutputError: they cannot be drawn.
    """
    content = gather(folder)
    pictures.order({figure.name: figure.spec for figure in content.figures}, VEGA_LITE)
    data = Markup(
        script_json({name: part for name, part in content.data.items() if name != "details"})
    )
    charts = Markup(script_json(content.live))
    details = Markup(packed_json(content.data["details"]))
    svg, library = pictures.wait()
    still = {name: Markup(picture) for name, picture in svg.items()}
    scripts = {"library": library, "page": _asset("report.js"), "early": _asset("early.js")}
    template = _environment().get_template("report.html")
    render = partial(
        template.render,
        content=content,
        folder=folder,
        release=__version__,
        still=still,
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
    rules, shown = _thumbnails(
        folder, content, LIMIT - _MARGIN - len(bare.encode("utf-8", "backslashreplace"))
    )
    return render(
        thumbnails=Markup(rules), shown=shown, left_out=len(content.thumbnails) - len(shown)
    )


def _thumbnails(folder: Results, content: Content, room: int) -> tuple[str, set[str]]:
    """A style rule for each picture, so that each stands on the page once; and the names of those
    that fit.
    """
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


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("purescope.report", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    shown = ("percent", "points", "plain", "short", "measure", "purer")
    environment.filters |= {name: getattr(formats, name) for name in shown}
    return environment


def _asset(name: str) -> str:
    return resources.files("purescope.report").joinpath("page", name).read_text(encoding="utf-8")


def _sha(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
