"""Signs requests to a kernel, and verifies the signatures of its messages.

Source: the Jupyter messaging spec 5.5, "The wire protocol". The kernel is not trusted.
"""

import hmac
from collections.abc import Sequence
from typing import Any

import msgspec

__all__ = ["DELIMITER", "Message", "Session"]

DELIMITER = b"<IDS|MSG>"
HEADER_BYTES = 64 * 1024


class Message(msgspec.Struct, frozen=True):
    """A message with a valid signature. `metadata` and `content` are undecoded JSON.

    `buffers` are what follows them. The signature does not cover those.
    """

    type: str
    parent_id: str
    metadata: bytes
    content: bytes
    buffers: tuple[bytes, ...] = ()


class _Header(msgspec.Struct):
    msg_type: str


class _Parent(msgspec.Struct):
    msg_id: str = ""


_header = msgspec.json.Decoder(_Header)
_parent = msgspec.json.Decoder(_Parent)


class Session:
    """One client of one kernel. `key` and `signature_scheme` come from the kernel's connection dict.

    `jupyter_client` builds and signs the requests. This class decodes the replies itself, since `jupyter_client`
    trusts its kernel.
    """

    def __init__(self, key: str, signature_scheme: str) -> None:
        # Imported late: this takes longer than importing all the rest of this package.
        from jupyter_client.session import Session as JupyterSession

        # Replay protection would be useless: the sandboxed code can sign messages itself.
        self._jupyter = JupyterSession(key=key.encode(), signature_scheme=signature_scheme, digest_history_size=0)

    def request(self, kind: str, content: dict[str, Any], buffers: Sequence[bytes] = ()) -> tuple[str, list[bytes]]:
        """Builds a request, with these buffers at its end. Returns its message id and its frames."""
        message = self._jupyter.msg(kind, content)
        return message["msg_id"], [*self._jupyter.serialize(message), *buffers]

    def is_ours(self, message_id: str) -> bool:
        """Whether this id has the form of an id that `request` returns."""
        return message_id.startswith(self._jupyter.session)

    def read(self, frames: Sequence[bytes]) -> Message:
        """Verifies and decodes a message. Raises `ValueError`, `msgspec.MsgspecError` or `RecursionError`."""
        start = frames.index(DELIMITER) + 1
        signature, header, parent, metadata, content = frames[start : start + 5]
        if max(len(header), len(parent), len(metadata)) > HEADER_BYTES:
            raise ValueError("a header is too large")
        if not hmac.compare_digest(self._jupyter.sign([header, parent, metadata, content]), signature):
            raise ValueError("the signature is wrong")
        buffers = tuple(frames[start + 5 :])
        return Message(_header.decode(header).msg_type, _parent.decode(parent).msg_id, metadata, content, buffers)
