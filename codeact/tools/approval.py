"""Approval: which calls and which code wait until somebody has approved them.

A policy is a list of rules. Two policies are joined by joining their rules, so a request can only add to what the
operator's settings ask for.
"""

import re
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, Literal

import msgspec

from codeact.concurrency.offloop import off_loop
from codeact.tools.code_reading import CodeFacts, read_code
from codeact.tools.function import Function
from codeact.tools.hosts import MOST_HOSTS, UNREADABLE, hosts_in_json

__all__ = [
    "RULES",
    "ApprovalPolicy",
    "ApprovalQuestion",
    "Judge",
    "Ruling",
    "SizeOf",
    "asks_by",
    "policy_of",
    "ruling_of",
]

RULES: Mapping[str, str] = {
    "always": "each block of code and each call",
    "code": "each block of code, before it runs",
    "calls": "each call of a function outside of the sandbox",
    "writes": "calls of functions that are not marked as only reading",
    "destructive": "calls of functions that may destroy something",
    "first_use": "the first call of each function in a conversation",
    "network": "code whose text uses the network",
    "outside_files": "code whose text names files outside of the workspace",
    "deletes": "code whose text deletes files or tables",
    "deletes:MB": "the same, if it deletes more than so many megabytes, or nobody can tell how much",
    "function:PATTERN": "calls of functions with such a name, such as `function:github.create_*`",
    "host:PATTERN": "code and calls with the URL of such a host, such as `host:*.example.com`",
}
"""What each rule asks about. `never` alone is an empty policy."""

MOST_RULES, RULE_CHARS = 50, 200
BYTES_PER_MB = 1_000_000
_DELETES = re.compile(r"deletes:(\d{1,6})\Z")

SizeOf = Callable[[Collection[str]], Awaitable[int | None]]
"""An async function that returns how many bytes the files at these paths have; None if it cannot know."""


@dataclass(frozen=True, slots=True)
class ApprovalQuestion:
    """What a judge decides about: code that has not run (`kind` is `code`), or a call that code makes.

    `name` is the function's name in code; `arguments` are its arguments. `reasons` are the rules that ask.
    """

    kind: Literal["code", "call"]
    name: str
    arguments: Mapping[str, Any]
    code: str
    reasons: Sequence[str]
    owner: str = ""
    conversation_id: str = ""


@dataclass(frozen=True, slots=True)
class Ruling:
    """A judge's decision. `code`, or `arguments` of a call, replace what was asked about."""

    approve: bool
    reason: str = ""
    code: str | None = None
    arguments: Mapping[str, Any] | None = None


Judge = Callable[[ApprovalQuestion], Any]
"""Decides before a person is asked: True allows, False or a text (the reason) rejects, None leaves it to a person; or a
`Ruling`. It may be async.
"""


def ruling_of(value: Any) -> Ruling | None:
    """Converts what a judge returned. Raises `TypeError` for anything that is no decision."""
    match value:
        case None | Ruling():
            return value
        case bool():
            return Ruling(value)
        case str():
            return Ruling(False, value)
    raise TypeError(f"a judge returns True, False, a reason, None or a Ruling, not {type(value).__name__}")


