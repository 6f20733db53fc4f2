"""The drawings: every icon, emoji, flag and clip art of the source packages, with the words that
come with it.

Each family of packages has one function that yields `Drawing` records; `collect` chains them.
Nothing is rendered here.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bundle.clipart import clipart_drawings
from bundle.drawing import Drawing
from bundle.emoji_words import EmojiWord, EmojiWords

_STYLE_SUFFIX = re.compile(
    r"-(outline|outlined|filled|fill|duotone|bold|thin|light|rounded|sharp|variant|alt|alternate|negative|color|\d+)$"
)
_BRAND = re.compile(
    r"^(brand|microsoft|google|apple-|android|facebook|twitter|github|logo|instagram|amazon|aws)"
)
_BRAND_CATEGORIES = {"Brand", "Brands", "Brand / Logo"}
_EMOJI_SETS = (
    "noto",
    "noto-v1",
    "twemoji",
    "emojione",
    "fxemoji",
    "streamline-emojis",
    "fluent-emoji",
    "openmoji",
)
_FLAG_SETS = ("flag", "flagpack", "circle-flags", "cif")


@dataclass(frozen=True)
class IconSet:
    """Which glyphs of an icon package are kept: those naming one concept in at most `max_words`
    words.
    """

    name: str
    max_words: int
    mono: bool = True
    keep: Callable[[str], bool] = field(default=lambda name: True)


_ICON_SETS = (
    IconSet("icon-park", 1, mono=False),
    IconSet("flat-color-icons", 3, mono=False),
    IconSet("fluent-color", 3, mono=False, keep=lambda name: name.endswith(("-32", "-48", "-28"))),
    IconSet("mdi", 1),
    IconSet("tabler", 1),
    IconSet("lucide", 1),
    IconSet("maki", 2, keep=lambda name: not name.endswith("-11")),
    IconSet("material-symbols", 1, keep=lambda name: name.endswith("rounded")),
    IconSet("ph", 2, keep=lambda name: name.endswith(("-fill", "-duotone", "-bold"))),
    IconSet("fa6-solid", 3),
)


def collect(packages: Path, clipart: Path) -> Iterator[Drawing]:
    """All drawings of the npm `packages` folder and of the OpenClipart folder, in a fixed order."""
    words = EmojiWords.read(packages)
    for name in _EMOJI_SETS:
        yield from _emoji_drawings(packages, name, words)
    for name in _FLAG_SETS:
        yield from _flag_drawings(packages, name, words)
    keywords = _icon_keywords(packages)
    for icon_set in _ICON_SETS:
        yield from _icon_drawings(packages, icon_set, keywords.get(icon_set.name, {}))
    yield from clipart_drawings(clipart)


def _iconify(packages: Path, name: str, part: str = "icons") -> dict[str, Any]:
    path = packages / "@iconify-json" / name / f"{part}.json"
    return dict(json.loads(path.read_text())) if path.exists() else {}


def _svg(icons: dict[str, Any], name: str) -> str:
    icon = icons["icons"].get(name) or icons["icons"][icons["aliases"][name]["parent"]]
    width, height = (icon.get(side, icons.get(side, 16)) for side in ("width", "height"))
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" color="#000" '
        f'viewBox="{icon.get("left", 0)} {icon.get("top", 0)} {width} {height}" width="{width}" height="{height}">'
        f"{icon['body']}</svg>"
    )


def _emoji_drawings(packages: Path, source: str, words: EmojiWords) -> Iterator[Drawing]:
    icons = _iconify(packages, source)
    # The Fluent set ships no code points of its own; its flat twin has the same names.
    chars = _iconify(packages, "fluent-emoji-flat" if source == "fluent-emoji" else source, "chars")
    code_of = {name: code.upper() for code, name in reversed(chars.items())}
    seen = set()
    for name in [*icons["icons"], *icons.get("aliases", {})]:
        word = words.by_code(code_of.get(name)) or words.by_slug(name)
        if word is None and source == "streamline-emojis":
            label = re.sub(
                r"-\d+$", "", name
            )  # numbered variants of one concept are drawings in their own right
            word = words.by_slug(label) or EmojiWord(label.replace("-", " "), (), "", "")
        elif word is None or word.label in seen:
            continue
        seen.add(word.label)
        if "skin tone" not in word.label:
            kind = "flag" if word.subgroup in {"country-flag", "subdivision-flag"} else "emoji"
            yield _of_emoji(_svg(icons, name), source, kind, word)


def _of_emoji(svg: str, source: str, kind: str, word: EmojiWord) -> Drawing:
    caption = word.label.replace("flag:", "flag of")
    return Drawing(svg, source, kind, caption, word.keywords, word.group, word.subgroup)


def _flag_drawings(packages: Path, source: str, words: EmojiWords) -> Iterator[Drawing]:
    icons = _iconify(packages, source)
    for name in icons["icons"]:
        country = name.removesuffix("-4x3") if source == "flag" and name.endswith("-4x3") else name
        word = words.by_country(country)
        if word is not None:
            yield _of_emoji(_svg(icons, name), source, "flag", word)


def _icon_drawings(
    packages: Path, icon_set: IconSet, keywords: dict[str, list[str]]
) -> Iterator[Drawing]:
    icons = _iconify(packages, icon_set.name)
    categories = _iconify(packages, icon_set.name, "metadata").get("categories", {})
    category_of = {
        name: category for category, names in reversed(categories.items()) for name in names
    }
    for name in filter(icon_set.keep, icons["icons"]):
        category = category_of.get(name, "")
        concept = _without_style(name)
        if (
            _BRAND.search(name)
            or category in _BRAND_CATEGORIES
            or len(concept.split("-")) > icon_set.max_words
        ):
            continue
        if not re.search(r"[a-z]{2}|\d", concept):
            continue
        group = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", category).lower()
        tags = tuple(str(tag).lower() for tag in keywords.get(name) or keywords.get(concept) or ())
        yield Drawing(
            _svg(icons, name),
            icon_set.name,
            "icon",
            concept.replace("-", " "),
            tags,
            group,
            "",
            icon_set.mono,
        )


def _without_style(name: str) -> str:
    """`home-outline-24` -> `home`."""
    shorter = _STYLE_SUFFIX.sub("", name)
    return name if shorter == name else _without_style(shorter)


def _icon_keywords(packages: Path) -> dict[str, dict[str, list[str]]]:
    def read(path: str) -> str:
        return (packages / path).read_text()

    phosphor = {
        name: [tag for tag in re.findall(r'"([^"]+)"', tags) if "*" not in tag]
        for name, tags in re.findall(
            r'name: "([^"]+)".*?tags: \[(.*?)\]', read("@phosphor-icons/core/dist/index.mjs"), re.S
        )
    }
    mdi = {
        icon["name"]: [alias.replace("-", " ") for alias in icon.get("aliases", [])]
        + icon.get("tags", [])
        for icon in json.loads(read("@mdi/svg/meta.json"))
    }
    tabler = {
        name: icon.get("tags", [])
        for name, icon in json.loads(read("@tabler/icons/icons.json")).items()
    }
    return {
        "mdi": mdi,
        "tabler": tabler,
        "lucide": json.loads(read("lucide-static/tags.json")),
        "ph": phosphor,
    }
