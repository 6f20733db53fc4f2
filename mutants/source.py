"""The text of a file, its syntax tree, and where in the text a node of the tree stands."""

import ast
import bisect
import io
import tokenize


class Source:
    """A source file; places are letters from its beginning."""

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
        """Return where an operator stands between two places; parentheses and comments are passed
        over.
        """
        first = bisect.bisect_left(self._tokens, (low, ""))
        return next(
            place for place, string in self._tokens[first:] if string == symbol and place < high
        )

    def _place(self, line: int, column: int) -> int:
        # The tree counts bytes, the text letters.
        return self.starts[line - 1] + len(self.lines[line - 1].encode()[:column].decode())
