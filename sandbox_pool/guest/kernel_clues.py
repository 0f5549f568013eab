"""Collects facts about an exception that its message does not contain, such as existing names that are similar.

`kernel_main.py` imports it inside of a sandbox. The results have the fields of `sandbox_pool.clues.Clue`. This module
reads only built-in containers and labels of pandas, so that it runs none of the code's methods. All sizes are bounded.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

import ast
import contextlib
import difflib
import errno
import inspect
import linecache
import os
import re
import socket
import sys
import types
from itertools import islice

__all__ = ["clue_to", "installed"]

MOST = 40
NAME_CHARS = 100
CANDIDATES = 2_000
FRAMES = 200
CHAIN = 10
UNREACHABLE = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN}
HOST = re.compile(r"host='([^']{1,253})'|https?://([^/'\"\s:>]{1,253})")


def clue_to(error):
    """Returns the facts about an exception, or None. Never raises."""
    with contextlib.suppress(Exception):
        if error is None:
            return None
        for kinds, find in FINDERS:
            if isinstance(error, kinds):
                clue = find(error)
                if clue is not None:
                    return clue
    return None


def _clue(about, name, known, *, place=""):
    """Builds the result with bounded sizes. Sorts `known` so that names similar to `name` come first."""
    name = _words(name)
    texts = list(dict.fromkeys(_words(each) for each in islice(known, CANDIDATES)))
    near = difflib.get_close_matches(name, texts, n=5, cutoff=0.6)
    ordered = [*near, *(text for text in texts if text not in set(near))]
    return {
        "about": about,
        "name": name,
        "known": ordered[:MOST],
        "more": max(0, len(ordered) - MOST),
        "place": _words(place),
    }


def _words(value):
    """Converts a name to text. For values that are not of a built-in type, returns only the name of their type."""
    if isinstance(value, tuple):
        return f"({', '.join(_words(part) for part in value[:5])})"[:NAME_CHARS]
    if not isinstance(value, (str, int, float, bool, bytes, type(None))):
        return f"<{type(value).__name__}>"
    text = value if type(value) is str else repr(value)
    return text[:NAME_CHARS].encode(errors="replace").decode()


def _frames(error):
    """Returns the frames of the traceback, the innermost first."""
    frames = []
    trace = error.__traceback__
    while trace is not None:
        frames.append((trace.tb_frame, trace.tb_lasti))
        del frames[:-FRAMES]
        trace = trace.tb_next
    return frames[::-1]


def _chain(error):
    """Returns the error, its causes and the errors that it wraps, at most `CHAIN`."""
    found: list[BaseException] = []
    waiting = [error]
    while waiting and len(found) < CHAIN:
        each = waiting.pop(0)
        if isinstance(each, BaseException) and all(each is not seen for seen in found):
            found.append(each)
            waiting += [each.__cause__, each.__context__, getattr(each, "reason", None), *each.args[:2]]
    return found


# ---- one function per kind of error -------------------------------------------------------------------------


def _network(error):
    for each in _chain(error):
        if isinstance(each, socket.gaierror) or (isinstance(each, OSError) and each.errno in UNREACHABLE):
            host = next((found for part in _chain(error) if (found := HOST.search(str(part)[:2000]))), None)
            return _clue("network", (host[1] or host[2]) if host else "", [])
    return None


def _key(error):
    if len(error.args) != 1:
        return None
    for frame, _ in _frames(error):
        for name in ("self", "obj"):
            names = _labels(frame.f_locals.get(name))
            if names is not None:
                return _clue(names[0], _missing(error.args[0]), names[1])
    subscript = _failing_subscript(error)
    if subscript is not None and isinstance(subscript, dict):
        return _clue("key", error.args[0], dict.keys(subscript))
    return None


def _missing(key):
    """Extracts the name from a message like `"['x'] not in index"`."""
    found = re.match(r"(?:\"|')?\[?'([^']{1,100})'.{0,200} not (?:in|found)", key) if isinstance(key, str) else None
    return found[1] if found else key


def _labels(value):
    """Returns the columns of a pandas DataFrame or the labels of a Series, with their kind; None for other values."""
    kind = type(value)
    if not any(base.__module__.startswith("pandas.") for base in kind.__mro__):
        return None
    bases = {base.__name__ for base in kind.__mro__}
    if "DataFrame" in bases:
        return "column", list(value.columns[:CANDIDATES])
    return ("label", list(value.index[:CANDIDATES])) if "Series" in bases else None


def _index(error):
    value = _failing_subscript(error)
    return _clue("index", "", [str(len(value))]) if type(value) in (list, tuple, str) else None


def _attribute(error):
    value, name = getattr(error, "obj", None), getattr(error, "name", None)
    if value is None or name is None:
        return None
    labels = _labels(value)
    if labels is not None and labels[0] == "column":
        near = difflib.get_close_matches(name, [each for each in dir(type(value)) if each[:1] != "_"], n=3)
        return _clue("column", name, [*labels[1], *near])
    names = set(dir(type(value))) | set(_own(value))
    near = difflib.get_close_matches(name, [each for each in names if each[:1] != "_"], n=5)
    return _clue("attribute", name, near, place=getattr(value, "__name__", type(value).__name__)) if near else None


def _own(value):
    """Returns the names in the value's own `__dict__`, without running its methods."""
    with contextlib.suppress(Exception):
        return list(object.__getattribute__(value, "__dict__"))[:CANDIDATES]
    return []


