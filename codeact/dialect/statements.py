"""Finds the complete top-level statements of Python source that is still being written.

A simple statement is complete at the end of its logical line. A compound statement is complete only when a line at
column 0 begins something that cannot belong to it: no `else`, `elif`, `except` or `finally`, no comment, and not the
function or class below a decorator.
"""

import re

from codeact.dialect.logical_line import LogicalLine

__all__ = ["Statements", "statements_of"]

COMPOUND = ("if", "for", "while", "try", "with", "def", "class", "async", "match")
"""The first words of compound statements. `match` may also be a name; its statement is then found a line later."""
CLAUSES = ("else", "elif", "except", "finally")
_WORD = re.compile(r"\w*")
_INDENT = " \t\f\\"


class Statements:
    """Splits one block of code. `feed` returns statements; joined, they and `rest` are the text that was fed.

    The statements do not depend on how the text was cut into pieces. Text that is no Python may be split at the end of
    any line. A block that begins with white space, a cell magic or the prompt of a pasted session stays whole. It
    takes time linear in the text.
    """

    def __init__(self) -> None:
        self._pending: list[str] = []  # The text of the open statement that has been read.
        self._held = ""  # The beginning of a word or token at the end of the text; it is short.
        self._line = LogicalLine()
        self._in_line = False
        self._is_indented = False
        self._is_first = True
        self._is_whole = False
        self._is_compound: bool | None = None  # None: no statement has begun.
        self._is_decorated = False
        self._ends: list[int] = []

    @property
    def rest(self) -> str:
        """The text after the last complete statement."""
        return "".join((*self._pending, self._held))

    def feed(self, text: str) -> list[str]:
        """Returns the statements that this piece completes, each with the comments and blank lines before it."""
        text = self._held + text
        at = self._read(text, len(text) if self._is_whole else 0)
        statements: list[str] = []
        start = 0
        for end in self._ends:
            statements.append("".join((*self._pending, text[start:end])))
            self._pending.clear()
            start = end
        self._ends.clear()
        self._held = text[at:]
        if start < at:
            self._pending.append(text[start:at])
        return statements

    def _read(self, text: str, at: int) -> int:
        """Reads whole tokens from the position on, and returns the position after the last one."""
        while at < len(text):
            if not self._in_line and not self._begin_line(text, at):
                break
            if self._is_whole:
                return len(text)
            at, ended = self._line.read(text, at)
            if not ended:
                break
            self._in_line = False
            if not self._line.is_blank:
                self._end_line(at)
        return at

    def _begin_line(self, text: str, at: int) -> bool:
        """Begins a logical line. Returns False if more text must show how it begins."""
        mark = text[at]
        self._is_indented = mark in _INDENT
        if not self._is_indented and mark not in "#\r\n":
            word = _WORD.match(text, at)
            assert word is not None
            if not self._take_word(word[0], mark, at, is_open=word.end() == len(text)):
                return False
            if self._is_first and not self._take_first(word[0], text, at):
                return False
        elif self._is_indented and self._is_first:
            self._is_whole = True
        self._line.begin()
        self._in_line = True
        return True

    def _take_first(self, word: str, text: str, at: int) -> bool:
        """Looks whether the block stays whole. Returns False if more text must show it."""
        if text[at] == "%" and at + 1 == len(text):
            return False
        self._is_first = False
        self._is_whole = text[at] == ">" or text.startswith("%%", at) or word == "In"
        return True

    def _take_word(self, word: str, mark: str, at: int, *, is_open: bool) -> bool:
        """Takes the first word of a line at column 0; `is_open`: more letters may follow.

        Returns False if these decide whether the line belongs to the open statement, or what kind it begins.
        """
        if self._is_compound and not self._is_decorated:
            if word in CLAUSES and not is_open:
                return True
            if is_open and _begins_any(word, CLAUSES):
                return False
            self._ends.append(at)
            self._is_compound = None
        if is_open and _begins_any(word, (*COMPOUND, "In")):
            return False
        if mark == "@":
            self._is_compound = self._is_decorated = True
        elif self._is_compound is None:
            self._is_compound = word in COMPOUND
        else:
            self._is_decorated = False
        return True

    def _end_line(self, at: int) -> None:
        if self._is_compound is None:
            self._is_compound = True  # An unexpected indentation: an error, which ends with the next statement.
        if not self._is_compound:
            self._ends.append(at)
            self._is_compound = None


def statements_of(code: str) -> list[str]:
    """Returns the statements of a whole block, as `Statements` finds them in one that is still being written."""
    statements = Statements()
    return [each for each in (*statements.feed(code), statements.rest) if each]


def _begins_any(word: str, words: tuple[str, ...]) -> bool:
    return bool(word) and any(each.startswith(word) for each in words)
