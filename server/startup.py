"""How the parts open: settings enter, the database, the pool and the model leave, each with why it was chosen."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial

import anyio

from codeact.errors import ConfigurationError
from codeact.models.discovery import find_models
from codeact.models.served import Served
from codeact.settings import Settings
from codeact.store import Store, describe, open_store
from sandbox_pool import SandboxPool
from sandbox_pool.backends.auto import open_backend
from server.guard import is_loopback
from server.leases import end_the_dead
from server.parts import Opened, Part
from server.upkeep import upkeep

__all__ = ["parts"]


def parts(settings: Settings) -> tuple[Part[Store], Part[SandboxPool], Part[Served]]:
    """The three parts, not yet running."""

    @asynccontextmanager
    async def database(part: Part[Store]) -> AsyncIterator[Opened[Store]]:
        async with open_store(settings) as store:
            await end_the_dead(store, events_ttl_s=settings.events_ttl_s)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(partial(upkeep, store, retention=timedelta(days=settings.deleted_retention_days)))
                if settings.mongodb_uri is not None:
                    summary = f"MongoDB at {describe(settings.mongodb_uri.get_secret_value())}"
                    yield Opened(store, summary, "CODEACT_MONGODB_URI names it")
                else:
                    hint = "CODEACT_MONGODB_URI=mongodb://… uses a MongoDB of yours"
                    summary = f"embedded MongoDB in {settings.data_dir}"
                    yield Opened(store, summary, "no CODEACT_MONGODB_URI is set", (hint,))
                tasks.cancel_scope.cancel()

    @asynccontextmanager
    async def sandboxes(part: Part[SandboxPool]) -> AsyncIterator[Opened[SandboxPool]]:
        spec = settings.sandbox_spec
        found = await open_backend(settings.sandbox, spec, state_dir=settings.data_dir / "run", progress=part.say)
        if not (found.backend.isolation.isolated or is_loopback(settings.host) or settings.allow_unisolated):
            await found.backend.close()
            raise ConfigurationError(
                f"Code would run as plain local processes, and CODEACT_HOST={settings.host} lets others send it."
                " Install bubblewrap or Docker; CODEACT_ALLOW_UNISOLATED=true accepts the risk.",
                param="CODEACT_HOST",
            )
        pool = SandboxPool(
            spec,
            backend=found.backend,
            min_size=settings.pool_min,
            max_size=settings.pool_max,
            max_per_owner=settings.sandboxes_per_owner,
            acquire_timeout_s=settings.acquire_timeout_s,
        )
        async with pool:
            yield Opened(pool, found.backend.isolation.summary, found.why, found.hints)

    @asynccontextmanager
    async def models(part: Part[Served]) -> AsyncIterator[Opened[Served]]:
        found = await find_models(settings)
        try:
            yield Opened(found.served, found.served.summary, found.why, (found.hint,) if found.hint else ())
        finally:
            await found.close()

    return Part("database", database), Part("sandbox", sandboxes), Part("model", models)
