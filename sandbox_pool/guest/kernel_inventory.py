"""Lists the kernel's variables, functions and classes with their source, imports, and files with their hashes.

`kernel_main.py` imports it inside of a sandbox, and calls it in the thread of the control channel. It runs none of the
code's methods; see `kernel_values.py`. Sizes and time are bounded.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

import ast
import functools
import hashlib
import inspect
import linecache
import os
import stat
import sys
import time
import types
from typing import Any

from kernel_text import encodable  # type: ignore[import-not-found]
from kernel_values import (  # type: ignore[import-not-found]
    HEAD_CHARS,
    measured,
    module_of,
    name_of,
    plain,
    short,
    table_of,
    type_name,
)

__all__ = ["class_source", "inventory", "source_of"]

DEADLINE_S = 1.0
VARIABLES, FUNCTIONS, IMPORTS, FILES = 200, 60, 100, 200
SOURCE_CHARS = 2_000
TOTAL_CHARS = 60_000
ENTRIES, DIRECTORIES = 2_000, 8
HASHED_BYTES = 32_000_000
CELL_SOURCE_CHARS = 100_000
WRAPPERS: dict[type, str] = {
    property: "fget",
    staticmethod: "__func__",
    classmethod: "__func__",
    functools.cached_property: "func",
}
"""Kinds of methods, and the attribute of each that holds the function."""
SHELL = {"In", "Out", "exit", "quit", "get_ipython", "open", "CallError"}


class Budget:
    """The time and the characters that one inventory has left."""

    def __init__(self):
        self.ends_at = time.monotonic() + DEADLINE_S
        self.chars = TOTAL_CHARS
        self.omitted = 0

    def takes(self, entry):
        """Returns whether there is room and time for this entry. If not, counts it in `omitted`."""
        chars = sum(len(value) for value in entry.values() if isinstance(value, str)) + 20
        if "table" in entry:
            chars_of_table = sum(len(cell) for row in entry["table"] for cell in row)
            if chars_of_table > self.chars // 20:  # Many large frames must leave room for other names.
                del entry["table"]
            else:
                chars += chars_of_table
        if chars > self.chars or time.monotonic() > self.ends_at:
            self.omitted += 1
            return False
        self.chars -= chars
        return True


def inventory(shell, workspace):
    """Builds the inventory as JSON-compatible values. An error with a value is shown in place of the value."""
    budget = Budget()
    found = {"variables": [], "functions": [], "imports": [], "files": files(workspace, budget)}
    space = shell.user_ns
    functions = sys.modules.get("codeact_functions")
    ours = {name: getattr(functions, name, None) for name in getattr(functions, "NAMES", ())}
    hidden = dict(shell.user_ns_hidden)
    for name, value in reversed(list(space.items())):  # The newest names matter most if the room runs out.
        if type(name) is not str or name[:1] == "_" or name in SHELL:
            continue
        if (name in ours and ours[name] is value) or (name in hidden and hidden[name] is value):
            continue
        try:
            kind, entry = described(plain(name), value, space)
        except Exception as error:
            kind, entry = "variables", {"name": plain(name), "type": f"<{type(error).__name__}>"}
        if len(found[kind]) >= {"variables": VARIABLES, "functions": FUNCTIONS, "imports": IMPORTS}[kind]:
            budget.omitted += 1
        elif budget.takes(entry):
            found[kind].append(entry)
    for kind in ("variables", "functions", "imports"):
        found[kind].reverse()
    return {**found, "omitted": budget.omitted}


# ---- names -------------------------------------------------------------------------------------------------


def described(name, value, space):
    """Returns the name of the list to which a variable belongs, and its entry."""
    kind = type(value)
    if kind is types.ModuleType:
        return "imports", {"name": name, "module": plain(vars(value).get("__name__"))}
    if kind is types.FunctionType and value.__globals__ is space:
        return "functions", {"name": name, "kind": "function", "source": source_of(value.__code__)}
    if isinstance(value, type) and type(value) is type and module_of(value) == "__main__":
        return "functions", {"name": name, "kind": "class", "source": class_source(value)}
    if kind in (types.FunctionType, types.BuiltinFunctionType) or (isinstance(value, type) and kind is type):
        module = module_of(value) if isinstance(value, type) else getattr(value, "__module__", None)
        return "imports", {"name": name, "module": plain(module)}
    shape, detail = measured(value)
    entry = {"name": name, "type": type_name(kind), "shape": shape, "detail": detail[: HEAD_CHARS * 4]}
    entry["head"] = encodable(short(value))[:HEAD_CHARS]
    table = table_of(value)
    return "variables", entry if table is None else {**entry, "table": table}


def source_of(code, most_chars=SOURCE_CHARS):
    """Returns the source of a function, or "" if it is not known."""
    lines = linecache.cache.get(code.co_filename)
    if lines is None or len(lines) < 3 or sum(map(len, lines[2])) > CELL_SOURCE_CHARS:
        return ""
    return encodable("".join(inspect.getblock(lines[2][code.co_firstlineno - 1 :])))[:most_chars]


def class_source(kind, most_chars=SOURCE_CHARS):
    """Returns the source of a class, or "". One of its methods leads to the cell that defined it."""
    for member in list(type.__dict__["__dict__"].__get__(kind).values()):
        if type(member) in WRAPPERS:
            member = getattr(member, WRAPPERS[type(member)])
        if type(member) is types.FunctionType:
            lines = linecache.cache.get(member.__code__.co_filename)
            if lines is None or len(lines) < 3 or sum(map(len, lines[2])) > CELL_SOURCE_CHARS:
                continue
            text = "".join(lines[2])
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.ClassDef) and node.name == name_of(kind):
                    first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
                    return encodable("\n".join(text.splitlines()[first - 1 : node.end_lineno]))[:most_chars]
    return ""


# ---- files -------------------------------------------------------------------------------------------------


def files(workspace, budget):
    """Lists the regular files of the workspace, except for hidden ones, with their sizes and hashes."""
    found: list[Any] = []
    seen = hashed = 0
    directories = [("", 0)]
    while directories:
        directory, depth = directories.pop(0)
        try:
            entries = sorted(os.scandir(os.path.join(workspace, directory)), key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in entries:
            seen += 1
            if entry.name[0] == "." or seen > ENTRIES:
                continue
            path = f"{directory}/{entry.name}" if directory else entry.name
            try:
                if entry.is_dir(follow_symlinks=False):
                    if depth < DIRECTORIES:
                        directories.append((path, depth + 1))
                    continue
                status = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            if not stat.S_ISREG(status.st_mode):
                continue
            sha256 = ""
            if hashed + status.st_size <= HASHED_BYTES and time.monotonic() < budget.ends_at:
                hashed += status.st_size
                sha256 = _sha256(os.path.join(workspace, path))
            file = {"path": encodable(path)[:1_000], "size_bytes": status.st_size, "sha256": sha256}
            if len(found) < FILES and budget.takes(file):
                found.append(file)
            else:
                budget.omitted += len(found) >= FILES
    return found


def _sha256(path):
    try:
        number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        with os.fdopen(number, "rb") as file:
            if not stat.S_ISREG(os.fstat(number).st_mode):
                return ""
            digest, left = hashlib.sha256(), HASHED_BYTES
            while left > 0 and (piece := file.read(1_000_000)):
                digest.update(piece)
                left -= len(piece)
            return digest.hexdigest() if left > 0 else ""
    except OSError:
        return ""
