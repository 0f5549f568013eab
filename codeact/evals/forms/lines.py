"""Reads files with one JSON object a line."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from codeact.errors import ConfigurationError

__all__ = ["objects", "typed"]

LINE_BYTES = 10_000_000
MAX_LINES = 100_000
T = TypeVar("T")


def objects(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yields the number and the text of each line that is not empty.

    Raises `ConfigurationError` for a file that cannot be read, has too many lines, or a line that is too long.
    """
    try:
        with path.open("rb") as file:
            for number, line in enumerate(iter(lambda: file.readline(LINE_BYTES + 1), b""), start=1):
                if len(line) > LINE_BYTES:
                    raise ConfigurationError(f"Line {number} of {path} is longer than {LINE_BYTES:,} bytes.")
                if number > MAX_LINES:
                    raise ConfigurationError(f"{path} has more than {MAX_LINES:,} lines.")
                if line.strip():
                    yield number, line
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}.") from None


def typed(path: Path, type_: type[T]) -> Iterator[tuple[int, T]]:
    """Yields each line as an instance of a msgspec type. Raises `ConfigurationError`, which names the line."""
    for number, line in objects(path):
        try:
            yield number, msgspec.json.decode(line, type=type_)
        except (msgspec.DecodeError, RecursionError) as error:
            raise ConfigurationError(f"Line {number} of {path}: {error}.") from None


def field(value: dict[str, Any], *names: str) -> Any:
    """Returns the first of the fields that is there; None if there is none."""
    return next((value[name] for name in names if name in value), None)
