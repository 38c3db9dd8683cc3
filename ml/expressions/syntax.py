"""Parse one line of text with Python's parser, without executing it."""

import ast
import keyword
import math
import unicodedata
import warnings
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from threading import Lock

from ml.errors import Invalid
from ml.expressions.notation import in_python

MAX_NAME = 64
MAX_SHOWN = 60
"""Maximum number of characters of a quoted text, and of names in a list, in a message."""

_FILTERS = Lock()
"""Guards Python's warning filters, which all threads share."""


@dataclass(frozen=True)
class Language:
    """Name of a language's texts, an example, and their size limits."""

    noun: str
    example: str
    max_length: int = 1000
    max_depth: int = 50
    max_nodes: int = 500


@dataclass(frozen=True)
class SourceText:
    """A text of a language, with errors located by column."""

    text: str
    language: Language

    def expression(self) -> ast.expr:
        """Parse the text as an expression.

        Raises:
            Invalid: it is empty, too long, of several lines, no expression, or has too many parts.
        """
        tree = self._parsed("eval")
        assert isinstance(tree, ast.Expression)
        return tree.body

    def statement(self) -> ast.stmt:
        """Parse the text as one statement.

        Raises:
            Invalid: it is empty, too long, of several lines, not one statement, or has too many
                parts.
        """
        tree = self._parsed("exec")
        assert isinstance(tree, ast.Module)
        if len(tree.body) != 1:
            raise Invalid(f"{self._noun} must be a single one, not {len(tree.body)}")
        return tree.body[0]

    def refusal(self, node: ast.expr | ast.stmt, msg: str) -> Invalid:
        """Return the error `msg` about `node`, with its column."""
        before = self._line()[: node.col_offset].decode()
        return Invalid(f"column {self._indent() + len(before) + 1}: {msg}")

    def too_deep(self) -> Invalid:
        """Return the error for a text that is nested too deeply."""
        return Invalid(f"{self._noun} is nested more than {self.language.max_depth} levels deep")

    def part(self, node: ast.expr | ast.stmt) -> str:
        """Return the text of `node`, shortened to `MAX_SHOWN` characters."""
        text = self._line()[node.col_offset : node.end_col_offset].decode()
        return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."

    def quoted(self, node: ast.expr | ast.stmt) -> str:
        """Return the text of `node` in quotes."""
        return repr(self.part(node))

    @property
    def _noun(self) -> str:
        return f"the {self.language.noun}"

    def _line(self) -> bytes:
        """Return the parsed text as UTF-8: Python counts columns in its bytes."""
        return self.text.strip().encode()

    def _indent(self) -> int:
        return len(self.text) - len(self.text.lstrip())

    def _parsed(self, mode: str) -> ast.AST:
        """Parse the text within the limits; the nodes of the tree are not yet checked."""
        limits = self.language
        if len(self.text) > limits.max_length:
            raise Invalid(
                f"{self._noun} has {len(self.text)} characters; at most {limits.max_length} are "
                "allowed"
            )
        line = self.text.strip()
        if not line:
            raise Invalid(f"{self._noun} is empty; write for example {limits.example}")
        if "\n" in line or "\r" in line:
            raise Invalid(f"{self._noun} has a line break; write it on one line")
        try:
            tree = _parsed(line, mode)
        except SyntaxError as error:
            if error.msg.startswith("too many nested"):
                raise self.too_deep() from None
            column, advice = self._correction(line, mode) or (error.offset, error.msg)
            where = f"column {self._indent() + column}: " if column else ""
            raise Invalid(f"{where}{self._noun} has a syntax error: {advice}") from None
        except (RecursionError, MemoryError):
            raise self.too_deep() from None
        except ValueError as error:
            raise Invalid(f"{self._noun} cannot be read: {error}") from None
        nodes = sum(isinstance(node, ast.expr) for node in ast.walk(tree))
        if nodes > limits.max_nodes:
            raise Invalid(f"{self._noun} has {nodes} parts; at most {limits.max_nodes} are allowed")
        return tree

    def _correction(self, line: str, mode: str) -> tuple[int, str] | None:
        """Return where a text is in the notation of mathematics, and what to write; None if that is
        not its only fault."""
        text, first = in_python(line)
        if first is None:
            return None
        try:
            _parsed(text.strip(), mode)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None
        return first.column + 1, f"write {first.written}"


def _parsed(line: str, mode: str) -> ast.AST:
    with _FILTERS, warnings.catch_warnings():
        # Python warns about some invalid texts, such as "1if x else 2".
        warnings.simplefilter("ignore")
        return ast.parse(line, mode=mode)


def check_name(name: str, functions: Collection[str]) -> None:
    """Check that a variable can have this name, beside `functions`.

    Raises:
        Invalid: it is a keyword or a function's name, no identifier, or too long.
    """
    shown = repr(name[:MAX_NAME])
    if len(name) > MAX_NAME:
        raise Invalid(f"the name {shown}... is over {MAX_NAME} characters long")
    if not name.isidentifier() or keyword.iskeyword(name):
        raise Invalid(
            f"{shown} cannot be used as a name; use letters, digits and _, not a digit first, "
            "and not a Python keyword such as 'lambda'"
        )
    if name in functions:
        raise Invalid(f"{shown} is a function; choose another name")
    # Python's parser normalizes names, so no text could refer to this one.
    normal = unicodedata.normalize("NFKC", name)
    if name != normal:
        raise Invalid(f"{shown} cannot be used as a name; write it {normal!r}")


def as_float(number: float) -> float:
    """Return `number` as a float, infinity for an integer that is too large."""
    try:
        return float(number)
    except OverflowError:
        return math.inf


def listed(names: Iterable[str]) -> str:
    """Return `names`, sorted; of many, only the first `MAX_SHOWN`."""
    first, rest = sorted(names)[:MAX_SHOWN], sorted(names)[MAX_SHOWN:]
    return ", ".join(first) + (f" and {len(rest)} more" if rest else "")
