"""Generates a Python module for the kernel with the functions of one response: source, types and docstrings.

Only names that were checked become code. All other text of schemas and descriptions appears only as string literals.
"""

from collections.abc import Sequence
from pathlib import Path

from codeact.tools.annotations import TypeNames
from codeact.tools.function import TEXT, Function, Kind, identifier

__all__ = ["ONE_AT_A_TIME", "SEARCH", "kernel_module", "titled"]

SEARCH = "search_tools"
_SEARCH_SOURCE = Path(__file__).with_name("kernel_search.py").read_text("utf-8")
_SHELL_SOURCE = Path(__file__).with_name("kernel_shell.py").read_text("utf-8")
_PATCH_SOURCE = Path(__file__).with_name("kernel_patch.py").read_text("utf-8")
_GRAMMAR_SOURCE = Path(__file__).with_name("kernel_grammar.py").read_text("utf-8")

_HEAD = [
    "from __future__ import annotations",
    "from datetime import date, datetime, time, timedelta",
    "from typing import Any, Literal, TypedDict",
    "from codeact_calls import CallError, call as _call",
    "class _Default:",
    "    def __init__(self, shown):",
    "        self.shown = shown",
    "    def __repr__(self):",
    "        return self.shown",
    "import contextlib as _contextlib",
    "import sys as _sys",
    "def _call_outside(name, given):",
    "    turn = getattr(_sys.modules.get('codeact_functions'), '_turn', None)",
    "    with turn or _contextlib.nullcontext():",
    "        return _call(name, {key: value for key, value in given.items() if not isinstance(value, _Default)})",
]
ONE_AT_A_TIME = "import threading\nsys.modules['codeact_functions']._turn = threading.Lock()\n"
"""Code after the definitions of functions: calls of several threads wait for each other."""


_LOADING = [
    "_texts = {}",
    f"exec(compile({_SEARCH_SOURCE!r}, '<codeact_search>', 'exec'), _texts)",
    "def _loaded(found):",
    "    if not isinstance(found, dict) or found.keys() != {'text', 'source'}:",
    "        return found",
    "    exec(compile(found['source'], '<codeact_functions>', 'exec'), {})",
    "    return _texts['Found'](found['text'])",
]
"""Makes the functions known that a client's search has found."""


def kernel_module(
    functions: Sequence[Function], types: TypeNames, *, searchable: bool = False, adds: bool = False
) -> str:
    """Code that puts the functions into the user's namespace, replacing those from an earlier response.

    `searchable` adds `search_tools(query)`. Types, and functions that give way, are added too, unless the user's code
    has something else under their names. With `adds`, other functions stay, also those in the same namespaces.
    """
    plain = [function for function in functions if function.server is None and not function.is_builtin]
    servers: dict[str, list[Function]] = {}
    for function in functions:
        if function.server is not None:
            servers.setdefault(identifier(function.server), []).append(function)
    sources = {function.path: _source(function, types) for function in functions if not function.is_builtin}
    head = [*_HEAD]
    if any(function.grammar is not None for function in functions):
        head += ["_grammars = {}", f"exec(compile({_GRAMMAR_SOURCE!r}, '<codeact_grammars>', 'exec'), _grammars)"]
    if any(function.is_shell for function in functions):
        head += ["_shell = {}", f"exec(compile({_SHELL_SOURCE!r}, '<codeact_shell>', 'exec'), _shell)"]
    if any(function.is_patch for function in functions):
        head += ["_patch = {}", f"exec(compile({_PATCH_SOURCE!r}, '<codeact_patch>', 'exec'), _patch)"]
    if any(function.is_search for function in functions):
        head += _LOADING
    parts = [*head, *types.source(), *(sources[function.path] for function in plain)]
    for server, members in servers.items():
        about = members[-1].about or f"The functions of {server}."
        parts.append(f"class {server}:\n    {about!r}")
        for member in members:
            body = "".join(f"    {line}\n" for line in sources[member.path].splitlines())
            parts.append(f"    @staticmethod\n{body}")
    polite = [identifier(function.name) for function in plain if function.gives_way]
    names = [identifier(function.name) for function in plain if not function.gives_way] + list(servers)
    if searchable:
        parts.append(_search(functions, types))
        names.append(SEARCH)
    source = "\n".join(parts)
    if adds:
        return _adding(source, [*names, *polite], list(servers), list(types.fields))
    return (
        "import sys, types\n"
        "space = get_ipython().user_ns\n"
        "old = sys.modules.get('codeact_functions')\n"
        "for name in getattr(old, 'NAMES', ()):\n"
        "    if space.get(name) is getattr(old, name):\n"
        "        del space[name]\n"
        "module = sys.modules['codeact_functions'] = types.ModuleType('codeact_functions')\n"
        f"exec(compile({source!r}, '<codeact_functions>', 'exec'), module.__dict__)\n"
        f"module.NAMES = {names + polite + list(types.fields)!r}\n"
        f"space.update((name, getattr(module, name)) for name in {names!r})\n"
        f"for name in {polite + list(types.fields)!r}:\n"
        "    space.setdefault(name, getattr(module, name))\n"
        "space['CallError'] = module.CallError\n"
    )


