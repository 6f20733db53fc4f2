"""Every single change that can be made to a source file: what a slip of the hand would make of it.

A change replaces the text of one node of the syntax tree by its place and leaves all else as it is
written, so it can be read as one line: before -> after. Nothing is changed where it cannot matter
to a result: annotations, docstrings, messages, decorators, and sizes written as powers or counted
by `per_turn`, which say how much is worked on at a time.
"""

import ast
import bisect
from collections.abc import Iterator
from dataclasses import dataclass

from mutants.kinds import AXES, KINDS, Edit
from mutants.source import Source

# Arguments and functions that make a text for readers, or say how it is done and not what.
_TEXTS = frozenset(
    {"expected", "fix", "stacklevel", "what", "about", "says", "indent", "maxsize", "help"}
)
_MESSAGES = _TEXTS | {"reason", "one_line", "__str__", "__repr__", "_repr_html_"}
_OTHERS = {"warn", "near_miss", "listed", "per_turn"}  # functions likewise
_MANY = 100  # a limit or an estimate of this size or above is as good with one more


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
    elif isinstance(node, ast.arg) or (isinstance(node, ast.keyword) and node.arg in AXES):
        parts = []
    elif (
        isinstance(node, ast.BinOp)
        and isinstance(node.op, ast.LShift | ast.Pow)
        and _are_numbers(node)
    ):
        parts = []  # a size
    else:
        parts = [*ast.iter_child_nodes(node)]
    yield node, function
    for part in parts:
        yield from _nodes(part, function)


def _is_text(node: ast.AST) -> bool:
    """Tell whether a node is for readers or for the type checker, or says how much is worked on at
    a time.
    """
    match node:
        case ast.Raise() | ast.JoinedStr() | ast.Import() | ast.ImportFrom() | ast.Assert():
            return True
        case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name)):
            return name.endswith(("Error", "Warning")) or name in {
                "warn",
                "near_miss",
                "listed",
                "per_turn",
            }
        case ast.keyword(arg=str(name)):
            return name in _TEXTS
        case ast.Assign(targets=[ast.Name(id="__all__")]):
            return True
        case ast.Subscript(value=ast.Name(id="Literal" | "Callable" | "tuple" | "list" | "dict")):
            return True
        case ast.FunctionDef(name=name, returns=returns):
            return name in _MESSAGES or (
                isinstance(returns, ast.Name) and returns.id.endswith("Error")
            )
        case ast.Slice(lower=None, upper=ast.Constant(value=int(letters))):
            return letters >= _MANY  # a long text is cut
    return False


def _is_many(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, int) and node.value >= _MANY


def _are_numbers(node: ast.BinOp) -> bool:
    return isinstance(node.left, ast.Constant) and isinstance(node.right, ast.Constant)
