"""OpenClipart: public-domain clip art of the Debian package, with title, keywords and description
of its metadata.
"""

import html
import re
from collections.abc import Iterator
from pathlib import Path

from bundle.drawing import Drawing

_SKIPPED_FOLDERS = (
    "shapes/stars", "special", "buttons", "computer/buttons", "unsorted", "logos", "signs_and_symbols/led",
)  # fmt: skip
_HEAD_CHARS = 200_000  # the metadata sits at the front; some files carry megabytes of embedded bitmaps behind it


def clipart_drawings(root: Path) -> Iterator[Drawing]:
    """Every clip art below `root` whose folder names a subject."""
    for path in sorted(root.rglob("*.svg")):
        folder = path.parent.relative_to(root).as_posix()
        if not folder.startswith(_SKIPPED_FOLDERS) and not path.is_symlink():
            yield _drawing(path, folder)


def _drawing(path: Path, folder: str) -> Drawing:
    svg = path.read_text(errors="ignore")
    metadata = re.search(r"<metadata.*?</metadata>", svg[:_HEAD_CHARS], re.S)
    text = metadata[0] if metadata else ""
    # Authors and publishers have titles of their own; they must not stand in for the picture's.
    own = re.sub(r"<dc:(publisher|creator|rights|contributor)>.*?</dc:\1>", "", text, flags=re.S)
    title = _field(own, "title")
    if not re.search("[a-zA-Z]{3}", title):
        title = re.sub(r"(_\d+|_architetto.*|_francesco.*)", "", path.stem)
    subject = re.search(r"<dc:subject>(.*?)</dc:subject>", text, re.S)
    keywords = (
        [
            html.unescape(word).strip().lower()
            for word in re.findall(r"<rdf:li>(.*?)</rdf:li>", subject[1])
        ]
        if subject
        else []
    )
    return Drawing(
        svg=svg,
        source="openclipart",
        kind="clipart",
        caption=re.sub(r"[\s_]+", " ", title).strip().lower()[:80],
        keywords=tuple(word for word in keywords if word and len(word) < 30)[:12],
        group=folder,
        description=_field(text, "description")[:200].lower(),
    )


def _field(text: str, name: str) -> str:
    found = re.search(rf"<dc:{name}>(.*?)</dc:{name}>", text, re.S)
    return html.unescape(re.sub("<[^>]+>", "", found[1])).strip() if found else ""
