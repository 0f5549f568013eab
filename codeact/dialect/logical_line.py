"""Finds the end of a logical line of Python source that streams in: brackets, strings and backslashes can continue it.

Replacement fields of f-strings are read by the rules of Python 3.12, where they may contain any code: a program that
older versions accept has the same lines by these rules. A line that begins with a magic's or a shell command's mark, or
assigns one, ends where its text ends, whatever quotes are in it.
"""

import re
from dataclasses import dataclass

__all__ = ["LogicalLine"]

_RUN = re.compile(r"""[^"'#\\\r\n()\[\]{}=%!: \t\f]+""")
_SPACE = re.compile(r"[ \t\f]+")
_TEXT = re.compile(r"""[^"'\\\r\n{}]+""")
_TO_END_OF_LINE = re.compile(r"[^\r\n]+")
_MAGIC_TEXT = re.compile(r"[^\\\r\n]+")
_FORMATTED = re.compile(r"(?:\A|\W)(?:[ft]r?|r[ft])\Z", re.IGNORECASE)
_ESCAPES = "%!?,;/"
"""The marks at the beginning of a line that IPython rewrites."""
MORE = -1
"""A token may continue after the end of the text."""


@dataclass(slots=True)
class _String:
    quote: str
    is_triple: bool
    has_fields: bool


@dataclass(slots=True)
class _Field:
    """A replacement field; `depth` counts its open brackets, and `in_format` says whether its colon has come."""

    depth: int = 0
    in_format: bool = False


class LogicalLine:
    """Reads one logical line after the other: call `begin`, and then `read` until the line has ended.

    `is_blank`: the line has only white space and comments so far.
    """

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        self.is_blank = True
        self._depth = 0
        self._open: list[_String | _Field] = []
        self._before = ""  # The last three characters, which may be the prefix of a string.
        self._after_equals = False
        self._in_comment = self._in_magic = False
        self._ended = False

    def read(self, text: str, at: int) -> tuple[int, bool]:
        """Returns the position up to which the text is read, and whether the line ends there.

        Text after the position must be passed again, with more text.
        """
        while at < len(text) and not self._ended:
            top = self._open[-1] if self._open else None
            if self._in_comment:
                after = self._comment(text, at)
            elif self._in_magic:
                after = self._magic(text, at)
            elif isinstance(top, _String) or (top is not None and top.in_format):
                after = self._string(text, at)
            else:
                after = self._code(text, at, top)
            if after == MORE:
                break
            at = after
        return at, self._ended

    def _comment(self, text: str, at: int) -> int:
        if run := _TO_END_OF_LINE.match(text, at):
            return run.end()
        self._in_comment = False
        return at

    def _magic(self, text: str, at: int) -> int:
        if run := _MAGIC_TEXT.match(text, at):
            return run.end()
        if text[at] == "\\":
            return _after_escape(text, at)
        self._ended = (after := _after_newline(text, at)) != MORE
        return after

    def _code(self, text: str, at: int, field: _Field | None) -> int:
        if space := _SPACE.match(text, at):
            self._before = " "
            return space.end()
        is_outside = field is None and not self._depth
        if is_outside and text[at] in (_ESCAPES if self.is_blank else "%!" if self._after_equals else ""):
            self.is_blank, self._in_magic = False, True
            return at
        if run := _RUN.match(text, at):
            self.is_blank = self._after_equals = False
            self._before = (self._before + run[0][-3:])[-3:]
            return run.end()
        mark = text[at]
        if mark in "\r\n":
            after = _after_newline(text, at)
            self._ended = is_outside and after != MORE
            self._before = " "
            return after
        if mark == "#":
            self._in_comment = True
            return at
        if mark in "'\"":
            return self._open_string(text, at)
        self.is_blank = False
        self._after_equals = mark == "="
        if mark == "\\":
            return _after_continuation(text, at)
        self._before = mark
        if mark in "([{":
            self._nest(field, 1)
        elif mark in ")]}":
            if mark == "}" and field is not None and not field.depth:
                self._open.pop()
            else:
                self._nest(field, -1)
        elif mark == ":" and field is not None and not field.depth:
            field.in_format = True
        return at + 1

    def _nest(self, field: _Field | None, step: int) -> None:
        if field is None:
            self._depth = max(0, self._depth + step)
        else:
            field.depth = max(0, field.depth + step)

    def _open_string(self, text: str, at: int) -> int:
        quote = text[at]
        size = _quotes(text, at)
        if size == MORE:
            return MORE
        self.is_blank = self._after_equals = False
        has_fields = _FORMATTED.search(self._before) is not None
        self._before = quote
        if size == 2:
            return at + 2  # An empty string.
        self._open.append(_String(quote, size == 3, has_fields))
        return at + size

    def _string(self, text: str, at: int) -> int:
        """Reads text of a string, or the format of a field, which is text of the string around it."""
        if run := _TEXT.match(text, at):
            return run.end()
        top = self._open[-1]
        field = top if isinstance(top, _Field) else None
        string = self._open[-2] if field is not None else top
        assert isinstance(string, _String)
        mark = text[at]
        if mark == "\\":
            if string.has_fields and text[at + 1 : at + 2] in ("{", "}"):
                return at + 1
            return _after_escape(text, at)
        if mark in "'\"":
            size = _quotes(text, at) if mark == string.quote and string.is_triple else 1
            if mark == string.quote and size != MORE and (size == 3 or not string.is_triple):
                self._close_string(field)
                return at + size
            return MORE if size == MORE else at + 1
        if mark in "\r\n":
            after = _after_newline(text, at)
            if not string.is_triple and after != MORE:
                self._close_string(field)  # It is not closed, which is an error that ends the statement.
                return at
            return after
        if not string.has_fields:
            return at + 1
        if mark == "{":
            if field is None:
                if at + 1 == len(text):
                    return MORE
                if text[at + 1] == "{":
                    return at + 2
            self._open.append(_Field())
        elif field is not None:
            self._open.pop()
        return at + 1

    def _close_string(self, field: _Field | None) -> None:
        if field is not None:
            self._open.pop()
        self._open.pop()


def _quotes(text: str, at: int) -> int:
    """Returns how many quotes begin a token here: 3, 2 for an empty string, 1; or `MORE`."""
    run = text[at : at + 3]
    same = len(run) - len(run.lstrip(run[0]))
    return MORE if same == len(run) < 3 else same


def _after_newline(text: str, at: int) -> int:
    if text[at] == "\n":
        return at + 1
    if at + 1 == len(text):
        return MORE
    return at + 2 if text[at + 1] == "\n" else at + 1


def _after_escape(text: str, at: int) -> int:
    """Returns the position after a backslash and the character, or the line end, behind it."""
    if at + 1 == len(text):
        return MORE
    return _after_newline(text, at + 1) if text[at + 1] in "\r\n" else at + 2


def _after_continuation(text: str, at: int) -> int:
    """Returns the position after a backslash, and after the line end behind it."""
    after = _after_escape(text, at)
    return after if after == MORE or text[at + 1] in "\r\n" else at + 1
