"""Stores profiles, and finds one for those who have its link."""

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from codeact.concurrency.slices import Slices
from codeact.errors import InvalidRequest, NotFound
from codeact.ids import new_id
from codeact.store.database.operation import Operations, operation
from codeact.store.profiles import Profile
from codeact.store.repositories.stored_bytes import DOCUMENT_BYTES, StoredBytes

if TYPE_CHECKING:
    from codeact.store.documents.documents import Documents
    from codeact.store.documents.profiles import ProfileDocument

__all__ = ["MOST_PROFILES", "ProfileExists", "Profiles"]

MOST_PROFILES = 200
"""Of one owner."""
TOKEN_BYTES = 24
BATCH = 10
"""How many profiles are decoded at a time: each may have 100 KB."""


class ProfileExists(InvalidRequest):
    """The owner has another profile with this name."""

    code = "profile_exists"
    status = 409


class Profiles:
    """The part of `Store` with profiles. The guarantees of `Store` hold here too."""

    def __init__(self, documents: "Documents", operations: Operations, stored: StoredBytes) -> None:
        self._documents = documents
        self._profiles = documents.profiles
        self._operations = operations
        self._stored = stored

    async def create(self, values: Mapping[str, Any], *, owner: str) -> Profile:
        """Stores a profile with these fields of `Profile`.

        Raises `ProfileExists`, and `InvalidRequest` if the owner has too many.
        """
        await self._check_number(owner)
        now = datetime.now(UTC)
        document = self._profiles(id=new_id("profile"), owner=owner, created_at=now, updated_at=now, **values)
        await self._insert(document)
        return document.record()

    @operation
    async def get(self, profile_id: str, *, owner: str) -> Profile:
        """Raises `NotFound`."""
        return (await self._find(profile_id, owner)).record()

    @operation
    async def page(self, *, owner: str, name: str | None, after: str | None, limit: int) -> list[Profile]:
        """One page of the owner's profiles, newest first, beginning behind the profile `after`."""
        place: dict[str, Any] = {"owner": owner, **({"name": name} if name is not None else {})}
        if after is not None:
            place["_id"] = {"$lt": after}
        found, slices = [], Slices()
        async for document in self._profiles.find(place, batch_size=BATCH).sort("-_id").limit(limit):
            found.append(document.record())
            await slices.pause()
        return found

    @operation
    async def change(self, profile_id: str, values: Mapping[str, Any], *, owner: str) -> Profile:
        """Replaces these fields. Raises `NotFound` and `ProfileExists`."""
        from pymongo.errors import DuplicateKeyError

        before = await self._find(profile_id, owner)
        place = {"_id": profile_id, "owner": owner}
        try:
            await self._profiles.find_one(place).update({"$set": {**values, "updated_at": datetime.now(UTC)}})
        except DuplicateKeyError:
            raise _exists(str(values.get("name"))) from None
        changed = await self._find(profile_id, owner)
        await self._stored.add_within(owner, _size_bytes(changed.record()) - _size_bytes(before.record()))
        return changed.record()

    async def delete(self, profile_id: str, *, owner: str) -> Profile:
        """Deletes the profile and its link, and returns what it was. Raises `NotFound`."""
        profile = await self.get(profile_id, owner=owner)
        await self._remove(profile)
        return profile

    # ---- links ---------------------------------------------------------------------------------------

    @operation
    async def share(self, profile_id: str, *, gives_files: bool, owner: str) -> Profile:
        """Gives the profile a link. Sharing again keeps the token. Raises `NotFound`."""
        await self._find(profile_id, owner)
        profiles = self._profiles.get_pymongo_collection()
        of_it = {"_id": profile_id, "owner": owner}
        await profiles.update_one(of_it | {"token": None}, {"$set": {"token": secrets.token_urlsafe(TOKEN_BYTES)}})
        await profiles.update_one(of_it, {"$set": {"gives_files": gives_files}})
        return (await self._find(profile_id, owner)).record()

    @operation
    async def revoke(self, profile_id: str, *, owner: str) -> Profile:
        """Disables the link; sharing again makes a new one. Idempotent. Raises `NotFound`."""
        await self._find(profile_id, owner)
        change = {"token": None, "gives_files": False}
        await self._profiles.find_one({"_id": profile_id, "owner": owner}).update({"$set": change})
        return (await self._find(profile_id, owner)).record()

    @operation
    async def shared(self, token: str) -> Profile:
        """Finds a profile by its link's token. Raises `NotFound`, also while its owner's account is disabled."""
        document = await self._profiles.find_one({"token": token})
        if document is None or await self._documents.is_disabled(document.owner):
            raise NotFound("There is no such profile, or its link was revoked.", param="token")
        return document.record()

    # ---- inside --------------------------------------------------------------------------------------

    @operation
    async def _check_number(self, owner: str) -> None:
        if await self._profiles.find({"owner": owner}).limit(MOST_PROFILES).count() >= MOST_PROFILES:
            raise InvalidRequest(
                f"You have {MOST_PROFILES} profiles, and no more are stored; delete some.", code="too_many_profiles"
            )

    @operation
    async def _insert(self, document: "ProfileDocument") -> None:
        if not await self._documents.insert(document) and await self._profiles.get(document.id) is None:
            raise _exists(document.name)
        await self._stored.add_within(document.owner, _size_bytes(document.record()))

    @operation
    async def _remove(self, profile: Profile) -> None:
        await self._profiles.find({"_id": profile.id, "owner": profile.owner}).delete()
        await self._stored.add_within(profile.owner, -_size_bytes(profile))

    async def _find(self, profile_id: str, owner: str) -> "ProfileDocument":
        document = await self._profiles.find_one({"_id": profile_id, "owner": owner})
        if document is None:
            raise NotFound(f"There is no profile '{profile_id}'.", param="profile_id")
        return document


def _exists(name: str) -> ProfileExists:
    return ProfileExists(f"You have a profile named '{name}' already; choose another name.", param="name")


def _size_bytes(profile: Profile) -> int:
    texts = (profile.name, profile.description, profile.instructions, *map(str, profile.tools))
    return DOCUMENT_BYTES + sum(len(text.encode()) for text in texts)
