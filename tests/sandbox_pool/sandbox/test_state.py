"""What a kernel that lies can make the server hold and do while it takes a checkpoint and restores one."""

import asyncio
import json
from collections.abc import Iterable
from typing import Any, cast

import pytest

from sandbox_pool.checkpoint import Blob, Group, Manifest, SavedFile, StateLimits, Unit
from sandbox_pool.errors import SandboxError
from sandbox_pool.kernel.client import KernelClient
from sandbox_pool.kernel.session import Message
from sandbox_pool.sandbox import state

pytestmark = pytest.mark.anyio


class Lying:
    """A kernel whose fork sends these frames, and that says `applied` after each step of a restoration."""

    def __init__(self, frames: Iterable[bytes] = (), applied: dict[str, Any] | None = None) -> None:
        self._frames = iter(frames)
        self._applied = applied or {}
        self.asked = 0

    def state(self, content: dict[str, Any], buffers: Iterable[bytes]) -> "asyncio.Future[Message | None]":
        self.asked += 1
        pieces = (next(self._frames),) if content["op"] == "next" else ()
        answer = json.dumps({"status": "ok", **self._applied}).encode()
        future: asyncio.Future[Message | None] = asyncio.get_running_loop().create_future()
        future.set_result(Message("codeact_state_reply", "", b"{}", answer, pieces))
        return future


def part(content: bytes) -> bytes:
    return b"P" + len(content).to_bytes(4, "big") + content


async def saved(kernel: Lying, limits: StateLimits) -> int:
    """Returns how many parts were stored before the checkpoint was refused."""
    stored = 0

    async def store(sha256: str, content: bytes) -> None:
        nonlocal stored
        stored += 1

    with pytest.raises(SandboxError, match=r"larger than it may be|more than"):
        await state.save_state(
            cast(KernelClient, kernel), store, since=None, limits=limits, captured=lambda: None, sandbox_id="cntr_1"
        )
    return stored


async def test_endless_tiny_parts_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "MOST_PARTS", 50)
    tiny = (part(b"%d" % number) for number in range(10_000))
    assert await saved(Lying(tiny), StateLimits()) == 50


async def test_a_part_that_is_sent_again_and_again_counts_each_time() -> None:
    kernel = Lying(part(bytes(1_000)) for _ in range(10_000))
    assert await saved(kernel, StateLimits(total_bytes=500_000)) == 1
    assert kernel.asked < 1_000


async def test_a_kernel_cannot_make_the_server_hold_endless_reports_of_a_restoration() -> None:
    empty = Blob(0, ())
    files = tuple(SavedFile(f"{number}.txt", 0o644, 0, Blob(1, ("0" * 64,))) for number in range(100))
    unit = Unit("values", (Group((), 0),), empty)
    manifest = Manifest(1, "3.12.0", 1, units=(unit,), files=files)

    async def fetch(sha256: str) -> bytes:
        raise LookupError(sha256)

    kernel = Lying(applied={"names": ["x" * 1_000_000]})
    with pytest.raises(SandboxError, match="too much"):
        await state.restore_state(cast(KernelClient, kernel), manifest, fetch, sandbox_id="cntr_1")
    assert kernel.asked < 30
