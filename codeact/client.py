"""A client for our server: asks a question over a WebSocket and iterates over the events of the answer.

It follows the Responses API's WebSocket mode, as `server/transports/websocket.py` serves it.
"""

import itertools
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, get_args
from urllib.parse import urlsplit

import msgspec
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_socket
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from codeact.errors import (
    ClientError,
    ConfigurationError,
    RequestRefused,
    ServerGone,
    ServerUnreachable,
)
from codeact.events import Event, TerminalEvent
from codeact.http_client import OPEN_TIMEOUT_S, Refusal, no_server_of_ours, socket_url, unauthorized
from codeact.loopback import is_loopback

__all__ = ["Connection", "connect"]

MAX_FRAME_BYTES = 256 * 2**20
"""A terminal event contains every output of the answer, including images."""
CLOSE_TIMEOUT_S = 1.0

EVENT_TYPES = frozenset(kind.__struct_config__.tag for kind in get_args(Event))


class _Frame(msgspec.Struct):
    """The fields that every frame has. Frames of type `error` have an `error`."""

    type: str
    stream_id: str | None = None
    error: Refusal | None = None


_encode = msgspec.json.Encoder().encode
_decode_frame = msgspec.json.Decoder(_Frame).decode
_decode_event: "msgspec.json.Decoder[Event]" = msgspec.json.Decoder(Event)


class Connection:
    """One WebSocket. It carries one answer at a time; `cancel` may be called from any task meanwhile."""

    def __init__(self, socket: ClientConnection, url: str) -> None:
        self._socket = socket
        self._url = url
        self._numbers = itertools.count(1)
        self._stream_id = ""

    async def create(
        self, text: str | list[dict[str, Any]], *, previous_response_id: str | None = None, **fields: Any
    ) -> AsyncGenerator[Event, None]:
        """Asks a question and yields the answer's events in order, up to the terminal one. Unknown types are skipped.

        `text` may be a list of the Responses API's input items; `fields` are further fields of the request. If the
        conversation does not fit into the model's context window, its oldest parts are left out, unless `truncation`
        says otherwise. Stopping early (consume it under `contextlib.aclosing`) does not cancel the answer on the
        server; the next call skips the rest of its events. Raises `RequestRefused` if the server answers with an error,
        and `ServerGone` or `ServerUnauthorized` if it closes the connection.
        """
        # A new id is used only if the last answer was not read to its end: servers limit the number of ids.
        stream_id = self._stream_id or f"stream_{next(self._numbers)}"
        self._stream_id = ""
        request = {"type": "response.create", "stream_id": stream_id, "input": text, "truncation": "auto", **fields}
        request["include"] = [*request.get("include", ()), "codeact:events"]
        if previous_response_id is not None:
            request["previous_response_id"] = previous_response_id
        accepted = False
        try:
            await self._socket.send(_encode(request), text=True)
            while True:
                data = await self._socket.recv(decode=False)
                frame = _decode_frame(data)
                # An error without a stream id concerns this request only if nothing of its answer has arrived yet.
                if frame.stream_id != stream_id and (frame.stream_id is not None or accepted):
                    continue
                if frame.type == "error" and frame.error is not None:
                    self._stream_id = stream_id
                    raise RequestRefused(frame.error.message, code=frame.error.code, param=frame.error.param)
                if frame.type not in EVENT_TYPES:
                    continue
                accepted = True
                event = _decode_event.decode(data)
                if last := isinstance(event, TerminalEvent):
                    self._stream_id = stream_id
                yield event
                if last:
                    return
        except ConnectionClosed as closed:
            raise _gone(closed, self._url) from None
        except msgspec.DecodeError as error:
            raise ClientError(f"{self._url} sent a frame that this version cannot read: {error}") from None

    async def cancel(self, response_id: str) -> None:
        """Asks the server to stop. The answer's events continue until the terminal one. Idempotent."""
        try:
            await self._socket.send(_encode({"type": "response.cancel", "response_id": response_id}), text=True)
        except ConnectionClosed as closed:
            raise _gone(closed, self._url) from None


@asynccontextmanager
async def connect(url: str, api_key: str | None = None) -> AsyncIterator[Connection]:
    """Connects to the server at `url` (`http://host:port`, also https, ws or wss, with or without `/v1`).

    Raises `ConfigurationError` if `url` is not such a URL, `ServerUnreachable`, and `ServerUnauthorized`.
    """
    address = socket_url(url)
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    local = is_loopback(urlsplit(address).hostname)
    try:
        socket = await open_socket(
            address,
            additional_headers=headers,
            compression=None,
            max_size=MAX_FRAME_BYTES,
            open_timeout=OPEN_TIMEOUT_S,
            close_timeout=CLOSE_TIMEOUT_S,
            proxy=None if local else True,
        )
    except InvalidStatus as error:
        status = error.response.status_code
        if status in (401, 403):
            raise unauthorized(url) from None
        raise no_server_of_ours(url, status) from None
    except (InvalidHandshake, EOFError) as error:
        raise ServerUnreachable(f"{url} does not speak WebSocket ({error}). Is it a codeact server?") from None
    except InvalidURI:
        raise ConfigurationError(f"{url!r} is not an address; it looks like http://127.0.0.1:8000.") from None
    except TimeoutError:
        raise ServerUnreachable(f"{url} did not answer within {OPEN_TIMEOUT_S:.0f} s.") from None
    except OSError as error:
        raise ServerUnreachable(
            f"No server answers at {url} ({error.strerror or error})."
            " Start one with `make serve` or `codeact serve`, or name another with --url."
        ) from None
    try:
        yield Connection(socket, url)
    finally:
        await socket.close()


def _gone(closed: ConnectionClosed, url: str) -> ClientError:
    frame = closed.rcvd
    if frame is not None and frame.code == 4401:
        return unauthorized(url)
    if frame is not None and 4400 <= frame.code < 4500:
        return RequestRefused(frame.reason or f"{url} closed the connection with code {frame.code}.")
    if frame is None:
        why = "the connection broke"
    elif frame.code == 1012:
        why = "it is restarting"
    else:
        why = f"code {frame.code}" + (f", {frame.reason}" if frame.reason else "")
    return ServerGone(f"{url} went away before the answer was complete ({why}). Ask again.")
