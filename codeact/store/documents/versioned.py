"""The base class of all documents. It migrates what it reads."""

from collections.abc import Mapping
from typing import Any, ClassVar

from beanie import Document
from pydantic import model_validator

from codeact.store.documents.schema import FIELD, FIRST, Schema, version_of

__all__ = ["VersionedDocument"]


class VersionedDocument(Document):
    """A document with its `schema_version`. Each subclass sets its `SCHEMA`."""

    SCHEMA: ClassVar[Schema]
    schema_version: int = FIRST

    @model_validator(mode="before")
    @classmethod
    def _read_any_version(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        # A document from the database has an `_id`. A new one gets the current version.
        return cls.readable(data) if "_id" in data else {FIELD: cls.SCHEMA.version, **data}

    @classmethod
    def readable(cls, stored: Mapping[str, Any]) -> dict[str, Any]:
        """The document, or some of its fields, in the current form; for a document of a newer
        release, its placeholder.
        """
        if cls.SCHEMA.is_newer(stored):
            return {**cls.stand_in(stored), FIELD: version_of(stored) or 0}
        return cls.SCHEMA.upgrade(stored)

    @classmethod
    def stand_in(cls, stored: Mapping[str, Any]) -> dict[str, Any]:
        """The placeholder for a document that a newer release wrote.

        Most kinds raise `StoredByNewerVersion` instead.
        """
        return cls.SCHEMA.upgrade(stored)
