"""Standard output with tables, as rich draws them."""

import shutil
import sys
from typing import Any

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table as RichTable

from purescope.cli.printing import WIDTH, line, plain

_NARROWEST = 40  # columns: in fewer, a table is a letter wide


class Screen(Console):
    """Standard output; as wide as the terminal, or wide enough for every table when it is a
    file.
    """

    def __init__(self) -> None:
        width = (
            max(_NARROWEST, shutil.get_terminal_size().columns) if sys.stdout.isatty() else WIDTH
        )
        # Without emoji: ":cat:" is what somebody calls a class.
        super().__init__(width=width, highlight=False, emoji=False)

    def say(self, text: object) -> None:
        """Print a line from anywhere as it is: no markup, and not wrapped, so that paths and
        commands can be copied.
        """
        self.print(line(text), markup=False, highlight=False, soft_wrap=True)


class Table(RichTable):
    """A table of the plain look that all have: a rule below the head, no boxes.

    Args:
        title: as it is.
        columns: their headings.
        options: of rich's.
    """

    def __init__(self, title: str, *columns: str, **options: Any) -> None:
        style = {
            "title_justify": "left",
            "title_style": "bold",
            "caption_justify": "left",
            "caption_style": "",
            "header_style": "",
            "padding": (0, 1),
        }
        look: dict[str, Any] = (
            style | {"box": box.SIMPLE_HEAD, "show_edge": False, "pad_edge": False} | options
        )
        super().__init__(*columns, title=plain(title), **look)

    def add_row(self, *cells: RenderableType | None, **options: Any) -> None:
        """Add a row; a cell is one line, whatever stands in it."""
        super().add_row(
            *(line(cell) if isinstance(cell, str) else cell for cell in cells), **options
        )
