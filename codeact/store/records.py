"""What the store gives out: plain values, free of the database."""

from collections.abc import Mapping
from dataclasses import dataclass

from codeact.events import InputMessage, Response

__all__ = ["Blob", "Conversation", "StoredResponse"]


@dataclass(frozen=True, slots=True)
class Conversation:
    """Times are Unix seconds. `last_response_id` is the response that ended last; None before the first did."""

    id: str
    owner: str
    created_at: float
    updated_at: float
    metadata: Mapping[str, str]
    last_response_id: str | None


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """`response.output` holds the items that were done; `input` what the client sent, oldest first."""

    response: Response
    input: list[InputMessage]


@dataclass(frozen=True, slots=True)
class Blob:
    data: bytes
    media_type: str
