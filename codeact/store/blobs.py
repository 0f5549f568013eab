"""Keeps stored items small: moves images and long texts of an item into blobs and leaves references to them in the
item.

`codeact:url` in an output's metadata maps each MIME type that was moved or shortened to the reference of the blob with
the complete content (`codeact.store.references`). Transports turn references into URLs.
"""

import binascii
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import msgspec

from codeact.data_urls import image_of
from codeact.events import CodeInterpreterCall, ImageOutput, Item, LogsOutput, McpCall, Message, Reasoning, encode
from codeact.store.references import reference
from sandbox_pool.outputs import DisplayData, Error, ExecuteResult, Stream

__all__ = ["offload"]

Put = Callable[[bytes, str], Awaitable[str]]
T = TypeVar("T")

TEXT_CHARS = 65_536
EXCERPT_CHARS = 32_000
OUTPUTS_BYTES = 2_000_000

URL = "codeact:url"
SVG = "image/svg+xml"
BINARY = re.compile(r"(image/(?!svg\+xml)|audio/|video/)[a-z0-9.+-]+|application/pdf")


async def offload(item: Item, put: Put) -> None:
    """Moves large parts of `item` into blobs, in place. Call it once, before the item is stored.

    `put(data, media_type)` stores a blob and returns its SHA-256. Images and other binary data become blobs. A text
    longer than 64 KiB keeps its first and last 32,000 characters, with a line between them that says how much is
    missing and where all of it is. If the outputs exceed 2 MB together, only the first and the last are kept. The
    `observation`, which the model reads, stays as it is: the agent has bounded it already. Raises what `put` raises.
    """
    moved = _Moved(put)
    if isinstance(item, McpCall):
        item.output = await moved.text(item.output) if item.output is not None else None
        return
    if isinstance(item, Message | Reasoning):
        for part in item.content:
            part.text = await moved.text(part.text)
        return
    if not isinstance(item, CodeInterpreterCall):
        return  # The client needs the complete arguments of its function.
    item.code = await moved.text(item.code)
    item.ran = await moved.text(item.ran) if item.ran is not None else None
    if item.result is not None and item.result.error is not None:
        item.result = msgspec.structs.replace(item.result, error=await moved.error(item.result.error))
    outputs = [await moved.output(output) for output in item.notebook_outputs]
    item.notebook_outputs = await moved.fit(outputs, lambda line: Stream("stderr", line))
    if item.outputs is not None:
        item.outputs = await moved.fit([await moved.standard(output) for output in item.outputs], LogsOutput)


class _Moved:
    """Moves the large parts of one item. It remembers the blobs, because the same image is in both views of an item."""

    def __init__(self, put: Put) -> None:
        self._put = put
        self._names: dict[bytes, str] = {}

    async def blob(self, data: bytes, media_type: str) -> str:
        """Stores `data` unless this item has stored it before; returns its reference."""
        if data not in self._names:
            self._names[data] = reference(await self._put(data, media_type))
        return self._names[data]

    async def text(self, text: str) -> str:
        if len(text) <= TEXT_CHARS:
            return text
        url = await self.blob(text.encode(errors="replace"), "text/plain")
        left_out = f"{len(text) - 2 * EXCERPT_CHARS:,} of {len(text):,} characters are left out here"
        return f"{text[:EXCERPT_CHARS]}\n[{left_out}; all of them: {url}]\n{text[-EXCERPT_CHARS:]}"

    async def error(self, error: Error) -> Error:
        traceback = error.traceback
        if sum(map(len, traceback)) > TEXT_CHARS:
            traceback = (await self.text("\n".join(traceback))).split("\n")
        return Error(await self.text(error.ename), await self.text(error.evalue), traceback)

    async def output(
        self, output: Stream | DisplayData | ExecuteResult | Error
    ) -> Stream | DisplayData | ExecuteResult | Error:
        match output:
            case Stream():
                return Stream(output.name, await self.text(output.text))
            case Error():
                return await self.error(output)
        data: dict[str, Any] = {}
        urls: dict[str, str] = {}
        for mime, content in output.data.items():
            url = await self._content(mime, content)
            if url is None:
                data[mime] = content
                continue
            urls[mime] = url
            if isinstance(content, str) and mime.startswith("text/"):
                data[mime] = await self.text(content)
        # Drop a `codeact:url` that the user's code wrote itself: only our own references may be there.
        metadata = {name: value for name, value in output.metadata.items() if name != URL}
        if len(encode(metadata)) > TEXT_CHARS:
            metadata = {}
        return msgspec.structs.replace(output, data=data, metadata=metadata | ({URL: urls} if urls else {}))

    async def _content(self, mime: str, content: Any) -> str | None:
        """Stores binary or long content as a blob and returns its reference; None if it can stay in the item."""
        if not isinstance(content, str):
            encoded = encode(content)
            return await self.blob(encoded, "application/json") if len(encoded) > TEXT_CHARS else None
        if BINARY.fullmatch(mime) and (decoded := _decode(content)):
            return await self.blob(decoded, mime)
        if len(content) <= TEXT_CHARS:
            return None
        # Only SVG keeps its type: with any other, a browser might run what the user's code wrote.
        return await self.blob(content.encode(errors="replace"), mime if mime == SVG else "text/plain")

    async def standard(self, output: LogsOutput | ImageOutput) -> LogsOutput | ImageOutput:
        if isinstance(output, LogsOutput):
            return LogsOutput(await self.text(output.logs))
        image = image_of(output.url)
        if image is not None and (decoded := _decode(image.base64)):
            return ImageOutput(await self.blob(decoded, image.media_type))
        return output if len(output.url) <= TEXT_CHARS else LogsOutput("[an image that cannot be decoded]")

    async def fit(self, outputs: list[T], line: Callable[[str], T]) -> list[T]:
        sizes = [len(encode(output)) for output in outputs]
        if sum(sizes) <= OUTPUTS_BYTES:
            return outputs
        head = _fitting(sizes)
        tail = _fitting(sizes[head:][::-1])
        url = await self.blob(encode(outputs), "application/json")
        left_out = f"{len(outputs) - head - tail:,} of {len(outputs):,} outputs are left out here"
        return [*outputs[:head], line(f"[{left_out}; all of them: {url}]\n"), *outputs[len(outputs) - tail :]]


def _fitting(sizes: Sequence[int]) -> int:
    """How many of the first sizes fit into half of `OUTPUTS_BYTES`."""
    room = OUTPUTS_BYTES // 2
    for count, size in enumerate(sizes):
        room -= size
        if room < 0:
            return count
    return len(sizes)


def _decode(content: str) -> bytes:
    """Decodes base64; returns empty bytes if `content` is not base64."""
    try:
        return binascii.a2b_base64(content)
    except ValueError:
        return b""
