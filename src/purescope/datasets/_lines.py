"""Text files with one entry a line: the class names and templates that lie beside images."""

from pathlib import Path

from purescope.datasets.names import check_class_count
from purescope.errors import DatasetError
from purescope.files.reading import read_text

CLASSNAMES = "classnames.txt"
TEMPLATES = "zeroshot_classification_templates.txt"


def read_lines(file: Path) -> tuple[str, ...]:
    """Its lines without the white space around them; empty ones may stand only at the end.

    Raises:
        DatasetError: it cannot be read, is empty, is no UTF-8, has more lines than there can be classes, or has an
            empty line: which class would that be?
    """
    try:
        # Not splitlines: a name may hold what it takes for the end of a line.
        text = read_text(file, encoding="utf-8-sig").rstrip()
        check_class_count(text.count("\n") + 1, DatasetError, where=f"{file}: ")
        lines = [line.strip() for line in text.split("\n")]
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DatasetError(f"{file} cannot be read: {reason}", expected="text in UTF-8, one entry a line") from error
    if "" in lines:
        number = lines.index("") + 1
        raise DatasetError(f"line {number} of {file} is empty", expected="one entry a line, in the order of labels")
    return tuple(lines)


def templates_in(texts: tuple[str, ...], where: str) -> tuple[str, ...]:
    """Templates in our spelling, with ``{}`` for the class name; the community writes ``{c}``.

    Raises:
        DatasetError: one has no such place, or several.

    Examples:
        >>> templates_in(("a photo of a {c}.", "a {}."), "mine.json")
        ('a photo of a {}.', 'a {}.')
    """
    templates = tuple(text.replace("{c}", "{}") for text in texts)
    for text, template in zip(texts, templates, strict=True):
        if template.count("{}") != 1:
            raise DatasetError(f"the template {text!r} of {where}", expected="one {c} for the class name")
    return templates
