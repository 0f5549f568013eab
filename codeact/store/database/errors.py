"""Maps errors of PyMongo, BSON and Beanie to `StoreError` and `StoreUnavailable`, with the cause and what to do."""

import bson.errors
from beanie import exceptions as beanie_errors
from pymongo import errors as e

from codeact.errors import StoreError, StoreUnavailable
from codeact.store.database.uri import describe, redact

__all__ = ["FOREIGN", "explain"]

WRONG_LOGIN = "The MongoDB at {where} knows no such user or password. Correct CODEACT_MONGODB_URI"
DISK_FULL = "The disk of the MongoDB at {where} is full: {reason}. Make room"
UNREACHABLE = "No MongoDB answers at {where}: {reason}. Start it, or correct CODEACT_MONGODB_URI"
UNREADABLE = "CODEACT_MONGODB_URI is not usable: {reason}"
REFUSED = "The MongoDB at {where} refuses us: {reason}. Give its user the role readWrite on the database"
NOT_WRITABLE = "The MongoDB at {where} takes no writes: {reason}. Name a primary in CODEACT_MONGODB_URI"
UNCONFIRMED = "The MongoDB at {where} did not confirm in time: {reason}. Look at its load and its disk"
CANNOT_HOLD = "The database cannot hold this value: {reason}"
FAILED = "The MongoDB at {where} failed: {reason}"
OURS = "The database layer failed: {reason}"

CODES: dict[int, tuple[type[StoreError], str]] = {
    13: (StoreUnavailable, REFUSED),  # Unauthorized
    18: (StoreUnavailable, WRONG_LOGIN),  # AuthenticationFailed
    **dict.fromkeys((10058, 10107, 13435, 13436), (StoreUnavailable, NOT_WRITABLE)),  # NotWritablePrimary and kin
    **dict.fromkeys((91, 11600, 11602, 189), (StoreUnavailable, UNREACHABLE)),  # ShutdownInProgress and kin
    14031: (StoreUnavailable, DISK_FULL),  # OutOfDiskSpace
}
"""Looked up first: the server's error code says more than the class (mongo/src/mongo/base/error_codes.yml)."""

CLASSES: tuple[tuple[type[Exception], type[StoreError], str], ...] = (
    (e.NotPrimaryError, StoreUnavailable, NOT_WRITABLE),
    (e.ConnectionFailure, StoreUnavailable, UNREACHABLE),
    (e.ConfigurationError, StoreUnavailable, UNREADABLE),
    (e.ExecutionTimeout, StoreUnavailable, UNCONFIRMED),
    (e.WriteConcernError, StoreUnavailable, UNCONFIRMED),
    (bson.errors.BSONError, StoreError, CANNOT_HOLD),
    (OverflowError, StoreError, CANNOT_HOLD),
    (UnicodeEncodeError, StoreError, CANNOT_HOLD),
    (beanie_errors.MongoDBVersionError, StoreUnavailable, FAILED),
    (e.PyMongoError, StoreError, FAILED),
    *((error, StoreError, OURS) for error in vars(beanie_errors).values() if isinstance(error, type)),
)
"""The first match is used. `PyMongoError` is in the list, so every error of PyMongo is mapped."""

FOREIGN = tuple(foreign for foreign, _, _ in CLASSES)


def explain(error: Exception, uri: str) -> StoreError:
    """Maps one of `FOREIGN` to our error. The message contains no secret of `uri`."""
    code = error.code if isinstance(error, e.OperationFailure) else None
    if code in CODES:
        ours, sentence = CODES[code]
    else:
        ours, sentence = next((ours, text) for foreign, ours, text in CLASSES if isinstance(error, foreign))
    return ours(sentence.format(where=describe(uri), reason=redact(_reason(error), uri)) + ".")


def _reason(error: Exception) -> str:
    """The server's or the driver's message, without timeouts and topology."""
    if isinstance(error, e.OperationFailure) and error.details:
        return str(error.details.get("errmsg", error)).rstrip(".")
    return str(error).split(" (configured timeouts")[0].split(", Timeout:")[0].rstrip(".")
