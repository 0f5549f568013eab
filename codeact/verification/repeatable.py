"""Says of a block of Python whether running it again must give the same, and why not. Pure.

This is a list of what is allowed: everything else counts as different each time. A block that passes reaches nothing
outside of its sandbox but the functions that it may call, whose results are recorded, and it reads no clock, no random
numbers without a seed, no addresses of objects, and no threads. It can hide what it does nevertheless, so whoever runs
it again compares what comes of it, too.
"""

import ast
import re
from collections.abc import Collection

from codeact.dialect.python_source import tree_of

__all__ = ["why_not_again"]

MOST_CHARS = 50_000
MODULES = frozenset(
    """
    abc array base64 binascii bisect calendar cmath collections colorsys contextlib copy csv
    dataclasses datetime decimal difflib enum fractions functools graphlib hashlib heapq html io itertools json math
    matplotlib numbers numpy operator pandas pprint re scipy seaborn sqlite3 statistics string struct sympy
    textwrap types typing unicodedata zlib
    """.split()  # noqa: SIM905
)
"""Modules that reach nothing outside of the sandbox, and are the same each time but for the words of `CHANGING`."""
NAMES = frozenset(
    """
    __builtins__ __import__ asyncio basinhopping bootstrap breakpoint compile ctypes ctypeslib delattr
    differential_evolution dir dual_annealing eval exec fromfile gc get_ipython getattr getpid globals hash help id
    importlib input kmeans kmeans2 load_extension locals memmap modules monte_carlo_test multiprocessing object
    open_memmap os permutation permutation_test pickle platform qmc resample rvs sample samples setattr shell shuffle
    shutil signal socket subprocess sys tempfile threading urlopen vars weakref
    """.split()  # noqa: SIM905
)
"""Names that reach objects in ways that the text does not show, show where they are in memory, draw random numbers, or
lead to modules that are not allowed, which allowed ones have imported."""
ALLOWED_DUNDERS = frozenset({"__init__", "__name__", "__doc__", "__version__"})
CHANGING = re.compile(
    r"(?<![a-z])(?:now|today|utcnow|current_?(?:date|time)\w*|rand\w*|uuid\w*|urandom)(?![a-z])"
    r"|(?<![\w.])(?:(?:date|time|datetime|julianday|unixepoch)\s*\(\s*|strftime\s*\(\s*'[^']{1,40}'\s*)\)",
    re.IGNORECASE,
)
"""Words of what is different each time, also in text, such as SQL. An underscore ends a word: `a_random_state`.

SQLite's functions give the current time if they get none.
"""
SEEDED = re.compile(r"\b(?:np|numpy)\.random\.default_rng\(\d{1,20}\)|\brandom_state=\d{1,20}(?!\w)")
"""Generators that begin with a seed of their own."""
OUTSIDE = re.compile(r"://|/(?:dev|proc|sys|etc|run|tmp|var|root|home|usr)\b|\.\./|^~")
NOT_ALLOWED = (ast.Await, ast.AsyncFor, ast.AsyncWith, ast.AsyncFunctionDef)


DRAWN = {
    "random": re.compile(
        r"^[ \t]*import random[ \t]*$|(?<![\w.])random\.(?:(?:random|uniform|triangular|randint|randrange|choice"
        r"|choices|gauss|normalvariate|expovariate|getrandbits|shuffle|sample)(?=\()|seed\(\d{1,20}\))",
        re.MULTILINE,
    ),
    "numpy.random": re.compile(
        r"(?<![\w.])(?:np|numpy)\.random\.(?:(?:rand|randn|randint|random|random_sample|normal|standard_normal|uniform"
        r"|choice|exponential|poisson|binomial|shuffle|permutation)(?=\()|seed\(\d{1,20}\))"
    ),
}
"""Draws from the generators that a module has once, by the name of the generator: they go on from its state."""
MIXING = frozenset({"shuffle", "sample", "permutation"})


def why_not_again(code: str, known: Collection[str] = ()) -> str | None:
    """Returns why running this block again may give something else or reach outside; None if it must give the same.

    `known` names the generators of `DRAWN` that have the same state when it runs again. It costs time in proportion to
    the code, of which it reads `MOST_CHARS` at most.
    """
    if len(code) > MOST_CHARS:
        return f"it has over {MOST_CHARS:,} characters"
    tree = tree_of(code)
    if tree is None:
        return "it is not plain Python"
    rest = SEEDED.sub(" ", code)
    for name in known:
        rest = DRAWN[name].sub(" ", rest)
    found = CHANGING.search(rest)
    if found is not None:
        return f"it says '{found[0]}', which may be different each time"
    for node in ast.walk(tree):
        if (reason := _why_not(node, known)) is not None:
            return reason
    return None


def _why_not(node: ast.AST, known: Collection[str]) -> str | None:
    match node:
        case ast.Import(names=[ast.alias(name="random", asname=None)]) if "random" in known:
            return None
        case ast.Attribute(value=ast.Name(id="random"), attr=name) if name in MIXING and "random" in known:
            return None
        case ast.Attribute(value=ast.Attribute(attr="random"), attr=name) if name in MIXING and "numpy.random" in known:
            return None
        case ast.Import(names=names):
            return next((_of_module(each.name) for each in names if _of_module(each.name)), None)
        case ast.ImportFrom(module=str() as module, level=0, names=names):
            if any(each.name == "*" or _is_hidden(each.name) for each in names):
                return "it imports more than its text shows"
            return _of_module(module)
        case ast.ImportFrom():
            return "it imports by a relative name"
        case ast.Name(id=name) | ast.Attribute(attr=name) if _is_hidden(name):
            return f"it uses '{name}'"
        case ast.Constant(value=str() as text) if OUTSIDE.search(text):
            return "it names a place outside of its working directory"
        case _ if isinstance(node, NOT_ALLOWED):
            return "it awaits something"
    return None


def _of_module(name: str) -> str | None:
    return None if name.partition(".")[0] in MODULES else f"it imports '{name[:100]}'"


def _is_hidden(name: str) -> bool:
    return name in NAMES or (name.startswith("__") and name not in ALLOWED_DUNDERS)
