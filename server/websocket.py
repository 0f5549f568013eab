"""`/v1/responses` as a WebSocket: client events enter as text frames, the runs' logs leave frame by frame.

Any number of responses share a socket. Requests with the same `stream_id` are answered first in, first
out, and every event of theirs echoes it. Errors are frames; the socket stays open.
"""

import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Any

import anyio
import msgspec
import structlog
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectSendStream
from starlette.websockets import WebSocket, WebSocketDisconnect

from codeact.errors import CodeActError, InvalidRequest, NotFound
from sandbox_pool.errors import SandboxError
from server.auth import BAD_AUTH, accept
from server.bearer import Bearer, Ended
from server.errors import close_reason, envelope, status_of
from server.parameters import checked, decoded
from server.requests import CancelBody, ResumeBody, parse_create, parse_steer
from server.runs import Run
from server.state import State
from server.unstored import Unstored

__all__ = ["responses_socket"]

log = structlog.get_logger(__name__)

MAX_BAD_FRAMES = 20
MAX_QUEUED = 32
MAX_LANES = 64
FORGET_DEADLINE_S = 5.0
BAD_FRAMES, RESTART = 4400, 1012


async def responses_socket(websocket: WebSocket) -> None:
    """Serves one client until it leaves. A client that leaves stops nothing: its runs go on."""
    await accept(websocket)
    state: State = websocket.app.state.codeact
    unstored = Unstored()
    try:
        async with anyio.create_task_group() as tasks:
            await _Session(websocket, state, unstored, tasks).serve()
            tasks.cancel_scope.cancel()
    finally:
        with anyio.move_on_after(FORGET_DEADLINE_S, shield=True):
            await state.forget(unstored)


