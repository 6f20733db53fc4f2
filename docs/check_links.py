"""Check the built site: every link and anchor inside it leads somewhere, and nothing is loaded from
elsewhere.

python docs/check_links.py build/docs
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# Where a page names what the browser fetches by itself; an <a> is fetched by nobody until it is
# clicked.
_LOADED = {
    "img": "src",
    "script": "src",
    "link": "href",
    "source": "src",
    "iframe": "src",
    "video": "src",
}
_NOT_LOADED = {"canonical", "next", "prev", "search", "index"}  # kinds of <link>


class Page(HTMLParser):
    """The anchors of a page, what it links to and what it loads."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors, self.links, self.loaded = {""}, set[str](), set[str]()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take in one element."""
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.add(given["href"])
        elif given.get(_LOADED.get(tag, "")) and given.get("rel") not in _NOT_LOADED:
            self.loaded.add(given[_LOADED[tag]])


def faults(site: Path) -> list[str]:
    """What is wrong with the links of a built site, one line each."""
    pages = {path.resolve(): Page(path) for path in sorted(site.rglob("*.html"))}
    found = []
    for path, page in pages.items():
        where = path.relative_to(site.resolve())
        found += [
            f"{where} loads {url} from elsewhere"
            for url in sorted(page.loaded)
            if urlsplit(url).netloc
        ]
        for url in sorted(page.links | page.loaded):
            parts = urlsplit(url)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file():
                found.append(f"{where} links to {url}: no such file")
            elif target in pages and unquote(parts.fragment) not in pages[target].anchors:
                found.append(f"{where} links to {url}: no such anchor")
    for sheet in sorted(site.rglob("*.css")):
        text = sheet.read_text(encoding="utf-8")
        found += [
            f"{sheet.name} loads a font or sheet from elsewhere"
            for mark in ("url(http", "url(//", "@import")
            if mark in text
        ]
    return found if pages else [f"{site} has no page"]


if __name__ == "__main__":
    wrong = faults(Path(sys.argv[1]))
    print(*wrong, sep="\n", end="\n" if wrong else "")
    sys.exit(
        1
        if wrong
        else print(
            f"Every link and anchor in {sys.argv[1]} leads somewhere; nothing is loaded from "
            f"elsewhere."
        )
    )
