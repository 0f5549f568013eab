"""Measures how the CPU time of a function grows with the size of its input."""

import gc
import time
from collections.abc import Callable, Iterable, Sized
from contextlib import suppress
from typing import Any

import msgspec

from codeact.errors import CodeActError
from sandbox_pool.errors import SandboxError

__all__ = ["BYTES", "DRAWN", "PIECES", "TEXTS", "Inputs", "Reader", "contents", "fed", "growth", "pieces", "refusing"]

MEASURABLE_S = 0.0004
SMALLEST, LARGEST = 400, 30_000
ROUNDS, ENOUGH = 6, 2.4

TEXTS: dict[str, Callable[[int], str]] = {
    "carriage returns before a line": lambda n: "\r" * n + "x" * n,
    "carriage returns between letters": lambda n: "x\r" * n,
    "lines of returns": lambda n: "ab\rc\n" * n,
    "backspaces": lambda n: "x" * n + "\b" * n + "y" * n,
    "erasures to the start": lambda n: "x\x1b[1K" * n,
    "erasures of the line": lambda n: "x\x1b[2K" * n,
    "sequences without an end": lambda n: "\x1b[0" * n,
    "one sequence without an end": lambda n: "\x1b[" + "0" * n + "\x1b]" + "x" * n,
    "command strings without an end": lambda n: "\x1b]" * n,
    "colours": lambda n: "\x1b[31ma\x1b[32mb" * n,
    "alternating marks": lambda n: "a" + "\u0301\u0316" * n,
    "marks hidden in letters": lambda n: "\u0f73" * n,
    "scripts without an end": lambda n: "<script>" * n,
    "styles and scripts in turns": lambda n: "<style><script></style>" * n,
    "ends without an end": lambda n: "<script>" + "</script" * n,
    "tags without an end": lambda n: "<a " * n,
    "comments without an end": lambda n: "<!--" * n,
    "rows of a table": lambda n: "<table><tr>" + "<td>1" * n,
    "entities": lambda n: "&#" * n,
    "an entity of many digits": lambda n: "&#" + "9" * n + ";",
    "backticks": lambda n: "\n" + "`" * n + " x`",
    "fences": lambda n: "\n```python" * n,
    "fences in fences": lambda n: "\n````\n```" * n,
    "dollars": lambda n: "$x" * n,
    "displayed formulas without an end": lambda n: "$$ " * n,
    "brackets without an end": lambda n: "\\[ \\( " * n,
    "opening tags of code": lambda n: "<execute>\n" * n,
    "code with strings": lambda n: "<execute>\nx = '''" + "'</execute>" * n,
    "blanks before code": lambda n: "<execute>" + " " * n,
    "lines before code": lambda n: "<execute>" + "\n" * n,
    "indented lines in code": lambda n: "<execute>x" + "\n" + " " * n,
    "thoughts": lambda n: "<think>" + "</think" * n,
    "white space first": lambda n: " " * n + "\n" * n + "x",
    "white space": lambda n: "x" + " " * n + "\n" * n,
    "quotes": lambda n: "'\"" * n,
    "backslashes": lambda n: "\\" * n,
    "lists": lambda n: "[]," * n,
    "nested lists": lambda n: "[" * n,
    "data URLs": lambda n: "data:a" + ";a=b" * n,
    "blobs": lambda n: "blob:/v1/blobs/" * n,
    "words": lambda n: "".join(f"w{number}_" for number in range(n)),
    "unspaced words": lambda n: "\u4e00\u4e01" * n,
}
"""Inputs that made at least one function take too long. All functions that read text are tested with all of them."""

DRAWN = ("codeact.dashboard.drawing.outputs.draw",)
"""Functions that need Streamlit. `tests/streamlit_app/test_growth.py` measures them, in its own environment."""


def growth(run: Callable[..., object], make: Callable[[int], object], *, again: bool = True) -> float:
    """Returns by which factor the CPU time grows when the input doubles: the geometric mean of two doublings.

    It measures at the first size that takes long enough, and returns 1.0 if even the largest does not. If the factor
    is too high, it measures again at four times the size: an input that no longer fits into the processor's caches
    costs more per byte, but that happens only once. Without `again` it measures once.
    """
    size = SMALLEST
    while (spent := _cpu(run, given := make(size))) < MEASURABLE_S and size < LARGEST and _length(given) < LARGEST:
        size *= 4
    if spent < MEASURABLE_S:
        return 1.0
    found = _growth(run, make, size)
    return found if found <= ENOUGH or not again else min(found, _growth(run, make, 4 * size))


def _growth(run: Callable[..., object], make: Callable[[int], object], size: int) -> float:
    small, large = make(size), make(4 * size)
    once = four_times = float("inf")
    for _ in range(ROUNDS):  # Take the best of several runs, since the machine may be busy.
        once, four_times = min(once, _cpu(run, small)), min(four_times, _cpu(run, large))
        if (four_times / once) ** 0.5 <= ENOUGH:
            break
    # If the time is too short to be measured now, the machine was busy before.
    return (four_times / once) ** 0.5 if four_times >= MEASURABLE_S else 1.0


def _length(given: object) -> int:
    if isinstance(given, list) and given and isinstance(given[0], str | bytes):
        return len(given) * len(given[0])
    return len(given) * (1 if isinstance(given, str | bytes) else 100) if isinstance(given, Sized) else 0


def _cpu(run: Callable[..., object], given: object) -> float:
    gc.collect(0)
    gc.disable()
    try:
        began = time.thread_time()
        run(given)
        return time.thread_time() - began
    finally:
        gc.enable()


Reader = Callable[[Any], object]
Inputs = dict[str, Callable[[int], object]]


def pieces(make: Callable[[int], str], size: int = 7) -> Callable[[int], list[str]]:
    def cut(n: int) -> list[str]:
        text = make(n)
        return [text[at : at + size] for at in range(0, len(text), size)]

    return cut


PIECES: Inputs = {name: pieces(make) for name, make in TEXTS.items()}
BYTES: Inputs = {name: lambda n, make=make: make(n).encode() for name, make in TEXTS.items()}  # type: ignore[misc]


def quoted(make: Callable[[int], str], before: str, after: str) -> Callable[[int], bytes]:
    return lambda n: before.encode() + msgspec.json.encode(make(n)) + after.encode()


def contents(before: str, after: str) -> Inputs:
    """Returns JSON inputs: one for each text, and one for each kind of value."""
    found: Inputs = {name: quoted(make, before, after) for name, make in TEXTS.items()}
    for name, piece in {"lists": "[],", "objects": "{},", "names": '"":0,', "escapes": '"\\ud800",'}.items():
        open_, close = ("{", '"":0}') if name == "names" else ("[", "0]")
        found[f"json: {name}"] = lambda n, piece=piece, open_=open_, close=close: (  # type: ignore[misc]
            f"{before}{open_}{piece * n}{close}{after}".encode()
        )
    found["json: nested"] = lambda n: f"{before}{'[' * n}{']' * n}{after}".encode()
    return found


def fed(make: Callable[[], Any]) -> Reader:
    def run(given: Iterable[Any]) -> None:
        reader = make()
        for piece in given:
            reader.feed(piece)

    return run


def refusing(run: Reader) -> Reader:
    """Wraps a function so that it may refuse its input with one of our errors."""

    def refused(given: Any) -> None:
        with suppress(CodeActError, SandboxError, ValueError, RecursionError, msgspec.MsgspecError):
            run(given)

    return refused
