"""Every single change that can be made to a source file: what a slip of the hand would make of it.

A change replaces the text of one node of the syntax tree by its place and leaves all else as it is written, so it can
be read as one line: before -> after. Nothing is changed where it cannot matter to a result: annotations, docstrings,
messages, decorators, and sizes written as powers, which say how much is worked on at a time.
"""

import ast
import bisect
import io
import itertools
import re
import tokenize
from collections.abc import Callable, Iterator
from dataclasses import dataclass

# Arguments and functions that make a text for readers, or say how it is done and not what.
_TEXTS = frozenset({"expected", "fix", "stacklevel", "what", "about", "says", "indent", "maxsize", "help"})
_MESSAGES = _TEXTS | {"reason", "one_line", "__str__", "__repr__", "_repr_html_"}
_MANY = 100  # a limit or an estimate of this size or above is as good with one more
# Flags that do not change what comes out, or only where a rule is broken elsewhere.
_IDLE = frozenset(
    {"strict", "stable", "exist_ok", "missing_ok", "parents", "copy", "full_matrices", "frozen", "eq", "ensure_ascii"}
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
_AXES = frozenset({"dim", "axis"})
# Methods whose one positional number is an axis.
_BY_AXIS = frozenset(
    {"sum", "mean", "amax", "amin", "any", "all", "std", "diff", "flip", "cummax", "cummin", "size", "unsqueeze"}
)
# Functions that only bring their argument into another form, and methods likewise.
_FORMS = frozenset({"unit_rows", "normalize", "centre", "relative", "sorted", "_z", "_rank", "_live", "clean_name"})
_STEPS = frozenset(
    {"abs", "sqrt", "square", "masked_fill", "nan_to_num", "flip", "round", "strip", "lower", "casefold", "sign"}
    | {"cummax", "cummin", "removesuffix", "removeprefix", "fill_diagonal_", "resolve", "log", "exp", "T", "mT"}
)
_LENGTH = re.compile(r"norm|scale|length|largest|size|spread|sum|total|std|len\(|deviation")

Edit = tuple[int, int, str]


@dataclass(frozen=True)
class Change:
    """One change of one file.

    Args:
        file: the path below the package, with slashes.
        function: where in it, as ``Class.method``; empty outside of functions.
        kind: a name in `KINDS`.
        line, column: where it begins, from 1 and from 0.
        start, end: the part of the text that is replaced.
        new: by what.
        before, after: the lines that it touches, as one line.
    """

    file: str
    function: str
    kind: str
    line: int
    column: int
    start: int
    end: int
    new: str
    before: str
    after: str

    @property
    def name(self) -> str:
        """The name to ask for it by, until the file changes: ``purity.py:81:24:axis``."""
        return f"{self.file}:{self.line}:{self.column}:{self.kind}"

    def of(self, text: str) -> str:
        """Return the text of the file with this change."""
        return text[: self.start] + self.new + text[self.end :]


class Source:
    """The text of a file, its syntax tree, and where in the text a node of the tree stands."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tree = ast.parse(text)
        self.lines = text.splitlines(keepends=True)
        self.starts = [0]
        for line in self.lines:
            self.starts.append(self.starts[-1] + len(line))
        self._tokens = [
            (self.starts[token.start[0] - 1] + token.start[1], token.string)
            for token in tokenize.generate_tokens(io.StringIO(text).readline)
            if token.type in (tokenize.OP, tokenize.NAME)
        ]

    def start(self, node: ast.AST) -> int:
        """Return where the text of a node begins."""
        return self._place(node.lineno, node.col_offset)  # type: ignore[attr-defined]

    def end(self, node: ast.AST) -> int:
        """Return where the text of a node ends."""
        return self._place(node.end_lineno, node.end_col_offset)  # type: ignore[attr-defined]

    def of(self, node: ast.AST) -> str:
        """Return the text of a node, without parentheses around it."""
        return self.text[self.start(node) : self.end(node)]

    def operator(self, symbol: str, low: int, high: int) -> int:
        """Return where an operator stands between two places; parentheses and comments are passed over."""
        first = bisect.bisect_left(self._tokens, (low, ""))
        return next(place for place, string in self._tokens[first:] if string == symbol and place < high)

    def _place(self, line: int, column: int) -> int:
        # The tree counts bytes, the text letters.
        return self.starts[line - 1] + len(self.lines[line - 1].encode()[:column].decode())


def changes_of(text: str, file: str) -> list[Change]:
    """Return every change of a source file, in the order of its lines."""
    source = Source(text)
    found: dict[tuple[Edit, str], Change] = {}
    for node, function in _nodes(source.tree, ""):
        for kind, edits in KINDS.items():
            for start, end, new in edits(source, node):
                line = bisect.bisect_right(source.starts, start)
                last = bisect.bisect_right(source.starts, max(start, end - 1))
                first, stop = source.starts[line - 1], source.starts[last]
                after = text[first:start] + new + text[end:stop]
                found[(start, end, new), kind] = Change(
                    file=file,
                    function=function,
                    kind=kind,
                    line=line,
                    column=start - source.starts[line - 1],
                    start=start,
                    end=end,
                    new=new,
                    before=" ".join(text[first:stop].split()),
                    after=" ".join(after.split()),
                )
    return sorted(found.values(), key=lambda change: (change.start, change.kind, change.new))


def _nodes(node: ast.AST, function: str) -> Iterator[tuple[ast.AST, str]]:
    """Turn over all nodes that may be changed, each with the function that it stands in."""
    if _is_text(node) or (not function and _is_many(node)):
        return
    if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
        function = f"{function}.{node.name}".removeprefix(".")
        parts: list[ast.AST] = [*node.body]
        if not isinstance(node, ast.ClassDef):
            parts.append(node.args)
    elif isinstance(node, ast.AnnAssign):
        is_alias = isinstance(node.annotation, ast.Name) and node.annotation.id == "TypeAlias"
        parts = [node.value] if node.value and not is_alias else []
    elif isinstance(node, ast.arg) or (isinstance(node, ast.keyword) and node.arg in _AXES):
        parts = []
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.LShift | ast.Pow) and _are_numbers(node):
        parts = []  # a size
    else:
        parts = [*ast.iter_child_nodes(node)]
    yield node, function
    for part in parts:
        yield from _nodes(part, function)


def _is_text(node: ast.AST) -> bool:
    """Tell whether all that stands in a node is for readers or for the type checker."""
    match node:
        case ast.Raise() | ast.JoinedStr() | ast.Import() | ast.ImportFrom() | ast.Assert():
            return True
        case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name)):
            return name.endswith(("Error", "Warning")) or name in {"warn", "near_miss", "listed"}
        case ast.keyword(arg=str(name)):
            return name in _TEXTS
        case ast.Assign(targets=[ast.Name(id="__all__")]):
            return True
        case ast.Subscript(value=ast.Name(id="Literal" | "Callable" | "tuple" | "list" | "dict")):
            return True
        case ast.FunctionDef(name=name, returns=returns):
            return name in _MESSAGES or (isinstance(returns, ast.Name) and returns.id.endswith("Error"))
        case ast.Slice(lower=None, upper=ast.Constant(value=int(letters))):
            return letters >= _MANY  # a long text is cut
    return False


def _is_many(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, int) and node.value >= _MANY


def _are_numbers(node: ast.BinOp) -> bool:
    return isinstance(node.left, ast.Constant) and isinstance(node.right, ast.Constant)


def _replaced(source: Source, symbol: str, new: str, left: ast.AST, right: ast.AST) -> Iterator[Edit]:
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
    if isinstance(node, ast.BinOp) and type(node.op) in _COMPUTED and not (_is_joined(node.left, node.right)):
        yield from _replaced(source, *_COMPUTED[type(node.op)], node.left, node.right)


def _is_joined(*operands: ast.AST) -> bool:
    """Tell whether texts or lists are joined, or paths: no number comes out, and any change of it is an error."""
    return any(
        isinstance(operand, ast.JoinedStr | ast.List | ast.Tuple | ast.ListComp)
        or (isinstance(operand, ast.Constant) and isinstance(operand.value, str | bytes))
        or (isinstance(operand, ast.BinOp) and _is_joined(operand.left, operand.right))
        or (isinstance(operand, ast.Name | ast.Attribute) and re.search(r"folder|path|root|out$", ast.unparse(operand)))
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
        case ast.keyword(arg=name, value=value) if name in _AXES:
            places = [value]
        case ast.Call(func=ast.Attribute(attr=name), args=[ast.Constant() | ast.UnaryOp() as value]) if (
            name in _BY_AXIS
        ):
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
        case ast.Call(func=ast.Attribute(attr=name, value=value)) if name in _STEPS and not _is_module(value):
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
        case ast.BinOp(op=ast.BitOr()) if not isinstance(node.right, ast.Dict | ast.DictComp | ast.Set):
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
        case ast.Call(func=ast.Attribute(attr="clamp" | "clamp_", value=value), args=[], keywords=[_]):
            yield source.operator(".", source.end(value), source.end(node)), source.end(node), ""
        case ast.Call(func=ast.Name(id="min" | "max"), args=[first, second], keywords=[]):
            yield source.start(node), source.end(node), _enclosed(source, first)
            yield source.start(node), source.end(node), _enclosed(source, second)


def _guard(source: Source, node: ast.AST) -> Iterator[Edit]:
    """A case that is no longer seen to: refused, skipped, or answered at once."""
    if isinstance(node, ast.If) and not node.orelse and not any(isinstance(n, ast.NamedExpr) for n in ast.walk(node)):
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
