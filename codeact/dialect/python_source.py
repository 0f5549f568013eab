"""Decides whether a text can be Python source."""

import ast
import contextlib
import re
import textwrap
import unicodedata
import warnings
from collections.abc import Iterator
from itertools import groupby
from typing import Any, cast

__all__ = ["parses"]

MAX_CHARS = 20_000
MAX_MARKS = 100
"""Combining marks in a row. Python sorts those in a name, which takes the square of their number."""
FILE = "<code of a model>"
"""The name that warnings of the parser have as their file."""
_FILE = re.escape(FILE)
_FILTER = ("ignore", None, Warning, re.compile(_FILE), 0)
"""As `warnings.filterwarnings` writes it."""
_MAGIC = re.compile(r"^([ \t]*)[%!].*$", re.MULTILINE)


def parses(source: str) -> bool:
    """True too for what is longer than anybody should spend time on. IPython's own lines may stand in it."""
    if len(source) > MAX_CHARS or _marks_in_a_row(source) > MAX_MARKS:
        return True
    with _without_warnings():
        try:
            ast.parse(textwrap.dedent(_MAGIC.sub(r"\1pass", source)), FILE)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return False
    return True


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """Python warns of odd escapes in what it parses; nobody should read that of a model's code.

    `warnings.catch_warnings` would put back the filters of the whole process as they were, and with that undo what
    another thread has changed meanwhile. This one filter of our own file's name comes and goes instead.
    """
    warnings.filterwarnings("ignore", module=_FILE)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            cast(list[Any], warnings.filters).remove(_FILTER)


def _marks_in_a_row(text: str) -> int:
    if text.isascii():
        return 0
    runs = groupby(text, key=lambda letter: bool(unicodedata.combining(unicodedata.normalize("NFD", letter)[0])))
    return max((sum(1 for _ in run) for is_marks, run in runs if is_marks), default=0)
