"""Records who did what: collects audit entries of requests and operations, and stores them within a second."""

import functools
import ipaddress
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import anyio
import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from codeact.errors import CodeActError, StoreError
from codeact.server.auth.audit_queue import AuditQueue
from codeact.server.auth.audit_tally import Tally
from codeact.server.auth.caller import Caller
from codeact.server.auth.current_caller import current_request
from codeact.server.errors import status_of
from codeact.store import AuditEntry, Store
from sandbox_pool.errors import SandboxError
from sandbox_pool.supervision import Supervisor

__all__ = ["Audit", "AuditLog", "audited"]

log = structlog.get_logger(__name__)

FLUSH_S = 1.0
LAST_FLUSH_S = 5.0
BATCH = 500
MAX_WAITING = 20_000

MOST_CHARS = 300
JUDGE = "judge"
"""The `credential_id` of entries about decisions of the operator's judge (CODEACT_APPROVAL_JUDGE)."""
CONTENT = ("/blobs/", "/content", "/export", "/audit", "/v1/pool")
"""Parts of paths whose GET returns users' content, or data only for operators. Other GETs are not recorded."""

POLLED = "/v1/pool"
"""A page of the dashboard reads it every two seconds: as much as somebody reads in a minute is one entry."""
RUNS = ("/v1/responses", "/v1/chat/completions", "/v1/messages")
"""POSTs that start a run. The run records itself under its own id, on every transport."""


class AuditLog:
    """Queues audit entries and stores them.

    Each entry is stored exactly once, if the database answers before `MAX_WAITING` entries wait and before the server
    ends. Entries lost beyond that are counted in the log.
    """

    def __init__(self, store: Callable[[], Awaitable[Store]]) -> None:
        self._store = store
        self._queue = AuditQueue(capacity=MAX_WAITING, batch=BATCH)
        self._tally = Tally()
        self._writing = anyio.Lock()

    @classmethod
    @asynccontextmanager
    async def open(
        cls, store: Callable[[], Awaitable[Store]], *, supervisor: Supervisor | None = None
    ) -> AsyncIterator["AuditLog"]:
        """Starts the task that writes entries; on exit, writes the waiting entries, within 5 s."""
        audit = cls(store)
        try:
            async with (supervisor or Supervisor()).tasks() as start:
                start("audit log", audit.keep_writing)
                yield audit
        finally:
            for entry in audit._tally.rest():
                audit._queue.put(entry)
            with anyio.move_on_after(LAST_FLUSH_S, shield=True):
                try:
                    await audit.flush()
                except Exception:
                    log.exception("audit entries not stored because of an internal error")
            if len(audit._queue):
                log.error("audit entries lost: the server ended before they were stored", lost=len(audit._queue))

    def record(
        self, caller: Caller, action: str, subject: str, *, status: int = 200, address: str | None = None
    ) -> None:
        """Queues one entry. Never waits and never fails.

        `address` None: that of this task's caller. A task that outlives the request has none, and must be given it.
        """
        entry = _entry(caller.owner, caller.credential_id, action, subject, status)
        self._queue.put(entry if address is None else replace(entry, address=address))

    def record_for(self, owner: str, action: str, subject: str, *, status: int) -> None:
        """Queues one entry about what the server itself does for an owner. Never waits and never fails."""
        self._queue.put(_entry(owner, None, action, subject, status))

    def record_judge(self, owner: str, action: str, subject: str) -> None:
        """Queues an entry for a decision, `approve` or `reject`, that the operator's judge made for this owner."""
        self._queue.put(_entry(owner, JUDGE, f"approval.{action}", subject, 200))

    def count(
        self, action: str, subject: str, *, status: int, owner: str = "", credential_id: str | None = None
    ) -> None:
        """Records an event that strangers can cause without limit: repetitions become one entry with a count."""
        entry = _entry(owner, credential_id, action, subject, status)
        self._tally.add(replace(entry, address=network_of(entry.address)), now=time.monotonic())

    @contextmanager
    def recording(self, action: str, subject: str) -> Iterator[None]:
        """Records an operation when it ends, with the status of the error that it raises, if any."""
        request = current_request()
        status = 500
        try:
            yield
            status = 200
        except (CodeActError, SandboxError) as error:
            status = status_of(error)
            raise
        finally:
            if request.caller is not None:
                request.recorded = True
                self.record(request.caller, action, subject, status=status)

    async def keep_writing(self) -> None:
        """Writes once a second until cancelled. It may be restarted after an error and then continues."""
        while True:
            await anyio.sleep(FLUSH_S)
            await self.flush()

    async def flush(self) -> None:
        """Writes all waiting entries, or as many as the database accepts now.

        Cancelling is safe: an unfinished batch is written again with the same ids. Concurrent callers wait for each
        other.
        """
        for entry in self._tally.due(now=time.monotonic()):
            self._queue.put(entry)
        async with self._writing:
            try:
                await self._write()
            except CodeActError as error:
                log.warning("audit entries wait for the database", waiting=len(self._queue), reason=error.message)
            if self._queue.dropped:
                log.error("audit entries dropped: too many waited for the database", dropped=self._queue.dropped)
                self._queue.dropped = 0

    async def _write(self) -> None:
        access = (await self._store()).access
        while batch := self._queue.take():
            try:
                await access.record(batch)
                self._queue.done()
            except StoreError as error:
                if error.retryable:
                    raise
                for entry in self._queue.refused():
                    log.error("audit entry refused", action=entry.action, owner=entry.owner, reason=error.message)


