"""Signs requests to a kernel, and verifies the messages that it sends.

The Jupyter messaging spec 5.5, "The wire protocol". Nothing here trusts what it reads.
"""

import hmac
from collections.abc import Sequence
from typing import Any

import msgspec

__all__ = ["DELIMITER", "Message", "Session"]

DELIMITER = b"<IDS|MSG>"
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
    """One client of one kernel; `key` and `signature_scheme` are of its connection dict.

    Requests and signatures are `jupyter_client`'s. What comes back is decoded here: that one trusts its kernel.
    """

    def __init__(self, key: str, signature_scheme: str) -> None:
        # Takes longer to import than all the rest of this package.
        from jupyter_client.session import Session as JupyterSession

        # No digests are kept against replays: the other end of the connection is the kernel, or can be.
        self._jupyter = JupyterSession(key=key.encode(), signature_scheme=signature_scheme, digest_history_size=0)

    def request(self, kind: str, content: dict[str, Any]) -> tuple[str, list[bytes]]:
        """The new message's id, and its frames."""
        message = self._jupyter.msg(kind, content)
        return message["msg_id"], self._jupyter.serialize(message)

    def is_ours(self, message_id: str) -> bool:
        """Whether it could be the id of a request of ours."""
        return message_id.startswith(self._jupyter.session)

    def read(self, frames: Sequence[bytes]) -> Message:
        """Raises `ValueError`, `msgspec.MsgspecError` or `RecursionError`."""
        start = frames.index(DELIMITER) + 1
        signature, header, parent, metadata, content = frames[start : start + 5]
        if max(len(header), len(parent), len(metadata)) > HEADER_BYTES:
            raise ValueError("a header is too large")
        if not hmac.compare_digest(self._jupyter.sign([header, parent, metadata, content]), signature):
            raise ValueError("the signature is wrong")
        return Message(_header.decode(header).msg_type, _parent.decode(parent).msg_id, metadata, content)
