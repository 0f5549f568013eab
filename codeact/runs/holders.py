"""Finds the server that holds a conversation's kernel, if that is another one than this."""

from codeact.errors import ConversationLocked
from codeact.events.last_code import LastCode
from codeact.store.run_store import RunStore

__all__ = ["HeldElsewhere", "holder_of"]


class HeldElsewhere(ConversationLocked):
    """Raised if the server `process` holds the kernel of a question's conversation. Nothing has been stored.

    `response_id` is the id for the answer, whichever server gives it: the database lets only one server begin it.
    """

    def __init__(self, process: str, response_id: str) -> None:
        super().__init__("Another server holds the kernel of this conversation.", param="conversation")
        self.process = process
        self.response_id = response_id


async def holder_of(
    conversation_id: str, *, owner: str, here: str | None, last_code: LastCode | None, store: RunStore
) -> str | None:
    """The name of the server whose kernel a question of this conversation needs; None if it may run here.

    `here` is the living sandbox of the conversation on this server. The kernel in which code ran last counts most, then
    the one that was used last. Makes one query, or none if the code ran here.
    """
    if here is not None and last_code is not None and here == last_code.container_id:
        return None
    held = await store.files.held(conversation_id, owner=owner)
    if not held:
        return None
    ran_last = last_code.container_id if last_code is not None else None
    return next((each for each in held if each.id == ran_last), held[-1]).held_by
