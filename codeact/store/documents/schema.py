"""Versions of stored documents: migrates a document of any release to the current form when it is read.

A document contains its version in the field `schema_version`; the first release wrote none, which means 1. Documents
are never rewritten all at once: each is migrated when it is read, and stored in its new form when something else in it
changes. So a new release starts at once on a database of any size, and going back to the old one stays possible.

Most changes need no new version: every release can read a new field with a default. A migration adds a version. It is
needed when a release that does not know the new form would misread it.
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from codeact.errors import StoredByNewerVersion
from codeact.store.documents.blob_names import name_blobs_by_hash

__all__ = [
    "ANSWER",
    "APPROVAL",
    "AUDIT",
    "BLOB",
    "CERTIFICATE",
    "CHECKPOINT",
    "CONTAINER",
    "CONVERSATION",
    "CREDENTIAL",
    "DELIVERY",
    "EVENTS",
    "FEEDBACK",
    "FIELD",
    "FILE",
    "FIRST",
    "ITEM",
    "PERSON",
    "PROFILE",
    "REPEATABLE",
    "RESPONSE",
    "SECRET",
    "SERVER",
    "SHARE",
    "SKILL",
    "SKILL_VERSION",
    "SLOTS",
    "STORED_BYTES",
    "USAGE",
    "Migration",
    "Schema",
    "version_of",
]

FIELD = "schema_version"
FIRST = 1

Migration = Callable[[dict[str, Any]], None]
"""Changes a document of one version, as stored in MongoDB, into the next version.

It may change the document that it gets, which is a copy. Fields can be missing, because a reader may have requested
only some of them. Fields can also have the new form already, because an update by a newer release may have written
single fields. So a migration changes only fields that exist and have the old form.
"""


@dataclass(slots=True)
class Schema:
    """One kind of document.

    `migrations[0]` turns version 1 into version 2, and so on. Append migrations, never change one.
    """

    kind: str
    migrations: tuple[Migration, ...] = ()

    @property
    def version(self) -> int:
        """The version that this release writes."""
        return FIRST + len(self.migrations)

    def is_newer(self, stored: Mapping[str, Any]) -> bool:
        """Whether a newer or an unknown release wrote the document."""
        version = version_of(stored)
        return version is None or version > self.version

    def check(self, stored: Mapping[str, Any]) -> None:
        """Raises `StoredByNewerVersion` if this release cannot read the document."""
        if self.is_newer(stored):
            raise StoredByNewerVersion(self.kind, stored.get(FIELD), self.version)

    def upgrade(self, stored: Mapping[str, Any]) -> dict[str, Any]:
        """A copy of the document in the current form. Raises `StoredByNewerVersion`."""
        self.check(stored)
        if (version := version_of(stored) or FIRST) == self.version:
            return dict(stored)
        document = deepcopy(dict(stored))
        for migrate in self.migrations[version - FIRST :]:
            migrate(document)
        document[FIELD] = self.version
        return document


def version_of(stored: Mapping[str, Any]) -> int | None:
    """The document's version; None if the field contains something else."""
    version = stored.get(FIELD, FIRST)
    return version if isinstance(version, int) and not isinstance(version, bool) and version >= FIRST else None


APPROVAL = Schema("approval")
ANSWER = Schema("answer by its words")
AUDIT = Schema("audit entry")
BLOB = Schema("blob")
CERTIFICATE = Schema("certificate")
CHECKPOINT = Schema("checkpoint")
CONTAINER = Schema("container")
CONVERSATION = Schema("conversation", (name_blobs_by_hash,))
CREDENTIAL = Schema("credential")
DELIVERY = Schema("delivery of a webhook")
EVENTS = Schema("batch of events", (name_blobs_by_hash,))
FEEDBACK = Schema("feedback")
FILE = Schema("file")
ITEM = Schema("item", (name_blobs_by_hash,))
PERSON = Schema("person")
PROFILE = Schema("profile")
REPEATABLE = Schema("request that may be repeated")
RESPONSE = Schema("response", (name_blobs_by_hash,))
SECRET = Schema("secret of the server")
SERVER = Schema("server")
SHARE = Schema("share")
SKILL = Schema("skill")
SKILL_VERSION = Schema("version of a skill")
SLOTS = Schema("answers under way of an account")
STORED_BYTES = Schema("sum of stored bytes")
USAGE = Schema("usage of a period")
