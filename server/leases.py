"""What lives, over all server processes: heartbeats leave; others' wishes and dead servers' responses enter.

A lease is unchanged when nobody renews it. How long is told by the clock of the one who looks, so that
clocks need not agree, and a database that was away for a while makes nobody look dead.
"""

import time
from collections.abc import Awaitable, Callable, Collection, Iterable
from functools import partial

import anyio
import structlog

from codeact.errors import CodeActError, InvalidRequest
from codeact.recovery import RESTARTED, recover
from codeact.store import Store
from codeact.store.leases import LEASE_S, STEERED, Lease
from codeact.store.log import EventWriter
from codeact.store.process import has_died
from codeact.workspace import Workspaces
from server.runs import Run, Runs

__all__ = ["Watch", "end_the_dead", "keep_leases"]

log = structlog.get_logger(__name__)

LOOK_S = 0.5
RENEW_S = 3.0


class Watch:
    """Remembers since when each lease has been as it is. `holder` is this server's name."""

    def __init__(self, holder: str) -> None:
        self._holder = holder
        self._since: dict[tuple[str, str, int], float] = {}

    def expired(self, leases: Iterable[Lease], *, at_work: Collection[str], now: float) -> list[Lease]:
        """Those that no living server is at work on; `at_work` are this server's. `now` is monotonic."""
        since: dict[tuple[str, str, int], float] = {}
        found = []
        for lease in leases:
            if lease.response_id in at_work:
                continue
            beat = 0 if lease.process == self._holder else lease.beat
            key = (lease.response_id, lease.process, beat)
            since[key] = self._since.get(key, now)
            if has_died(lease.process) or now - since[key] >= LEASE_S:
                found.append(lease)
        self._since = since
        return found


async def end_the_dead(store: Store, *, events_ttl_s: float) -> None:
    """Ends the responses of processes of this host that have died: before a server's first request."""

    async def get_store() -> Store:
        return store

    writer = EventWriter(get_store, kept_s=events_ttl_s)
    for lease in await store.leases.all():
        if has_died(lease.process):
            await _recover(lease, store, writer)


async def keep_leases(runs: Runs, workspaces: Workspaces, get_store: Callable[[], Awaitable[Store]]) -> None:
    """Until cancelled."""
    watch: Watch | None = None
    recovering, missing, held = set[str](), set[str](), set[str]()

    async def end(store: Store, lease: Lease) -> None:
        recovering.add(lease.response_id)
        try:
            await _recover(lease, store, runs.writer)
        finally:
            recovering.discard(lease.response_id)

    renewed_at = 0.0
    async with anyio.create_task_group() as tasks:
        while True:
            await anyio.sleep(LOOK_S)
            try:
                store = await get_store()
                if runs.live:
                    missing = await _look_after(runs, store, missing)
                if time.monotonic() - renewed_at >= RENEW_S:
                    renewed_at = time.monotonic()
                    at_work = {*runs.at_work, *recovering}
                    if at_work:
                        await store.leases.renew(at_work)
                    before, held = held, workspaces.container_ids
                    if held or before:
                        await store.files.hold(held)
                    watch = watch or Watch(store.leases.holder)
                    for lease in watch.expired(await store.leases.all(), at_work=at_work, now=time.monotonic()):
                        tasks.start_soon(partial(end, store, lease))
            except CodeActError as error:
                log.warning("leases not renewed", reason=error.message)
                watch = None


async def _look_after(runs: Runs, store: Store, missing: set[str]) -> set[str]:
    """Cancels and steers what other processes ask for, and cancels what another process has ended for dead.

    Returns the runs that look so; they are `missing` when they did before, and not just ending.
    """
    mine = await store.leases.mine()
    for run in runs.at_work.values():
        if run.id in mine:
            await _heed(mine[run.id], run, store)
        elif run.id in missing - set(mine) and not run.log.ended:
            log.error("lease lost: another server has ended this response", response=run.id)
            run.cancel(RESTARTED)
    return {run.id for run in runs.at_work.values() if run.response.store} - set(mine)


async def _heed(lease: Lease, run: Run, store: Store) -> None:
    """Does what other processes ask of this one."""
    if lease.cancel:
        run.cancel()
    for steer in lease.steers:
        if steer.outcome is None:
            try:
                run.steer(steer.messages, steer_id=steer.id)
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
        log.exception("response of a dead server not ended by an error of ours", response=lease.response_id)
