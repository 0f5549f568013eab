"""Builds the Starlette application, whose lifespan owns every task of the server."""

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import WebSocketRoute

from codeact import telemetry
from codeact.component import Component
from codeact.events import Response
from codeact.metrics import Metrics
from codeact.runs.disk_floor import DiskFloor
from codeact.runs.known_answers import KnownAnswers
from codeact.runs.manager import RunManager
from codeact.runs.ownership import keep_leases
from codeact.runs.question import RunComponents
from codeact.runs.service import RunService
from codeact.runs.shared_slots import SharedSlots
from codeact.server import openapi, startup
from codeact.server.audited_service import AuditedService
from codeact.server.auth.audit_log import Audit, AuditLog
from codeact.server.auth.auth import Authenticate
from codeact.server.auth.header_login import HeaderLogin
from codeact.server.auth.key_uses import KeyUses
from codeact.server.auth.open_requests import OpenRequests
from codeact.server.auth.origin_check import OriginCheck
from codeact.server.auth.proxies import Proxies
from codeact.server.chat_memory import ChatMemory
from codeact.server.errors import HANDLERS
from codeact.server.login.provider import Provider
from codeact.server.peers.directory import Directory
from codeact.server.peers.idle import ask_for_idle
from codeact.server.peers.opening import directory_of, from_peers, open_peers
from codeact.server.probe import Probe
from codeact.server.request_ids import HEADER, RequestIds
from codeact.server.requests.containers import container_limits
from codeact.server.routes import (
    access,
    account,
    approvals,
    chat,
    container_views,
    containers,
    conversations,
    embed,
    exports,
    files,
    health,
    history,
    items,
    login,
    messages,
    metrics,
    models,
    page,
    people,
    pools,
    profiles,
    responses,
    sharing,
    skills,
    state,
    uploads,
    verification,
)
from codeact.server.routes.peers import INTERNAL
from codeact.server.services import Services
from codeact.server.traced_requests import TracedRequests
from codeact.server.transports.websocket import responses_socket
from codeact.server.watchdog import Watchdog
from codeact.server.webhooks.delivery import deliver_webhooks
from codeact.server.webhooks.endpoints import read_webhooks
from codeact.settings import Settings
from codeact.store import Store
from codeact.tools.judges import load_judge
from codeact.tools.mcp import McpServers, read_config
from codeact.verification.rebuilding import Rebuilder
from codeact.verification.verifier import Verifier
from codeact.workspaces.checkpoints import Checkpoints
from codeact.workspaces.containers import Containers
from codeact.workspaces.registry import Workspaces
from codeact.workspaces.shared_quota import SharedQuota
from sandbox_pool import SandboxPool
from sandbox_pool.supervision import Supervisor

__all__ = ["create_app"]


