"""Stores credentials, counts usage, and writes and reads the audit log."""

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from codeact.errors import InvalidRequest, NotFound
from codeact.ids import new_id
from codeact.owners import account_of, check_key_name, check_owner
from codeact.store.database.operation import Operations, operation
from codeact.store.documents.schema import FIELD, USAGE
from codeact.store.records import AuditEntry, Credential, OwnerLimits
from codeact.store.values import bounded_time

if TYPE_CHECKING:
    from codeact.store.documents.access import CredentialDocument
    from codeact.store.documents.documents import Documents

__all__ = ["EMBED_PREFIX", "KEY_PREFIX", "Access", "hash_of"]

REVOKED_RETENTION = timedelta(days=90)
AUDIT_RETENTION = timedelta(days=90)
KEY_PREFIX = "codeact_"
EMBED_PREFIX = f"{KEY_PREFIX}embed_"
DUPLICATE = 11000
"""The server's error code for a duplicate key."""
SHOWN_CHARS = len(KEY_PREFIX) + 6


def hash_of(secret: str) -> str:
    """SHA-256 in hex: the only form in which a secret is stored."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _limits_set(limits: OwnerLimits) -> dict[str, int]:
    return {name: value for name, value in asdict(limits).items() if value is not None}


class Access:
    """The part of `Store` for keys, sessions, usage and the audit log. The guarantees of `Store` hold here too."""

    def __init__(self, documents: "Documents", operations: Operations) -> None:
        self._credentials = documents.credentials
        self._usage = documents.usage
        self._audit = documents.audit
        self._operations = operations

    # ---- keys and sessions ---------------------------------------------------------------------------

    @operation
    async def create_key(
        self,
        *,
        owner: str,
        name: str,
        operator: bool = False,
        expires_at: datetime | None = None,
        limits: OwnerLimits | None = None,
    ) -> tuple[Credential, str]:
        """Creates an API key and its secret, which cannot be read again.

        Raises `InvalidRequest` for an owner or a name that is not allowed.
        """
        check_owner(owner)
        check_key_name(name)
        secret = f"{KEY_PREFIX}{secrets.token_urlsafe(32)}"
        document = self._credentials(
            id=new_id("key"),
            kind="key",
            hash=hash_of(secret),
            owner=owner,
            name=name,
            operator=operator,
            shown=f"{secret[:SHOWN_CHARS]}…",
            created_at=datetime.now(UTC),
            expires_at=expires_at,
            limits=_limits_set(limits or OwnerLimits()),
        )
        await document.insert()
        return document.record(), secret

    @operation
    async def list_keys(self) -> list[Credential]:
        """Every key, oldest first, including those revoked in the last 90 days."""
        found = self._credentials.find({"kind": "key"}).sort("created_at")
        return [document.record() for document in await found.to_list()]

    @operation
    async def has_keys(self) -> bool:
        """Whether a valid key exists: neither revoked nor expired."""
        now = datetime.now(UTC)
        alive = {"kind": "key", "revoked_at": None, "$or": [{"expires_at": None}, {"expires_at": {"$gt": now}}]}
        return await self._credentials.find_one(alive) is not None

    @operation
    async def revoke_key(self, key_id: str) -> Credential:
        """Revokes the key and ends every session made from it, at once. Raises `NotFound`."""
        document = await self._credentials.find_one({"_id": key_id, "kind": "key"})
        if document is None:
            raise NotFound(f"There is no key '{key_id}'; `codeact keys list` shows them.", param="key_id")
        now = datetime.now(UTC)
        if document.revoked_at is None:
            document.revoked_at, document.purge_at = now, now + REVOKED_RETENTION
            await document.save()
        await self._credentials.find({"parent_id": key_id}).delete()
        return document.record()

    @operation
    async def find(self, secret: str) -> Credential | None:
        """Finds the valid key, browser session or embed session with this secret; None if there is none."""
        document = await self._credentials.find_one({"hash": hash_of(secret), "revoked_at": None})
        if document is None or (document.expires_at is not None and document.expires_at <= datetime.now(UTC)):
            return None
        return document.record()

    @operation
    async def create_session(
        self, *, parent_id: str, owner: str, operator: bool, limits: OwnerLimits, lasts: timedelta
    ) -> str:
        """Creates a browser session for a key; returns its secret. It ends after `lasts`, or with the key.

        Raises `InvalidRequest` if the key has been revoked meanwhile.
        """
        secret = secrets.token_urlsafe(32)
        now = datetime.now(UTC)
        document = self._credentials(
            id=new_id("sess"),
            kind="session",
            hash=hash_of(secret),
            owner=owner,
            name="browser",
            operator=operator,
            shown="",
            created_at=now,
            expires_at=now + lasts,
            purge_at=now + lasts,
            parent_id=parent_id,
            limits=_limits_set(limits),
        )
        await self._insert_below(document)
        return secret

    @operation
    async def end_session(self, secret_hash: str) -> None:
        """Ends the browser session whose secret has this hash (`hash_of`). Idempotent."""
        await self._credentials.find({"hash": secret_hash, "kind": "session"}).delete()

    @operation
    async def used(self, times: Mapping[str, datetime]) -> None:
        """Stores when each of these credentials was used last, by their ids."""
        from pymongo import UpdateOne

        updates = [UpdateOne({"_id": id_}, {"$max": {"used_at": at}}) for id_, at in times.items()]
        if updates:
            await self._credentials.get_pymongo_collection().bulk_write(updates, ordered=False)

    @operation
    async def create_embed_session(
        self,
        *,
        parent_id: str | None,
        owner: str,
        origin: str,
        expires_at: datetime,
        limits: OwnerLimits,
        account_limits: OwnerLimits,
    ) -> tuple[Credential, str]:
        """Creates a session for a widget's user, and its token, which cannot be read again. It ends with its key.

        Raises `InvalidRequest` if the key has been revoked meanwhile.
        """
        secret = f"{EMBED_PREFIX}{secrets.token_urlsafe(32)}"
        document = self._credentials(
            id=new_id("emb"),
            kind="embed",
            hash=hash_of(secret),
            owner=owner,
            name="embed",
            operator=False,
            shown="",
            created_at=datetime.now(UTC),
            expires_at=expires_at,
            purge_at=expires_at,
            parent_id=parent_id,
            limits=_limits_set(limits),
            origin=origin,
            account_limits=_limits_set(account_limits),
        )
        await self._insert_below(document)
        return document.record(), secret

    async def _insert_below(self, document: "CredentialDocument") -> None:
        """Inserts a session, unless its key is revoked. Looks at the key afterwards.

        So either this finds the key revoked, or whoever revokes the key finds the session.
        """
        await document.insert()
        if document.parent_id is None or document.parent_id.startswith("env-"):
            return
        key = {"_id": document.parent_id, "kind": "key", "revoked_at": None}
        if await self._credentials.find_one(key) is None:
            await document.delete()
            raise InvalidRequest("The key was revoked at this moment.", code="key_revoked")

    @operation
    async def end_embed_session(self, session_id: str, *, parent_id: str | None) -> None:
        """Ends an embed session made from this key; `parent_id` None: from any key. Raises `NotFound`."""
        query: dict[str, Any] = {"_id": session_id, "kind": "embed"}
        if parent_id is not None:
            query["parent_id"] = parent_id
        if (document := await self._credentials.find_one(query)) is None:
            raise NotFound(f"There is no embed session '{session_id}'.", param="session_id")
        await document.delete()

    # ---- usage ---------------------------------------------------------------------------------------

    @operation
    async def count_response(self, owner: str, at: datetime) -> int:
        """Counts one response; returns how many the owner has begun this minute, over all server processes.

        It may be counted twice if the connection breaks.
        """
        return await self._count(owner, "responses", at)

    @operation
    async def uncount_response(self, owner: str, at: datetime) -> None:
        """Undoes one `count_response` of that time."""
        await self._add(f"{owner}/{at:%Y-%m-%dT%H:%M}", {"responses": -1}, at + timedelta(minutes=2))

    @operation
    async def count_session(self, account: str, at: datetime) -> int:
        """Counts one embed session; otherwise like `count_response`."""
        return await self._count(account, "sessions", at)

    @operation
    async def add_tokens(self, owner: str, tokens: int, at: datetime) -> None:
        """Adds to the tokens that the owner, and its account, used on this day."""
        for each in sorted({owner, account_of(owner)}):
            await self._add(f"{each}/{at:%Y-%m-%d}", {"tokens": tokens}, at + timedelta(days=2))

    @operation
    async def tokens_used(self, owner: str, at: datetime) -> int:
        """The tokens that the owner used on the day (UTC) of `at`."""
        document = await self._usage.get(f"{owner}/{at:%Y-%m-%d}")
        return document.tokens if document is not None else 0

    async def _count(self, owner: str, what: str, at: datetime) -> int:
        found = await self._add(f"{owner}/{at:%Y-%m-%dT%H:%M}", {what: 1}, at + timedelta(minutes=2))
        return int(found[what])

    async def _add(self, period: str, amounts: dict[str, int], purge_at: datetime) -> dict[str, Any]:
        from pymongo import ReturnDocument

        found = await self._usage.get_pymongo_collection().find_one_and_update(
            {"_id": period},
            {"$inc": amounts, "$setOnInsert": {"purge_at": purge_at, FIELD: USAGE.version}},
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
        assert found is not None  # because of `upsert`
        return dict(found)

    # ---- audit ---------------------------------------------------------------------------------------

    @operation
    async def record(self, entries: Sequence[AuditEntry]) -> None:
        """Stores the entries for 90 days. An entry with an id that exists already is skipped."""
        from bson import ObjectId
        from pymongo.errors import BulkWriteError

        documents = [
            self._audit(
                id=ObjectId(entry.id),
                at=entry.at,
                owner=entry.owner,
                credential_id=entry.credential_id,
                action=entry.action,
                subject=entry.subject,
                status=entry.status,
                address=entry.address,
                times=entry.times,
                purge_at=entry.at + AUDIT_RETENTION,
            )
            for entry in entries
        ]
        if not documents:
            return
        try:
            await self._audit.insert_many(documents, ordered=False)
        except BulkWriteError as error:
            failed = [*error.details["writeErrors"], *error.details["writeConcernErrors"]]
            if any(each["code"] != DUPLICATE for each in failed):
                raise

    @operation
    async def audit(
        self,
        *,
        owner: str | None = None,
        action: str | None = None,
        subject: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> list[tuple[str, AuditEntry]]:
        """Entries with their ids, newest first.

        `after` is the last id of the previous page. `owner` None: all owners.
        """
        from bson import ObjectId
        from bson.errors import InvalidId

        query: dict[str, Any] = {
            name: value for name, value in (("owner", owner), ("action", action), ("subject", subject)) if value
        }
        if since is not None or until is not None:
            bounds = {"$gte": since, "$lt": until}
            query["at"] = {name: bounded_time(bound) for name, bound in bounds.items() if bound is not None}
        if after is not None:
            try:
                query["_id"] = {"$lt": ObjectId(after)}
            except InvalidId:
                raise InvalidRequest(f"'{after}' is not the id of an audit entry.", param="after") from None
        found = await self._audit.find(query).sort("-_id").limit(limit).to_list()
        return [(str(document.id), document.record()) for document in found]