class HasAudit(Protocol):
    """What `audited` needs of the object whose method it decorates."""

    @property
    def audit(self) -> AuditLog: ...


P = ParamSpec("P")
T = TypeVar("T")
S = TypeVar("S", bound=HasAudit)
Method = Callable[Concatenate[S, str, P], Coroutine[Any, Any, T]]


def audited(action: str, *, by_operators: bool = False) -> Callable[[Method[S, P, T]], Method[S, P, T]]:
    """Decorator: records each call of a method, on every transport. The first argument is the subject.

    `by_operators`: records only calls of operators who act for another owner.
    """

    def decorate(method: Method[S, P, T]) -> Method[S, P, T]:
        @functools.wraps(method)
        async def recorded(self: S, subject: str, /, *args: P.args, **kwargs: P.kwargs) -> T:
            caller = current_request().caller
            if by_operators and (caller is None or not caller.acting):
                return await method(self, subject, *args, **kwargs)
            with self.audit.recording(action, subject):
                return await method(self, subject, *args, **kwargs)

        return recorded

    return decorate


class Audit:
    """ASGI middleware that writes audit entries for HTTP requests.

    It records each change, each download of content, and each read by an operator for another owner, with the status of
    the answer, unless the operation has recorded itself.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        caller: Caller | None = scope.get("codeact.caller")
        if scope["type"] != "http" or caller is None or not _is_recorded(scope["method"], scope["path"], caller):
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
            if not current_request().recorded:
                audit: AuditLog = scope["app"].state.codeact.audit
                route = getattr(scope.get("route"), "path", scope["path"][:MOST_CHARS])
                subject = "/".join(str(value) for value in scope.get("path_params", {}).values())
                action = f"{scope['method']} {route}"
                if route == POLLED:
                    audit.count(action, subject, status=status, owner=caller.owner, credential_id=caller.credential_id)
                else:
                    audit.record(caller, action, subject, status=status)


def _entry(owner: str, credential_id: str | None, action: str, subject: str, status: int) -> AuditEntry:
    address = current_request().address
    return AuditEntry(datetime.now(UTC), owner, credential_id, action, subject[:MOST_CHARS], status, address)


def network_of(address: str) -> str:
    """The address; for IPv6 its /64 network, since one host can use any address in that."""
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return address[:MOST_CHARS]
    return address if known.version == 4 else str(ipaddress.ip_network((address.partition("%")[0], 64), strict=False))


def _is_recorded(method: str, path: str, caller: Caller) -> bool:
    if not path.startswith("/v1/") or method in ("HEAD", "OPTIONS"):
        return False
    if method == "GET":
        return caller.acting or any(part in path for part in CONTENT)
    return path not in RUNS
