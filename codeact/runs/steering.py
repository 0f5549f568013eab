"""Passes what a user says during a running response to the server that runs it."""

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

ANSWER_S = 5.0
"""The other server looks twice a second."""
ASK_S = 0.1
STEER_BYTES = 250_000
"""Of messages at a time, without their images and files, which are blobs: they wait in the response's document."""


async def steer_here(store: "Store", run: Run, messages: list[e.InputMessage], *, steer_id: str) -> None:
    """Has a run of this process take in what the user says; see `Run.steer`.

    The words are stored first, as waiting items of the conversation, and the successor takes them from there. Where
    none can begin, or this server dies, the conversation's next question does. Cancelling leaves no half of it.
    Raises `InvalidRequest` where the run does not take them; nothing of them stays then.
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
            # Where another question has begun with them already, they have been taken in after all.
            if await store.conversation_items.withdraw(run.conversation_id, ids, owner=run.owner):
                raise


async def steer_elsewhere(
    store: "Store", response_id: str, messages: list[e.InputMessage], *, owner: str, steer_id: str
) -> None:
    """Returns once the server at work has taken it in, as `Run.steer` does there.

    Raises `InvalidRequest` where it did not, or did not answer in time: then it will not, either. Cancelling leaves
    that open.
    """
    messages = await store_media(messages, blobs_of(store, owner=owner))
    if len(msgspec.json.encode(messages)) > STEER_BYTES:
        raise InvalidRequest(f"A response can be steered by {STEER_BYTES} bytes at a time.", param="input")
    outcome = "response_already_completed"
    if await store.leases.ask_to_steer(response_id, Steer(steer_id, messages), owner=owner):
        with anyio.move_on_after(ANSWER_S) as deadline:
            async with store.events.changes(response_id) as change:
                while await store.leases.steer_waits(response_id, steer_id):
                    await change(ASK_S)
        outcome = "not_answered" if deadline.cancelled_caught else outcome
        outcome = await store.leases.withdraw_steer(response_id, steer_id) or outcome
    if outcome != STEERED:
        raise InvalidRequest(f"The server that answers '{response_id}' did not take this in: {outcome}.", code=outcome)
