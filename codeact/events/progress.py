"""Events about a whole response: it is created, gets items, reports its status, and ends."""

from typing import Literal

import msgspec

from codeact.events.items import Item
from codeact.events.response import Notice, Response

__all__ = [
    "NoticeEvent",
    "NumberedEvent",
    "OutputItemAdded",
    "OutputItemDone",
    "ResponseCompleted",
    "ResponseCreated",
    "ResponseFailed",
    "ResponseInProgress",
    "ResponseIncomplete",
    "ResponseQueued",
    "StatusEvent",
    "StatusName",
    "SteerAccepted",
    "SteerRef",
]


class NumberedEvent(msgspec.Struct, kw_only=True, gc=False):
    """Base of all events. The run's event log sets `sequence_number`.

    The garbage collector need not look at events, which are never part of a cycle: a log holds very many.
    """

    sequence_number: int = 0


class ResponseCreated(NumberedEvent, tag="response.created"):
    response: Response


class ResponseQueued(NumberedEvent, tag="response.queued"):
    """The response waits until the server has capacity; then `response.in_progress` follows."""

    response: Response


class ResponseInProgress(NumberedEvent, tag="response.in_progress"):
    response: Response


class ResponseCompleted(NumberedEvent, tag="response.completed"):
    response: Response


class ResponseIncomplete(NumberedEvent, tag="response.incomplete"):
    response: Response


class ResponseFailed(NumberedEvent, tag="response.failed"):
    response: Response


class OutputItemAdded(NumberedEvent, tag="response.output_item.added"):
    output_index: int
    item: Item


class OutputItemDone(NumberedEvent, tag="response.output_item.done"):
    output_index: int
    item: Item


class NoticeEvent(NumberedEvent, tag="codeact:notice"):
    notice: Notice


class SteerRef(msgspec.Struct):
    """A steering message: `previous_response_id` is the steered response, `next_response_id` the one that follows."""

    id: str
    previous_response_id: str
    next_response_id: str = msgspec.field(name="codeact:next_response_id")


class SteerAccepted(NumberedEvent, tag="response.steer.accepted"):
    steer: SteerRef


StatusName = Literal["queued", "starting_sandbox", "waiting_for_database"]


class StatusEvent(NumberedEvent, tag="codeact:status"):
    """Tells the client why nothing happens at the moment. No event reports the end of this state."""

    status: StatusName
    message: str
