"""Builds the application: settings enter, a Starlette app leaves whose lifespan owns every task."""

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import WebSocketRoute

from codeact.mcp_servers import McpServers, read_config
from codeact.settings import Settings
from codeact.workspace import Workspaces
from sandbox_pool import SandboxPool
from server import openapi, startup
from server.audit import Audit, AuditLog
from server.auth import Authenticate
from server.containers import Containers
from server.errors import HANDLERS
from server.guard import Guard
from server.leases import keep_leases
from server.parts import Part
from server.routes import (
    access,
    chat,
    containers,
    conversations,
    embed,
    exports,
    health,
    history,
    items,
    metrics,
    models,
    page,
    responses,
    sharing,
)
from server.runs import Runs
from server.state import State
from server.websocket import responses_socket

__all__ = ["create_app"]


def create_app(
    settings: Settings, *, on_start: Callable[[State], Coroutine[Any, Any, None]] | None = None
) -> Starlette:
    """The application. Without a key nobody is let in where others can reach it (`server.auth`).

    Its lifespan returns at once; the database, the sandboxes and the model start in the background, and
    requests that need one wait for it. When it ends, runs are stopped first, sandboxes next, the database last.
    `on_start` is run beside the application, once it listens.
    """

    mcp = read_config(settings.mcp_config) if settings.mcp_config is not None else {}

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        store, pool, served = startup.parts(settings)
        async with anyio.create_task_group() as tasks:
            for part in (store, pool, served):
                tasks.start_soon(part.run)
            async with (
                AuditLog.open(store.get) as audit,
                McpServers.open(mcp, call_timeout_s=settings.call_timeout_s, wait=False) as mcp_servers,
                Workspaces.open(
                    pool.get,
                    idle_timeout_s=settings.idle_timeout_s,
                    progress=partial(_waits_for, pool),
                ) as workspaces,
                Runs.open(
                    store.get, events_ttl_s=settings.events_ttl_s, max_concurrent=settings.max_concurrent_runs
                ) as runs,
                anyio.create_task_group() as keeping,
            ):
                keeping.start_soon(keep_leases, runs, workspaces, store.get)
                app.state.codeact = State(
                    settings,
                    store,
                    pool,
                    served,
                    workspaces,
                    runs,
                    audit,
                    mcp_servers,
                    Containers(store, workspaces),
                )
                if on_start is not None:
                    tasks.start_soon(on_start, app.state.codeact)
                yield
                keeping.cancel_scope.cancel()
            for part in (served, pool, store):
                await part.close()

    app = Starlette(
        routes=[
            WebSocketRoute("/v1/responses", responses_socket),
            *responses.routes,
            *containers.routes,
            *sharing.routes,
            *exports.routes,
            *chat.routes,
            *models.routes,
            *items.routes,
            *openapi.routes,
            *conversations.routes,
            *access.routes,
            *embed.routes,
            *history.routes,
            *health.routes,
            *metrics.routes,
            *page.routes,
        ],
        middleware=[
            Middleware(Guard, settings=settings),
            Middleware(
                CORSMiddleware, allow_origins=settings.allowed_origins, allow_methods=["*"], allow_headers=["*"]
            ),
            Middleware(Authenticate),
            Middleware(Audit),
        ],
        exception_handlers=HANDLERS,
        lifespan=lifespan,
    )
    app.state.settings = settings
    return app


def _waits_for(pool: Part[SandboxPool]) -> str:
    """Why somebody waits for a sandbox; empty where one is just being started."""
    if pool.opened is None:
        return f"A sandbox is being started. {pool.progress}"
    served = pool.opened.value
    if served.stats().leased < served.max_size:
        return ""
    return "All sandboxes are in use; this goes on as soon as one is free."