class _Session:
    """One socket. A lane is a queue of requests that are answered one after the other."""

    def __init__(self, websocket: WebSocket, state: State, unstored: Unstored, tasks: TaskGroup) -> None:
        self._websocket = websocket
        self._state = state
        self._bearer = Bearer(websocket)
        self._unstored = unstored
        self._tasks = tasks
        self._lanes: dict[str, MemoryObjectSendStream[dict[str, Any]]] = {}
        self._handlers: dict[str, Callable[[dict[str, Any], str | None], Awaitable[None]]] = {
            "response.create": self._create,
            "response.cancel": self._cancel,
            "response.steer": self._steer,
            "codeact:response.resume": self._resume,
            "codeact:session.refresh": self._refresh,
        }

    async def serve(self) -> None:
        """Reads frames until the client leaves, its key has expired, or it has sent too many bad ones."""
        self._tasks.start_soon(self._end_at_expiry)
        try:
            await self._read()
        finally:
            for lane in self._lanes.values():
                lane.close()

    async def _read(self) -> None:
        bad_frames = 0
        while True:
            try:
                text = await self._websocket.receive_text()
            except WebSocketDisconnect:
                return
            except KeyError:
                text = ""  # a binary frame
            stream_id: str | None = None
            try:
                event = self._decode(text)
                stream_id = event.pop("stream_id", None)
                if not isinstance(stream_id, str | None) or len(stream_id or "") > 128:
                    stream_id = None
                    raise InvalidRequest("'stream_id' must be text of at most 128 characters.", param="stream_id")
                await self._dispatch(event, stream_id)
            except (CodeActError, SandboxError) as error:
                bad_frames += isinstance(error, InvalidRequest)
                await self._send_error(error, stream_id)
                if bad_frames >= MAX_BAD_FRAMES:
                    await self._close(BAD_FRAMES, f"{bad_frames} frames were not valid")

    def _decode(self, text: str) -> dict[str, Any]:
        limit = self._state.settings.max_message_bytes
        if len(text) > limit:
            raise InvalidRequest(
                f"The message has {len(text)} characters; at most {limit} are taken (CODEACT_MAX_MESSAGE_BYTES).",
                code="message_too_large",
            )
        event = decoded(text, "A frame must hold one JSON object")
        if not isinstance(event, dict) or not isinstance(event.get("type"), str):
            raise InvalidRequest("A frame must be a JSON object with a 'type'.", param="type")
        return event

    async def _dispatch(self, event: dict[str, Any], stream_id: str | None) -> None:
        kind = event.pop("type")
        handler = self._handlers.get(kind)
        if handler is None:
            known = ", ".join(self._handlers)
            raise InvalidRequest(f"'{kind}' is no event that clients send; known are {known}.", param="type")
        event.pop("event_id", None)
        if kind == "response.create" and stream_id is not None:
            self._enqueue(event, stream_id)
        elif kind == "response.create":
            self._tasks.start_soon(self._guarded, handler, event, None)
        else:
            await handler(event, stream_id)

    def _enqueue(self, event: dict[str, Any], stream_id: str) -> None:
        lane = self._lanes.get(stream_id)
        if lane is None:
            if len(self._lanes) >= MAX_LANES:
                raise InvalidRequest(f"A socket takes at most {MAX_LANES} values of 'stream_id'.", param="stream_id")
            lane, requests = anyio.create_memory_object_stream[dict[str, Any]](MAX_QUEUED)
            self._lanes[stream_id] = lane

            async def serve_lane() -> None:
                with requests:
                    async for request in requests:
                        await self._guarded(self._create, request, stream_id)

            self._tasks.start_soon(serve_lane)
        try:
            lane.send_nowait(event)
        except anyio.WouldBlock:
            raise InvalidRequest(
                f"{MAX_QUEUED} requests already wait under this stream_id.",
                param="stream_id",
                code="queue_full",
            ) from None

    async def _guarded(
        self,
        handler: Callable[[dict[str, Any], str | None], Awaitable[None]],
        event: dict[str, Any],
        stream_id: str | None,
    ) -> None:
        """Runs a handler in a task of its own: its errors become frames, a lost client ends it quietly."""
        try:
            await handler(event, stream_id)
        except (CodeActError, SandboxError) as error:
            await self._send_error(error, stream_id)
        except Exception:
            log.exception("socket request failed by an error of ours")
            await self._send_error(CodeActError("An internal error; the server's log has it."), stream_id)

    # ---- client events -----------------------------------------------------------------------------

    async def _create(self, event: dict[str, Any], stream_id: str | None) -> None:
        body = event.pop("response", None) or event  # some clients nest the body under `response`
        request = parse_create(body)
        caller = await self._bearer.check()
        run: Run | None = await self._state.create(request, caller=caller, unstored=self._unstored)
        while run is not None:
            await self._follow(run.log.read(), stream_id)
            steered, run = run, await run.successor()
            if run is None and steered.steering:
                text = "The response ended, and none could go on with this."
                await self._send_steer_failed(steered.id, "successor_creation_failed", text, stream_id)

    async def _cancel(self, event: dict[str, Any], stream_id: str | None) -> None:
        await self._state.cancel(checked(event, CancelBody).response_id, owner=self._bearer.owner)

    async def _steer(self, event: dict[str, Any], stream_id: str | None) -> None:
        response_id = event.get("previous_response_id")
        await self._bearer.check()
        try:
            await self._state.steer(str(response_id), parse_steer(event), owner=self._bearer.owner)
        except NotFound as error:
            await self._send_steer_failed(response_id, "response_not_found", error.message, stream_id, event)
        except InvalidRequest as error:
            code = "invalid_input" if error.param else error.code
            await self._send_steer_failed(response_id, code, error.message, stream_id, event)

    async def _resume(self, event: dict[str, Any], stream_id: str | None) -> None:
        asked = checked(event, ResumeBody)
        await self._bearer.check()
        stream = await self._state.open_stream(
            asked.response_id, owner=self._bearer.owner, starting_after=asked.starting_after
        )
        self._tasks.start_soon(self._follow, stream, stream_id)

    async def _refresh(self, event: dict[str, Any], stream_id: str | None) -> None:
        expires_at = await self._bearer.refresh(event.get("token"))
        frame = {"type": "codeact:session.refreshed", "expires_at": int(expires_at.timestamp())}
        await self._send_frame(frame, stream_id)

    async def _end_at_expiry(self) -> None:
        await self._bearer.expiry()
        await self._close(BAD_AUTH, "What this socket was opened with has expired.")

    async def _follow(self, stream: AsyncGenerator[list[str], None], stream_id: str | None) -> None:
        suffix = f',"stream_id":{json.dumps(stream_id)}}}' if stream_id is not None else None
        try:
            async with aclosing(stream):
                async for frames in stream:
                    for frame in frames:
                        await self._send(frame if suffix is None else frame[:-1] + suffix)
        except CodeActError as error:
            await self._send_error(error, stream_id)

    # ---- sending -----------------------------------------------------------------------------------

    async def _send(self, text: str) -> None:
        try:
            await self._websocket.send({"type": "websocket.send", "text": text})
        except (WebSocketDisconnect, RuntimeError):
            self._tasks.cancel_scope.cancel()  # the client is gone; nothing more can be said to it
            await anyio.lowlevel.checkpoint()

    async def _send_steer_failed(
        self, response_id: Any, code: str, message: str, stream_id: str | None, event: dict[str, Any] | None = None
    ) -> None:
        """Gives back what was said and not taken in. It belongs to no response's log and has no number of its own."""
        steer = {"previous_response_id": response_id, "input": (event or {}).get("input", [])}
        error = {"type": "invalid_request_error", "code": code, "message": message}
        frame = {"type": "response.steer.failed", "sequence_number": 0, "error": error, "steer": steer}
        await self._send_frame(frame, stream_id)

    async def _send_error(self, error: CodeActError | SandboxError, stream_id: str | None) -> None:
        if isinstance(error, Ended):
            await self._close(BAD_AUTH, error.message)
        await self._send_frame({"type": "error", "status": status_of(error), **envelope(error)}, stream_id)

    async def _send_frame(self, frame: dict[str, Any], stream_id: str | None) -> None:
        """A frame that belongs to no response's log."""
        if stream_id is not None:
            frame["stream_id"] = stream_id
        await self._send(msgspec.json.encode(frame).decode())

    async def _close(self, code: int, reason: str) -> None:
        """Closes the socket and cancels all that serves it, whoever calls included."""
        with suppress(WebSocketDisconnect, RuntimeError):  # it is closed already
            await self._websocket.close(code, close_reason(reason))
        self._tasks.cancel_scope.cancel()
        await anyio.lowlevel.checkpoint()
