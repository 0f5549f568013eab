"""The parser's steps for formats of other systems: calls as JSON or in tags, and tokens of chat templates.

Each step reads on in a `Reading`, and returns False if it needs more text first. `codeact.dialect.foreign_calls`
extracts the code from a call.
"""

import re

from codeact.dialect import foreign_calls
from codeact.dialect.parser_reading import HELD, HELD_CHARS, SPACE, Reading, Step, end_of
from codeact.dialect.segments import CodeText, Text, Unreadable

__all__ = ["addressed", "call", "fenced", "special", "start"]

CHANNEL_CHARS = 200

_JSON = re.compile(r"\[?\s{0,20}\{")
_ROLE = re.compile(r"(?:assistant|system|user|tool|developer)?[ \t]{0,4}(?:to=[\w.]{1,60})?", re.IGNORECASE)
_ROLE_TAIL = re.compile(r"\w{0,10}[ \t]{0,4}(?:t|to|to=[\w.]{0,60})?\Z")
_TO = re.compile(r"to=([\w.]{1,60})")


def start(reading: Reading) -> bool:
    """Reads the beginning of the reply, which may be a call as JSON."""
    return _call_or(reading, "prose")


def fenced(reading: Reading) -> bool:
    """Reads the beginning of a fence that may contain a call as JSON."""
    return _call_or(reading, "other_fence")


def _call_or(reading: Reading, otherwise: Step) -> bool:
    """Continues with the step `call` if a JSON call that runs Python begins here, else with `otherwise`."""
    begin = end_of(SPACE, reading.buffer, reading.at)
    if begin - reading.at > HELD:  # To scan ever longer white space again for each piece would take quadratic time.
        reading.step = otherwise
        return True
    head = reading.buffer[begin : begin + foreign_calls.HEAD_CHARS]
    may_be_json = not reading.has_code and (not head or _JSON.match(head) or head.strip() == "[")
    if not reading.final and may_be_json and len(head) < foreign_calls.HEAD_CHARS:
        return False
    reading.step = "call" if may_be_json and _JSON.match(head) and foreign_calls.is_call(head) else otherwise
    return True


def call(reading: Reading) -> bool:
    """Collects the rest of the reply, which is a call in another system's format, and reads it at the end."""
    rest = reading.buffer[reading.at :]
    reading.at = len(reading.buffer)
    reading.hold(rest)
    if not reading.final and reading.pending_chars < HELD_CHARS:
        return False
    raw = "".join(reading.pending)
    if (code := foreign_calls.code_of(raw)) is None:
        reading.mark(Unreadable(raw))
    else:
        reading.out.start_code(True)
        reading.put(CodeText, code.strip("\n"))
        reading.close()
    return True


def special(reading: Reading, token: re.Match[str]) -> bool:
    """Reads a special token of a chat template that is in prose and in no code span."""
    mark, end = token["special"].casefold(), token.end()
    if mark in ("<s>", "</s>"):  # HTML has these tags too: they are remnants only at the start or end of a reply.
        rest = end_of(SPACE, reading.buffer, end)
        if mark == "</s>" and rest == len(reading.buffer) and not reading.final:
            return False
        if (mark == "<s>" and reading.has_prose) or (mark == "</s>" and rest < len(reading.buffer)):
            reading.take(Text, token)
            return True
    match foreign_calls.special(mark):
        case "python":
            reading.at = end
            reading.begin_code(to_end=True)
        case "channel":
            return _channel(reading, token)
        case "start":
            role = end_of(_ROLE, reading.buffer, end)
            if not reading.final and _ROLE_TAIL.match(reading.buffer, end):
                return False
            to = reading.buffer.find("to=", end, role)
            reading.at = role if to < 0 else to
        case "call":
            reading.step = "call"
        case "end" if reading.has_prose:
            reading.at = end
            reading.done = True
        case _:
            reading.at = end
    return True


def _channel(reading: Reading, token: re.Match[str]) -> bool:
    """Reads a header of the harmony format, which says whether a thought, prose or a call follows."""
    close = "<|message|>"
    at = reading.buffer.find(close, token.end(), token.end() + CHANNEL_CHARS)
    if at < 0:
        if not reading.final and len(reading.buffer) < token.end() + CHANNEL_CHARS:
            return False
        reading.at = token.end()
        return True
    before = reading.buffer[max(0, token.start() - 80) : token.start()].rpartition("\n")[2]
    header, reading.at = reading.buffer[token.end() : at], at + len(close)
    to = _TO.search(header) or _TO.search(before)
    if to is not None:
        reading.pending.append(f"{to[1]} ")
        reading.step = "addressed"
    elif "analysis" in header.casefold():
        reading.step = "harmony_thought"
    return True


def addressed(reading: Reading) -> bool:
    """Reads the start of a message to a tool in the harmony format: plain Python, or JSON."""
    begin = end_of(SPACE, reading.buffer, reading.at)
    if begin == len(reading.buffer) and not reading.final:
        return False
    if foreign_calls.code_of_call(reading.pending[0].strip(), "x") and reading.buffer[begin : begin + 1] != "{":
        reading.pending.clear()
        reading.begin_code(to_end=True)
    else:
        reading.step = "call"
    return True
