"""Ownership of running responses across servers: renews leases, applies requests, recovers orphans.

The lease of a dead server no longer changes. Each server measures with its own clock how long a lease has been
unchanged, so clocks need not agree, and a database that was unavailable for a while makes no server look dead.
"""

import time
from collections.abc import Awaitable, Callable, Collection, Iterable
from datetime import UTC, datetime
from functools import partial

import anyio

from codeact.errors import CodeActError, InvalidRequest
from codeact.runs.event_log import EventWriter
from codeact.runs.manager import RunManager
from codeact.runs.recovery import recover
from codeact.runs.run import Run
from codeact.runs.steering import steer_here
from codeact.store import Store
from codeact.store.database.process import has_died
from codeact.store.repositories.response_leases import LEASE_S, STEERED, Lease
from codeact.workspaces.registry import Workspaces
from sandbox_pool.logs import Logger

__all__ = ["LeaseWatcher", "keep_leases", "recover_orphans"]

log = Logger(__name__)

POLL_S = 0.5
RENEWALS = 5
"""How often a server renews its leases within the time after which they expire."""


class LeaseWatcher:
    """Measures how long each lease has been unchanged. `holder` is this server's name."""

    def __init__(self, holder: str, lease_s: float = LEASE_S) -> None:
        self._holder = holder
        self._lease_s = lease_s
        self._since: dict[tuple[str, str, int], float] = {}

    def expired(self, leases: Iterable[Lease], *, at_work: Collection[str], now: float) -> list[Lease]:
        """Returns the leases that no living server renews.

        `at_work` are the ids of this server's responses; `now` is a time of the monotonic clock. Call it regularly, and
        each time with all leases.
        """
        since: dict[tuple[str, str, int], float] = {}
        expired = []
        for lease in leases:
            if lease.response_id in at_work:
                continue
            beat = 0 if lease.process == self._holder else lease.beat
            key = (lease.response_id, lease.process, beat)
            since[key] = self._since.get(key, now)
            if has_died(lease.process) or now - since[key] >= self._lease_s:
                expired.append(lease)
        self._since = since
        return expired


async def recover_orphans(store: Store, *, events_ttl_s: float) -> None:
    """Ends the responses of dead processes of this host; a server calls it before its first request.

    Raises `CodeActError` if the database fails.
    """

    async def get_store() -> Store:
        return store

    async with EventWriter.open(get_store, ttl_s=events_ttl_s) as writer:
        try:
            leases = await store.leases.all()
        except CodeActError:
            raise
        except Exception:
            log.exception("responses of dead servers not found because of an internal error; they are looked for again")
            return
        for lease in leases:
            if has_died(lease.process):
                await _recover(lease, store, writer)


async def keep_leases(
    runs: RunManager,
    workspaces: Workspaces,
    get_store: Callable[[], Awaitable[Store]],
    *,
    lease_s: float = LEASE_S,
    beat: Callable[[Store], Awaitable[None]] | None = None,
) -> None:
    """Renews this server's leases, applies requests of other servers, and recovers orphans, until it is cancelled.

    All servers with the same database must use the same `lease_s`. `beat` is called at once, and each time this server
    renews its leases: it tells the other servers that this one lives.
    """
    watcher: LeaseWatcher | None = None
    recovering, missing, containers = set[str](), set[str](), set[str]()

    async def end(store: Store, lease: Lease) -> None:
        recovering.add(lease.response_id)
        try:
            await _recover(lease, store, runs.writer)
        finally:
            recovering.discard(lease.response_id)

    async def renew() -> None:
        """Beside the loop below: on a busy machine, what that reads may take longer than a lease lasts."""
        while True:
            try:
                store = await get_store()
                if at_work := {*runs.at_work, *recovering}:
                    await store.leases.renew(at_work)
                if beat is not None:
                    await beat(store)
            except CodeActError as error:
                log.warning("leases not renewed", reason=error.message)
            await anyio.sleep(lease_s / RENEWALS)

    looked_at = 0.0
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(renew)
        while True:
            await anyio.sleep(min(POLL_S, lease_s / RENEWALS))
            try:
                store = await get_store()
                if runs.live:
                    missing = await _check_leases(runs, store, missing)
                if time.monotonic() - looked_at >= lease_s / RENEWALS:
                    looked_at = time.monotonic()
                    as_of, before, containers = datetime.now(UTC), containers, workspaces.container_ids
                    if containers or before:
                        await store.files.hold(containers, as_of=as_of)
                    watcher = watcher or LeaseWatcher(store.leases.holder, lease_s)
                    leases, at_work = await store.leases.all(), {*runs.at_work, *recovering}
                    for lease in watcher.expired(leases, at_work=at_work, now=time.monotonic()):
                        tasks.start_soon(partial(end, store, lease))
            except CodeActError as error:
                log.warning("leases not watched", reason=error.message)
                watcher = None


async def _check_leases(runs: RunManager, store: Store, missing: set[str]) -> set[str]:
    """Applies other processes' requests to this server's runs, and stops runs that another server has taken over.

    Returns the ids of runs without a lease. A run is stopped if it was among them the last time (`missing`), too: a run
    that is just ending has no lease for a moment.
    """
    mine = await store.leases.mine()
    for run in runs.at_work.values():
        if run.id in mine:
            await _apply_requests(mine[run.id], run, store)
        elif run.id in missing - set(mine) and not run.log.ended:
            log.error("lease lost: another server has ended this response", response=run.id)
            run.lose()
    return {run.id for run in runs.at_work.values() if run.response.store} - set(mine)


async def _apply_requests(lease: Lease, run: Run, store: Store) -> None:
    """Applies the requests of other processes to a run: cancel, and steering messages."""
    if lease.cancel:
        run.cancel()
    for steer in lease.steers:
        if steer.outcome is None:
            try:
                await steer_here(store, run, steer.messages, steer_id=steer.id)
                outcome = STEERED
            except InvalidRequest as refusal:
                outcome = refusal.code
            await store.leases.answer_steer(run.id, steer.id, outcome)


async def _recover(lease: Lease, store: Store, writer: EventWriter) -> None:
    try:
        await recover(lease, store=store, writer=writer)
    except CodeActError as error:
        log.warning("response of a dead server not ended yet", response=lease.response_id, reason=error.message)
    except Exception:
        log.exception("response of a dead server not ended because of an internal error", response=lease.response_id)
