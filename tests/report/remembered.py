"""Pictures that are drawn once for many pages."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from purescope.report import writing
from purescope.report.writing import Pictures, draw, drawing

draw_anew = drawing  # in a process of its own, as for users, where a test replaces the module's


class Remembered(Pictures):
    """Pictures as `purescope.report.writing.drawing` gives them, each drawn once for all pages.

    Nearly all figures of two folders that differ in one table are the same; the process that draws
    takes half the time. It draws the first page, unless Vega's script was bundled for another one
    before; what later pages have besides is drawn in this process, which starts V8 once.
    """

    def __init__(self) -> None:
        self._drawn: dict[str, str] = {}
        self._specs: Mapping[str, object] = {}
        self._version = ""

    @contextmanager
    def drawing(self) -> Iterator["Remembered"]:
        yield self

    def order(self, specs: Mapping[str, object], version: str) -> None:
        self._specs, self._version = specs, version

    def wait(self) -> tuple[dict[str, str], str]:
        keys = {name: json.dumps([name, spec, self._version]) for name, spec in self._specs.items()}
        new = {name: self._specs[name] for name, key in keys.items() if key not in self._drawn}
        if not writing._library:
            with draw_anew() as pictures:
                pictures.order(new, self._version)
                drawn, _ = pictures.wait()
        else:
            drawn = draw({"version": self._version, "specs": new})
        self._drawn |= {keys[name]: picture for name, picture in drawn.items()}
        return {name: self._drawn[key] for name, key in keys.items()}, writing._library[0]
