"""What a slip of the hand can do to a node of the syntax tree: each kind of change, as replacements
of text.
"""

import ast
import itertools
import re
from collections.abc import Callable, Iterator

from mutants.source import Source

Edit = tuple[int, int, str]  # from a place up to another, and what stands there then

# Flags that do not change what comes out, or only where a rule is broken elsewhere.
_IDLE = frozenset(
    {
        "strict",
        "stable",
        "exist_ok",
        "missing_ok",
        "parents",
        "copy",
        "full_matrices",
        "frozen",
        "eq",
        "ensure_ascii",
        "flush",
        "ignore_errors",
        "repr",
    }
)
_COMPARED: dict[type[ast.cmpop], tuple[str, str]] = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Is: ("is", "is not"),
    ast.In: ("in", "not in"),
}
_COMPUTED: dict[type[ast.operator], tuple[str, str]] = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "*"),
    ast.Mod: ("%", "//"),
}
_ENDS = {"min": "max", "minimum": "maximum", "amin": "amax", "argmin": "argmax", "cummin": "cummax"}
_OPPOSITE = _ENDS | {other: one for one, other in _ENDS.items()}
AXES = frozenset({"dim", "axis"})
# Methods whose one positional number is an axis.
_BY_AXIS = frozenset(
    {
        "sum",
        "mean",
        "amax",
        "amin",
        "any",
        "all",
        "std",
        "diff",
        "flip",
        "cummax",
        "cummin",
        "size",
        "unsqueeze",
    }
)
# Functions that only bring their argument into another form, and methods likewise.
_FORMS = frozenset(
    {"unit_rows", "normalize", "centre", "relative", "sorted", "_z", "_rank", "_live", "clean_name"}
)
_STEPS = frozenset(
    {
        "abs",
        "sqrt",
        "square",
        "masked_fill",
        "nan_to_num",
        "flip",
        "round",
        "strip",
        "lower",
        "casefold",
        "sign",
    }
    | {
        "cummax",
        "cummin",
        "removesuffix",
        "removeprefix",
        "fill_diagonal_",
        "resolve",
        "log",
        "exp",
        "T",
        "mT",
    }
)
_LENGTH = re.compile(r"norm|scale|length|largest|size|spread|sum|total|std|len\(|deviation")


def _replaced(
    source: Source, symbol: str, new: str, left: ast.AST, right: ast.AST
) -> Iterator[Edit]:
    """Another operator between two operands."""
    place = source.operator(symbol, source.end(left), source.start(right))
    yield place, place + len(symbol), new


def _comparison(source: Source, node: ast.AST) -> Iterator[Edit]:
    if isinstance(node, ast.Compare):
        operands = [node.left, *node.comparators]
        for left, operator, right in zip(operands, node.ops, operands[1:], strict=False):
            if type(operator) in _COMPARED:
                yield from _replaced(source, *_COMPARED[type(operator)], left, right)
            elif isinstance(operator, ast.NotIn | ast.IsNot):
                place = source.operator("not", source.end(left), source.start(right))
                yield place, place + len("not "), ""


def _arithmetic(source: Source, node: ast.AST) -> Iterator[Edit]:
    if (
        isinstance(node, ast.BinOp)
        and type(node.op) in _COMPUTED
        and not (_is_joined(node.left, node.right))
    ):
        yield from _replaced(source, *_COMPUTED[type(node.op)], node.left, node.right)


def _is_joined(*operands: ast.AST) -> bool:
    """Tell whether texts or lists are joined, or paths: no number comes out, and any change of it
    is an error.
    """
    return any(
        isinstance(operand, ast.JoinedStr | ast.List | ast.Tuple | ast.ListComp)
        or (isinstance(operand, ast.Constant) and isinstance(operand.value, str | bytes))
        or (isinstance(operand, ast.BinOp) and _is_joined(operand.left, operand.right))
        or (
            isinstance(operand, ast.Name | ast.Attribute)
            and re.search(r"folder|path|root|out$", ast.unparse(operand))
        )
        for operand in operands
    )


def _sign(source: Source, node: ast.AST) -> Iterator[Edit]:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield source.start(node), source.start(node) + 1, ""


def _constant(source: Source, node: ast.AST) -> Iterator[Edit]:
    """One more of a whole number; twice a share. Tolerances, which are tiny, stay."""
    match node:
        case ast.Constant(value=bool()):
            return
        case ast.Constant(value=int(value)):
            yield source.start(node), source.end(node), str(value + 1)
        case ast.Constant(value=float(value)) if value == 0 or value > 1e-3:
            yield source.start(node), source.end(node), str(2 * value or 1.0)


def _axis(source: Source, node: ast.AST) -> Iterator[Edit]:
    places: list[ast.expr] = []
    match node:
        case ast.keyword(arg=name, value=value) if name in AXES:
            places = [value]
        case ast.Call(
            func=ast.Attribute(attr=name), args=[ast.Constant() | ast.UnaryOp() as value]
        ) if name in _BY_AXIS:
            places = [value]
    other = {"0": "1", "1": "0", "2": "1", "-1": "0", "-2": "-1"}
    for place in places:
        if source.of(place) in other:
            yield source.start(place), source.end(place), other[source.of(place)]


