"""Events of a response as a whole: it begins, gets items, reports its status, and ends."""

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


class NumberedEvent(msgspec.Struct, kw_only=True):
    """The log gives the number."""

    sequence_number: int = 0


class ResponseCreated(NumberedEvent, tag="response.created"):
    response: Response


class ResponseQueued(NumberedEvent, tag="response.queued"):
    """It waits for its turn; `response.in_progress` says that it has come."""

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
    """`previous_response_id` is the response that was steered, `next_response_id` the one that goes on after it."""

    id: str
    previous_response_id: str
    next_response_id: str = msgspec.field(name="codeact:next_response_id")


class SteerAccepted(NumberedEvent, tag="response.steer.accepted"):
    steer: SteerRef


StatusName = Literal["queued", "starting_sandbox", "waiting_for_database"]


class StatusEvent(NumberedEvent, tag="codeact:status"):
    """Why nothing happens just now; it passes without another word."""

    status: StatusName
    message: str
