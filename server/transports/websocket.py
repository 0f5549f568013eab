"""`/v1/responses` as a WebSocket: reads client events and sends the frames of the runs' event logs.

Many responses share a socket. Requests with the same `stream_id` are answered in order, and all their events echo it.
Errors are frames; the socket stays open. Each client event runs in its own task, so reading never waits and a cancel
does not wait for earlier requests.
"""

import json
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import anyio
import msgspec
import structlog
from anyio.abc import TaskGroup
from starlette.websockets import WebSocket, WebSocketDisconnect

from codeact.errors import CodeActError, InvalidRequest, NotFound
from codeact.runs.pending_steers import required_input
from codeact.runs.resume_points import EphemeralResponses
from codeact.server.auth.auth import BAD_AUTH, accept
from codeact.server.auth.socket_auth import Ended, SocketAuth
from codeact.server.blob_urls import frame_with_urls
from codeact.server.errors import close_reason, envelope, status_of
from codeact.server.http import TEXTS
from codeact.server.peers.passed_run import Answer
from codeact.server.requests.create import CancelBody, ResumeBody, parse_create, parse_steer
from codeact.server.requests.parameters import checked, decoded
from codeact.server.services import Services
from codeact.server.transports.data_urls import as_asked
from codeact.server.transports.lanes import Lanes
from codeact.server.transports.standard_events import gets_ours
from codeact.store import Blob
from sandbox_pool.errors import SandboxError

__all__ = ["responses_socket"]

log = structlog.get_logger(__name__)

MAX_BAD_FRAMES = 20
MAX_LANES, MAX_QUEUED = 128, 32
"""How many values of `stream_id` (and requests without one) are answered at a time; how many
requests wait behind each.
"""
MAX_COMMANDS, MAX_QUEUED_COMMANDS = 64, 16
"""How many cancels, steers, resumes and refreshes run at a time; how many wait for another one
about the same response.
"""
MAX_RESUMED, MAX_RESUMES = 16, 80
"""How many resumed streams are read at a time, each holding up to a few MB of an old log; how many may wait in
addition.
"""
MAX_STREAM_ID = 128
FORGET_DEADLINE_S = 5.0
INTERNAL = CodeActError("An internal error; the server's log has it.")
BAD_FRAMES = 4400
HEAD_CHARS = 1_000
_STREAM_ID = re.compile(rf'"stream_id"\s{{0,10}}:\s{{0,10}}"([\w.:-]{{1,{MAX_STREAM_ID}}})"', re.ASCII)
"""Finds the `stream_id` of a frame that is too long to be decoded, if it is among the first fields."""


Handler = Callable[[dict[str, Any], str | None], Awaitable[None]]


@dataclass(slots=True)
class _Frame:
    """A client's frame while it is being read."""

    stream_id: str | None = None


async def responses_socket(websocket: WebSocket) -> None:
    """Serves one client until it disconnects. Its runs continue after that."""
    await accept(websocket)
    services: Services = websocket.app.state.codeact
    ephemeral = EphemeralResponses(services.memory)
    try:
        async with anyio.create_task_group() as tasks:
            await _Session(websocket, services, ephemeral, tasks).serve()
            tasks.cancel_scope.cancel()
    finally:
        with anyio.move_on_after(FORGET_DEADLINE_S, shield=True):
            await services.service.forget(ephemeral)


ACCEPTED = '{"type":"response.steer.accepted"'
WAITING = "waiting_for_required_input"


