"""Takes checkpoints of one kernel's state, and restores them into another kernel, over the kernel's control channel.

The kernel does both (`guest/kernel_state.py`). The code in the sandbox may forge its answers: each is checked, bounded,
and waited for no longer than `ANSWER_S`. A forged checkpoint harms only the sandbox into which it is restored.
"""

import asyncio
import hashlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Annotated, Literal, TypeVar

import msgspec

from sandbox_pool.checkpoint import (
    MOST_MANIFEST_BYTES,
    MOST_PARTS,
    PART_BYTES,
    Blob,
    Checkpoint,
    Manifest,
    Restored,
    StateLimits,
    Unsaved,
    encode_manifest,
    to_manifest,
)
from sandbox_pool.errors import SandboxBusy, SandboxError, SandboxGone
from sandbox_pool.kernel.client import KernelClient
from sandbox_pool.kernel.session import Message

__all__ = ["Fetch", "Store", "restore_state", "save_state"]

Store = Callable[[str, bytes], Awaitable[None]]
"""Stores a part under its SHA-256. The next part comes only when it has returned."""
Fetch = Callable[[str], Awaitable[bytes]]
"""Returns the part of this SHA-256. Raises `LookupError` if there is none."""

ANSWER_S = 30.0
PUT_BYTES = 2_000_000
HEAD_BYTES = 5
MOST_FRAMES = 2 * MOST_PARTS
FRAMES_AT_ONCE = 100
"""After so many frames, other tasks run."""
MOST_APPLIED_BYTES = 2 * MOST_MANIFEST_BYTES
"""How much a kernel may say of one restoration: it names what its manifest names, with reasons."""
_Words = Annotated[str, msgspec.Meta(max_length=1_000)]


class _Answer(msgspec.Struct):
    status: Literal["ok", "busy", "failed"]
    reason: _Words = ""


class _Applied(_Answer):
    names: Annotated[list[str], msgspec.Meta(max_length=20_000)] = []
    files: Annotated[list[str], msgspec.Meta(max_length=20_000)] = []
    rerun: Annotated[list[str], msgspec.Meta(max_length=20_000)] = []
    unsaved: Annotated[list[Unsaved], msgspec.Meta(max_length=20_000)] = []


_Kind = TypeVar("_Kind")
_answer = msgspec.json.Decoder(_Answer)
_applied = msgspec.json.Decoder(_Applied)


async def save_state(
    kernel: KernelClient,
    store: Store,
    *,
    since: Manifest | None,
    limits: StateLimits,
    captured: Callable[[], None],
    sandbox_id: str,
) -> Checkpoint:
    """See `Sandbox.checkpoint`."""
    began_at = time.perf_counter()
    talk = _Talk(kernel, sandbox_id, "take a checkpoint")
    known = since.parts() if since is not None else set()
    content = {"op": "save", "limits": msgspec.to_builtins(limits)}
    await talk.ask(content, b"".join(bytes.fromhex(part) for part in sorted(known)))
    captured()
    new_parts = new_bytes = received_bytes = 0
    manifest = bytearray()
    stored: set[str] = set()
    complete = False
    try:
        async with asyncio.timeout(limits.deadline_s + ANSWER_S), aclosing(_frames(talk)) as frames:
            async for kind, payload in frames:
                if kind == b"P":
                    received_bytes += len(payload)
                    if received_bytes > limits.total_bytes + PART_BYTES:
                        raise talk.failure("it is larger than it may be (total_bytes)")
                    part = hashlib.sha256(payload).hexdigest()
                    if part not in stored and part not in known:
                        if new_parts >= MOST_PARTS:
                            raise talk.failure("it is larger than it may be (total_bytes)")
                        new_bytes += len(payload)
                        await store(part, payload)
                        new_parts += 1
                        stored.add(part)
                elif kind == b"M" and len(manifest) + len(payload) <= MOST_MANIFEST_BYTES:
                    manifest += payload
                elif kind == b"M":
                    raise talk.failure("the list of its names and files is too large")
                else:
                    raise talk.failure("the kernel gave an answer that makes no sense")
        complete = True
    except TimeoutError:
        raise talk.failure(f"it was not complete after {limits.deadline_s:g} s") from None
    finally:
        talk.send({"op": "stop", "complete": complete})
    try:
        found = await asyncio.to_thread(to_manifest, bytes(manifest))
    except (ValueError, RecursionError):
        raise talk.failure("the kernel gave a list that makes no sense") from None
    if missing := found.parts() - stored - known:
        raise talk.failure(f"{len(missing)} parts are missing")
    return Checkpoint(found, new_parts, new_bytes, time.perf_counter() - began_at)


