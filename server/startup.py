"""Makes the components of the server: the database, the pool and the models."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial

import structlog

from codeact.component import Component, Started
from codeact.errors import ConfigurationError
from codeact.loopback import is_loopback
from codeact.models.discovery import Found, find_models, search
from codeact.models.registry import ModelRegistry
from codeact.runs.ownership import recover_orphans
from codeact.server.maintenance import maintain
from codeact.settings import Settings
from codeact.store import Store, open_store
from codeact.store.opening import chosen
from sandbox_pool import SandboxPool
from sandbox_pool.backends.registry import open_backend
from sandbox_pool.supervision import Supervisor

__all__ = ["components"]

log = structlog.get_logger(__name__)


def components(
    settings: Settings, supervisor: Supervisor
) -> tuple[Component[Store], Component[SandboxPool], Component[ModelRegistry]]:
    """Makes the three components, which are not running yet. `supervisor` runs the tasks inside them."""

    @asynccontextmanager
    async def database(component: Component[Store]) -> AsyncIterator[Started[Store]]:
        async with open_store(settings, supervisor) as store:
            store.has_webhooks = settings.webhooks is not None
            await recover_orphans(store, events_ttl_s=settings.events_ttl_s)
            async with supervisor.tasks() as start:
                retention = timedelta(days=settings.deleted_retention_days)
                checkpoints_for = timedelta(days=settings.checkpoint_days)
                upkeep = partial(maintain, store, retention=retention, checkpoints_for=checkpoints_for)
                start("upkeep of the history", upkeep, essential=False)
                yield Started(store, *chosen(settings))

    @asynccontextmanager
    async def sandboxes(component: Component[SandboxPool]) -> AsyncIterator[Started[SandboxPool]]:
        spec = settings.sandbox_spec
        found = await open_backend(
            settings.sandbox, spec, state_dir=settings.data_dir / "run", progress=component.report_progress
        )
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
            supervisor=supervisor,
            warm_memory_mb=settings.warm_memory_mb,
        )
        async with pool:
            yield Started(pool, found.backend.isolation.summary, found.why, found.hints)

    @asynccontextmanager
    async def models(component: Component[ModelRegistry]) -> AsyncIterator[Started[ModelRegistry]]:
        found = await find_models(settings)

        def started(found: Found) -> Started[ModelRegistry]:
            found.registry.add_aliases(settings.aliases)
            return Started(found.registry, found.registry.summary, found.why, (found.hint,) if found.hint else ())

        async def go_on() -> None:
            component.started = started(later := await search(settings, found))
            log.info("model server found", models=later.registry.names, why=later.why)

        try:
            async with supervisor.tasks() as start:
                if found.is_stopgap:
                    start("search for model servers", go_on, ends=True, essential=False)
                yield started(found)
        finally:
            await found.close()

    return Component("database", database), Component("sandbox", sandboxes), Component("model", models)
