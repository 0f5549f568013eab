"""Reads the hosts of the URLs in a text, or in the arguments of a call, as tolerantly as the clients that open them.

Browsers and HTTP libraries accept more than the standard form: users before the host, backslashes, missing slashes,
percent-encoded and wide letters, a final dot, and addresses as one number. A text can also be read in two ways. All
readings are returned, so that a rule asks rather too often.
"""

import ipaddress
import json
import re
import socket
import unicodedata
from collections.abc import Iterable, Iterator
from urllib.parse import unquote

__all__ = ["MOST_HOSTS", "UNREADABLE", "hosts_in", "hosts_in_json"]

MOST_HOSTS = 1_000
"""Of a text with more hosts, none is read: it has an unreadable one instead."""
MOST_URLS = 10_000
HOST_CHARS, ENCODED_CHARS = 253, 1_000
UNREADABLE = ""
"""Stands for a host that has no plain name: nobody can tell which one it is."""

_START = re.compile(r"(?:https?|wss?|ftp):[\\/]*|(?<=[a-z0-9+.-]):[\\/]{2}", re.IGNORECASE)
_ENDS = (re.compile(r"[/\\?#]"), re.compile(r"[/?#]"))
"""What ends the user and the host: for browsers also a backslash, for other clients not."""
_WORD = re.compile(r"[^\s/\\?#\"'<>]*")
_BRACKETS = re.compile(r"\[([0-9a-f:.]{2,45})\]", re.IGNORECASE)
_PLAIN = re.compile(r"[\w.-]+")
_NUMBER = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)\Z")
_LEFT_OUT = str.maketrans("", "", "\t\r\n")
"""Browsers leave these out of a URL."""


def hosts_in_json(arguments: str) -> set[str]:
    """Returns the hosts of the URLs in the texts and names of JSON, and `UNREADABLE` if the text is no JSON."""
    try:
        value = json.loads(arguments, object_pairs_hook=list)  # Of two values with one name, both are read.
    except (ValueError, RecursionError):
        return {UNREADABLE}
    found: set[str] = set()
    for text in _texts(value):
        found |= hosts_in(text)
        if len(found) > MOST_HOSTS:
            return {UNREADABLE}
    return found


def _texts(value: object) -> Iterator[str]:
    left = [value]
    while left:
        each = left.pop()
        if isinstance(each, str):
            yield each
        elif isinstance(each, list | tuple):
            left.extend(each)


def hosts_in(text: str) -> set[str]:
    """Returns the hosts of the URLs in a text: names in lower case, also in ASCII, and addresses in their usual form.

    `UNREADABLE` stands for hosts that cannot be read. Takes linear time.
    """
    found = set(_read(text))
    if (joined := text.translate(_LEFT_OUT)) != text:
        found |= set(_read(joined))
    return {host for raw in found for host in _names_of(raw)} if len(found) <= MOST_HOSTS else {UNREADABLE}


def _read(text: str) -> Iterator[str]:
    """Yields what may be a host in the text: up to white space, and also behind the last `@` before a slash."""
    users = [_Users(text, end) for end in _ENDS]
    for number, start in enumerate(_START.finditer(text)):
        if number == MOST_URLS:
            yield "%"
            return
        yield from _word(text, start.end())
        for each in users:
            if (at := each.last_at(start.end())) is not None:
                yield from _word(text, at + 1)


class _Users:
    """Finds the last `@` of URLs, which come in their order. Reads each part of the text once."""

    def __init__(self, text: str, end: re.Pattern[str]) -> None:
        self._text = text
        self._end = end
        self._read_to = self._at = -1

    def last_at(self, begin: int) -> int | None:
        """Returns where the last `@` before the end of the host is, for a URL that goes on at `begin`."""
        if begin > self._read_to:
            stop = self._end.search(self._text, begin)
            self._read_to = len(self._text) if stop is None else stop.start()
            self._at = self._text.rfind("@", begin, self._read_to)
        return self._at if self._at >= begin else None


def _word(text: str, at: int) -> Iterator[str]:
    word = _WORD.match(text, at, at + ENCODED_CHARS)
    if word is not None and (host := word[0].rpartition("@")[2]):
        yield host


def _names_of(raw: str) -> Iterable[str]:
    if (address := _BRACKETS.match(raw)) is not None:
        return _addresses(address[1])
    name = unquote(raw.partition(":")[0])
    if len(name) > HOST_CHARS:
        return (UNREADABLE,)
    # The full stop of Chinese and Japanese also separates the parts of a name.
    name = unicodedata.normalize("NFKC", name).replace("\u3002", ".").rstrip(".").lower()
    plain = _PLAIN.match(name)
    names = {name, name.casefold()}
    if plain is None or (plain[0] != name and "%" in raw):
        names.add(UNREADABLE)
    if plain is not None:
        names |= {plain[0].rstrip("."), *_dotted(plain[0].rstrip("."))}
    return names | _other_form(name)


def _other_form(name: str) -> set[str]:
    """The name as DNS has it, by both versions of the standard, or the letters of such a name; else `UNREADABLE`."""
    try:
        if name.isascii():
            return {name.encode().decode("idna")} if "xn--" in name else set()
        labels = [label if label.isascii() else f"xn--{label.encode('punycode').decode()}" for label in name.split(".")]
        return {name.encode("idna").decode().lower().rstrip("."), ".".join(labels)}
    except UnicodeError:
        return {UNREADABLE}


def _dotted(name: str) -> set[str]:
    """The IPv4 address that a name of numbers stands for, such as `0x7f.1` or `2130706433`."""
    if _NUMBER.search(name.rpartition(".")[2]) is None:
        return set()
    try:
        return {socket.inet_ntoa(socket.inet_aton(name))}
    except (OSError, UnicodeError):
        return set()


def _addresses(text: str) -> set[str]:
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        return {UNREADABLE}
    return {text.casefold(), str(address), *([str(address.ipv4_mapped)] if address.ipv4_mapped else [])}
