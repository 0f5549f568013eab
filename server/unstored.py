"""Responses with `store: false`: they enter when they begin, and are found again on the same connection only."""

from collections import OrderedDict
from dataclasses import dataclass, field

from codeact.errors import NotFound
from codeact.events import Input, Response
from codeact.store import Blob, StoredResponse

__all__ = ["Place", "Unstored"]

MAX_RESPONSES = 64


@dataclass(frozen=True, slots=True)
class Place:
    """Where a request goes on: the responses before it, oldest first, and the id of the workspace that it uses.

    `branched`: the conversation has gone on after the last of them, perhaps with the same kernel. `retold`: the
    request itself tells what came before.
    """

    thread: list[StoredResponse] = field(default_factory=list)
    workspace_id: str | None = None
    branched: bool = False
    retold: bool = False


class Unstored:
    """The unstored responses of one connection; the oldest are forgotten when there are more than 64."""

    def __init__(self) -> None:
        self.closed = False
        self.blobs: dict[str, Blob] = {}
        self._places: OrderedDict[str, Place] = OrderedDict()

    def add(self, response: Response, messages: list[Input], place: Place, *, workspace_id: str) -> None:
        """Keeps a response that begins; it can be continued once it has ended well."""
        self._places[response.id] = Place([*place.thread, StoredResponse(response, messages)], workspace_id)
        if len(self._places) > MAX_RESPONSES:
            self._places.popitem(last=False)

    def find(self, response_id: str) -> Place | None:
        """Where a request goes on that continues this response; None where it is none of ours.

        Raises `NotFound` for one that failed.
        """
        place = self._places.get(response_id)
        if place is not None and place.thread[-1].response.status in ("failed", "cancelled"):
            raise NotFound(
                f"The response '{response_id}' did not end well and cannot be continued.",
                param="previous_response_id",
                code="previous_response_not_found",
            )
        return place

    def forget(self, response_id: str) -> None:
        """What a failed request wanted to continue is gone, as the standard has it. Idempotent."""
        self._places.pop(response_id, None)

    @property
    def workspace_ids(self) -> set[str]:
        return {place.workspace_id for place in self._places.values() if place.workspace_id is not None}
