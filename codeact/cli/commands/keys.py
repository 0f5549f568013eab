"""`codeact keys`: creates, lists and revokes API keys in the settings' database."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import anyio
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from codeact.cli.controls import print_json
from codeact.owners import check_owner
from codeact.settings import Settings
from codeact.store import Credential, OwnerLimits, Store, open_store

__all__ = ["create", "revoke", "show"]

T = TypeVar("T")


def create(
    settings: Settings,
    *,
    owner: str,
    name: str,
    operator: bool,
    days: int | None,
    limits: OwnerLimits,
    as_json: bool,
) -> None:
    """Creates a key and prints its secret, the only text on stdout. Raises `InvalidRequest` for a bad owner name."""
    check_owner(owner)
    expires_at = datetime.now(UTC) + timedelta(days=days) if days is not None else None
    made, secret = _with_store(
        settings,
        lambda store: store.access.create_key(
            owner=owner, name=name, operator=operator, expires_at=expires_at, limits=limits
        ),
    )
    if as_json:
        print_json({**_builtins(made), "secret": secret})
        return
    Console(stderr=True).print(_shown(f"The key {made.id} of {made.owner}. Its secret is shown this once:"))
    print(secret)  # noqa: T201


def show(settings: Settings, *, as_json: bool) -> None:
    """Prints a line per key, oldest first."""
    keys = _with_store(settings, lambda store: store.access.list_keys())
    if as_json:
        print_json([_builtins(key) for key in keys])
        return
    if not keys:
        Console().print("No keys. `codeact keys create --owner NAME` makes one.")
        return
    table = Table("id", "key", "owner", "name", "made", "state", "limits", box=None)
    for key in keys:
        made = f"{key.created_at:%Y-%m-%d}"
        cells = (key.id, key.shown, key.owner, key.name, made, _state(key), _limits(key.limits))
        table.add_row(*map(_shown, cells))
    Console().print(table, soft_wrap=True)


def revoke(settings: Settings, key_id: str) -> None:
    """Revokes a key. Raises `NotFound` if there is no key with this id."""
    revoked = _with_store(settings, lambda store: store.access.revoke_key(key_id))
    Console().print(_shown(f"Revoked {revoked.id} of {revoked.owner}."))


def _with_store(settings: Settings, ask: Callable[[Store], Awaitable[T]]) -> T:
    async def main() -> T:
        async with open_store(settings) as store:
            return await ask(store)

    return anyio.run(main)


def _shown(text: str) -> Text:
    """The text as it is, for people chose parts of it: no markup, and nothing that a terminal takes for commands."""
    return Text("".join(each for each in text if each.isprintable()))


def _state(key: Credential) -> str:
    if key.revoked_at is not None:
        return f"revoked {key.revoked_at:%Y-%m-%d}"
    if key.expires_at is not None:
        return f"{'ended' if key.expires_at <= datetime.now(UTC) else 'until'} {key.expires_at:%Y-%m-%d}"
    return "operator" if key.operator else "valid"


def _limits(limits: OwnerLimits) -> str:
    values = msgspec.to_builtins(limits)
    return ", ".join(f"{name} {value}" for name, value in values.items() if value is not None)


def _builtins(key: Credential) -> dict[str, Any]:
    builtins: dict[str, Any] = msgspec.to_builtins(key)
    return builtins
