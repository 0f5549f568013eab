"""What `/readyz` shows to whom."""

from collections.abc import Callable
from typing import Any

import anyio
import httpx
import pytest

from codeact.store import open_store
from tests.server.conftest import Running, in_thread

PARTS = ("database", "model", "sandbox")
DETAILS = {"summary", "why", "hints", "detail"}


def ready(server: Running, **headers: str) -> dict[str, Any]:
    answer = httpx.get(f"{server.url}/readyz", headers=headers, trust_env=False)
    assert answer.status_code == 200
    return dict(answer.json())


def is_told_nothing_more(told: dict[str, Any]) -> bool:
    states = {part: {"state": "ready"} for part in PARTS}
    return told == {"ready": True, "missing": [], "failing": [], "degraded": []} | states


def test_strangers_read_names_and_states_of_the_parts_alone(make_server: Callable[..., Running]) -> None:
    server = make_server(api_keys="key-a", pool_min=0)

    async def make() -> str:
        async with open_store(server.settings) as store:
            return (await store.access.create_key(owner="root", name="", operator=True))[1]

    assert is_told_nothing_more(ready(server))
    assert is_told_nothing_more(ready(server, Authorization="Bearer key-a"))
    assert is_told_nothing_more(ready(server, Authorization="Bearer guessed"))
    told = ready(server, Authorization=f"Bearer {in_thread(anyio.run, make)}")
    assert all(told[part].keys() & DETAILS for part in PARTS)


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "Via", "X-Real-IP"])
def test_this_machine_reads_details_where_no_keys_are_needed_but_not_through_a_proxy(
    demo: Running, header: str
) -> None:
    assert all(ready(demo)[part].keys() & DETAILS for part in PARTS)
    assert is_told_nothing_more(ready(demo, **{header: "198.51.100.1"}))


def test_behind_a_public_url_nobody_is_this_machine(make_server: Callable[..., Running]) -> None:
    assert is_told_nothing_more(ready(make_server(public_url="https://chat.example", pool_min=0)))
