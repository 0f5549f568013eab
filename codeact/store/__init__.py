"""Storage: conversations, responses and blobs enter a MongoDB, embedded or named by a URI, and leave it as they were.

Importing this package is cheap; Beanie and PyMongo are imported by `Store.connect`, in a thread.
"""

from codeact.store.blobs import offload
from codeact.store.embedded import embedded_mongod
from codeact.store.history import History, Page
from codeact.store.opening import open_store
from codeact.store.query import HistoryQuery
from codeact.store.records import (
    AuditEntry,
    Blob,
    Container,
    ContainerFile,
    Conversation,
    Credential,
    Feedback,
    OwnerLimits,
    Share,
    StoredResponse,
)
from codeact.store.store import Store
from codeact.store.uri import describe

__all__ = [
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
    "Share",
    "Store",
    "StoredResponse",
    "describe",
    "embedded_mongod",
    "offload",
    "open_store",
]
