"""What is accepted as the manifest of a checkpoint, which comes from a sandbox."""

import asyncio
import gc
import json
from collections.abc import Iterable, Sequence
from itertools import count, repeat
from typing import Any

import msgspec
import pytest

from sandbox_pool.checkpoint import (
    MOST_MANIFEST_BYTES,
    MOST_PARTS,
    PART_BYTES,
    StateLimits,
    encode_manifest,
    to_manifest,
)
from sandbox_pool.errors import SandboxError
from sandbox_pool.kernel.session import Message
from sandbox_pool.sandbox.state import save_state

PART = "0" * 64
BLOB = {"size_bytes": 5, "parts": [PART]}
UNIT = {
    "kind": "values",
    "groups": [{"names": [{"name": "a", "type": "int", "size_bytes": 5}], "pickle_bytes": 5}],
    "stream": BLOB,
}
FILE = {"path": "a/b.txt", "mode": 0o644, "modified_ns": 5, "content": BLOB}


def written(**changes: Any) -> bytes:
    manifest = {"version": 1, "python": "3.12.1", "execution_count": 3, "units": [UNIT], "files": [FILE]}
    return json.dumps({**manifest, **changes}).encode()


def test_a_manifest_is_read_and_written() -> None:
    manifest = to_manifest(written())
    assert to_manifest(encode_manifest(manifest)) == manifest
    assert manifest.parts() == {PART}
    assert [name.name for name in manifest.names()] == ["a"]


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
        {"more": 1},
        {"files": [{**FILE, "path": "../a"}]},
        {"files": [{**FILE, "path": "/etc/passwd"}]},
        {"files": [{**FILE, "mode": 0o104755}]},
        {"files": [{**FILE, "content": {"size_bytes": PART_BYTES + 1, "parts": [PART]}}]},
        {"files": [{**FILE, "content": {"size_bytes": 5, "parts": ["../x"]}}]},
        {"units": [{**UNIT, "kind": "more"}]},
        {"units": [{**UNIT, "stream": {"size_bytes": 6, "parts": [PART]}}]},
        {"units": [{**UNIT, "groups": [*UNIT["groups"], {"names": [], "pickle_bytes": 0}], "buffers": [BLOB]}]},  # type: ignore[misc]
        {"cwd": "x" * 5_000},
        {"unsaved": [{"name": "a", "type": "b", "reason": "x" * 2_000}]},
        {"python": "x" * MOST_MANIFEST_BYTES},
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        to_manifest(written(**changes))


class Kernel:
    """A kernel that answers each request for frames with the next of these messages."""

    def __init__(self, messages: Iterable[bytes]) -> None:
        self._messages = iter(messages)

    def state(self, content: dict[str, object], buffers: Sequence[bytes] = ()) -> "asyncio.Future[Message | None]":
        answer: asyncio.Future[Message | None] = asyncio.get_running_loop().create_future()
        asked = content["op"] == "next"
        answer.set_result(Message("", "", b"{}", b'{"status": "ok"}', (next(self._messages),) if asked else ()))
        return answer


def frame(kind: bytes, payload: bytes = b"") -> bytes:
    return kind + len(payload).to_bytes(4, "big") + payload


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        (repeat(frame(b"P") * 50_000), "makes no sense"),
        (
            (b"".join(frame(b"P", bytes(f"{at:x}-{number:x}", "ascii")) for at in range(10_000)) for number in count()),
            "larger",
        ),
        (repeat(frame(b"M", b"[" * PART_BYTES)), "too large"),
        (repeat(frame(b"M", b"[" * 200_000) + frame(b"Z")), "no sense"),
        (repeat(frame(b"X")), "no sense"),
        (repeat(b"P" + b"\xff" * 4), "no sense"),
    ],
    ids=["empty parts", "small parts", "a manifest without an end", "a nested manifest", "another kind", "a huge part"],
)
async def test_a_kernel_that_lies_about_its_state_is_refused_while_others_are_served(
    messages: Iterable[bytes], reason: str
) -> None:
    stored = turns = 0

    async def store(sha256: str, content: bytes) -> None:
        nonlocal stored
        stored += 1

    async def other() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    beside = asyncio.create_task(other())
    kernel: Any = Kernel(messages)
    with pytest.raises(SandboxError, match=reason):
        await save_state(kernel, store, since=None, limits=StateLimits(), captured=lambda: None, sandbox_id="cntr_1")
    beside.cancel()
    assert stored <= MOST_PARTS
    assert turns >= stored // 200


def test_the_names_of_a_manifest_cost_the_garbage_collector_nothing() -> None:
    """Decoding 60,000 tracked ones took 0.8 s, since the collector looked at all objects again and again."""
    names = [{"name": f"a{at}", "type": "int", "size_bytes": 0} for at in range(100)]
    unit = {"kind": "values", "groups": [{"names": names, "pickle_bytes": 0}], "stream": {"size_bytes": 0, "parts": []}}
    file = {"path": "a", "mode": 0, "modified_ns": 0, "content": {"size_bytes": 0, "parts": []}}
    wire = {"version": 1, "python": "3", "execution_count": 0, "units": [unit], "files": [file] * 100}
    manifest = to_manifest(msgspec.json.encode(wire))
    tracked = [each for each in (*manifest.names(), *manifest.files, *manifest.blobs()) if gc.is_tracked(each)]
    assert tracked == []
