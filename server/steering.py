"""What a user says into a response of another server: it enters the database, and what became of it leaves."""

import anyio
import msgspec

from codeact import events as e
from codeact.errors import InvalidRequest
from codeact.store import Store
from codeact.store.leases import STEERED, Steer

__all__ = ["steer_elsewhere"]

ANSWER_S = 5.0
"""The other server looks twice a second."""
STEER_BYTES = 250_000
"""Of messages at a time, without their images and files, which are blobs: they wait in the response's document."""


async def steer_elsewhere(
    store: Store, response_id: str, messages: list[e.InputMessage], *, owner: str, steer_id: str
) -> None:
    """Returns once the server at work has taken it in, as `Run.steer` does there.

    Raises `InvalidRequest` where it did not, or did not answer in time: then it will not, either. Cancelling leaves
    that open.
    """
    if len(msgspec.json.encode(messages)) > STEER_BYTES:
        raise InvalidRequest(f"A response can be steered by {STEER_BYTES} bytes at a time.", param="input")
    outcome = "response_already_completed"
    if await store.leases.ask_to_steer(response_id, Steer(steer_id, messages), owner=owner):
        with anyio.move_on_after(ANSWER_S) as deadline:
            async with store.events.changes(response_id) as change:
                while await store.leases.steer_waits(response_id, steer_id):
                    await change()
        outcome = "not_answered" if deadline.cancelled_caught else outcome
        outcome = await store.leases.withdraw_steer(response_id, steer_id) or outcome
    if outcome != STEERED:
        raise InvalidRequest(f"The server that answers '{response_id}' did not take this in: {outcome}.", code=outcome)
