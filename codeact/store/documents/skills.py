"""The documents of skills and their versions."""

from datetime import datetime
from typing import ClassVar

from pymongo import ASCENDING, DESCENDING, IndexModel

from codeact.store.documents.schema import SKILL, SKILL_VERSION, Schema
from codeact.store.documents.versioned import VersionedDocument
from codeact.store.records import Skill, SkillVersion

__all__ = ["SkillDocument", "SkillVersionDocument"]


class SkillDocument(VersionedDocument):
    """An owner's skill. `name` and `description` are those of the default version."""

    SCHEMA: ClassVar[Schema] = SKILL
    id: str  # type: ignore[assignment]
    owner: str
    name: str
    description: str
    default_version: int
    latest_version: int
    created_at: datetime

    class Settings:
        name = "skills"
        indexes: ClassVar = [IndexModel([("owner", ASCENDING), ("_id", DESCENDING)], name="owner_newest_first")]

    def record(self) -> Skill:
        return Skill(
            self.id,
            self.name,
            self.description,
            self.default_version,
            self.latest_version,
            self.created_at.timestamp(),
        )


class SkillVersionDocument(VersionedDocument):
    SCHEMA: ClassVar[Schema] = SKILL_VERSION
    id: str  # type: ignore[assignment]
    owner: str
    skill_id: str
    version: int
    name: str
    description: str
    sha256: str
    created_at: datetime

    class Settings:
        name = "skill_versions"
        indexes: ClassVar = [
            IndexModel([("skill_id", ASCENDING), ("version", ASCENDING)], name="versions", unique=True),
            IndexModel([("owner", ASCENDING), ("sha256", ASCENDING)], name="owner_sha256"),
        ]

    def record(self) -> SkillVersion:
        return SkillVersion(
            self.id, self.skill_id, self.version, self.name, self.description, self.sha256, self.created_at.timestamp()
        )
