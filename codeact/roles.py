"""Decides which role somebody who signs in has, by the groups and the address that the provider vouches for.

Pure: no I/O and no clock.
"""

from collections.abc import Collection, Sequence
from typing import Literal

__all__ = ["ROLES", "Role", "highest", "role_of"]

Role = Literal["user", "operator", "admin"]
ROLES: tuple[Role, ...] = ("user", "operator", "admin")
"""Each role may do what those before it may."""

EVERYBODY = "*"
DOMAIN = "*@"


def highest(*roles: Role | None) -> Role | None:
    """The highest of these roles; None if there is none."""
    return max((role for role in roles if role is not None), key=ROLES.index, default=None)


def role_of(rules: Sequence[tuple[Role, Collection[str]]], *, groups: Collection[str], email: str) -> Role | None:
    """The highest role of which a rule matches; None: this person may not sign in.

    A rule is the name of a group, an address (`alice@example.com`), the addresses of a domain (`*@example.com`) or `*`,
    which is everybody whom the provider knows. `email` must be an address that the provider has verified, or empty.
    """
    # Some letters outside of ASCII become other addresses' letters: U+212A, the sign of kelvin, becomes a k.
    email = email.lower() if email.isascii() else email
    return highest(*(role for role, rule in rules if any(_matches(one, groups, email) for one in rule)))


def _matches(rule: str, groups: Collection[str], email: str) -> bool:
    if rule == EVERYBODY:
        return True
    if rule.startswith(DOMAIN):
        name, at, domain = email.rpartition("@")
        return bool(name and at) and domain == rule.removeprefix(DOMAIN).lower()
    return rule in groups or ("@" in rule and rule.lower() == email)