async def restore_state(kernel: KernelClient, manifest: Manifest, fetch: Fetch, *, sandbox_id: str) -> Restored:
    """See `Sandbox.restore`."""
    began_at = time.perf_counter()
    talk = _Talk(kernel, sandbox_id, "restore a checkpoint")
    results = [talk.applied(await talk.ask({"op": "load"}, encode_manifest(manifest)))]
    waiting: list[bytes] = []
    size = 0
    sent: asyncio.Future[Message | None] | None = None

    async def flush(**extra: bool) -> None:
        """Sends the waiting parts. The next ones are fetched while the kernel takes these."""
        nonlocal size, sent
        if sent is not None:
            results.append(talk.applied(await talk.answer(sent)))
        sent = talk.send({"op": "put", **extra}, *waiting)
        waiting.clear()
        size = 0

    for blobs in [
        *([file.content] for file in manifest.files),
        *([unit.stream, *unit.buffers] for unit in manifest.units),
    ]:
        try:
            for blob in blobs:
                for number, part in enumerate(blob.parts):
                    waiting.append(await _checked(fetch, part, blob, number))
                    size += len(waiting[-1])
                    if size >= PUT_BYTES:
                        await flush()
        except LookupError:
            await flush(lost=True)
    await flush()
    assert sent is not None
    results.append(talk.applied(await talk.answer(sent)))
    results.append(talk.applied(await talk.ask({"op": "finish"})))
    return Restored(
        tuple(name for result in results for name in result.names),
        tuple(file for result in results for file in result.files),
        tuple(name for result in results for name in result.rerun),
        (*manifest.unsaved, *(each for result in results for each in result.unsaved)),
        time.perf_counter() - began_at,
    )


async def _checked(fetch: Fetch, part: str, blob: Blob, number: int) -> bytes:
    """Fetches a part. Raises `LookupError` if it is not there, or is not what its name says."""
    content = await fetch(part)
    size = min(PART_BYTES, blob.size_bytes - number * PART_BYTES)
    if len(content) != size or hashlib.sha256(content).hexdigest() != part:
        raise LookupError(part)
    return content


async def _frames(talk: "_Talk") -> AsyncGenerator[tuple[bytes, bytes]]:
    """Yields the frames that the kernel sends: a letter, the payload's length in four bytes, and the payload."""
    received = bytearray()
    frames = 0
    while True:
        message = await talk.ask({"op": "next"})
        for piece in message.buffers:
            received += piece
        start = 0
        while len(received) - start >= HEAD_BYTES:
            size = int.from_bytes(received[start + 1 : start + HEAD_BYTES], "big")
            if size > PART_BYTES:
                raise talk.failure("the kernel gave an answer that makes no sense")
            end = start + HEAD_BYTES + size
            if len(received) < end:
                break
            kind = bytes(received[start : start + 1])
            if kind == b"Z":
                return
            frames += 1
            if frames > MOST_FRAMES:
                raise talk.failure("the kernel gave an answer that makes no sense")
            if frames % FRAMES_AT_ONCE == 0:
                await asyncio.sleep(0)
            yield kind, bytes(received[start + HEAD_BYTES : end])
            start = end
        del received[:start]


class _Talk:
    """Requests to one kernel, for this purpose."""

    def __init__(self, kernel: KernelClient, sandbox_id: str, purpose: str) -> None:
        self._kernel = kernel
        self._sandbox_id = sandbox_id
        self._purpose = purpose
        self._applied_bytes = 0

    async def ask(self, content: dict[str, object], *buffers: bytes) -> Message:
        """Sends a request. Returns its answer, whose status is no failure. Raises `SandboxError`."""
        return await self.answer(self.send(content, *buffers))

    def send(self, content: dict[str, object], *buffers: bytes) -> "asyncio.Future[Message | None]":
        """Sends a request, whose answer `answer` awaits or nobody needs."""
        return self._kernel.state(content, buffers)

    async def answer(self, sent: "asyncio.Future[Message | None]") -> Message:
        """Returns the answer to a request that was sent. Raises `SandboxError` if it is a failure, or late."""
        try:
            async with asyncio.timeout(ANSWER_S):
                message = await sent
        except TimeoutError:
            raise self.failure(f"the kernel has not answered for {ANSWER_S:g} s") from None
        if message is None:
            raise SandboxGone("The sandbox is gone. Its kernel has gone.", sandbox_id=self._sandbox_id)
        answer = self._decoded(_answer, message)
        if answer.status == "busy":
            raise SandboxBusy("The sandbox runs other code.", sandbox_id=self._sandbox_id)
        if answer.status == "failed":
            raise self.failure(answer.reason or "the kernel does not say why")
        return message

    def applied(self, message: Message) -> _Applied:
        self._applied_bytes += len(message.content)
        if self._applied_bytes > MOST_APPLIED_BYTES:
            raise self.failure("the kernel says too much of it")
        return self._decoded(_applied, message)

    def failure(self, problem: str) -> SandboxError:
        return SandboxError(f"Could not {self._purpose}: {problem}.", sandbox_id=self._sandbox_id)

    def _decoded(self, decoder: "msgspec.json.Decoder[_Kind]", message: Message) -> "_Kind":
        try:
            return decoder.decode(message.content)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            raise self.failure("the kernel gave an answer that makes no sense") from None
