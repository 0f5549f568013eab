"""The plain values that the store returns, which do not depend on the database."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from codeact.events import Input, Response
from codeact.ids import new_object_id
from codeact.store.search.search_fields import SearchFields

__all__ = [
    "AuditEntry",
    "Blob",
    "Container",
    "ContainerFile",
    "Conversation",
    "Credential",
    "Feedback",
    "OwnerLimits",
    "Share",
    "StoredResponse",
]


@dataclass(frozen=True, slots=True)
class Conversation:
    """Times are Unix seconds. `last_response_id` is the response that ended last; None before the first did.

    `updated_at` is when that was. `title`, `pinned` and `tags` are the user's to change; `ratings` holds `up`
    and `down`, each if an answer has it.
    """

    id: str
    owner: str
    created_at: float
    updated_at: float
    metadata: Mapping[str, str]
    last_response_id: str | None
    title: str | None = None
    pinned: bool = False
    tags: tuple[str, ...] = ()
    ratings: tuple[str, ...] = ()
    facets: SearchFields = field(default_factory=SearchFields)


@dataclass(frozen=True, slots=True)
class Container:
    """A sandbox that a conversation has or had. Times are Unix seconds.

    `elsewhere`: another server process lives and holds it. Whether this one does, it knows by itself.
    """

    id: str
    owner: str
    conversation_id: str
    name: str
    created_at: float
    last_active_at: float
    elsewhere: bool


@dataclass(frozen=True, slots=True)
class ContainerFile:
    """One version of a file, at `path` in the workspace. `sha256` names its blob; None: only the sandbox has it."""

    id: str
    container_id: str
    path: str
    size_bytes: int
    modified_at: float
    created_at: float
    source: Literal["user", "assistant"]
    sha256: str | None


@dataclass(frozen=True, slots=True)
class Feedback:
    """What an owner thinks of a response."""

    response_id: str
    owner: str
    conversation_id: str
    rating: Literal["up", "down"]
    comment: str | None
    created_at: float


@dataclass(frozen=True, slots=True)
class Share:
    """A conversation up to `response_id`, for whoever knows `token`.

    `images` are the SHA-256 sums of the images that it shows; None where an older version did not keep them.
    """

    token: str
    owner: str
    conversation_id: str
    response_id: str
    images: frozenset[str] | None
    created_at: float


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """`response.output` holds the items that were done; `input` what the client sent, oldest first."""

    response: Response
    input: list[Input]


@dataclass(frozen=True, slots=True)
class Blob:
    data: bytes
    media_type: str


@dataclass(frozen=True, slots=True)
class OwnerLimits:
    """What one owner may use; None: without limit. A day ends at midnight UTC."""

    responses_per_minute: int | None = None
    concurrent_responses: int | None = None
    tokens_per_day: int | None = None
    stored_mb: int | None = None


@dataclass(frozen=True, slots=True)
class Credential:
    """An API key, or what was made from one: a browser's session, or an embed's. The secret itself is kept nowhere.

    An embed's has the `origin` of the page that it is for, and the limits of the account that its use counts for, too.
    """

    id: str
    kind: Literal["key", "session", "embed"]
    owner: str
    name: str
    operator: bool
    shown: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    parent_id: str | None
    limits: OwnerLimits
    origin: str | None = None
    account_limits: OwnerLimits = field(default_factory=OwnerLimits)


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who did what to which id, and with which HTTP status it ended.

    `id` makes storing the same entry again harmless. `times` is above 1 where one entry stands for several events.
    """

    at: datetime
    owner: str
    credential_id: str | None
    action: str
    subject: str
    status: int
    address: str
    id: str = field(default_factory=new_object_id, compare=False)
    times: int = 1
