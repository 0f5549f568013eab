"""Finds the functions that take text apart, and which of them the readers of `tests/test_growth.py` call.

So the list of readers is complete by construction: a new function that parses, splits or searches text must be reached
by a reader with its hostile inputs, or stand in `tests/growth_exempt.py` with the reason why it need not be.
"""

import ast
import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

from tests.growth import Inputs, Reader

__all__ = ["called_by", "parsing_functions"]

ROOT = Path(__file__).parents[1]
PACKAGES = {"server": "codeact.server", "codeact": "codeact", "streamlit_app": "codeact.dashboard"}
PACKAGES |= {"sandbox_pool": "sandbox_pool"}
IN_SANDBOXES = ("sandbox_pool/guest", "codeact/tools/kernel_")
"""Programs that run inside of a sandbox: what they read costs that sandbox its own time."""
SMALL = 30

PARSING = frozenset(
    {"loads", "raw_decode", "literal_eval", "convert", "b64decode", "a2b_base64", "fromhex", "unhexlify"}
    | {"split", "rsplit", "splitlines", "partition", "rpartition", "expandtabs", "translate", "rfind"}
    | {"finditer", "findall", "match", "fullmatch", "search", "sub", "subn"}
    | {"urlsplit", "urlparse", "parse_qs", "parse_qsl", "unquote", "unquote_plus"}
    | {"fromisoformat", "parsedate_to_datetime", "normalize", "generate_tokens"}
)
ENCODERS = frozenset({"encode", "b64encode", "urlsafe_b64encode", "public_bytes", "format", "join", "hexdigest"})
"""`x.encode().decode()` only changes the type of what we wrote ourselves."""

Place = tuple[str, int]


def parsing_functions() -> dict[str, Place]:
    """Every function of the server's side that calls something of `PARSING` or decodes bytes, with its file and line.

    The names are those of modules and functions: `codeact.dialect.images.size_px`.
    """
    found: dict[str, Place] = {}
    for folder, package in PACKAGES.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            inside = path.relative_to(ROOT).as_posix()
            if path.resolve() != path or inside.startswith(IN_SANDBOXES):
                continue
            module = ".".join([package, *path.relative_to(ROOT / folder).with_suffix("").parts])
            for name, node in _functions(ast.parse(path.read_text("utf-8")), ""):
                if _parses(node):
                    line = min([node.lineno, *(each.lineno for each in node.decorator_list)])
                    found[f"{module}.{name}"] = str(path), line
    return found


def called_by(table: dict[str, tuple[Reader, Inputs]]) -> set[Place]:
    """Runs every reader with every kind of input, in a small size. Returns the functions that were called."""
    called: set[Place] = set()
    known: dict[str, str] = {}

    def note(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            name = frame.f_code.co_filename
            called.add((known.setdefault(name, name), frame.f_code.co_firstlineno))

    logging.disable(logging.CRITICAL)
    before = sys.getprofile()
    sys.setprofile(note)
    threading.setprofile(note)
    try:
        for run, inputs in table.values():
            for make in inputs.values():
                with suppress(AssertionError):  # Some readers expect more than so small an input gives.
                    run(make(SMALL))
    finally:
        sys.setprofile(before)
        threading.setprofile(None)  # type: ignore[arg-type]
        logging.disable(logging.NOTSET)
    real = {name: os.path.realpath(name) for name in known}  # `codeact/server` is a link.
    return {(real[name], line) for name, line in called}


Function = ast.FunctionDef | ast.AsyncFunctionDef


def _functions(node: ast.AST, prefix: str) -> Iterator[tuple[str, Function]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Function):
            yield prefix + child.name, child  # Functions inside of it count as a part of it.
        elif isinstance(child, ast.ClassDef):
            yield from _functions(child, f"{prefix}{child.name}.")
        else:
            yield from _functions(child, prefix)


def _parses(function: Function) -> bool:
    return any(isinstance(node, ast.Call) and _is_parsing(node) for node in ast.walk(function))


def _is_parsing(call: ast.Call) -> bool:
    match call.func:
        case ast.Name(id=name):
            return name in PARSING
        case ast.Attribute(attr="decode", value=value):
            return not (isinstance(value, ast.Call) and _name(value) in ENCODERS)
        case ast.Attribute(attr="convert"):  # a struct, but no picture
            return len(call.args) == 2
        case ast.Attribute(attr=name):
            return name in PARSING
    return False


def _name(call: ast.Call) -> str:
    match call.func:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
    return ""
