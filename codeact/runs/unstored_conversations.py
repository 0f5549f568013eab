"""Conversations of requests with `store: false` over HTTP, which no connection holds.

A client that sends its whole history with each request can so give values to code that waits for its functions, and
use the variables of its last question. Only requests that offer tools are remembered.
"""

import time
from collections import OrderedDict

from codeact.events import FunctionCallOutput, Response
from codeact.runs.held_bytes import ConnectionMemory
from codeact.runs.new_run import NewRun
from codeact.runs.resume_points import EphemeralResponses

__all__ = ["UnstoredConversations"]

SERVER_BYTES, CONVERSATION_BYTES = 128_000_000, 16_000_000
MOST_OF_OWNER, MOST = 32, 2_000


class _Conversation:
    def __init__(self, owner: str, memory: ConnectionMemory) -> None:
        self.owner = owner
        self.responses = EphemeralResponses(memory, most_bytes=CONVERSATION_BYTES)
        self.last_used = time.monotonic()


class UnstoredConversations:
    """Finds conversations by their owner and the ids of their items and calls.

    A conversation is dropped if it was not used for `idle_s` seconds, or if there are too many conversations or bytes:
    then the least recently used one goes, of the same owner if that owner has too many. A conversation that answers is
    not dropped. The caller releases the workspaces of dropped conversations.
    """

    def __init__(self, *, idle_s: float, most_bytes: int = SERVER_BYTES) -> None:
        self._idle_s = idle_s
        self._most_bytes = most_bytes
        self._memory = ConnectionMemory(most_bytes)
        self._conversations: OrderedDict[int, _Conversation] = OrderedDict()
        self._dropped: set[str] = set()

    def find(self, new_run: NewRun) -> EphemeralResponses | None:
        """Returns the responses that the request continues, or empty ones if it begins a conversation.

        Returns None for a request that is stored, offers no tools, or names a stored conversation.
        """
        if new_run.store or not new_run.tools or not new_run.generate:
            return None
        if new_run.conversation_id is not None or new_run.container_id is not None:
            return None
        conversation = self._known(new_run) or _Conversation(new_run.owner, self._memory)
        self._use(conversation)
        with conversation.responses.beginning():
            self._make_room_of(conversation.owner)
            self.make_room()
        return conversation.responses

    def ended(self, responses: EphemeralResponses, response: Response) -> None:
        """Counts the output of a response that has ended, and drops conversations if there are too many bytes."""
        responses.ended(response)
        if (conversation := self._conversations.get(id(responses))) is not None:
            self._use(conversation)
        self.make_room()

    def make_room(self) -> None:
        """Drops conversations that were not used for a while, or are too many. Call it every now and then."""
        before = time.monotonic() - self._idle_s
        for conversation in list(self._conversations.values()):
            is_full = self._memory.bytes + 2 * CONVERSATION_BYTES > self._most_bytes
            if conversation.last_used >= before and len(self._conversations) <= MOST and not is_full:
                break
            if not conversation.responses.is_in_use:
                self._drop(conversation)

    def dropped(self) -> set[str]:
        """Returns the ids of the workspaces of conversations that were dropped since the last call."""
        dropped, self._dropped = self._dropped, set()
        return dropped

    @property
    def bytes(self) -> int:
        """How many bytes all conversations hold."""
        return self._memory.bytes

    def _known(self, new_run: NewRun) -> _Conversation | None:
        calls = [item.call_id for item in new_run.messages if isinstance(item, FunctionCallOutput)]
        names = [name for name in (new_run.previous_response_id, *calls[-1:], new_run.answer_id) if name is not None]
        if not names:
            return None
        found = (each for each in reversed(self._conversations.values()) if each.owner == new_run.owner)
        return next((each for each in found if each.responses.has_any(names)), None)

    def _use(self, conversation: _Conversation) -> None:
        conversation.last_used = time.monotonic()
        self._conversations[id(conversation.responses)] = conversation
        self._conversations.move_to_end(id(conversation.responses))

    def _make_room_of(self, owner: str) -> None:
        of_owner = [each for each in self._conversations.values() if each.owner == owner]
        idle = [each for each in of_owner if not each.responses.is_in_use]
        for conversation in idle[: max(0, len(of_owner) - MOST_OF_OWNER)]:
            self._drop(conversation)

    def _drop(self, conversation: _Conversation) -> None:
        del self._conversations[id(conversation.responses)]
        self._dropped |= conversation.responses.workspace_ids
        conversation.responses.close()
