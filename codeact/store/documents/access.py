"""The documents of credentials, sessions, usage and the audit log."""

from datetime import datetime
from typing import ClassVar

from pydantic import Field
from pymongo import ASCENDING, DESCENDING, IndexModel

from codeact.roles import Role
from codeact.store.documents.schema import AUDIT, CREDENTIAL, PERSON, SECRET, STORED_BYTES, USAGE, Schema
from codeact.store.documents.versioned import VersionedDocument
from codeact.store.records import AuditEntry, Credential, CredentialKind, OwnerLimits, Person

__all__ = ["AuditDocument", "CredentialDocument", "PersonDocument", "SecretDocument", "StoredDocument", "UsageDocument"]


class CredentialDocument(VersionedDocument):
    """An API key or a session.

    `hash` is the SHA-256 of a secret with 256 random bits, which needs no salt and no slow hash.
    """

    SCHEMA: ClassVar[Schema] = CREDENTIAL
    id: str  # type: ignore[assignment]  # ours, not an ObjectId
    kind: CredentialKind
    hash: str
    owner: str
    name: str
    operator: bool
    shown: str
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    purge_at: datetime | None = None
    parent_id: str | None = None
    limits: dict[str, int]
    origin: str | None = None
    account_limits: dict[str, int] = Field(default_factory=dict)
    admin: bool = False
    person: str | None = None
    address: str = ""
    browser: str = ""
    used_at: datetime | None = None

    class Settings:
        name = "credentials"
        indexes: ClassVar = [
            IndexModel([("hash", ASCENDING)], name="secret", unique=True),
            IndexModel([("kind", ASCENDING), ("created_at", ASCENDING)], name="kind_oldest_first"),
            IndexModel([("parent_id", ASCENDING)], name="made_from"),
            IndexModel([("person", ASCENDING), ("created_at", ASCENDING)], name="of_a_person", sparse=True),
            IndexModel([("purge_at", ASCENDING)], name="purge", expireAfterSeconds=0),
        ]

    def record(self) -> Credential:
        return Credential(
            id=self.id,
            kind=self.kind,
            owner=self.owner,
            name=self.name,
            operator=self.operator,
            shown=self.shown,
            created_at=self.created_at,
            expires_at=self.expires_at,
            revoked_at=self.revoked_at,
            parent_id=self.parent_id,
            limits=OwnerLimits(**self.limits),
            origin=self.origin,
            account_limits=OwnerLimits(**self.account_limits),
            admin=self.admin,
            person=self.person,
            address=self.address,
            browser=self.browser,
            used_at=self.used_at,
        )


class PersonDocument(VersionedDocument):
    """Somebody who has signed in. The id is the name of their owner."""

    SCHEMA: ClassVar[Schema] = PERSON
    id: str  # type: ignore[assignment]
    issuer: str
    subject: str
    name: str
    email: str
    role: Role
    granted: Role | None = None
    disabled: bool = False
    endings: int = 0
    created_at: datetime
    seen_at: datetime

    class Settings:
        name = "people"
        indexes: ClassVar = [IndexModel([("seen_at", DESCENDING), ("_id", DESCENDING)], name="seen_latest_first")]

    def record(self) -> Person:
        return Person(
            owner=self.id,
            issuer=self.issuer,
            subject=self.subject,
            name=self.name,
            email=self.email,
            role=self.role,
            granted=self.granted,
            disabled=self.disabled,
            endings=self.endings,
            created_at=self.created_at,
            seen_at=self.seen_at,
        )


class SecretDocument(VersionedDocument):
    """A random key of the server, shared by all servers of the database."""

    SCHEMA: ClassVar[Schema] = SECRET
    id: str  # type: ignore[assignment]
    value: bytes

    class Settings:
        name = "secrets"


class UsageDocument(VersionedDocument):
    """What an owner used in one period, a day or a minute: its id is `local/2026-11-21` or `local/2026-11-21T08:15`.

    `sessions` counts embed sessions. The tokens and responses of an account's users are also added to the account.
    """

    SCHEMA: ClassVar[Schema] = USAGE
    id: str  # type: ignore[assignment]
    responses: int = 0
    sessions: int = 0
    tokens: int = 0
    purge_at: datetime

    class Settings:
        name = "usage"
        indexes: ClassVar = [IndexModel([("purge_at", ASCENDING)], name="purge", expireAfterSeconds=0)]


class AuditDocument(VersionedDocument):
    SCHEMA: ClassVar[Schema] = AUDIT
    at: datetime
    owner: str
    credential_id: str | None
    action: str
    subject: str
    status: int
    address: str
    times: int = 1
    purge_at: datetime

    class Settings:
        name = "audit"
        indexes: ClassVar = [
            IndexModel([("at", DESCENDING), ("_id", DESCENDING)], name="latest_first"),
            IndexModel([("owner", ASCENDING), ("_id", DESCENDING)], name="owner_newest_first"),
            IndexModel([("action", ASCENDING), ("_id", DESCENDING)], name="action_newest_first"),
            IndexModel([("subject", ASCENDING), ("_id", DESCENDING)], name="subject_newest_first"),
            IndexModel([("purge_at", ASCENDING)], name="purge", expireAfterSeconds=0),
        ]

    def record(self) -> AuditEntry:
        return AuditEntry(
            self.at,
            self.owner,
            self.credential_id,
            self.action,
            self.subject,
            self.status,
            self.address,
            id=str(self.id),
            times=self.times,
        )


class StoredDocument(VersionedDocument):
    """How many bytes an owner stores. The bytes of an account's users are also added to the account."""

    SCHEMA: ClassVar[Schema] = STORED_BYTES
    id: str  # type: ignore[assignment]
    bytes: int = 0

    class Settings:
        name = "stored"
