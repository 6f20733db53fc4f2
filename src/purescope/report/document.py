"""The page: fill the template with what a folder holds, within the size that a page may have.

JSON stands in script elements of the page. It is escaped, so names stay data whatever they are.
"""

import base64
import gzip
import hashlib
import json
import math
from collections.abc import Callable, Container, Mapping
from functools import cache, partial
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from purescope import __version__, formats
from purescope.report.blocks import Table
from purescope.report.cards import model_cards
from purescope.report.content import STILLS, Content
from purescope.report.pieces import Piece, html, packed
from purescope.tables.results import Results
from purescope.tables.searches import SEARCHES

LIMIT = 8_000_000
"""Size of a page in bytes, at most."""

_MARGIN = 2_000  # bytes for the sentence on thumbnails that are left out
_SEARCHED = ("drop", "low", "high", "words", "names", "orders")
"""What the script needs of the details of the cards: to draw, to search, and to copy orders."""
_ESCAPED = {
    "<": "\\u003c",
    ">": "\\u003e",
    "&": "\\u0026",
    "\u2028": "\\u2028",
    "\u2029": "\\u2029",
}


def script_json(value: Any) -> str:
    r"""Write a value as JSON that cannot end a script element; NaN and infinity become null.

    Examples:
        >>> script_json({"</script>": float("nan")})
        '{"\\u003c/script\\u003e":null}'
    """
    text = _dump(value)
    for character, escaped in _ESCAPED.items():
        text = text.replace(character, escaped)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def packed_json(value: Any) -> str:
    """Write a value as compressed JSON in base64, for large values that only a script reads.

    Examples:
        >>> import base64, gzip
        >>> gzip.decompress(base64.b64decode(packed_json([1.5])))
        b'[1.5]'
    """
    text = _dump(value).encode("utf-8", "surrogatepass")
    return base64.b64encode(gzip.compress(text, compresslevel=9, mtime=0)).decode()


def _dump(value: Any) -> str:
    dump = partial(json.dumps, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    try:
        return dump(value)
    except ValueError:  # NaN and infinity, which JSON does not have
        return dump(_finite(value))


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def page(
    folder: Results,
    content: Content,
    pictures: Callable[[], tuple[Mapping[str, str], str]],
) -> str:
    """Return the page of a folder.

    Args:
        folder: the results, for the thumbnails.
        content: what the page shows of them.
        pictures: waits for the still pictures; returns SVG by name of figure, and Vega's script.

    Raises:
        OutputError: the pictures cannot be drawn.
    """
    data = Markup(script_json(content.data))
    charts = Markup(script_json(content.live))
    svg, library = pictures()
    still = {name: Markup(picture) for name, picture in svg.items()}
    scripts = {"library": library, "page": _asset("report.js"), "early": _asset("early.js")}
    template = _environment().get_template("report.html")
    fill = partial(
        template.render,
        content=content,
        stills=STILLS,
        is_search=set(folder.tables) == {SEARCHES.name},
        version=folder.manifest.get("purescope", __version__),
        still=still,
        data=data,
        charts=charts,
        styles=Markup(_asset("report.css")),
        notice=Markup(_asset("notice.txt")),
        scripts={name: Markup(text) for name, text in scripts.items()},
        hashes=[f"'sha256-{_sha(text)}'" for text in scripts.values()],
    )
    every = {name for name, _, _ in content.thumbnails}
    shown, (cards, details) = every, _cards_and_details(content, every)
    room = LIMIT - _MARGIN - _size(fill(cards=cards, details=details, thumbnails="", left_out=0))
    while True:
        rules = _rules(folder, content, room)
        if rules.keys() != shown:
            shown = {*rules}
            cards, details = _cards_and_details(content, shown)
        text = fill(
            cards=cards,
            details=details,
            thumbnails=Markup("".join(rules.values())),
            left_out=len(every) - len(rules),
        )
        # Cards without some of their thumbnails can take more room than expected.
        excess = _size(text) - LIMIT
        if excess <= 0 or not rules:
            return text
        room -= excess


def _size(text: str) -> int:
    return len(text.encode("utf-8", "backslashreplace"))


def _cards_and_details(
    content: Content, shown: Container[str]
) -> tuple[dict[int, dict[int, Markup]], Markup]:
    """Return the cards that always show, by model and neuron, and all that the script unpacks.

    Args:
        content: what the page shows.
        shown: style rules of the thumbnails that are on the page.
    """
    cards = {
        model.number: model_cards(model, content.datasets, content.details, shown)
        for model in content.neurons
    }
    still = {
        model.number: {
            neuron: Markup(html(cards[model.number][neuron]))
            for neuron in (*model.purest, *model.impurest)
        }
        for model in content.neurons
    }
    return still, Markup(packed_json(_details(content, cards)))


def _details(content: Content, cards: Mapping[int, list[list[Piece]]]) -> dict[str, Any]:
    """Return what the script needs and reads compressed.

    Tables at each k and lists of confusions are HTML of the same template as on the page.
    """
    parts: Any = _environment().get_template("parts.html").module

    def tables_html(tables: Mapping[int, Table]) -> dict[str, Any]:
        headings = [parts.headings(table) for table in tables.values()][:1]
        rows = {str(k): [table.caption, parts.rows(table)] for k, table in tables.items()}
        return {"headings": "".join(headings), **rows}

    looks = {look.name: look for look in content.looks}
    searched = {
        pair: {name: value for name, value in own.items() if name in _SEARCHED}
        for pair, own in content.details.items()
    }
    neurons = {
        model.number: {name: model.data[name] for name in ("rank", "total_overlap")}
        for model in content.neurons
    }
    confusions = {
        pair: {
            choice: parts.changes(looks[choice.rpartition("/")[0]], changes)
            for choice, changes in own.items()
            if choice.rpartition("/")[0] in looks
        }
        for pair, own in content.curves.changes.items()
    }
    return {
        **searched,
        **content.curves.packed,
        "neurons": neurons,
        "cards": {number: packed(own) for number, own in cards.items()},
        "tables": {pair: tables_html(own) for pair, own in content.curves.swaps.items()},
        "confusions": confusions,
    }


def _rules(folder: Results, content: Content, room: int) -> dict[str, str]:
    """Return one style rule for each thumbnail, as many as fit into the room in bytes.

    Each thumbnail is an element's background, so it stands on the page once.
    """
    rules = {}
    for name, dataset, image in content.thumbnails:
        picture = base64.b64encode(folder.thumbnails[dataset, image]).decode()
        rule = f".{name}{{background-image:url(data:image/webp;base64,{picture})}}\n"
        room -= len(rule)
        if room < 0:
            break
        rules[name] = rule
    return rules


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("purescope.report", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": formats.percent, "plain": formats.plain}
    return environment


def _asset(name: str) -> str:
    return resources.files("purescope.report").joinpath("page", name).read_text(encoding="utf-8")


def _sha(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
