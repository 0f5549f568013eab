"""Reads what a block of Python says about hosts, files and deletions, before it runs.

This is a help for whoever approves code, and no wall: code that builds a name at run time, or that hides a call, is not
seen. What code really can reach is decided by its sandbox.
"""

import ast
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from codeact.dialect.python_source import tree_of
from codeact.tools.hosts import hosts_in

__all__ = ["CodeFacts", "read_code"]

MOST_CHARS = 200_000
"""Longer code is not parsed; the rules then take it for code that does everything."""

NETWORK_MODULES = frozenset(
    [
        "aiohttp",
        "boto3",
        "ftplib",
        "grpc",
        "http",
        "httpx",
        "imaplib",
        "paramiko",
        "poplib",
        "requests",
        "smtplib",
        "socket",
        "ssl",
        "telnetlib",
        "urllib",
        "urllib3",
        "websocket",
        "websockets",
        "xmlrpc",
    ]
)
DELETING = frozenset({"remove", "removedirs", "rmdir", "rmtree", "unlink"})
"""Names of functions that delete files: of `os`, `shutil` and `pathlib`."""
SHELLS = frozenset({"Popen", "call", "check_call", "check_output", "getoutput", "popen", "run", "shell", "system"})
COMMANDS = frozenset({"args", "cmd", "command", "commands"})
"""The arguments of these functions that have the commands, when they are given by name."""
SHELL_MAGICS = frozenset({"bash", "pip", "sh", "sx", "system"})
PLAIN_MAGICS = frozenset({"matplotlib"})
"""Magics of IPython that run no code. Of code with any other magic nothing is known."""
WORKSPACES = ("/workspace", "/mnt/data", "/tmp")  # noqa: S108
"""Directories that are the sandbox's own. The working directory is the first of them in Docker's sandboxes."""

_MAGIC = re.compile(r"%{1,2}([A-Za-z_]*)")
_SHELL_NETWORK = re.compile(r"(?:^|[\s;&|(])(?:curl|wget|ssh|scp|nc|pip|git)\s")
_SHELL_DELETION = re.compile(r"(?:^|[\s;&|(])(?:rm|rmdir|shred|unlink)\s+([^;&|\n]{0,1000})|(?:\s-delete\b)")
_SQL_DELETION = re.compile(r"\b(?:drop\s+(?:table|database|schema)|truncate\s+table|delete\s+from)\b", re.IGNORECASE)


@dataclass(slots=True)
class CodeFacts:
    """What the text of a block says.

    `hosts` are the hosts of URLs in it. `deletes` are the paths that it deletes; None among them stands for something
    whose name is not in the text. `is_read` is False for text that is no Python, or is too long: nothing is known then.
    """

    is_read: bool = True
    uses_network: bool = False
    hosts: set[str] = field(default_factory=set)
    outside_files: set[str] = field(default_factory=set)
    deletes: set[str | None] = field(default_factory=set)


def read_code(code: str) -> CodeFacts:
    """Reads a block of Python, with the shell lines and magics of IPython. Takes linear time."""
    facts = CodeFacts()
    if len(code) > MOST_CHARS:
        return CodeFacts(is_read=False)
    if (tree := tree_of(code)) is None:
        if (parts := _split(code)) is None or (tree := tree_of(parts[0])) is None:
            return CodeFacts(is_read=False)
        for line in parts[1]:
            _read_shell(line, facts)
    for node in _nodes(tree):
        _read_node(node, facts)
    return facts


def _split(code: str) -> tuple[str, list[str]] | None:
    """Separates the lines for a shell from Python; a cell magic takes the whole block. None if a magic is unknown."""
    if code.lstrip().startswith("%%"):
        return ("", [code]) if _magic(code.lstrip()) in SHELL_MAGICS else None
    plain, shell = [], []
    for line in code.splitlines():
        word = line.lstrip()
        if word.startswith("%") and _magic(word) not in SHELL_MAGICS | PLAIN_MAGICS:
            return None
        if word.startswith(("!", "%")):
            shell.append(word.lstrip("!%"))
            plain.append(line[: len(line) - len(word)] + "pass")
        else:
            plain.append(line)
    return "\n".join(plain), shell


def _magic(line: str) -> str:
    found = _MAGIC.match(line)
    return found[1] if found is not None else ""


def _nodes(tree: ast.AST) -> Iterator[ast.AST]:
    left = [tree]
    while left:
        node = left.pop()
        yield node
        left.extend(ast.iter_child_nodes(node))


def _read_node(node: ast.AST, facts: CodeFacts) -> None:
    match node:
        case ast.Import(names=names):
            facts.uses_network |= any(name.name.partition(".")[0] in NETWORK_MODULES for name in names)
        case ast.ImportFrom(module=str(module)):
            facts.uses_network |= module.partition(".")[0] in NETWORK_MODULES
        case ast.Constant(value=str(text)):
            _read_text(text, facts)
        case ast.Call(func=ast.Attribute(value=owner, attr="remove")) if getattr(owner, "id", "") != "os":
            pass  # Of a list or a set.
        case ast.Call(func=ast.Attribute(value=owner, attr=name), args=arguments) if name in DELETING:
            facts.deletes.add(_path(arguments[0]) if arguments else _path(owner))
        case ast.Call(func=ast.Name(id=name), args=arguments) if name in DELETING:
            facts.deletes.add(_path(arguments[0]) if arguments else None)
        case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name), args=given, keywords=named) if name in SHELLS:
            for argument in [*given[:1], *(each.value for each in named if each.arg in COMMANDS)]:
                _read_shell(("\n" if name == "shell" else " ").join(_texts(argument)), facts)


def _read_text(text: str, facts: CodeFacts) -> None:
    if hosts := hosts_in(text):
        facts.hosts |= hosts
        facts.uses_network = True
    if _SQL_DELETION.search(text):
        facts.deletes.add(None)
    if len(text) < 4096 and "\n" not in text and "://" not in text and _is_outside(text):
        facts.outside_files.add(text)


def _is_outside(text: str) -> bool:
    path = PurePosixPath(posixpath.normpath(text))
    if text.startswith("~"):
        return True
    if path.is_absolute():
        return len(path.parts) > 1 and not any(path.is_relative_to(own) for own in WORKSPACES)
    return path.parts[:1] == ("..",)


def _read_shell(line: str, facts: CodeFacts) -> None:
    facts.hosts |= hosts_in(line)
    facts.uses_network |= bool(facts.hosts) or _SHELL_NETWORK.search(line) is not None
    for found in _SHELL_DELETION.finditer(line):
        names = [word for word in (found[1] or "").split() if not word.startswith("-")]
        facts.deletes |= {None if set(name) & set("*?[]$`{}~") else name for name in names} or {None}
    for word in line.split():
        if _is_outside(word) and "://" not in word:
            facts.outside_files.add(word)


def _path(node: ast.expr) -> str | None:
    """The path that an argument names: a text, or `Path("…")`."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.Call(func=ast.Name(id="Path") | ast.Attribute(attr="Path"), args=[ast.Constant(value=str(text))]):
            return text
    return None


def _texts(node: ast.expr) -> Iterator[str]:
    for each in [node, *getattr(node, "elts", ())]:
        match each:
            case ast.Constant(value=str(text)):
                yield text
            case ast.JoinedStr(values=parts):
                yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in parts)
