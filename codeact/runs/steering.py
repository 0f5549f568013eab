"""Passes messages that a user sends during a response to the server that runs it."""

from typing import TYPE_CHECKING

import anyio
import msgspec

from codeact import events as e
from codeact.errors import InvalidRequest
from codeact.runs.media import blobs_of, store_media
from codeact.runs.run import Run
from codeact.store.repositories.response_leases import STEERED, Steer

if TYPE_CHECKING:
    from codeact.store import Store

__all__ = ["steer_elsewhere", "steer_here"]

ANSWER_TIMEOUT_S = 5.0
"""How long to wait for the other server, which checks for requests twice a second."""
POLL_S = 0.1
STEER_BYTES = 250_000
"""Limit for the messages of one call, which wait in the response's document; images and files are blobs."""


async def steer_here(store: "Store", run: Run, messages: list[e.InputMessage], *, steer_id: str) -> None:
    """Passes messages of the user to a run of this process; see `Run.steer`.

    The messages are first stored as waiting items of the conversation, from which the successor takes them. If no
    successor can begin, or this server dies, the conversation's next question takes them. A cancellation does not
    interrupt it halfway. Raises `InvalidRequest` if the run does not accept them; then they are removed again.
    """
    run.check_steer(len(messages))
    if not run.response.store:
        return run.steer(messages, steer_id=steer_id)
    stored = await store_media(messages, blobs_of(store, owner=run.owner))
    with anyio.CancelScope(shield=True):
        await store.conversation_items.add(run.conversation_id, stored, owner=run.owner)
        try:
            run.steer(stored, steer_id=steer_id)
        except InvalidRequest:
            ids = [message.id for message in stored]
            # If another question has already begun with them, they were accepted after all.
            if await store.conversation_items.withdraw(run.conversation_id, ids, owner=run.owner):
                raise


async def steer_elsewhere(
    store: "Store", response_id: str, messages: list[e.InputMessage], *, owner: str, steer_id: str
) -> None:
    """Passes messages to the server that runs the response; returns once that server has accepted them.

    Raises `InvalidRequest` if that server refuses them or does not answer in time; then it will not accept them later.
    After a cancellation that remains unknown.
    """
    messages = await store_media(messages, blobs_of(store, owner=owner))
    if len(msgspec.json.encode(messages)) > STEER_BYTES:
        raise InvalidRequest(f"A response can be steered by {STEER_BYTES} bytes at a time.", param="input")
    outcome = "response_already_completed"
    if await store.leases.ask_to_steer(response_id, Steer(steer_id, messages), owner=owner):
        with anyio.move_on_after(ANSWER_TIMEOUT_S) as deadline:
            async with store.events.changes(response_id) as change:
                while await store.leases.steer_waits(response_id, steer_id):
                    await change(POLL_S)
        outcome = "not_answered" if deadline.cancelled_caught else outcome
        outcome = await store.leases.withdraw_steer(response_id, steer_id) or outcome
    if outcome != STEERED:
        raise InvalidRequest(f"The server that answers '{response_id}' did not take this in: {outcome}.", code=outcome)