class _Session:
    """Serves one socket."""

    def __init__(
        self, websocket: WebSocket, services: Services, ephemeral: EphemeralResponses, tasks: TaskGroup
    ) -> None:
        self._websocket = websocket
        self._takes_texts = TEXTS in websocket.scope.get("extensions", {})
        self._services = services
        self._socket_auth = SocketAuth(websocket)
        self._ephemeral = ephemeral
        self._tasks = tasks
        most_bytes = 2 * services.settings.max_message_bytes
        self._requests = Lanes(tasks, what="requests", most=MAX_LANES, most_waiting=MAX_QUEUED, most_bytes=most_bytes)
        self._commands = Lanes(
            tasks, what="commands", most=MAX_COMMANDS, most_waiting=MAX_QUEUED_COMMANDS, most_bytes=most_bytes
        )
        self._resumes = Lanes(tasks, what="resumed streams", most=MAX_RESUMES, most_waiting=0, most_bytes=most_bytes)
        self._reading = anyio.CapacityLimiter(MAX_RESUMED)
        self._handlers: dict[str, Handler] = {
            "response.create": self._create,
            "response.cancel": self._cancel,
            "response.steer": self._steer,
            "codeact:response.resume": self._resume,
            "codeact:session.refresh": self._refresh,
        }

    async def serve(self) -> None:
        """Reads frames until the client disconnects, its key expires, or it has sent too many invalid ones."""
        self._tasks.start_soon(self._end_at_expiry)
        bad_frames = 0
        while True:
            try:
                text = await self._websocket.receive_text()
            except WebSocketDisconnect:
                return
            except KeyError:
                text = ""  # a binary frame
            frame = _Frame()
            try:
                self._take(text, frame)
            except CodeActError as error:
                bad_frames += isinstance(error, InvalidRequest)
                await self._send_error(error, frame.stream_id)
                if bad_frames >= MAX_BAD_FRAMES:
                    await self._close(BAD_FRAMES, f"{bad_frames} frames were not valid")
            except Exception:
                log.exception("frame not taken because of an internal error")
                await self._send_error(INTERNAL, frame.stream_id)

    def _take(self, text: str, frame: "_Frame") -> None:
        """Starts the work that a frame asks for. Sets `frame.stream_id` early, so that an error can echo it."""
        event = self._decode(text, frame)
        stream_id = event.pop("stream_id", None)
        if not isinstance(stream_id, str | None) or len(stream_id or "") > MAX_STREAM_ID:
            raise InvalidRequest(f"'stream_id' must be text of at most {MAX_STREAM_ID} characters.", param="stream_id")
        frame.stream_id = stream_id
        kind = event.pop("type", None)
        if not isinstance(kind, str):
            raise InvalidRequest("A frame must be a JSON object with a 'type'.", param="type")
        handler = self._handlers.get(kind)
        if handler is None:
            known = ", ".join(self._handlers)
            raise InvalidRequest(f"'{kind}' is not an event that clients send; known events are {known}.", param="type")
        event.pop("event_id", None)
        work = partial(self._guarded, handler, event, stream_id)
        if kind == "response.create":
            # A request without a stream_id does not wait for others, so it has its own lane.
            key: Hashable = object() if stream_id is None else stream_id
            self._requests.add(key, work, size_bytes=len(text))
        elif kind == "codeact:response.resume":
            self._resumes.add(object(), work, size_bytes=len(text))
        else:
            about = event.get("response_id", event.get("previous_response_id"))
            self._commands.add((kind, str(about)[:MAX_STREAM_ID]), work, size_bytes=len(text))

    def _decode(self, text: str, frame: "_Frame") -> dict[str, Any]:
        limit = self._services.settings.max_message_bytes
        if len(text) > limit:
            found = _STREAM_ID.search(text, 0, HEAD_CHARS)
            frame.stream_id = found[1] if found is not None else None
            raise InvalidRequest(
                f"The message has {len(text)} characters; at most {limit} are taken (CODEACT_MAX_MESSAGE_BYTES).",
                code="message_too_large",
            )
        event = decoded(text, "A frame must be one JSON object")
        if not isinstance(event, dict):
            raise InvalidRequest("A frame must be a JSON object with a 'type'.", param="type")
        return event

    async def _guarded(
        self,
        handler: "Handler",
        event: dict[str, Any],
        stream_id: str | None,
    ) -> None:
        """Runs a handler in its own task: its errors become frames; if the client disconnects, it ends quietly."""
        try:
            await handler(event, stream_id)
        except (CodeActError, SandboxError) as error:
            await self._send_error(error, stream_id)
        except Exception:
            log.exception("socket request failed because of an internal error")
            await self._send_error(INTERNAL, stream_id)

    # ---- client events -----------------------------------------------------------------------------

    async def _create(self, event: dict[str, Any], stream_id: str | None) -> None:
        body = event.pop("response", None) or event  # some clients nest the body under `response`
        request = parse_create(body, drops_tools=self._services.settings.drop_params)
        caller = await self._socket_auth.check()
        run: Answer | None = await self._services.service.create(request, caller=caller, ephemeral=self._ephemeral)
        get = await self._blobs()
        while run is not None:
            accepted = await self._follow(
                as_asked(run.log.read(), request.include, get, code=self._services.settings.code_items), stream_id
            )
            steered, run = run, await run.successor()
            if run is not None or not steered.steering:
                continue
            if required := required_input(steered.response):
                await self._send_pending(steered.id, accepted, required, stream_id)
            else:
                await self._send_unsteered(steered, stream_id)

    async def _cancel(self, event: dict[str, Any], stream_id: str | None) -> None:
        await self._socket_auth.check()
        await self._services.service.cancel(checked(event, CancelBody).response_id, owner=self._socket_auth.owner)

    async def _steer(self, event: dict[str, Any], stream_id: str | None) -> None:
        response_id = event.get("previous_response_id")
        await self._socket_auth.check()
        try:
            await self._services.service.steer(str(response_id), parse_steer(event), owner=self._socket_auth.owner)
        except NotFound as error:
            await self._send_steer_failed(response_id, "response_not_found", error.message, stream_id, event)
        except InvalidRequest as error:
            code = "invalid_input" if error.param else error.code
            await self._send_steer_failed(response_id, code, error.message, stream_id, event)

    async def _resume(self, event: dict[str, Any], stream_id: str | None) -> None:
        body = checked(event, ResumeBody)
        async with self._reading:
            await self._socket_auth.check()
            ours, after = gets_ours(body.include), body.starting_after
            stream = await self._services.service.open_stream(
                body.response_id, owner=self._socket_auth.owner, starting_after=after if ours else -1
            )
            get = await self._blobs()
            await self._follow(
                as_asked(stream, body.include, get, code=self._services.settings.code_items, starting_after=after),
                stream_id,
            )

    async def _blobs(self) -> Callable[[str], Awaitable[Blob]]:
        return partial((await self._services.store.get()).get_blob, owner=self._socket_auth.owner)

    async def _refresh(self, event: dict[str, Any], stream_id: str | None) -> None:
        expires_at = await self._socket_auth.refresh(event.get("token"))
        frame = {"type": "codeact:session.refreshed", "expires_at": int(expires_at.timestamp())}
        await self._send_frame(frame, stream_id)

    async def _end_at_expiry(self) -> None:
        await self._socket_auth.expiry()
        await self._close(BAD_AUTH, "What this socket was opened with has expired.")

    async def _follow(self, stream: AsyncGenerator[list[str], None], stream_id: str | None) -> list[str]:
        """Sends the frames, and returns the ids of the steering messages that they accept."""
        accepted: list[str] = []
        suffix = f',"stream_id":{json.dumps(stream_id)}}}' if stream_id is not None else None
        try:
            async with aclosing(stream):
                async for frames in stream:
                    texts = []
                    for frame in frames:
                        if frame.startswith(ACCEPTED):
                            accepted.append(msgspec.json.decode(frame)["steer"]["id"])
                        frame = frame_with_urls(frame)
                        texts.append(frame if suffix is None else frame[:-1] + suffix)
                    await self._send(texts)
        except CodeActError as error:
            await self._send_error(error, stream_id)
        return accepted

    # ---- sending -----------------------------------------------------------------------------------

    async def _send(self, texts: list[str]) -> None:
        try:
            if self._takes_texts:
                await self._websocket.send({"type": "websocket.send", TEXTS: texts})
            else:  # Another server than `codeact serve`.
                for text in texts:
                    await self._websocket.send({"type": "websocket.send", "text": text})
        except (WebSocketDisconnect, RuntimeError):
            self._tasks.cancel_scope.cancel()  # The client is gone.
            await anyio.lowlevel.checkpoint()

    async def _send_steer_failed(
        self, response_id: Any, code: str, message: str, stream_id: str | None, event: dict[str, Any] | None = None
    ) -> None:
        """Returns a steering input that was not accepted.

        The frame is not part of a response's log and has no number.
        """
        steer = {"previous_response_id": response_id, "input": (event or {}).get("input", [])}
        error = {"type": "invalid_request_error", "code": code, "message": message}
        frame = {"type": "response.steer.failed", "sequence_number": 0, "error": error, "steer": steer}
        await self._send_frame(frame, stream_id)

    async def _send_pending(
        self, response_id: str, steer_ids: list[str], required: list[dict[str, Any]], stream_id: str | None
    ) -> None:
        """Reports that steering messages wait, until the next request brings what the response waits for."""
        for steer_id in steer_ids:
            steer = {"id": steer_id, "previous_response_id": response_id}
            frame = {"type": "response.steer.pending", "sequence_number": 0, "steer": steer}
            await self._send_frame(frame | {"reason": WAITING, "required_input": required}, stream_id)

    async def _send_unsteered(self, run: Answer, stream_id: str | None) -> None:
        """Reports that no response can continue with a steering input: it waits in the stored conversation, or the
        client gets it back.
        """
        text = "The response ended, and no other one could continue with this."
        returned_input: list[Any] = msgspec.to_builtins(run.steering)
        if run.response.store:
            text, returned_input = f"{text} It is stored, and begins the conversation's next question.", []
        event = {"input": returned_input}
        await self._send_steer_failed(run.id, "successor_creation_failed", text, stream_id, event)

    async def _send_error(self, error: CodeActError | SandboxError, stream_id: str | None) -> None:
        if isinstance(error, Ended):
            await self._close(BAD_AUTH, error.message)
        await self._send_frame({"type": "error", "status": status_of(error), **envelope(error)}, stream_id)

    async def _send_frame(self, frame: dict[str, Any], stream_id: str | None) -> None:
        """Sends a frame that is not part of a response's log."""
        if stream_id is not None:
            frame["stream_id"] = stream_id
        await self._send([msgspec.json.encode(frame).decode()])

    async def _close(self, code: int, reason: str) -> None:
        """Closes the socket and cancels all tasks that serve it, including the caller's."""
        with suppress(WebSocketDisconnect, RuntimeError):  # it is closed already
            await self._websocket.close(code, close_reason(reason))
        self._tasks.cancel_scope.cancel()
        await anyio.lowlevel.checkpoint()
