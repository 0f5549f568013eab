"""Stores the people who sign in, their browser sessions and the keys that they make."""

import hashlib
import secrets
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from codeact.errors import InvalidRequest, NotFound
from codeact.ids import new_id
from codeact.owners import check_key_name
from codeact.roles import Role
from codeact.store.database.operation import Operations, operation
from codeact.store.documents.schema import FIELD, PERSON
from codeact.store.records import Credential, Person
from codeact.store.repositories.access import KEY_PREFIX, REVOKED_RETENTION, SHOWN_CHARS, hash_of

if TYPE_CHECKING:
    from codeact.store.documents.access import CredentialDocument, PersonDocument
    from codeact.store.documents.documents import Documents

__all__ = ["MOST_KEYS", "MOST_SESSIONS", "People", "owner_of_subject"]

MOST_KEYS = 20
"""How many valid keys one person may have."""
MOST_SESSIONS = 50
"""The oldest sessions of a person beyond these end when a new one begins."""
SETUP_LASTS = timedelta(hours=24)


def owner_of_subject(issuer: str, subject: str) -> str:
    """The owner's name of this subject of this issuer. Two different pairs never share one."""
    text = f"{len(issuer)}:{issuer}{subject}"
    return f"person_{hashlib.sha256(text.encode()).hexdigest()[:40]}"


