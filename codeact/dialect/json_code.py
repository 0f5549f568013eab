"""Decodes the code in a call's JSON arguments while they stream in.

The decoder reads the text once, in linear time, and the pieces may end anywhere: inside an escape, a surrogate pair or
a key. Arguments that are no JSON object or string are taken as the code itself, since some models send it so.
"""

import re
from collections.abc import Callable

__all__ = ["NAMES", "JsonCode"]

NAMES = frozenset({"code", "python", "python_code", "source", "source_code", "script", "input", "cell", "command"})
"""Names of arguments that contain code. The prompt names only `code`; models use the others too."""

KEY_CHARS = 100
_PLAIN = re.compile(r'[^"\\]+')
_SPACE = re.compile(r"\s*")
_SCALAR = re.compile(r"[^,}\]\s]+")
_NESTED = re.compile(r'[^"{}\[\]]+')
_HEX = re.compile(r"[0-9a-fA-F]{4}\Z")
_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
REPLACEMENT = "\ufffd"

Put = Callable[[str], None]


class JsonCode:
    """Decoder for the arguments of one call. `begun`: the code has begun; `ended`: all of the code has been read."""

    def __init__(self) -> None:
        self.begun = False
        self.ended = False
        self._error: str | None = None
        self._state: Callable[[str, int], int] = self._start
        self._incomplete = ""  # The beginning of an escape at the end of the last piece.
        self._high = ""  # The first half of a surrogate pair.
        self._key = ""
        self._depth = 0
        self._whole_is_code = False
        self._code: list[str] = []

    def feed(self, text: str) -> str:
        """Returns the code that this piece of the arguments contains."""
        text, self._incomplete = self._incomplete + text, ""
        at = 0
        while at < len(text) and self._error is None:
            at = self._state(text, at)
        code = "".join(self._code)
        self._code.clear()
        return code

    def finish(self) -> str | None:
        """Returns None if the code is complete, else the reason why it is not, as a part of a sentence."""
        if self._error is not None:
            return self._error
        if self.ended or self._whole_is_code:
            return None
        if self.begun:
            return "the JSON of its arguments ended inside the string `code`."
        return "its arguments are no JSON object with a string `code`."

    # ---- states: each method reads text from a position and returns the next position ----------------------

    def _start(self, text: str, at: int) -> int:
        at = _skip(text, at)
        if at == len(text):
            return at
        if text[at] == "{":
            self._state = self._before_key
            return at + 1
        self.begun = True
        if text[at] == '"':
            self._state = self._in_code
            return at + 1
        self._whole_is_code = True
        self._state = self._plain
        return at

    def _plain(self, text: str, at: int) -> int:
        self._put_code(text[at:])
        return len(text)

    def _before_key(self, text: str, at: int) -> int:
        at = _skip(text, at)
        if at == len(text):
            return at
        if text[at] == '"':
            self._key, self._state = "", self._in_key
        elif text[at] == "}":
            self._state = self._after_object
        elif text[at] != ",":
            self._error = "the JSON of its arguments is broken: a name in double quotes was expected."
        return at + 1

    def _in_key(self, text: str, at: int) -> int:
        at, closed = self._string(text, at, self._put_key)
        if closed:
            self._state = self._before_colon
        return at

    def _before_colon(self, text: str, at: int) -> int:
        at = _skip(text, at)
        if at == len(text):
            return at
        if text[at] == ":":
            self._state = self._before_value
        else:
            self._error = "the JSON of its arguments is broken: a colon was expected after a name."
        return at + 1

    def _before_value(self, text: str, at: int) -> int:
        at = _skip(text, at)
        if at == len(text):
            return at
        if text[at] == '"':
            is_code = self._key.casefold() in NAMES and not self.begun
            self.begun = self.begun or is_code
            self._state = self._in_code if is_code else self._in_text
            return at + 1
        if text[at] in "{[":
            self._depth, self._state = 1, self._nested
            return at + 1
        self._state = self._scalar
        return at

    def _in_code(self, text: str, at: int) -> int:
        at, closed = self._string(text, at, self._put_code)
        if closed:
            self.ended = True
            self._state = self._after_value
        return at

    def _in_text(self, text: str, at: int) -> int:
        at, closed = self._string(text, at, _drop)
        if closed:
            self._state = self._nested if self._depth else self._after_value
        return at

    def _nested(self, text: str, at: int) -> int:
        if match := _NESTED.match(text, at):
            return match.end()
        if text[at] == '"':
            self._state = self._in_text
        else:
            self._depth += 1 if text[at] in "{[" else -1
            if not self._depth:
                self._state = self._after_value
        return at + 1

    def _scalar(self, text: str, at: int) -> int:
        match = _SCALAR.match(text, at)
        at = match.end() if match else at
        if at < len(text):
            self._state = self._after_value
        return at

    def _after_value(self, text: str, at: int) -> int:
        if self.ended:
            return len(text)  # The code is complete, whatever follows.
        at = _skip(text, at)
        if at == len(text):
            return at
        if text[at] == ",":
            self._state = self._before_key
        elif text[at] == "}":
            self._state = self._after_object
        else:
            self._error = "the JSON of its arguments is broken: a comma was expected after a value."
        return at + 1

    def _after_object(self, text: str, at: int) -> int:
        """Reads what follows an object: some servers begin every call with an empty object."""
        at = _skip(text, at)
        if at < len(text) and text[at] == "{":
            self._state = self._before_key
            return at + 1
        return len(text)

    # ---- strings ------------------------------------------------------------------------------------------

    def _string(self, text: str, at: int, put: Put) -> tuple[int, bool]:
        """Reads a string; returns the next position and whether the string ends before it."""
        while at < len(text):
            if match := _PLAIN.match(text, at):
                self._flush_half(put)
                put(match[0])
                at = match.end()
                continue
            if text[at] == '"':
                self._flush_half(put)
                return at + 1, True
            size = 6 if text[at + 1 : at + 2] == "u" else 2
            if at + size > len(text):
                self._incomplete = text[at:]
                return len(text), False
            self._escape(text[at + 1 : at + size], put)
            if self._error is not None:
                return len(text), False
            at += size
        return at, False

    def _escape(self, escape: str, put: Put) -> None:
        if escape[0] != "u":
            self._flush_half(put)
            if escape in _ESCAPES:
                put(_ESCAPES[escape])
            else:
                self._error = f"the JSON of its arguments is broken: \\{escape} is no escape; write \\\\{escape}."
            return
        if not _HEX.match(escape, 1):
            self._error = "the JSON of its arguments is broken: \\u needs four hexadecimal digits."
            return
        unit = int(escape[1:], 16)
        if 0xDC00 <= unit <= 0xDFFF and self._high:
            high, self._high = ord(self._high), ""
            put(chr(0x10000 + ((high - 0xD800) << 10) + (unit - 0xDC00)))
            return
        self._flush_half(put)
        if 0xD800 <= unit <= 0xDBFF:
            self._high = chr(unit)
        else:
            put(REPLACEMENT if 0xDC00 <= unit <= 0xDFFF else chr(unit))

    def _flush_half(self, put: Put) -> None:
        if self._high:
            self._high = ""
            put(REPLACEMENT)

    def _put_code(self, text: str) -> None:
        self._code.append(text)

    def _put_key(self, text: str) -> None:
        self._key = (self._key + text)[:KEY_CHARS]


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _drop(text: str) -> None:
    pass