def _adding(source: str, names: list[str], servers: list[str], types: list[str]) -> str:
    """Code that adds the functions of a module to those that are there. The next definition of all replaces them."""
    return (
        "import sys, types\n"
        "space = get_ipython().user_ns\n"
        "old = sys.modules.setdefault('codeact_functions', types.ModuleType('codeact_functions'))\n"
        "module = types.ModuleType('codeact_functions')\n"
        f"exec(compile({source!r}, '<codeact_functions>', 'exec'), module.__dict__)\n"
        f"for name in {names!r}:\n"
        "    new, known = getattr(module, name), getattr(old, name, None)\n"
        f"    if name in {servers!r} and isinstance(known, type) and space.get(name) is known:\n"
        "        for member, value in vars(new).items():\n"
        "            if isinstance(value, staticmethod):\n"
        "                setattr(known, member, value)\n"
        "    else:\n"
        "        setattr(old, name, new)\n"
        "        space[name] = new\n"
        f"for name in {types!r}:\n"
        "    setattr(old, name, getattr(module, name))\n"
        "    space.setdefault(name, getattr(module, name))\n"
        f"old.NAMES = [*getattr(old, 'NAMES', ()), *{names + types!r}]\n"
    )


def _source(function: Function, types: TypeNames) -> str:
    """The function's Python source.

    Arguments that are not passed are not sent, so that the function's own defaults apply.
    """
    given = []
    for name, _, kind, _ in function.ordered():
        value = identifier(name)
        if kind in (Kind.VAR_POSITIONAL, Kind.VAR_KEYWORD):
            made = "list" if kind is Kind.VAR_POSITIONAL else "dict"
            value = f"{made}({value}) if {value} else _Default('')"
        given.append(f"{name!r}: {value}")
    signature = function.signature(types, default=lambda shown: f"_Default({shown!r})")
    returned = "" if function.returns is not None else " -> Any"
    if function.is_shell:
        return (
            f"def {signature}:\n    {function.docstring()!r}\n"
            "    given = (timeout_ms, max_output_length)\n"
            "    limits = [None if isinstance(value, _Default) else value for value in given]\n"
            "    return _shell['shell'](_call, commands, *limits)\n"
        )
    if function.is_patch:
        return f"def {signature}:\n    {function.docstring()!r}\n    return _patch['apply_patch'](_call, patch)\n"
    call_name = function.path if function.server is not None else function.name
    call = f"_call_outside({call_name!r}, {{{', '.join(given)}}})"
    checked = ""
    if function.grammar is not None:
        grammar = function.grammar
        checked = f"    _grammars['check']({function.path!r}, {grammar.syntax!r}, {grammar.definition!r}, {TEXT})\n"
    value = f"_loaded({call})" if function.is_search else call
    return f"def {signature}{returned}:\n    {function.docstring()!r}\n{checked}    return {value}\n"


def _search(functions: Sequence[Function], types: TypeNames) -> str:
    signatures = {function.path: titled(function, types) for function in functions}
    found = ", ".join(f"{function.path!r}: {function.path}" for function in functions)
    return (
        "_search = {}\n"
        f"exec(compile({_SEARCH_SOURCE!r}, '<codeact_search>', 'exec'), _search)\n"
        f"_search_in = ({signatures!r}, {{{found}}})\n"
        f"def {SEARCH}(query: str, limit: int = 10) -> str:\n"
        "    'Functions whose names or descriptions have words of the query, best first.'\n"
        "    return _search['search'](query, *_search_in, limit)\n"
    )


def titled(function: Function, types: TypeNames) -> str:
    """The function's signature with its full name, including its server."""
    server = f"{identifier(function.server)}." if function.server is not None else ""
    return f"{server}{function.signature(types)}"
