"""Words for emoji: labels, keywords and groups of emojibase, joined with the keywords of CLDR and
emojilib.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_MAX_KEYWORD = 30


@dataclass(frozen=True)
class EmojiWord:
    """What an emoji is called: label, keywords, group, subgroup; all lower case."""

    label: str
    keywords: tuple[str, ...]
    group: str
    subgroup: str


def slug(text: str) -> str:
    """`Flag: France` -> `flag-france`."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower().replace("’", "").replace("'", "")).strip("-")


def _bare(code: str) -> str:
    return code.replace("-FE0F", "")


@dataclass(frozen=True)
class EmojiWords:
    """Look-up of emoji words by code point, by name and, for flags, by country code."""

    _by_code: dict[str, EmojiWord]
    _by_slug: dict[str, EmojiWord]
    _by_country: dict[str, EmojiWord]

    def by_code(self, code: str | None) -> EmojiWord | None:
        return self._by_code.get(_bare(code)) if code else None

    def by_slug(self, name: str) -> EmojiWord | None:
        return self._by_slug.get(name) or self._by_slug.get(name.replace("-", ""))

    def by_country(self, code: str) -> EmojiWord | None:
        return self._by_country.get(code)

    @classmethod
    def read(cls, packages: Path) -> "EmojiWords":
        def load(path: str) -> Any:
            return json.loads((packages / path).read_text())

        messages = load("emojibase-data/en/messages.json")
        groups = {group["order"]: group["key"] for group in messages["groups"]}
        subgroups = {group["order"]: group["key"] for group in messages["subgroups"]}
        cldr = load("cldr-annotations-full/annotations/en/annotations.json")["annotations"][
            "annotations"
        ]
        emojilib = load("emojilib/dist/emoji-en-US.json")

        by_code, by_slug, by_country = {}, {}, {}
        for entry in load("emojibase-data/en/data.json"):
            if "group" not in entry or groups[entry["group"]] == "component":
                continue
            label, emoji = entry["label"].lower(), entry["emoji"]
            plain = emoji.replace("\ufe0f", "")
            extra = [
                cldr.get(emoji, {}).get("default", []),
                emojilib.get(emoji, []),
                cldr.get(plain, {}).get("default", []),
            ]
            tags = [
                word.replace("_", " ").strip().lower()
                for words in (entry.get("tags", []), *extra)
                for word in words
            ]
            keywords = tuple(
                dict.fromkeys(
                    tag for tag in tags if tag and len(tag) < _MAX_KEYWORD and tag != label
                )
            )
            word = EmojiWord(label, keywords, groups[entry["group"]], subgroups[entry["subgroup"]])
            by_code[_bare(entry["hexcode"])] = word
            by_slug[slug(label)] = word
            by_slug.setdefault(slug(label).replace("-", ""), word)
            if word.group == "flags":
                name = slug(label.replace("flag:", ""))
                by_slug[f"flag-{name}"] = by_slug[f"flag-for-{name}"] = word
            if word.subgroup == "country-flag":
                letters = [
                    chr(int(point, 16) - 0x1F1E6 + ord("a"))
                    for point in entry["hexcode"].split("-")
                ]
                by_country["".join(letters)] = word
        return cls(by_code, by_slug, by_country)
