"""Stores skills, whose versions never change."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from codeact.errors import InvalidRequest, NotFound
from codeact.ids import new_id
from codeact.store.database.operation import Operations, operation
from codeact.store.records import Skill, SkillVersion

if TYPE_CHECKING:
    from codeact.store.documents.documents import Documents
    from codeact.store.documents.skills import SkillDocument, SkillVersionDocument

__all__ = ["MOST_SKILLS", "MOST_VERSIONS", "Skills"]

MOST_SKILLS, MOST_VERSIONS = 500, 100
"""Of one owner, and of one skill."""

Order = Literal["asc", "desc"]


class Skills:
    """The part of `Store` with skills. The guarantees of `Store` hold here too."""

    def __init__(self, documents: "Documents", operations: Operations) -> None:
        self._documents = documents
        self._skills = documents.skills
        self._versions = documents.skill_versions
        self._operations = operations

    @operation
    async def create(self, name: str, description: str, sha256: str, *, owner: str) -> Skill:
        """Stores a skill with its first version. Raises `InvalidRequest` if the owner has too many."""
        if await self._skills.find({"owner": owner}).limit(MOST_SKILLS).count() >= MOST_SKILLS:
            raise InvalidRequest(f"You have {MOST_SKILLS} skills, and no more are stored.", code="too_many_skills")
        document = self._skills(
            id=new_id("skill"),
            owner=owner,
            name=name,
            description=description,
            default_version=1,
            latest_version=1,
            created_at=datetime.now(UTC),
        )
        await self._insert_version(document.id, 1, name, description, sha256, owner)
        await self._documents.insert(document)
        return document.record()

    @operation
    async def add_version(
        self, skill_id: str, name: str, description: str, sha256: str, *, is_default: bool, owner: str
    ) -> SkillVersion:
        """Stores a further version. Raises `NotFound`, and `InvalidRequest` if there are too many."""
        skill = await self._find(skill_id, owner)
        if await self._versions.find({"skill_id": skill.id}).count() >= MOST_VERSIONS:
            raise InvalidRequest(f"The skill has {MOST_VERSIONS} versions; delete some.", code="too_many_versions")
        from pymongo import ReturnDocument

        counted = await self._skills.get_pymongo_collection().find_one_and_update(
            {"_id": skill_id, "owner": owner}, {"$inc": {"latest_version": 1}}, return_document=ReturnDocument.AFTER
        )
        if counted is None:
            raise _no_skill(skill_id)
        made = await self._insert_version(skill_id, counted["latest_version"], name, description, sha256, owner)
        if is_default:
            await self._make_default(made)
        return made.record()

    @operation
    async def get(self, skill_id: str, *, owner: str) -> Skill:
        """Raises `NotFound`."""
        return (await self._find(skill_id, owner)).record()

    @operation
    async def page(self, *, owner: str, after: str | None, limit: int, order: Order) -> list[Skill]:
        """One page of the owner's skills, beginning behind the skill `after`."""
        place: dict[str, Any] = {"owner": owner}
        if after is not None:
            place["_id"] = {"$lt" if order == "desc" else "$gt": after}
        found = self._skills.find(place).sort("-_id" if order == "desc" else "+_id").limit(limit)
        return [document.record() for document in await found.to_list()]

    @operation
    async def version(self, skill_id: str, version: str | None, *, owner: str) -> SkillVersion:
        """The version with this number, the `latest`, or with None the default. Raises `NotFound`."""
        skill = await self._find(skill_id, owner)
        if version == "latest":
            newest = self._versions.find({"skill_id": skill_id}).sort("-version").limit(1)
            return (await newest.to_list())[0].record()
        number = skill.default_version if version is None else _number(version)
        return (await self._find_version(skill_id, number)).record()

    @operation
    async def versions(
        self, skill_id: str, *, owner: str, after: str | None, limit: int, order: Order
    ) -> list[SkillVersion]:
        """One page of the skill's versions, beginning behind the version whose id is `after`. Raises `NotFound`."""
        await self._find(skill_id, owner)
        place: dict[str, Any] = {"skill_id": skill_id}
        if after is not None:
            place["_id"] = {"$lt" if order == "desc" else "$gt": after}
        found = self._versions.find(place).sort("-_id" if order == "desc" else "+_id").limit(limit)
        return [document.record() for document in await found.to_list()]

    @operation
    async def set_default(self, skill_id: str, version: str, *, owner: str) -> Skill:
        """Makes this version the default. Raises `NotFound`."""
        await self._find(skill_id, owner)
        await self._make_default(await self._find_version(skill_id, _number(version)))
        return (await self._find(skill_id, owner)).record()

    @operation
    async def delete(self, skill_id: str, *, owner: str) -> None:
        """Deletes the skill with all versions. Raises `NotFound`."""
        skill = await self._find(skill_id, owner)
        async for version in self._versions.find({"skill_id": skill_id}):
            await self._documents.remove_skill_version(version)
        await self._skills.find({"_id": skill.id}).delete()

    @operation
    async def delete_version(self, skill_id: str, version: str, *, owner: str) -> SkillVersion:
        """Deletes a version, except for the default one. Raises `NotFound` and `InvalidRequest`."""
        skill = await self._find(skill_id, owner)
        found = await self._find_version(skill_id, _number(version))
        if found.version == skill.default_version:
            raise InvalidRequest(
                "This is the skill's default version: choose another default first, or delete the skill.",
                param="version",
            )
        await self._documents.remove_skill_version(found)
        return found.record()

    # ---- inside --------------------------------------------------------------------------------------

    async def _insert_version(
        self, skill_id: str, version: int, name: str, description: str, sha256: str, owner: str
    ) -> "SkillVersionDocument":
        document = self._versions(
            id=new_id("skillver"),
            owner=owner,
            skill_id=skill_id,
            version=version,
            name=name,
            description=description,
            sha256=sha256,
            created_at=datetime.now(UTC),
        )
        await self._documents.insert(document)
        return document

    async def _make_default(self, version: "SkillVersionDocument") -> None:
        change = {"default_version": version.version, "name": version.name, "description": version.description}
        await self._skills.find_one({"_id": version.skill_id}).update({"$set": change})

    async def _find(self, skill_id: str, owner: str) -> "SkillDocument":
        document = await self._skills.find_one({"_id": skill_id, "owner": owner})
        if document is None:
            raise _no_skill(skill_id)
        return document

    async def _find_version(self, skill_id: str, version: int) -> "SkillVersionDocument":
        document = await self._versions.find_one({"skill_id": skill_id, "version": version})
        if document is None:
            raise NotFound(f"The skill '{skill_id}' has no version {version}.", param="version")
        return document


def _number(version: str) -> int:
    if not version.isascii() or not version.isdigit() or len(version) > 9:
        raise NotFound(f"'{version[:100]}' is no version: versions are numbers from 1.", param="version")
    return int(version)


def _no_skill(skill_id: str) -> NotFound:
    return NotFound(f"There is no skill '{skill_id}'.", param="skill_id")