def _dtype(source: Source, node: ast.AST) -> Iterator[Edit]:
    """Half the digits."""
    if isinstance(node, ast.Attribute) and node.attr in ("double", "float64"):
        end = source.end(node)
        yield end - len(node.attr), end, {"double": "float", "float64": "float32"}[node.attr]


def _dropped(source: Source, node: ast.AST) -> Iterator[Edit]:
    """A step left out: a normalisation, an absolute value, a filled gap."""
    match node:
        case ast.BinOp(op=ast.Div()) if _LENGTH.search(source.of(node.right)):
            slash = source.operator("/", source.end(node.left), source.start(node.right))
            yield len(source.text[:slash].rstrip()), source.end(node), ""
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=[first, *_]) if (
            name in _FORMS and not isinstance(first, ast.Constant)
        ):
            yield source.start(node), source.end(node), _enclosed(source, first)
        case ast.Call(func=ast.Attribute(attr=name, value=value)) if (
            name in _STEPS and not _is_module(value)
        ):
            yield source.operator(".", source.end(value), source.end(node)), source.end(node), ""
        case ast.Attribute(attr="T" | "mT", value=value):
            yield source.operator(".", source.end(value), source.end(node)), source.end(node), ""


def _is_module(value: ast.AST) -> bool:
    return isinstance(value, ast.Name) and value.id in ("torch", "np", "math", "re", "os")


def _enclosed(source: Source, node: ast.AST) -> str:
    plain = isinstance(node, ast.Name | ast.Attribute | ast.Call | ast.Subscript)
    return source.of(node) if plain else f"({source.of(node)})"


def _extreme(source: Source, node: ast.AST) -> Iterator[Edit]:
    """The smallest for the largest."""
    if isinstance(node, ast.Call):
        match node.func:
            case ast.Name(id=name) | ast.Attribute(attr=name) if name in _OPPOSITE:
                yield source.end(node.func) - len(name), source.end(node.func), _OPPOSITE[name]


def _flag(source: Source, node: ast.AST) -> Iterator[Edit]:
    """Yes for no: in an argument, a default, or what is returned."""
    values: list[ast.expr | None] = []
    match node:
        case ast.keyword(arg=name, value=value) if name not in _IDLE:
            values = [value]
        case ast.arguments():
            values = [*node.defaults, *node.kw_defaults]
        case ast.Return(value=value):
            values = [value]
    for value in values:
        if isinstance(value, ast.Constant) and isinstance(value.value, bool):
            yield source.start(value), source.end(value), str(not value.value)


def _logic(source: Source, node: ast.AST) -> Iterator[Edit]:
    match node:
        case ast.BoolOp(op=ast.And() | ast.Or() as operator, values=values):
            one, other = ("and", "or") if isinstance(operator, ast.And) else ("or", "and")
            for left, right in itertools.pairwise(values):
                yield from _replaced(source, one, other, left, right)
        case ast.BinOp(op=ast.BitAnd()):
            yield from _replaced(source, "&", "|", node.left, node.right)
        case ast.BinOp(op=ast.BitOr()) if not isinstance(
            node.right, ast.Dict | ast.DictComp | ast.Set
        ):
            yield from _replaced(source, "|", "&", node.left, node.right)


def _not(source: Source, node: ast.AST) -> Iterator[Edit]:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.Invert):
        start = source.start(node)
        yield start, start + (4 if isinstance(node.op, ast.Not) else 1), ""


def _clamp(source: Source, node: ast.AST) -> Iterator[Edit]:
    """A bound less."""
    match node:
        case ast.Call(func=ast.Attribute(attr="clamp" | "clamp_"), args=[low, high], keywords=[]):
            yield source.start(low), source.end(low), "None"
            yield source.start(high), source.end(high), "None"
        case ast.Call(
            func=ast.Attribute(attr="clamp" | "clamp_", value=value), args=[], keywords=[_]
        ):
            yield source.operator(".", source.end(value), source.end(node)), source.end(node), ""
        case ast.Call(func=ast.Name(id="min" | "max"), args=[first, second], keywords=[]):
            yield source.start(node), source.end(node), _enclosed(source, first)
            yield source.start(node), source.end(node), _enclosed(source, second)


def _guard(source: Source, node: ast.AST) -> Iterator[Edit]:
    """A case that is no longer seen to: refused, skipped, or answered at once."""
    if (
        isinstance(node, ast.If)
        and not node.orelse
        and not any(isinstance(n, ast.NamedExpr) for n in ast.walk(node))
    ):
        last = node.body[-1]
        if isinstance(last, ast.Raise | ast.Return | ast.Continue | ast.Break):
            yield source.start(node.test), source.end(node.test), "False"


KINDS: dict[str, Callable[[Source, ast.AST], Iterator[Edit]]] = {
    "comparison": _comparison,
    "arithmetic": _arithmetic,
    "sign": _sign,
    "constant": _constant,
    "axis": _axis,
    "dtype": _dtype,
    "dropped": _dropped,
    "extreme": _extreme,
    "flag": _flag,
    "logic": _logic,
    "not": _not,
    "clamp": _clamp,
    "guard": _guard,
}
