"""Ownership of running responses across servers: renews leases, applies requests, recovers orphans.

A lease that nobody renews stays unchanged. Each server measures by its own clock for how long it did, so that
clocks need not agree, and a database that was away for a while makes nobody look dead.
"""

import time
from collections.abc import Awaitable, Callable, Collection, Iterable
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
"""So often a server says that it lives in the time after which it is taken for dead."""


class LeaseWatcher:
    """Remembers for how long each lease has not changed. `holder` is this server's name."""

    def __init__(self, holder: str, lease_s: float = LEASE_S) -> None:
        self._holder = holder
        self._lease_s = lease_s
        self._since: dict[tuple[str, str, int], float] = {}

    def expired(self, leases: Iterable[Lease], *, at_work: Collection[str], now: float) -> list[Lease]:
        """The leases of responses that no living server runs; `at_work` are this server's. `now` is monotonic."""
        since: dict[tuple[str, str, int], float] = {}
        found = []
        for lease in leases:
            if lease.response_id in at_work:
                continue
            beat = 0 if lease.process == self._holder else lease.beat
            key = (lease.response_id, lease.process, beat)
            since[key] = self._since.get(key, now)
            if has_died(lease.process) or now - since[key] >= self._lease_s:
                found.append(lease)
        self._since = since
        return found


async def recover_orphans(store: Store, *, events_ttl_s: float) -> None:
    """Ends the responses of processes of this host that have died: before a server's first request."""

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
    runs: RunManager, workspaces: Workspaces, get_store: Callable[[], Awaitable[Store]], *, lease_s: float = LEASE_S
) -> None:
    """Until cancelled. Servers over one database must agree about `lease_s`."""
    watcher: LeaseWatcher | None = None
    recovering, missing, containers = set[str](), set[str](), set[str]()

    async def end(store: Store, lease: Lease) -> None:
        recovering.add(lease.response_id)
        try:
            await _recover(lease, store, runs.writer)
        finally:
            recovering.discard(lease.response_id)

    renewed_at = 0.0
    async with anyio.create_task_group() as tasks:
        while True:
            await anyio.sleep(min(POLL_S, lease_s / RENEWALS))
            try:
                store = await get_store()
                if runs.live:
                    missing = await _check_leases(runs, store, missing)
                if time.monotonic() - renewed_at >= lease_s / RENEWALS:
                    renewed_at = time.monotonic()
                    at_work = {*runs.at_work, *recovering}
                    if at_work:
                        await store.leases.renew(at_work)
                    before, containers = containers, workspaces.container_ids
                    if containers or before:
                        await store.files.hold(containers)
                    watcher = watcher or LeaseWatcher(store.leases.holder, lease_s)
                    for lease in watcher.expired(await store.leases.all(), at_work=at_work, now=time.monotonic()):
                        tasks.start_soon(partial(end, store, lease))
            except CodeActError as error:
                log.warning("leases not renewed", reason=error.message)
                watcher = None


async def _check_leases(runs: RunManager, store: Store, missing: set[str]) -> set[str]:
    """Cancels and steers what other processes ask for, and cancels what another process has ended for dead.

    Returns the runs that look so; they are `missing` when they did before, and not just ending.
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
    """Does what other processes ask of this one."""
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
