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

__all__ = ["parses", "tree_of"]

MAX_CHARS = 20_000
MAX_MARKS = 100
"""Limit for consecutive combining marks: Python sorts those in a name, which takes quadratic time."""
FILE = "<code of a model>"
"""The file name that the parser's warnings report."""
_FILE = re.escape(FILE)
_FILTER = ("ignore", None, Warning, re.compile(_FILE), 0)
"""The entry that `warnings.filterwarnings` adds."""
_MAGIC = re.compile(r"^([ \t]*)[%!].*$", re.MULTILINE)


def parses(source: str) -> bool:
    """Whether the source is Python; IPython's `%` and `!` lines are allowed. Also True if it is too long to check."""
    if len(source) > MAX_CHARS or _marks_in_a_row(source) > MAX_MARKS:
        return True
    return tree_of(textwrap.dedent(_MAGIC.sub(r"\1pass", source))) is not None


def tree_of(source: str) -> ast.Module | None:
    """Returns the syntax tree of a model's code; None if it is no Python, or would take quadratic time to parse."""
    if _marks_in_a_row(source) > MAX_MARKS:
        return None
    with _without_warnings():
        try:
            return ast.parse(source, FILE)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """Suppresses the parser's warnings about a model's code, for example about invalid escapes.

    `warnings.catch_warnings` restores the filters of the whole process, and so undoes changes that another thread made
    meanwhile. This adds and removes a single filter instead, which matches only our own file name.
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
