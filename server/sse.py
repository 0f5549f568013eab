"""Server-sent events: a run's frames enter, the stream's text leaves, `[DONE]` last."""

from collections.abc import AsyncIterator
from contextlib import aclosing

from starlette.responses import Response, StreamingResponse

from server.runs import Run

__all__ = ["DONE", "SSE_HEADERS", "stream"]

SSE_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
DONE = "data: [DONE]\n\n"


def stream(run: Run, start: int) -> Response:
    """The run's events from number `start` on; `event:` is each one's `type`."""

    async def body() -> AsyncIterator[str]:
        async with aclosing(run.subscribe(start)) as frames:
            async for frame in frames:
                kind = frame[len('{"type":"') : frame.index('"', len('{"type":"'))]
                yield f"event: {kind}\ndata: {frame}\n\n"
        yield DONE

    return StreamingResponse(body(), media_type="text/event-stream", headers=SSE_HEADERS)
