"""The document of a certificate: that an answer was run again, and with which result."""

from datetime import datetime
from typing import ClassVar

import msgspec
from pymongo import ASCENDING, IndexModel

from codeact.events.certificates import Certificate
from codeact.store.documents.schema import CERTIFICATE, Schema
from codeact.store.documents.versioned import VersionedDocument

__all__ = ["CertificateDocument"]


class CertificateDocument(VersionedDocument):
    """The latest certificate of one response, whose id it has. `certificate` is JSON text."""

    SCHEMA: ClassVar[Schema] = CERTIFICATE
    id: str  # type: ignore[assignment]
    owner: str
    conversation_id: str
    created_at: datetime
    certificate: str

    class Settings:
        name = "certificates"
        indexes: ClassVar = [
            IndexModel([("conversation_id", ASCENDING)], name="conversation"),
            IndexModel([("owner", ASCENDING)], name="owner"),
        ]

    def record(self) -> Certificate:
        return msgspec.json.decode(self.certificate, type=Certificate)
