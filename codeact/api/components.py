"""Assembles the service that answers an agent's questions: that of the server, with components of this process."""

from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING

from codeact import events as e
from codeact.api.pool import Pool
from codeact.component import Component
from codeact.model import Model
from codeact.models.registry import ModelRegistry
from codeact.runs.disk_floor import DiskFloor
from codeact.runs.manager import RunManager
from codeact.runs.question import RunComponents
from codeact.runs.service import RunService
from codeact.settings import Settings
from codeact.store.memory import MemoryStore
from codeact.store.run_store import RunStore
from codeact.tools.approval import Judge
from codeact.tools.mcp import McpServers, read_config
from codeact.workspaces.checkpoints import Checkpoints
from codeact.workspaces.containers import Containers
from sandbox_pool.supervision import Supervisor

if TYPE_CHECKING:
    from codeact.store import Store

__all__ = ["EMBEDDED", "chosen_model", "opened_service", "opened_store", "stored_items"]

EMBEDDED = "embedded"


async def opened_store(store: RunStore | str | None, settings: Settings, stack: AsyncExitStack) -> RunStore:
    """Returns an open store, or opens one by its name: `embedded`, or a MongoDB URI; None stands for memory.

    The stack closes only a store that was opened here. Raises `StoreUnavailable`.
    """
    if store is None:
        return MemoryStore()
    if not isinstance(store, str):
        return store
    if store != EMBEDDED:
        settings = Settings.load(**settings.model_dump(exclude_unset=True) | {"mongodb_uri": store})
    from codeact.store.opening import open_store  # Imported only here: an agent without a database needs no driver.

    return await stack.enter_async_context(open_store(settings))


async def stored_items(store: RunStore, conversation_id: str | None, *, owner: str) -> list[e.Input | e.Item]:
    """Returns the conversation's items in the store; none for a conversation that has not begun. Raises `NotFound`."""
    if conversation_id is None:
        return []
    at = await store.threads.of_conversation(conversation_id, owner=owner)
    return [] if at.previous is None else await store.threads.history(at.previous)


async def chosen_model(model: Model | None, settings: Settings, stack: AsyncExitStack) -> Model:
    """Returns `model`, else the model of the settings, else one that a server on this machine offers."""
    if model is not None:
        return model
    from codeact.models.discovery import find_models

    found = await find_models(settings, waits=True)
    stack.push_async_callback(found.close)
    return found.registry.default


async def opened_service(
    settings: Settings, pool: Pool, store: RunStore, model: Model, stack: AsyncExitStack, judge: Judge | None = None
) -> tuple[RunService, Checkpoints | None]:
    """Opens a service for one agent, which answers one question at a time, and what saves its states. The stack closes
    them. Without a database no states are saved.

    `judge` decides about approvals. Nobody else does: what it leaves open is rejected.
    """
    servers = read_config(settings.mcp_config) if settings.mcp_config is not None else {}
    mcp = await stack.enter_async_context(McpServers.open(servers, call_timeout_s=settings.call_timeout_s))

    async def get_store() -> RunStore:
        return store

    runs = await stack.enter_async_context(
        RunManager.open(get_store, events_ttl_s=settings.events_ttl_s, max_concurrent=1)
    )
    database = None if store.in_memory else await _shared(store, runs, pool, settings, stack)
    stored = Component.running("database", store)
    checkpoints = None
    if database is not None:
        keep, limits = settings.checkpoints_kept, settings.state_limits
        from codeact.verification.rebuilding import Rebuilder

        sandboxes = Component.running("sandbox", pool.sandboxes)
        find = Rebuilder(database, sandboxes, limits=limits, most_s=settings.checkpoint_replay_s).find
        opened = Checkpoints.open(database, keep=keep, limits=limits, find_rebuild=find)
        checkpoints = await stack.enter_async_context(opened)
    components = RunComponents(
        settings,
        stored,
        Component.running("sandbox", pool.sandboxes),
        Component.running("model", ModelRegistry([model])),
        pool.workspaces,
        runs,
        mcp,
        Containers(stored, pool.workspaces),
        DiskFloor(settings.data_dir, floor_mb=0),
        checkpoints=checkpoints,
        judge=judge,
        attended=False,
    )
    return RunService(components, database=database), checkpoints


async def _shared(
    store: RunStore, runs: RunManager, pool: Pool, settings: Settings, stack: AsyncExitStack
) -> "Component[Store]":
    """Returns the store as a component that servers may share, and renews the leases of this process's runs."""
    from codeact.runs.ownership import keep_leases
    from codeact.store import Store

    assert isinstance(store, Store)
    database = Component.running("database", store)
    start = await stack.enter_async_context(Supervisor().tasks())
    start("leases", partial(keep_leases, runs, pool.workspaces, database.get, lease_s=settings.lease_s))
    return database