def _name(error):
    frames = _frames(error)
    if not frames or getattr(error, "name", None) is None:
        return None
    frame = frames[0][0]
    names = [each for scope in (frame.f_locals, frame.f_globals, frame.f_builtins) for each in list(scope)]
    near = difflib.get_close_matches(error.name, [each for each in names if each[:1] != "_"][:CANDIDATES], n=5)
    return _clue("name", error.name, near)


def _module(error):
    if not isinstance(error, ModuleNotFoundError):
        module = sys.modules.get(error.name or "")
        wanted = re.search(r"cannot import name '(\w{1,100})'", str(error))
        if module is None or wanted is None:
            return None
        near = difflib.get_close_matches(wanted[1], [each for each in _own(module) if each[:1] != "_"], n=5)
        return _clue("attribute", wanted[1], near, place=error.name) if near else None
    return _clue("module", error.name or "", [name for name, _ in installed()])


def installed():
    """Returns name and version of the installed distributions. Reads only the names of their directories."""
    found: dict[str, str] = {}
    for path in sys.path:
        with contextlib.suppress(OSError):
            for entry in os.listdir(path or "."):
                if entry.endswith((".dist-info", ".egg-info")):
                    name, _, rest = entry.rpartition(".")[0].partition("-")
                    found.setdefault(name.replace("_", "-"), rest.partition("-")[0])
    return sorted(found.items(), key=lambda one: one[0].lower())


def _file(error):
    path = error.filename
    if not isinstance(path, (str, bytes)):
        return None
    path = os.fsdecode(path)
    place = os.path.dirname(path) or "."
    while place and not os.path.isdir(place):
        place = os.path.dirname(place) if os.path.dirname(place) != place else "."
    with contextlib.suppress(OSError), os.scandir(place or ".") as entries:
        names = sorted(entry.name + "/" * entry.is_dir() for entry in islice(entries, CANDIDATES))
        return _clue("file", os.path.basename(path), [each for each in names if each[0] != "."], place=place or ".")
    return None


# ---- the container of a failed subscript --------------------------------------------------------------------


def _failing_subscript(error):
    """Returns the value of `x` if `x[…]` failed in a cell; None if it cannot be found without running code."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None or not hasattr(trace.tb_frame.f_code, "co_positions"):
        return None
    code = trace.tb_frame.f_code
    if "ipykernel" not in code.co_filename and not code.co_filename.startswith(os.getcwd()):
        return None
    positions = next(
        (each for number, each in enumerate(code.co_positions()) if number == trace.tb_lasti // 2), (None,) * 4
    )
    first, last, start, end = positions
    if first is None or last is None or last > first + 20:
        return None
    lines = [linecache.getline(code.co_filename, number).encode() for number in range(first, last + 1)]
    lines[-1] = lines[-1][:end]
    lines[0] = lines[0][start:]
    node = ast.parse(f"({b''.join(lines).decode()})", mode="eval").body
    return _value(node.value, trace.tb_frame) if isinstance(node, ast.Subscript) else None


def _value(node, frame, depth=10):
    """Evaluates names, constants, subscripts of built-in containers and plain attributes. Else raises `LookupError`."""
    if depth == 0:
        raise LookupError
    match node:
        case ast.Constant(value):
            return value
        case ast.Name(name):
            return next(scope[name] for scope in (frame.f_locals, frame.f_globals) if name in scope)
        case ast.Subscript(inner, index):
            value = _value(inner, frame, depth - 1)
            if type(value) not in (dict, list, tuple):
                raise LookupError
            return value[_value(index, frame, depth - 1)]
        case ast.Attribute(inner, name):
            value = inspect.getattr_static(_value(inner, frame, depth - 1), name)
            if isinstance(value, (property, types.FunctionType)) or hasattr(type(value), "__get__"):
                raise LookupError
            return value
    raise LookupError


FINDERS = (
    (Exception, _network),
    (KeyError, _key),
    (IndexError, _index),
    (AttributeError, _attribute),
    (NameError, _name),
    (ImportError, _module),
    ((FileNotFoundError, NotADirectoryError, IsADirectoryError), _file),
)
"""The functions to try, in order, with the exceptions that each is for. The first result counts."""
