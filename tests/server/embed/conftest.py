"""A server whose pages may be embedded, and keys for it."""

import logging
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import anyio
import pytest

from codeact.store import OwnerLimits, Store, open_store
from tests.server.conftest import Running, in_thread, settings_of
from tests.server.embed.tokens import OTHER, SHOP, Ask


@pytest.fixture(scope="module")
def server(make_server: Callable[..., Running]) -> Running:
    return make_server(
        api_keys="key-a,key-b", embed_origins=f"{SHOP},{OTHER}", allowed_origins="https://friend.example"
    )


@pytest.fixture(scope="module")
def in_store(data_dir: Path) -> Ask:
    """Queries the servers' database from outside."""

    def ask(question: Callable[[Store], Any]) -> Any:
        async def run() -> Any:
            async with open_store(settings_of(data_dir)) as store:
                return await question(store)

        return in_thread(anyio.run, run)

    return ask


@pytest.fixture(scope="module")
def key_for(in_store: Ask) -> Callable[..., tuple[str, str]]:
    """Makes a key in the database; returns its id and its secret."""

    def make(owner: str, *, expires_at: datetime | None = None, operator: bool = False, **limits: int) -> Any:
        made, secret = in_store(
            lambda store: store.access.create_key(
                owner=owner, name="", operator=operator, expires_at=expires_at, limits=OwnerLimits(**limits)
            )
        )
        return made.id, secret

    return make


@pytest.fixture
def complaints(caplog: pytest.LogCaptureFixture) -> Iterator[list[logging.LogRecord]]:
    """What uvicorn logs: errors only."""
    logger = logging.getLogger("uvicorn.error")
    logger.addHandler(caplog.handler)
    yield caplog.records
    logger.removeHandler(caplog.handler)
