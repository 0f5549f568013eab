"""A request's content enters, signed frames leave; received frames enter, a verified message leaves.

The Jupyter messaging spec 5.5, "The wire protocol". Nothing here trusts what it reads.
"""

import hmac
import itertools
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

__all__ = ["DELIMITER", "Message", "Session"]

DELIMITER = b"<IDS|MSG>"
VERSION = "5.5"
HEADER_BYTES = 64 * 1024


class Message(msgspec.Struct, frozen=True):
    """A message whose signature is right. `metadata` and `content` are still JSON bytes."""

    type: str
    parent_id: str
    metadata: bytes
    content: bytes


class _Header(msgspec.Struct):
    msg_type: str


class _Parent(msgspec.Struct):
    msg_id: str = ""


_header = msgspec.json.Decoder(_Header)
_parent = msgspec.json.Decoder(_Parent)


class Session:
    """One client of one kernel; `key` and `signature_scheme` are of its connection dict."""

    def __init__(self, key: str, signature_scheme: str) -> None:
        self._id = secrets.token_hex(16)
        self._numbers = itertools.count(1)
        self._hmac = hmac.new(key.encode(), digestmod=signature_scheme.removeprefix("hmac-"))

    def request(self, kind: str, content: dict[str, Any]) -> tuple[str, list[bytes]]:
        """The new message's id, and its frames."""
        message_id = f"{self._id}_{next(self._numbers)}"
        header = {
            "msg_id": message_id,
            "msg_type": kind,
            "session": self._id,
            "username": "",
            "date": datetime.now(UTC).isoformat(),
            "version": VERSION,
        }
        parts = [msgspec.json.encode(header), b"{}", b"{}", msgspec.json.encode(content)]
        return message_id, [DELIMITER, self._sign(parts), *parts]

    def asked(self, message_id: str) -> bool:
        """Whether it could be the id of a request of ours."""
        return message_id.startswith(self._id)

    def read(self, frames: Sequence[bytes]) -> Message:
        """Raises `ValueError`, `msgspec.MsgspecError` or `RecursionError`."""
        start = frames.index(DELIMITER) + 1
        signature, header, parent, metadata, content = frames[start : start + 5]
        if max(len(header), len(parent), len(metadata)) > HEADER_BYTES:
            raise ValueError("a header is too large")
        if not hmac.compare_digest(self._sign([header, parent, metadata, content]), signature):
            raise ValueError("the signature is wrong")
        return Message(_header.decode(header).msg_type, _parent.decode(parent).msg_id, metadata, content)

    def _sign(self, parts: Sequence[bytes]) -> bytes:
        signature = self._hmac.copy()
        for part in parts:
            signature.update(part)
        return signature.hexdigest().encode()
