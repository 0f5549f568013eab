"""What this server has last stored of conversations, so that the next question need not read where it attaches."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from codeact.store.repositories.known_histories import KnownHistories, Part

__all__ = ["KnownThreads"]

MOST_CONVERSATIONS, MOST_LINKS = 256, 1_024
MOST_ENTRIES = 2_000
"""Of words and blobs: a conversation with more would take too much memory, so it is read at each question."""


class KnownThreads:
    """Remembers conversations as they were stored, and responses that have ended. The oldest ones make room.

    Another server may have changed them since. Who continues there stores the question only if the conversation's
    `revision` is still the same, and calls `forget` and reads it otherwise. `histories` has what was read of them; only
    a conversation that is remembered has a history there.
    """

    def __init__(self) -> None:
        self._conversations: OrderedDict[str, Mapping[str, Any]] = OrderedDict()
        self._begun: OrderedDict[str, Mapping[str, Any]] = OrderedDict()
        self._links: OrderedDict[str, Mapping[str, Any]] = OrderedDict()
        self.histories = KnownHistories()

    def stored(self, conversation: Mapping[str, Any]) -> None:
        """Remembers a conversation that this server has just stored, with the fields of its document.

        Not if items wait in it, which may be large: then the next question reads it. If others may have changed the
        conversation between the last change that is remembered and this one, its responses and its history are
        forgotten: one of them may have been deleted, and then it has another kernel state to continue with.
        """
        conversation_id = conversation["_id"]
        before = self._conversations.pop(conversation_id, None)
        if before is None or conversation["revision"] != (before.get("revision") or 0) + 1:
            for response_id in [id_ for id_, link in self._links.items() if link["conversation_id"] == conversation_id]:
                del self._links[response_id]
            self.histories.drop(conversation_id)
        entries = len(conversation["words"]) + len(conversation["facets"]["blobs"])
        if entries <= MOST_ENTRIES and not conversation["deleted"] and not conversation["pending"]:
            self._conversations[conversation_id] = conversation
            if len(self._conversations) > MOST_CONVERSATIONS:
                self.forget(next(iter(self._conversations)))
        else:
            self.histories.drop(conversation_id)

    def begun(self, link: Mapping[str, Any]) -> None:
        """Remembers a response that begins, with the fields that `thread_stages.LINK` names, and the id `previous` of
        the response before it.
        """
        _add(self._begun, link)

    def ended(self, response_id: str, changes: Mapping[str, Any]) -> None:
        """Lets a response that has ended be continued, if it is remembered. `changes` are fields of its document."""
        if (link := self._begun.pop(response_id, None)) is not None:
            _add(self._links, {name: changes.get(name, value) for name, value in link.items()})

    def conversation(self, conversation_id: str) -> Mapping[str, Any] | None:
        """Returns the conversation as it was stored; None if it is not remembered."""
        return self._conversations.get(conversation_id)

    def after_response(self, response_id: str, *, owner: str) -> dict[str, Any] | None:
        """Returns the response's link, with its conversation as the list `conversation`.

        Returns None if one of them is not remembered, or belongs to another owner.
        """
        link = self._links.get(response_id)
        conversation = None if link is None else self._conversations.get(link["conversation_id"])
        if link is None or conversation is None or conversation["owner"] != owner:
            return None
        return {**link, "conversation": [conversation]}

    def after_last(self, conversation_id: str, *, owner: str) -> dict[str, Any] | None:
        """Returns what `after_response` returns, for the conversation's latest response."""
        conversation = self._conversations.get(conversation_id)
        last_id = None if conversation is None else conversation["last_response_id"]
        return None if last_id is None else self.after_response(last_id, owner=owner)

    def forget(self, conversation_id: str) -> None:
        """Forgets a conversation that others have changed."""
        self._conversations.pop(conversation_id, None)
        self.histories.drop(conversation_id)

    def chain(self, response_id: str, parts: Mapping[str, Part]) -> list[str] | None:
        """Returns the ids of the response's ancestors and its own, oldest first; None if they are not all known.

        `parts` is a history of its conversation.
        """
        new: list[str] = []
        at: str | None = response_id
        while at is not None and at not in parts:
            if (link := self._links.get(at)) is None:
                return None
            new.append(at)
            at = link["previous"]
        before = list(parts)[: list(parts).index(at) + 1] if at is not None else []
        return before + new[::-1]


def _add(links: OrderedDict[str, Mapping[str, Any]], link: Mapping[str, Any]) -> None:
    links[link["_id"]] = link
    if len(links) > MOST_LINKS:
        links.popitem(last=False)
