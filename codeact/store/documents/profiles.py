"""The document of profiles."""

from datetime import datetime
from typing import Any, ClassVar

from pydantic import Field
from pymongo import ASCENDING, DESCENDING, IndexModel

from codeact.store.documents.schema import PROFILE, Schema
from codeact.store.documents.versioned import VersionedDocument
from codeact.store.profiles import Profile

__all__ = ["ProfileDocument"]


class ProfileDocument(VersionedDocument):
    """A profile of one owner, whose profiles have different names."""

    SCHEMA: ClassVar[Schema] = PROFILE
    id: str  # type: ignore[assignment]
    owner: str
    name: str
    description: str = ""
    instructions: str = ""
    model: str = ""
    effort: str = ""
    tools: list[dict[str, Any]] = Field(default_factory=list)
    file_ids: list[str] = Field(default_factory=list)
    created_at: datetime
    updated_at: datetime
    token: str | None = None
    gives_files: bool = False

    class Settings:
        name = "profiles"
        indexes: ClassVar = [
            IndexModel([("owner", ASCENDING), ("name", ASCENDING)], name="owner_name", unique=True),
            IndexModel([("owner", ASCENDING), ("_id", DESCENDING)], name="owner_newest_first"),
            IndexModel(
                [("token", ASCENDING)],
                name="token",
                unique=True,
                partialFilterExpression={"token": {"$type": "string"}},
            ),
        ]

    def record(self) -> Profile:
        return Profile(
            id=self.id,
            owner=self.owner,
            name=self.name,
            description=self.description,
            instructions=self.instructions,
            model=self.model,
            effort=self.effort,
            tools=self.tools,
            file_ids=self.file_ids,
            created_at=self.created_at.timestamp(),
            updated_at=self.updated_at.timestamp(),
            token=self.token,
            gives_files=self.gives_files,
        )
