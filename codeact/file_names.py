"""Converts the names of files that users send into names that are safe in the sandbox."""

import re
import unicodedata
from collections.abc import Iterable, Sequence

__all__ = ["NAME_BYTES", "called", "distinct", "is_second", "normal"]

NAME_BYTES = 255
"""The limit of common file systems."""
NUMBERED = re.compile(r"(?P<stem>.*) \(\d{1,4}\)(?P<suffix>\.[^.]*)?\Z", re.DOTALL)


def normal(path: str) -> str:
    """The last part of a path, in composed form (NFC), which models write but macOS does not.

    Accepts every name that a file system accepts, including all kinds of spaces, joiners and direction marks, except
    names with control characters. Raises `ValueError` with the reason.
    """
    name = path.replace("\\", "/").rpartition("/")[2]
    # Checked before normalising, which is slow for long runs of combining marks.
    if len(name) > NAME_BYTES * 3:
        raise ValueError(f"the name of a file has at most {NAME_BYTES} bytes; shorten it")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ValueError("the name of a file is Unicode; this one has halves of characters") from None
    name = unicodedata.normalize("NFC", name)
    if name in ("", ".", ".."):
        raise ValueError("a file needs a name, which is not '.' or '..' and does not end with a slash")
    control = next((character for character in name if unicodedata.category(character) == "Cc"), None)
    if control is not None:
        raise ValueError(f"the name of a file has no control characters; this one has {control!a}")
    if len(name.encode()) > NAME_BYTES:
        raise ValueError(
            f"the name of a file has at most {NAME_BYTES} bytes in UTF-8; this one has {len(name.encode())}"
        )
    return name


def distinct(names: Sequence[str]) -> list[str]:
    """Makes the names distinct: the second `data.csv` becomes `data (2).csv`."""
    taken, found = set(names), []
    seen: dict[str, int] = {}
    for name in names:
        number = seen[name] = seen.get(name, 0) + 1
        new = name
        while number > 1 and new in taken:
            new = _numbered(name, number)
            number += 1
        seen[name] = max(seen[name], number - 1)
        taken.add(new)
        found.append(new)
    return found


def is_second(name: str, others: Iterable[str]) -> bool:
    """Whether `distinct` may have made this name because another file had the original one."""
    match = NUMBERED.match(name)
    return match is not None and match["stem"] + (match["suffix"] or "") in set(others)


def called(name: str) -> str:
    """The name for a reader who must write it: quoted, and also escaped if it contains invisible characters."""
    escaped = repr(name)
    plain = f'"{name}"' if "'" in name and '"' not in name else f"'{name}'"
    hidden = any(not character.isprintable() for character in name)
    return f"{plain} (in Python: {escaped})" if hidden else escaped


def _numbered(name: str, number: int) -> str:
    stem, dot, suffix = name.rpartition(".")
    if not stem:
        stem, dot, suffix = name, "", ""
    end = f" ({number}){dot}{suffix}"
    room = NAME_BYTES - len(end.encode())
    return stem.encode()[:room].decode(errors="ignore") + end if room > 0 else f"({number})"