def create_app(
    settings: Settings,
    *,
    on_start: Callable[[Services], Coroutine[Any, Any, None]] | None = None,
    supervisor: Supervisor | None = None,
    worker: int = 0,
) -> Starlette:
    """Builds the application. On an address that others can reach, it requires keys (`codeact.server.auth.auth`).

    Its lifespan starts at once; the database, the sandboxes and the model start in the background, and requests that
    need one wait for it. At shutdown, runs stop first, then sandboxes, and the database last. `on_start` runs
    concurrently once the application listens. `supervisor` runs every background task; a task that fails does not
    affect the others. `worker` is the number of this process among those of `codeact serve --workers`, from 1; 0 if it
    is alone.
    """

    webhooks = read_webhooks(settings.webhooks) if settings.webhooks is not None else ()
    judge = load_judge(settings.approval_judge) if settings.approval_judge is not None else None
    mcp = read_config(settings.mcp_config) if settings.mcp_config is not None else {}
    supervisor = supervisor or Supervisor()
    directory = directory_of(settings)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        store, pool, models = startup.components(settings, supervisor)
        watchdog, metrics, answers = Watchdog(), Metrics(), KnownAnswers()
        quota = _quota(settings, directory, store)
        open_requests = OpenRequests(settings.open_requests_per_owner)
        if directory is not None:
            open_requests = OpenRequests(settings.open_requests_per_owner, directory.open_elsewhere)
            directory.open_requests = open_requests.announced
        disk = DiskFloor(settings.data_dir, floor_mb=settings.min_free_disk_mb)

        def ended(response: Response) -> None:
            metrics.ended(response)
            answers.ended(response)

        async with watchdog.watching(), supervisor.tasks() as start:
            for component in (store, pool, models):
                start(f"{component.name} part", component.run, ends=True)
            async with (
                AuditLog.open(store.get, supervisor=supervisor) as audit,
                KeyUses.open(store.get, supervisor=supervisor) as key_uses,
                McpServers.open(
                    mcp, call_timeout_s=settings.call_timeout_s, wait=False, supervisor=supervisor
                ) as mcp_servers,
                Workspaces.open(
                    pool.get,
                    idle_timeout_s=settings.idle_timeout_s,
                    progress=partial(_waits_for, pool),
                    quota=quota,
                    limits=container_limits(settings),
                    supervisor=supervisor,
                ) as workspaces,
                Checkpoints.open(
                    store,
                    keep=settings.checkpoints_kept,
                    limits=settings.state_limits,
                    is_low=lambda: disk.is_low,
                    find_rebuild=Rebuilder(
                        store, pool, limits=settings.state_limits, most_s=settings.checkpoint_replay_s
                    ).find,
                ) as checkpoints,
                RunManager.open(
                    store.get,
                    events_ttl_s=settings.events_ttl_s,
                    max_concurrent=settings.max_concurrent_runs,
                    max_queued=settings.max_queued_runs,
                    supervisor=supervisor,
                    on_end=ended,
                ) as runs,
                open_peers(settings, directory, store.get) as peers,
                supervisor.tasks() as start_keeping,
            ):
                if quota is not None and peers is not None:
                    quota.ask_for_idle = partial(ask_for_idle, peers)
                beat = partial(_beat, directory, pool) if directory is not None else None
                keep = partial(keep_leases, runs, workspaces, store.get, lease_s=settings.lease_s, beat=beat)
                start_keeping("leases", keep)
                if webhooks:
                    start_keeping("webhooks", partial(deliver_webhooks, webhooks, store.get, audit), essential=False)
                containers_ = Containers(store, workspaces)
                made_with = RunComponents(
                    settings,
                    store,
                    pool,
                    models,
                    workspaces,
                    runs,
                    mcp_servers,
                    containers_,
                    disk,
                    slots=SharedSlots(store.get, directory.look) if directory is not None else None,
                    may_have_peers=directory is not None,
                    has_peers=lambda: directory is not None and directory.has_others,
                    checkpoints=checkpoints,
                    judge=judge,
                    judged=audit.record_judge,
                )
                service = RunService(made_with, database=store)
                start_keeping("expiry of unstored conversations", service.keep_expiring, essential=False)
                services = app.state.codeact = Services(
                    settings,
                    store,
                    pool,
                    models,
                    workspaces,
                    runs,
                    AuditedService(
                        service,
                        audit,
                        settings,
                        answers,
                        peers=peers,
                        get_store=store.get,
                    ),
                    audit,
                    mcp_servers,
                    containers_,
                    supervisor,
                    watchdog,
                    Probe(store),
                    disk,
                    metrics,
                    open_requests,
                    key_uses,
                    HeaderLogin(store.get, settings) if settings.login_header is not None else None,
                    Provider(settings) if settings.oidc_issuer is not None else None,
                    peers,
                    ChatMemory(store.get if settings.shares_database else None),
                    Verifier(store, pool, workspaces, runs, timeout_s=settings.verify_timeout_s),
                    checkpoints,
                    worker,
                )
                if on_start is not None:
                    start("announcement", partial(on_start, services), ends=True, essential=False)
                yield
            for component in (models, pool, store):
                await component.close()

    app = Starlette(
        routes=[
            WebSocketRoute("/v1/responses", responses_socket),
            *responses.routes,
            *verification.routes,
            *containers.routes,
            *container_views.routes,
            *state.routes,
            *files.routes,
            *uploads.routes,
            *approvals.routes,
            *sharing.routes,
            *skills.routes,
            *profiles.routes,
            *exports.routes,
            *chat.routes,
            *messages.routes,
            *models.routes,
            *items.routes,
            *openapi.routes,
            *conversations.routes,
            *access.routes,
            *login.routes,
            *account.routes,
            *people.routes,
            *embed.routes,
            *history.routes,
            *health.routes,
            *pools.routes,
            *metrics.routes,
            *page.routes,
        ],
        middleware=[
            Middleware(RequestIds),
            *([Middleware(TracedRequests)] if telemetry.is_on() else []),
            Middleware(Proxies, trusted=settings.trusted_proxies, public_url=settings.public_url),
            *from_peers(settings, directory, INTERNAL),
            Middleware(OriginCheck, settings=settings),
            Middleware(
                CORSMiddleware,
                allow_origins=settings.allowed_origins,
                allow_methods=["*"],
                allow_headers=["*"],
                expose_headers=[HEADER],
            ),
            Middleware(Authenticate),
            Middleware(Audit),
        ],
        exception_handlers=HANDLERS,
        lifespan=lifespan,
    )
    app.state.settings = settings
    return app


def _quota(settings: Settings, directory: Directory | None, store: Component[Store]) -> SharedQuota | None:
    """The limit for the sandboxes of an owner over all servers; None if there is no limit, or no other server."""
    if settings.sandboxes_per_owner is None or directory is None:
        return None
    return SharedQuota(settings.sandboxes_per_owner, store.get, alive=directory.look)


async def _beat(directory: Directory, pool: Component[SandboxPool], store: Store) -> None:
    """Looks for the other servers, and for the sandboxes of one that has gone."""
    if await directory.beat(store) and pool.started is not None:
        pool.started.value.look_for_leftovers()


def _waits_for(pool: Component[SandboxPool]) -> str:
    """Why somebody waits for a sandbox; empty if one is just being started."""
    if pool.started is None:
        return f"A sandbox is being started. {pool.progress}"
    started = pool.started.value
    if started.stats().leased < started.max_size:
        return ""
    return "All sandboxes are in use; this continues as soon as one is free."
