"""Ends a response whose server has died as failed, and keeps everything that it had produced."""

import time

from codeact import events as e
from codeact.agent.response_builder import ResponseBuilder
from codeact.errors import NotFound
from codeact.events.standard import terminal_event
from codeact.runs.event_log import RESTART_GAP, EventWriter
from codeact.runs.recorder import Recorder
from codeact.runs.replay import Replay
from codeact.runs.run import RESTARTED
from codeact.store import Store
from codeact.store.repositories.response_leases import Lease
from sandbox_pool.logs import Logger

__all__ = ["recover"]

log = Logger(__name__)

STORE_TIMEOUT_S = 10.0


async def recover(lease: Lease, *, store: Store, writer: EventWriter) -> None:
    """Ends the response instead of its dead server; does nothing if another process is quicker.

    Open items are closed as incomplete, with the text and output in the log. The events for that are added to the log,
    with numbers that the dead server cannot have used. Raises `StoreError`; the caller may then call it again.
    """
    if not await store.leases.take_over(lease):
        return
    epoch = lease.epoch + 1
    await store.run_writes.adopt(lease.response_id, epoch)
    try:
        response = (await store.get_response(lease.response_id, owner=lease.owner)).response
    except NotFound:  # It was deleted meanwhile.
        await store.leases.release(lease.response_id)
        return
    stored = {item.id: item for item in response.output}
    replay = Replay()
    first = 0
    async for event_batch in store.events.read(response.id, 0):
        replay.feed(event_batch.frames)
        first = event_batch.next
    recorder = Recorder(
        response,
        owner=lease.owner,
        store=store,
        writer=writer,
        store_timeout_s=STORE_TIMEOUT_S,
        first=first + RESTART_GAP,
        epoch=epoch,
    )
    ended = await store.decided_end(response.id)
    if ended is None and replay.terminal is not None and response.status in ("queued", "in_progress"):
        ended = replay.terminal.response  # It failed because of the database, and its log was stored before its end.
    if ended is not None:
        ended.output = response.output
        recorder.response = response = ended
        await store.finish_response(response, epoch=epoch)
    if response.status not in ("queued", "in_progress"):  # The server died after the response's end, before the log's.
        if replay.terminal is None:
            await recorder.emit(terminal_event(response))
        await store.leases.release(response.id, epoch=epoch)
        return
    response.output = replay.output
    response.notices = replay.notices or response.notices
    for item in stored.values():
        if all(item.id != begun.id for begun in response.output):
            response.output.append(item)
            await recorder.emit(e.OutputItemAdded(output_index=len(response.output) - 1, item=item))
    for index, item in enumerate(response.output):
        if item.id in stored and item.id not in replay.done:
            response.output[index] = stored[item.id]
            await recorder.emit(e.OutputItemDone(output_index=index, item=stored[item.id]))
    builder = ResponseBuilder(response, recorder.emit, started=time.monotonic())
    builder.resume({item.id for item in response.output} - replay.done - set(stored), replay.live)
    await builder.end("failed", None, error=RESTARTED)
    await store.leases.release(response.id, epoch=epoch)
    log.info("response of a dead server ended", response=response.id, process=lease.process)