class People:
    """The part of `Store` for people. The guarantees of `Store` hold here too."""

    def __init__(self, documents: "Documents", operations: Operations) -> None:
        self._people = documents.people
        self._credentials = documents.credentials
        self._operations = operations

    # ---- people --------------------------------------------------------------------------------------

    @operation
    async def sign_in(self, *, issuer: str, subject: str, name: str, email: str, role: Role) -> Person:
        """Stores what the provider says about somebody; returns the person, who may be disabled."""
        from pymongo import ReturnDocument

        now = datetime.now(UTC)
        first = {"issuer": issuer, "subject": subject, "granted": None, "disabled": False, "created_at": now}
        known = {"name": name, "email": email, "role": role, "seen_at": now}
        found = await self._people.get_pymongo_collection().find_one_and_update(
            {"_id": owner_of_subject(issuer, subject)},
            {"$set": known, "$setOnInsert": first | {FIELD: PERSON.version}},
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
        document: PersonDocument = self._people.model_validate(found)
        return document.record()

    @operation
    async def get(self, owner: str) -> Person | None:
        """The person with this owner's name; None if nobody has signed in under it."""
        document = await self._people.get(owner)
        return document.record() if document is not None else None

    @operation
    async def latest(self, *, limit: int) -> list[Person]:
        """Who has signed in, latest first."""
        found = await self._people.find().sort("-seen_at", "-_id").limit(limit).to_list()
        return [document.record() for document in found]

    @operation
    async def change(self, owner: str, changes: dict[str, Any]) -> Person:
        """Sets `granted` and `disabled`. Ends the person's sessions, because they have the old rights.

        Disabling also revokes the person's keys. Raises `NotFound`.
        """
        from pymongo import ReturnDocument

        found = await self._people.get_pymongo_collection().find_one_and_update(
            {"_id": owner}, {"$set": changes, "$inc": {"endings": 1}}, return_document=ReturnDocument.AFTER
        )
        if found is None:
            raise NotFound(f"Nobody has signed in as '{owner}'.", param="owner")
        await self._end_all(owner, keys=bool(changes.get("disabled")))
        document: PersonDocument = self._people.model_validate(found)
        return document.record()

    @operation
    async def shut_out(self, owner: str) -> None:
        """Ends the sessions and keys of somebody who may no longer sign in."""
        await self._people.get_pymongo_collection().update_one({"_id": owner}, {"$inc": {"endings": 1}})
        await self._end_all(owner, keys=True)

    @operation
    async def has_admin(self, issuers: Collection[str], *, by_rules: bool) -> bool:
        """Whether somebody whom one of these issuers names may sign in as an admin.

        `by_rules`: also whoever was one by the rules at the last sign-in. Pass False where no rule makes admins now.
        """
        return await self._has_admin(issuers, by_rules=by_rules)

    async def _has_admin(self, issuers: Collection[str], *, by_rules: bool) -> bool:
        kinds = [{"granted": "admin"}, *([{"role": "admin"}] if by_rules else [])]
        admin = {"disabled": False, "issuer": {"$in": list(issuers)}, "$or": kinds}
        return await self._people.find_one(admin) is not None

    # ---- the first admin -----------------------------------------------------------------------------

    @operation
    async def create_setup_code(self) -> str:
        """A code that makes one person an admin, within a day. It replaces the codes made before."""
        secret, now = secrets.token_urlsafe(32), datetime.now(UTC)
        await self._credentials.find({"kind": "setup"}).delete()
        await self._credentials(
            id=new_id("setup"),
            kind="setup",
            hash=hash_of(secret),
            owner="",
            name="first admin",
            operator=False,
            shown="",
            created_at=now,
            expires_at=now + SETUP_LASTS,
            purge_at=now + SETUP_LASTS,
            limits={},
        ).insert()
        return secret

    @operation
    async def delete_setup_codes(self) -> None:
        """Makes every code of the first admin invalid."""
        await self._credentials.find({"kind": "setup"}).delete()

    @operation
    async def use_setup_code(self, secret: str, issuers: Collection[str]) -> bool:
        """Whether the code is valid; it is not valid afterwards. No code is, once these issuers name an admin."""
        if await self._has_admin(issuers, by_rules=False):
            return False
        valid = {"hash": hash_of(secret), "kind": "setup", "expires_at": {"$gt": datetime.now(UTC)}}
        return await self._credentials.get_pymongo_collection().find_one_and_delete(valid) is not None

    # ---- sessions ------------------------------------------------------------------------------------

    @operation
    async def create_session(
        self, person: Person, *, parent_id: str, lasts: timedelta, address: str, browser: str
    ) -> tuple[Credential, str]:
        """Begins a browser session, which ends after `lasts`; returns it with its secret.

        Raises `InvalidRequest` if the person's sessions have all been ended since `person` was read.
        """
        secret, now = secrets.token_urlsafe(32), datetime.now(UTC)
        document = self._credentials(
            id=new_id("sess"),
            kind="session",
            hash=hash_of(secret),
            owner=person.owner,
            name="browser",
            operator=person.rights != "user",
            admin=person.rights == "admin",
            shown="",
            created_at=now,
            expires_at=now + lasts,
            purge_at=now + lasts,
            parent_id=parent_id,
            limits={},
            person=person.owner,
            address=address,
            browser=browser,
        )
        await document.insert()
        # Read afterwards: either this sees that all sessions were ended, or whoever ended them saw this one.
        now_known = await self._people.get(person.owner)
        if now_known is None or now_known.disabled or now_known.endings != person.endings:
            await document.delete()
            raise InvalidRequest("Your account was changed at this moment. Sign in again.", code="account_changed")
        beyond = self._of(person.owner, "session").sort("-created_at").skip(MOST_SESSIONS)
        if old := [one.id async for one in beyond]:
            await self._credentials.find({"_id": {"$in": old}}).delete()
        return document.record(), secret

    @operation
    async def sessions(self, owner: str) -> list[Credential]:
        """The person's sessions that have not expired, newest first."""
        found = await self._of(owner, "session").sort("-created_at").to_list()
        return [one.record() for one in found if one.expires_at is None or one.expires_at > datetime.now(UTC)]

    @operation
    async def end_session(self, owner: str, session_id: str) -> None:
        """Ends one session of this person. Raises `NotFound`."""
        found = await self._credentials.find_one({"_id": session_id, "kind": "session", "person": owner})
        if found is None:
            raise NotFound(f"There is no session '{session_id}'.", param="browser_session_id")
        await found.delete()

    # ---- keys ----------------------------------------------------------------------------------------

    @operation
    async def create_key(
        self, owner: str, *, name: str, lasts: timedelta | None, session_id: str | None
    ) -> tuple[Credential, str]:
        """Makes a key for this person, which is never an operator's; returns it with its secret.

        `session_id` is the session that asks; None: a proxy has signed the person in. Raises `InvalidRequest` if the
        person has `MOST_KEYS` valid keys already, or the session has been ended or the account disabled meanwhile.
        """
        check_key_name(name)
        secret, now = f"{KEY_PREFIX}{secrets.token_urlsafe(32)}", datetime.now(UTC)
        expires_at = now + lasts if lasts is not None else None
        document = self._credentials(
            id=new_id("key"),
            kind="key",
            hash=hash_of(secret),
            owner=owner,
            name=name,
            operator=False,
            shown=f"{secret[:SHOWN_CHARS]}…",
            created_at=now,
            expires_at=expires_at,
            purge_at=expires_at + REVOKED_RETENTION if expires_at is not None else None,
            limits={},
            person=owner,
        )
        await document.insert()
        # What follows is read afterwards: either this sees that the person is out, or `_end_all` saw the key.
        if not await self._is_in(owner, session_id):
            await document.delete()
            raise InvalidRequest("Your session was ended at this moment. Sign in again.", code="session_ended")
        # Counted afterwards, so that requests at the same moment cannot pass the limit together.
        if len(await self._valid_keys(owner)) > MOST_KEYS:
            await document.delete()
            text = f"You have {MOST_KEYS} keys, which is the most. Revoke one that you no longer use."
            raise InvalidRequest(text, code="too_many_keys")
        return document.record(), secret

    @operation
    async def keys(self, owner: str) -> list[Credential]:
        """The person's valid keys, oldest first."""
        return [one.record() for one in await self._valid_keys(owner)]

    @operation
    async def revoke_key(self, owner: str, key_id: str) -> None:
        """Revokes a key of this person and ends the sessions made from it. Raises `NotFound`."""
        found = await self._credentials.find_one({"_id": key_id, "kind": "key", "person": owner, "revoked_at": None})
        if found is None:
            raise NotFound(f"There is no key '{key_id}'.", param="key_id")
        await self._revoke([key_id])

    async def _is_in(self, owner: str, session_id: str | None) -> bool:
        person = await self._people.get(owner)
        if person is None or person.disabled:
            return False
        return session_id is None or await self._credentials.find_one({"_id": session_id}) is not None

    async def _valid_keys(self, owner: str) -> list["CredentialDocument"]:
        now = datetime.now(UTC)
        found = await self._of(owner, "key").sort("created_at").to_list()
        return [one for one in found if one.revoked_at is None and (one.expires_at is None or one.expires_at > now)]

    async def _end_all(self, owner: str, *, keys: bool) -> None:
        await self._of(owner, "session").delete()
        if keys:  # those that have expired, too: sessions made from them end with them
            unrevoked = self._of(owner, "key").find({"revoked_at": None})
            await self._revoke([one.id async for one in unrevoked])

    async def _revoke(self, key_ids: list[str]) -> None:
        now = datetime.now(UTC)
        update = {"$set": {"revoked_at": now, "purge_at": now + REVOKED_RETENTION}}
        await self._credentials.get_pymongo_collection().update_many({"_id": {"$in": key_ids}}, update)
        await self._credentials.find({"parent_id": {"$in": key_ids}}).delete()

    def _of(self, owner: str, kind: str) -> Any:
        return self._credentials.find({"person": owner, "kind": kind})
