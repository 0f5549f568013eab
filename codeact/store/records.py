"""The plain values that the store returns; they do not depend on the database."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from codeact.events import Input, Response
from codeact.ids import new_object_id
from codeact.roles import Role, highest
from codeact.store.search.search_fields import SearchFields

__all__ = [
    "ApprovalRecord",
    "AuditEntry",
    "Blob",
    "Container",
    "ContainerFile",
    "Conversation",
    "Credential",
    "CredentialKind",
    "Delivery",
    "EndedResponse",
    "Feedback",
    "OwnerLimits",
    "PendingUpload",
    "Person",
    "Share",
    "Skill",
    "SkillVersion",
    "StoredResponse",
    "UploadedFile",
]

CredentialKind = Literal["key", "session", "embed", "setup"]
"""`setup` is the code with which the first admin signs in."""


@dataclass(frozen=True, slots=True)
class ApprovalRecord:
    """Code or a call that waits for approval, or a call of a client's function (`function`) that waits for its value.

    Times are Unix seconds. `response_id` is the response after which the decision or the value continues. `preview` is
    the beginning of the code, or of the call's arguments. `reasons` are the rules that asked. `decided_by` and
    `decision_id`: who decided, and in which response; a value has no `decided_by`. `withdrawn`: the user went on
    without a decision or a value, or the code ended otherwise. `call_id` is that of a function's call, as its code
    named it: two sandboxes can give the same.
    """

    id: str
    owner: str
    conversation_id: str
    response_id: str
    kind: Literal["code", "call", "function"]
    name: str
    preview: str
    reasons: tuple[str, ...]
    created_at: float
    expires_at: float
    status: Literal["waiting", "approved", "rejected", "answered", "withdrawn"] = "waiting"
    edited: bool = False
    reason: str | None = None
    decided_at: float | None = None
    decided_by: str | None = None
    decision_id: str | None = None
    call_id: str | None = None

    @property
    def has_expired(self) -> bool:
        return self.status == "waiting" and self.expires_at <= time.time()


@dataclass(frozen=True, slots=True)
class Conversation:
    """A stored conversation. Times are Unix seconds.

    `last_response_id` is the response that ended last, at `updated_at`; None before the first one has ended. The user
    can change `title`, `pinned` and `tags`. `deleted_at` is set while the conversation is in the bin. `ratings`
    contains `up` and `down`, each if an answer has that rating.
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
    deleted_at: float | None = None
    folder: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    """What a face asks with in this conversation, such as `model` and `instructions`. The server only keeps it."""
    container: Mapping[str, Any] = field(default_factory=dict)
    """The options of its sandboxes, as `ContainerOptions.shown` has them."""


@dataclass(frozen=True, slots=True)
class Container:
    """A sandbox that a conversation has or had. Times are Unix seconds.

    `held_by` is the living server process that holds it, if that is another one than this. `is_held_here`: this
    process has said lately that it holds it. `options` are those that its first request asked for, as the API shows
    them.
    """

    id: str
    owner: str
    conversation_id: str
    name: str
    created_at: float
    last_active_at: float
    held_by: str | None = None
    is_held_here: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ContainerFile:
    """One version of a file, at `path` in the workspace.

    `sha256` names its blob; None: only the sandbox has the content.
    """

    id: str
    container_id: str
    path: str
    size_bytes: int
    modified_at: float
    created_at: float
    source: Literal["user", "assistant"]
    sha256: str | None


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """A file that a client has uploaded for later requests (`/v1/files`). Times are Unix seconds.

    `sha256` names its blob. From `expires_at` on, the file does not exist any more; None: it stays until it is deleted.
    """

    id: str
    filename: str
    size_bytes: int
    purpose: str
    created_at: float
    expires_at: float | None
    sha256: str


@dataclass(frozen=True, slots=True)
class PendingUpload:
    """A file that a client uploads in parts. Times are Unix seconds.

    `status`: `pending`, `completing`, `completed`, `cancelled`.
    """

    id: str
    filename: str
    size_bytes: int
    purpose: str
    status: str
    created_at: float
    expires_at: float


@dataclass(frozen=True, slots=True)
class Feedback:
    """An owner's rating of a response."""

    response_id: str
    owner: str
    conversation_id: str
    rating: Literal["up", "down"]
    comment: str | None
    created_at: float


@dataclass(frozen=True, slots=True)
class Share:
    """A conversation up to `response_id`, readable by everyone who knows `token`.

    `images` are the SHA-256 sums of the images that it shows; None if an older version, which did not store them, made
    it.
    """

    token: str
    owner: str
    conversation_id: str
    response_id: str
    images: frozenset[str] | None
    created_at: float


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """A response with its input.

    `response.output` contains the finished items; `input` is what the client sent, oldest first. `is_deleted`: the
    response was deleted, with its input and output; only its place in the conversation is left.
    """

    response: Response
    input: list[Input]
    is_deleted: bool = False


@dataclass(frozen=True, slots=True)
class Blob:
    data: bytes
    media_type: str


@dataclass(frozen=True, slots=True)
class OwnerLimits:
    """What one owner may use; None: no limit. A day ends at midnight UTC."""

    responses_per_minute: int | None = None
    concurrent_responses: int | None = None
    tokens_per_day: int | None = None
    stored_mb: int | None = None


@dataclass(frozen=True, slots=True)
class Credential:
    """An API key, a session made from one (of a browser or an embed), or the session of a person who has signed in.

    The secret itself is not stored. An embed session also has the `origin` of the page that shows it, and the limits of
    the account that pays for it. `person` is the owner's name if somebody who signs in has this session or has made
    this key; `address` and `browser` are those of the sign-in. `used_at` is right within a minute.
    """

    id: str
    kind: CredentialKind
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
    admin: bool = False
    person: str | None = None
    address: str = ""
    browser: str = ""
    used_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who signs in. `owner` depends on the issuer and its subject alone, and never changes.

    `role` is what the groups at the last sign-in gave; `granted` is what an admin has given in addition. `endings`
    counts how often all sessions were ended, by an admin or because the person may no longer sign in.
    """

    owner: str
    issuer: str
    subject: str
    name: str
    email: str
    role: Role
    granted: Role | None
    disabled: bool
    created_at: datetime
    seen_at: datetime
    endings: int = 0

    @property
    def rights(self) -> Role:
        """The higher one of both roles."""
        return highest(self.role, self.granted) or "user"


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who did what to which id, and with which HTTP status the request ended.

    Storing an entry with the same `id` again has no effect. `times` is above 1 if the entry stands for several events.
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


@dataclass(frozen=True, slots=True)
class EndedResponse:
    """A response that has ended at `ended_at`, for webhooks. `status` is that of the response."""

    response_id: str
    owner: str
    status: str
    background: bool
    ended_at: datetime


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event for one endpoint of a webhook. `id` is the event's, the same for every attempt."""

    id: str
    endpoint: str
    event: str
    response_id: str
    owner: str
    ended_at: datetime
    attempts: int


@dataclass(frozen=True, slots=True)
class Skill:
    """An owner's skill. Name and description are those of its default version. Times are Unix seconds."""

    id: str
    name: str
    description: str
    default_version: int
    latest_version: int
    created_at: float


@dataclass(frozen=True, slots=True)
class SkillVersion:
    """One version of a skill; the blob `sha256` holds its files as an archive."""

    id: str
    skill_id: str
    version: int
    name: str
    description: str
    sha256: str
    created_at: float
