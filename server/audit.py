"""Who did what: requests enter as they end, audit entries leave for the database, a second later at most."""

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import anyio
import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from codeact.errors import CodeActError
from codeact.store import AuditEntry, Store
from server.auth import Caller

__all__ = ["Audit", "AuditLog"]

log = structlog.get_logger(__name__)

FLUSH_S = 1.0
LAST_FLUSH_S = 5.0
BATCH = 500
MAX_WAITING = 20_000

CONTENT = ("/blobs/", "/content", "/export", "/shares/", "/audit")
"""GETs that hand out what somebody made; other GETs are not recorded."""

RUNS = ("/v1/responses", "/v1/chat/completions")
"""POSTs that start a run, which records itself under its id on every transport."""


class AuditLog:
    """Entries on their way to the database; the oldest are dropped, and that is logged, when 20,000 wait for it."""

    def __init__(self, store: Callable[[], Awaitable[Store]]) -> None:
        self._store = store
        self._waiting: deque[AuditEntry] = deque()
        self._dropped = 0

    @classmethod
    @asynccontextmanager
    async def open(cls, store: Callable[[], Awaitable[Store]]) -> AsyncIterator["AuditLog"]:
        """Owns the task that writes; leaving writes what waits, within 5 s."""
        audit = cls(store)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(audit._keep_writing)
            try:
                yield audit
            finally:
                tasks.cancel_scope.cancel()
                with anyio.move_on_after(LAST_FLUSH_S, shield=True):
                    await audit._write()

    def record(self, caller: Caller, action: str, subject: str, *, status: int = 200, address: str = "") -> None:
        """Never waits and never fails."""
        if len(self._waiting) >= MAX_WAITING:
            self._waiting.popleft()
            self._dropped += 1
        self._waiting.append(
            AuditEntry(datetime.now(UTC), caller.owner, caller.credential_id, action, subject, status, address)
        )

    async def _keep_writing(self) -> None:
        while True:
            await anyio.sleep(FLUSH_S)
            await self._write()

    async def _write(self) -> None:
        while self._waiting:
            batch = [self._waiting[index] for index in range(min(BATCH, len(self._waiting)))]
            try:
                await (await self._store()).access.record(batch)
            except CodeActError as error:
                log.warning("audit entries wait for the database", waiting=len(self._waiting), reason=error.message)
                return
            for _ in batch:
                self._waiting.popleft()
            if self._dropped:
                log.error("audit entries dropped: the database was away for too long", dropped=self._dropped)
                self._dropped = 0


class Audit:
    """ASGI middleware that records each change and each handing out of content, with the status it ended in."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _is_recorded(scope["method"], scope["path"]):
            return await self._app(scope, receive, send)
        status = 500

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watch)
        finally:
            caller: Caller | None = scope.get("codeact.caller")
            if caller is not None:
                audit: AuditLog = scope["app"].state.codeact.audit
                route = getattr(scope.get("route"), "path", scope["path"])
                subject = "/".join(str(value) for value in scope.get("path_params", {}).values())
                address = scope["client"][0] if scope.get("client") else ""
                audit.record(caller, f"{scope['method']} {route}", subject, status=status, address=address)


def _is_recorded(method: str, path: str) -> bool:
    if not path.startswith("/v1/") or method in ("HEAD", "OPTIONS"):
        return False
    if method == "GET":
        return any(part in path for part in CONTENT)
    return path not in RUNS
