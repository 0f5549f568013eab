"""Stores conversations, responses and blobs in MongoDB: the embedded one, or the one that a URI names.

Importing this package imports none of its modules: each is imported when one of its names is first used.
`Store.connect` imports Beanie and PyMongo in a thread, because importing them takes about half a second.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from codeact.store.blobs import offload
    from codeact.store.database.embedded import embedded_mongod
    from codeact.store.database.uri import describe
    from codeact.store.opening import open_store
    from codeact.store.profiles import Profile
    from codeact.store.records import (
        AuditEntry,
        Blob,
        Container,
        ContainerFile,
        Conversation,
        Credential,
        Feedback,
        OwnerLimits,
        PendingUpload,
        Person,
        Share,
        Skill,
        SkillVersion,
        StoredResponse,
        UploadedFile,
    )
    from codeact.store.repositories.history import History, Page
    from codeact.store.search.query import HistoryQuery
    from codeact.store.store import Store

__all__ = [
    "ApprovalRecord",
    "AuditEntry",
    "Blob",
    "Container",
    "ContainerFile",
    "Conversation",
    "Credential",
    "Feedback",
    "History",
    "HistoryQuery",
    "OwnerLimits",
    "Page",
    "PendingUpload",
    "Person",
    "Profile",
    "Share",
    "Skill",
    "SkillVersion",
    "Store",
    "StoredResponse",
    "UploadedFile",
    "describe",
    "embedded_mongod",
    "offload",
    "open_store",
]

_MODULES = {
    "ApprovalRecord": "records",
    "AuditEntry": "records",
    "Blob": "records",
    "Container": "records",
    "ContainerFile": "records",
    "Conversation": "records",
    "Credential": "records",
    "Feedback": "records",
    "History": "repositories.history",
    "HistoryQuery": "search.query",
    "OwnerLimits": "records",
    "Page": "repositories.history",
    "PendingUpload": "records",
    "Person": "records",
    "Profile": "profiles",
    "Share": "records",
    "Skill": "records",
    "SkillVersion": "records",
    "Store": "store",
    "StoredResponse": "records",
    "UploadedFile": "records",
    "describe": "database.uri",
    "embedded_mongod": "database.embedded",
    "offload": "blobs",
    "open_store": "opening",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"codeact.store.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'codeact.store' has no attribute {name!r}")
