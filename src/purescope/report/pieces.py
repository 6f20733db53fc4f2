"""Write many alike stretches of HTML from pieces, and pack them for the page's script.

A thousand cards are ten megabytes of HTML, of which most is the same in every card. A piece is a
form, which is HTML with numbered slots, and the values for its slots. Packed, each form stands
once, and the values of each slot stand together. The script puts the same values into the same
slots, and so has the same HTML, letter for letter.
"""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any, TypeAlias

Piece: TypeAlias = tuple[str, tuple[object, ...]]
"""A form and its values; values are escaped text or numbers."""


def text(name: object) -> str:
    """Escape a name that comes from outside, as a value of a slot.

    Examples:
        >>> text('<b class="x">')
        '&lt;b class=&quot;x&quot;&gt;'
    """
    return escape(str(name))


def html(pieces: Iterable[Piece]) -> str:
    """Write pieces as HTML.

    Examples:
        >>> html([("<b>{0}</b>", ("{1}",)), (", {0} and {0}", (2,))])
        '<b>{1}</b>, 2 and 2'
    """
    return "".join(form.format(*values) for form, values in pieces)


def packed(stretches: Sequence[Sequence[Piece]]) -> dict[str, Any]:
    """Pack stretches, each a sequence of pieces.

    Returns:
        ``forms``: each form once; ``values``: for each form a list for each of its slots, in the
        order of the stretches; ``orders``: each sequence of forms once; ``stretches``: the number
        of the sequence of each stretch.

    Examples:
        >>> packed([[("<b>{0}</b>", ("x",))], [("<b>{0}</b>", ("y",)), ("<br>", ())]])
        {'forms': ['<b>{0}</b>', '<br>'], 'values': [[['x', 'y']], []], 'orders': [[0], [0, 1]],
        'stretches': [0, 1]}
    """
    forms: dict[str, int] = {}
    rows: list[list[tuple[object, ...]]] = []
    orders: dict[tuple[int, ...], int] = {}
    places = []
    for stretch in stretches:
        order = []
        for form, values in stretch:
            number = forms.setdefault(form, len(forms))
            if number == len(rows):
                rows.append([])
            rows[number].append(values)
            order.append(number)
        places.append(orders.setdefault(tuple(order), len(orders)))
    return {
        "forms": [*forms],
        "values": [[[*column] for column in zip(*values, strict=True)] for values in rows],
        "orders": [[*order] for order in orders],
        "stretches": places,
    }