@dataclass(frozen=True, slots=True)
class ApprovalPolicy:
    """The rules by which code and calls wait. Without rules nothing waits."""

    rules: tuple[str, ...] = ()
    _deletes: tuple[tuple[str, int], ...] = field(default=(), repr=False)

    def __bool__(self) -> bool:
        return bool(self.rules)

    def joined(self, other: "ApprovalPolicy") -> "ApprovalPolicy":
        """Returns the policy that asks whenever one of the two does."""
        return _policy([*self.rules, *other.rules]) if other.rules else self

    async def of_call(self, function: Function, arguments: str, used: Collection[str]) -> list[str]:
        """Returns the rules that ask about this call; none: it needs no approval.

        `arguments` is their JSON. `used` are the names of functions that the conversation has called before.
        """
        if function.is_own:
            return []
        hosts: set[str] = set()
        if any(rule.startswith("host:") for rule in self.rules):
            hosts = await off_loop(len(arguments), partial(hosts_in_json, arguments))
        about_hosts = await self._about(hosts)
        names = {function.path, function.name if function.server is None else f"{function.server}.{function.name}"}
        asks = {
            "always": True,
            "calls": True,
            "writes": not function.read_only,
            "destructive": function.destructive and not function.read_only,
            "first_use": function.path not in used,
        }
        found = [rule for rule in self.rules if asks.get(rule) or rule in about_hosts or _names(rule, names, ())]
        return [*found, "require_approval"] if function.approval == "always" else found

    async def of_code(self, code: str, size_of: SizeOf) -> list[str]:
        """Returns the rules that ask about this block; none: it runs at once."""
        found = [rule for rule in self.rules if rule in ("always", "code")]
        reading = [rule for rule in self.rules if rule.startswith(("network", "outside_files", "deletes", "host:"))]
        if not reading:
            return found
        facts = await off_loop(len(code), partial(read_code, code))
        about_hosts = await self._about(facts.hosts)
        return [*found, *[rule for rule in reading if rule in about_hosts or await self._is_met(rule, facts, size_of)]]

    async def _about(self, hosts: Collection[str]) -> Collection[str]:
        """Returns the rules that ask about one of these hosts. With many of both, that takes a tenth of a second."""
        rules = [rule for rule in self.rules if rule.startswith("host:")]
        characters = sum(map(len, hosts)) * len(rules)
        return await off_loop(characters, lambda: {rule for rule in rules if _names(rule, (), hosts)})

    async def _is_met(self, rule: str, facts: CodeFacts, size_of: SizeOf) -> bool:
        if not facts.is_read:
            return True
        match rule.partition(":"):
            case "network", _, _:
                return facts.uses_network
            case "outside_files", _, _:
                return bool(facts.outside_files)
            case "host", _, _:
                return False
        if not facts.deletes or rule == "deletes":
            return bool(facts.deletes)
        paths = {path for path in facts.deletes if path is not None}
        size_bytes = await size_of(paths) if None not in facts.deletes else None
        return size_bytes is None or size_bytes > dict(self._deletes)[rule] * BYTES_PER_MB


def policy_of(rules: Iterable[str]) -> ApprovalPolicy:
    """Reads rules. Raises `ValueError`, which names the rule that does not exist and those that do."""
    listed = [rule.strip() for rule in rules if rule.strip()]
    if len(listed) > MOST_RULES:
        raise ValueError(f"there are more than {MOST_RULES} rules")
    if "never" in listed:
        if len(listed) > 1:
            raise ValueError("'never' stands alone")
        return ApprovalPolicy()
    for rule in listed:
        kind, _, pattern = rule.partition(":")
        known = rule in RULES or _DELETES.match(rule) or (f"{kind}:PATTERN" in RULES and pattern)
        if not known or rule.endswith((":PATTERN", ":MB")) or len(rule) > RULE_CHARS:
            raise ValueError(f"'{rule[:RULE_CHARS]}' is no rule; rules are never, {', '.join(RULES)}")
    return _policy(listed)


def _policy(rules: Sequence[str]) -> ApprovalPolicy:
    each = tuple(dict.fromkeys(rules))
    sizes = [(rule, int(found[1])) for rule in each if (found := _DELETES.match(rule))]
    return ApprovalPolicy(each, tuple(sizes))


def _names(rule: str, names: Collection[str], hosts: Collection[str]) -> bool:
    """Whether the rule asks about a function with one of these names, or about one of these hosts."""
    kind, _, pattern = rule.partition(":")
    if kind == "function":
        return any(fnmatchcase(name, pattern) for name in names)
    if kind != "host":
        return False
    if UNREADABLE in hosts or len(hosts) > MOST_HOSTS:
        return True
    return any(fnmatchcase(host, pattern.casefold()) for host in hosts)


class _Names(msgspec.Struct, forbid_unknown_fields=True):
    tool_names: list[str] | None = None
    read_only: bool | None = None

    def has(self, name: str, *, read_only: bool) -> bool:
        names = self.tool_names is None or name in self.tool_names
        return names and self.read_only in (None, read_only) and (self.tool_names, self.read_only) != (None, None)


class RequireApproval(msgspec.Struct, forbid_unknown_fields=True):
    """`require_approval` of a tool `mcp` as an object: the tools that always ask, and those that never do."""

    always: _Names | None = None
    never: _Names | None = None


def asks_by(
    require: Literal["always", "never"] | RequireApproval | None, name: str, *, read_only: bool = False
) -> bool:
    """Whether a call of this MCP tool asks by the request's `require_approval`; the standard's default is `always`."""
    if isinstance(require, RequireApproval):
        if require.always is not None and require.always.has(name, read_only=read_only):
            return True
        if require.never is not None and require.never.has(name, read_only=read_only):
            return False
        return require.always is None
    return require != "never"
