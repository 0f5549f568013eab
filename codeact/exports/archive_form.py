"""The structure of an archive's JSON with the limits of each field, and the error for an invalid archive."""

from typing import Annotated, Literal

import msgspec

from codeact.errors import InvalidRequest
from codeact.events import Input, Response

__all__ = [
    "MOST_BLOBS",
    "MOST_RESPONSES",
    "Archive",
    "ArchivedBlob",
    "ArchivedConversation",
    "ArchivedResponse",
    "refused",
]

MOST_RESPONSES, MOST_BLOBS = 5_000, 10_000

Text = Annotated[str, msgspec.Meta(max_length=512)]
Time = Annotated[float, msgspec.Meta(ge=0, le=4e9)]


class ArchivedConversation(msgspec.Struct, forbid_unknown_fields=True):
    """`last_response_id` is the last response of the branch that the user saw last."""

    created_at: Time
    title: Annotated[str, msgspec.Meta(max_length=200)] | None = None
    tags: Annotated[list[Annotated[str, msgspec.Meta(min_length=1, max_length=50)]], msgspec.Meta(max_length=20)] = []
    metadata: Annotated[dict[Text, Text], msgspec.Meta(max_length=16)] = {}
    last_response_id: Text | None = None


class ArchivedResponse(msgspec.Struct, forbid_unknown_fields=True):
    response: Response
    input: list[Input]


class ArchivedBlob(msgspec.Struct, forbid_unknown_fields=True):
    """`data` is encoded as base64 in the JSON."""

    sha256: str
    media_type: Annotated[str, msgspec.Meta(max_length=100, pattern=r"^[a-z]+/[a-z0-9.+-]+$")]
    data: bytes


class Archive(msgspec.Struct, forbid_unknown_fields=True):
    """A whole conversation: the responses of all branches, each after the one that it continues."""

    object: Literal["codeact:conversation"]
    version: Literal[1]
    conversation: ArchivedConversation
    responses: Annotated[list[ArchivedResponse], msgspec.Meta(max_length=MOST_RESPONSES)]
    blobs: Annotated[list[ArchivedBlob], msgspec.Meta(max_length=MOST_BLOBS)] = []


def refused(reason: str, place: str) -> InvalidRequest:
    """Returns the error for an archive that cannot be imported; `place` is the path of the field that is wrong."""
    return InvalidRequest(f"This is no conversation that can be imported: {reason}, at {place}.", param=place)
