"""A model at a server with the Responses API, called over a WebSocket (the API's "WebSocket mode").

A request is one frame `response.create`; each event is a frame. A socket serves one response after the other. The
server remembers the newest response, so a continued conversation sends only what is new, with `previous_response_id`.
If the server has no WebSocket, HTTP is used instead, which the log says.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec

from codeact import telemetry
from codeact.model import ChatMessage, ModelEvent, PastCall, ReasoningKept, Sampling, TextDelta, ToolCall
from codeact.models.openai_compatible.answer import Answering
from codeact.models.openai_compatible.errors import Refused, StreamBroken
from codeact.models.openai_compatible.timed_reader import TimedReader
from codeact.models.responses_api.client import ResponsesModel
from codeact.models.responses_api.reading import ResponsesReading
from codeact.models.responses_api.request import ResponsesForm, input_items
from codeact.models.responses_api.sockets import NoWebSocket, Socket, Sockets, chain
from codeact.models.shared.chat_messages import ITEMS
from sandbox_pool.logs import Logger

__all__ = ["ResponsesSocketModel", "SocketAnswer"]

log = Logger(__name__)

_PASSING = {401, 403, 408, 429}
"""Statuses of a refused upgrade that say nothing about WebSockets, in addition to those from 500 on."""


class ResponsesSocketModel(ResponsesModel):
    """See `ResponsesModel`.

    Stopping closes the socket. At most `MAX_IDLE` idle sockets stay open for later responses.
    """

    _sockets: Sockets | None = None
    _has_websocket = True

    async def close(self) -> None:
        """See `DirectModel.close`."""
        if self._sockets is not None:
            self._sockets.close()
        await super().close()

    async def _open(
        self, messages: Sequence[ChatMessage], sampling: Sampling, deadline: float
    ) -> tuple[TimedReader, Answering]:
        """See `DirectModel._open`."""
        if self._has_websocket:
            try:
                async with asyncio.timeout_at(deadline):
                    return await self._open_socket(messages, sampling, deadline)
            except NoWebSocket as refused:
                self._note(refused.status)
            except TimeoutError:
                raise self._timeouts.too_slow(started=False) from None
        return await super()._open(messages, sampling, deadline)

    async def _open_socket(
        self, messages: Sequence[ChatMessage], sampling: Sampling, deadline: float
    ) -> tuple[TimedReader, Answering]:
        form = self._responses_form
        body = {"model": self._model, **form.request(messages, sampling)}
        del body["stream"]
        items = [msgspec.json.encode(item) for item in body["input"]]
        digests = chain(items)
        sockets, socket = self._opened_sockets(), await self._begun(body, items, digests)
        answer = SocketAnswer(sampling, form)

        def leave() -> None:
            if not answer.is_over:
                socket.stop()
                sockets.drop(socket)
                return
            if answer.reply is None:
                socket.forget()
            else:
                reply = [msgspec.json.encode(item) for item in answer.reply]
                socket.remember(answer.response_id, chain([*items, *reply]))
            sockets.keep(socket)

        return TimedReader(socket.receive, close=socket.abort, leave=leave, deadline=deadline), answer

    async def _begun(self, body: dict[str, Any], items: list[bytes], digests: list[bytes]) -> Socket:
        """A socket on which the server has begun to answer. An idle socket may have been closed meanwhile."""
        sockets = self._opened_sockets()
        while (socket := sockets.kept(digests)) is not None:
            held = socket.holds(digests) if self._responses_form.continues else 0
            with suppress(Refused, StreamBroken):
                return await self._begin(socket, _frame(body, items[held:], socket.response_id if held else None))
        return await self._begin(await sockets.opened(), _frame(body, items, None))

    async def _begin(self, socket: Socket, frame: bytes) -> Socket:
        try:
            await socket.begin(frame)
        except BaseException:
            socket.abort()
            self._opened_sockets().drop(socket)
            raise
        return socket

    def _opened_sockets(self) -> Sockets:
        if self._sockets is None:
            self._sockets = Sockets(self._url, self._socket_headers, direct=self._is_local)
        return self._sockets

    def _socket_headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._key}", **telemetry.headers()}

    def _note(self, status: int) -> None:
        """Decides from the status of a refused upgrade whether to use HTTP from now on."""
        if status in _PASSING or status >= 500:
            return
        self._has_websocket = False
        remedy = f"it is asked over HTTP from now on; {self.name};api=responses says so from the beginning"
        log.warning("model_has_no_websocket", model=self.name, status=status or None, remedy=remedy)


def _frame(body: dict[str, Any], items: Sequence[bytes], previous: str | None) -> bytes:
    fields = {name: value for name, value in body.items() if value is not None}
    more = {} if previous is None else {"previous_response_id": previous}
    raw = [msgspec.Raw(item) for item in items]
    return msgspec.json.encode({"type": "response.create", **fields, **more, "input": raw})


class SocketAnswer:
    """Reads the frames of one response. `reply` is the response as input of the next request; None if it failed."""

    def __init__(self, sampling: Sampling, form: ResponsesForm) -> None:
        self.is_over = False
        self._reading = ResponsesReading()
        self._customs = {tool.name for tool in sampling.tools if tool.parameters is None}
        self._form = form
        self._events: list[ModelEvent] = []
        self._failed = False

    @property
    def response_id(self) -> str | None:
        return self._reading.response_id

    @property
    def reply(self) -> list[dict[str, Any]] | None:
        if self._failed or self.response_id is None:
            return None
        texts, calls, kept = [], [], []
        for event in self._events:
            match event:
                case TextDelta():
                    texts.append(event.text)
                case ToolCall():
                    custom = event.name in self._customs
                    calls.append(PastCall(event.call_id, event.name, event.arguments, custom=custom))
                case ReasoningKept():
                    kept += event.fields.get(ITEMS, [])
        said = ChatMessage("assistant", "".join(texts), tuple(calls), reasoning={ITEMS: kept} if kept else {})
        return input_items([said], reasoning=self._form.reasoning, phase=self._form.phase)

    def feed(self, piece: bytes) -> list[ModelEvent]:
        try:
            events = self._reading.event(piece)
        except Refused:
            self._failed = self.is_over = True
            raise
        self._events += events
        self.is_over = self._reading.finished
        return events

    def finish(self) -> list[ModelEvent]:
        if not self._reading.finished:
            raise StreamBroken("The socket ended before the answer did.")
        return [self._reading.usage] if self._reading.usage is not None else []
