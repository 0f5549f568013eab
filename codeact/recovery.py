"""Responses whose server has died: a lease enters; the response ends as failed, with all that it had said."""

import time

import structlog

from codeact import events as e
from codeact.builder import ResponseBuilder, terminal_event
from codeact.errors import NotFound
from codeact.recorder import Recorder
from codeact.replay import Replay
from codeact.store import Store
from codeact.store.leases import Lease
from codeact.store.log import RESTART_GAP, EventWriter

__all__ = ["RESTARTED", "recover"]

log = structlog.get_logger(__name__)

RESTARTED = e.ResponseError("server_restarted", "The server stopped while it was answering; ask again.")
PATIENCE_S = 10.0


async def recover(lease: Lease, *, store: Store, writer: EventWriter) -> None:
    """Ends the response in the place of its dead server; does nothing where another process is quicker.

    What is open is closed as incomplete, with the text and output that reached the log. Events that tell so
    follow in the log, with numbers that the dead server cannot have given. Raises `StoreError`; it can be
    called again then.
    """
    if not await store.leases.take_over(lease):
        return
    try:
        response = (await store.get_response(lease.response_id, owner=lease.owner)).response
    except NotFound:  # It was deleted meanwhile.
        await store.leases.release(lease.response_id)
        return
    stored = {item.id: item for item in response.output}
    replay = Replay()
    first = 0
    async for stretch in store.events.read(response.id, 0):
        replay.feed(stretch.frames)
        first = stretch.next
    recorder = Recorder(
        response,
        owner=lease.owner,
        store=store,
        writer=writer,
        patience_s=PATIENCE_S,
        first=first + RESTART_GAP,
        late=True,
    )
    if response.status not in ("queued", "in_progress"):  # It died between the response's end and the log's.
        if replay.terminal is None:
            await recorder.emit(terminal_event(response))
        await store.leases.release(response.id)
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
    builder.go_on({item.id for item in response.output} - replay.done - set(stored), replay.live)
    await builder.end("failed", None, error=RESTARTED)
    await store.leases.release(response.id)
    log.info("response of a dead server ended", response=response.id, process=lease.process)
