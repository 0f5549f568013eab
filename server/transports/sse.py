"""Streams the frames of an event log as server-sent events."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec
from starlette.responses import Response, StreamingResponse

from codeact.errors import CodeActError
from codeact.server.blob_urls import frame_with_urls
from codeact.server.errors import envelope
from sandbox_pool.errors import SandboxError

__all__ = ["DONE", "KEEP_ALIVE", "KEEP_ALIVE_S", "SSE_HEADERS", "event_stream"]

SSE_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
KEEP_ALIVE = ": keep-alive\n\n"
KEEP_ALIVE_S = 15.0
"""After this time without an event, a comment is sent, so that no proxy closes the connection."""
DONE = "data: [DONE]\n\n"
BEFORE_TYPE = len('{"type":"')


def event_stream(stream: AsyncGenerator[list[str], None]) -> Response:
    """Sends each frame as an event of its type, a comment while nothing happens, and `[DONE]` at the end.

    An error after the headers have been sent becomes an `error` event.
    """

    async def body() -> AsyncGenerator[str, None]:
        try:
            async with aclosing(stream):
                async for frames in stream:
                    yield "".join(map(_event, frames)) or KEEP_ALIVE
        except (CodeActError, SandboxError) as error:
            data = msgspec.json.encode({**envelope(error)["error"], "type": "error"}).decode()
            yield f"event: error\ndata: {data}\n\n"
        yield DONE

    return StreamingResponse(body(), media_type="text/event-stream", headers=SSE_HEADERS)


def _event(frame: str) -> str:
    kind = frame[BEFORE_TYPE : frame.index('"', BEFORE_TYPE)]
    return f"event: {kind}\ndata: {frame_with_urls(frame)}\n\n"
