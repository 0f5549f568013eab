"""A client for our server: asks a question over a WebSocket, iterates over the answer's events, and verifies answers.

It follows the Responses API's WebSocket mode, as `server/transports/websocket.py` serves it.
"""

import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, get_args
from urllib.parse import quote, urlsplit

import msgspec
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_socket
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from codeact.errors import (
    ClientError,
    ConfigurationError,
    RequestRefused,
    ServerGone,
    ServerUnauthorized,
    ServerUnreachable,
)
from codeact.events import Event, TerminalEvent
from codeact.events.certificates import TOLERANCE, Certificate
from codeact.loopback import is_loopback

if TYPE_CHECKING:
    import httpx

__all__ = ["Connection", "SandboxStatus", "Status", "connect", "fetch_status", "find_profile", "request", "verify"]

MAX_FRAME_BYTES = 256 * 2**20
"""A terminal event contains every output of the answer, including images."""
OPEN_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 1.0
TRANSFER_TIMEOUT_S = 300.0

EVENT_TYPES = frozenset(kind.__struct_config__.tag for kind in get_args(Event))


class SandboxStatus(msgspec.Struct, frozen=True):
    """The sandbox of a server. `missing` has a sentence for each guarantee of isolation that it does not give."""

    backend: str
    isolated: bool
    summary: str
    missing: list[str] = []


class Status(msgspec.Struct, frozen=True):
    """The parts that a server uses; None: still starting. `examples` are questions that the demo model can answer."""

    version: str
    model: str | None
    sandbox: SandboxStatus | None
    store: str | None
    examples: list[str] = []


class _Refusal(msgspec.Struct):
    message: str
    code: str | None = None
    param: str | None = None


class _Refused(msgspec.Struct):
    error: _Refusal


class _Profile(msgspec.Struct):
    request: dict[str, Any]


class _Profiles(msgspec.Struct):
    data: list[_Profile]


class _Verifying(msgspec.Struct):
    """An event of a verification; the fields depend on its type."""

    type: str
    block: int = 0
    blocks: int = 0
    certificate: Certificate | None = None
    message: str = ""
    code: str | None = None


class _Frame(msgspec.Struct):
    """The fields that every frame has. Frames of type `error` have an `error`."""

    type: str
    stream_id: str | None = None
    error: _Refusal | None = None


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
    address = _socket_url(url)
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
            raise _unauthorized(url) from None
        raise _no_server_of_ours(url, status) from None
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


async def fetch_status(url: str, api_key: str | None = None) -> Status:
    """The status of the server at `url`. Raises the same errors as `connect`."""
    import httpx

    try:
        async with _http_client(url, api_key, OPEN_TIMEOUT_S) as client:
            answer = (await client.get("status")).raise_for_status()
        return msgspec.json.decode(answer.content, type=Status)
    except httpx.HTTPStatusError as error:
        if error.response.status_code == 401:
            raise _unauthorized(url) from None
        raise _no_server_of_ours(url, error.response.status_code) from None
    except (httpx.HTTPError, msgspec.DecodeError) as error:
        raise ServerUnreachable(f"{url} does not tell its status ({error}). Is it a codeact server?") from None


async def find_profile(url: str, api_key: str | None, name: str) -> dict[str, Any]:
    """The profile of this name as fields of a request: pass them to `Connection.create`.

    Raises `RequestRefused` if the caller has no such profile, and the same errors as `request`.
    """
    found = msgspec.json.decode(await request(url, api_key, "GET", "profiles", params={"name": name}), type=_Profiles)
    if not found.data:
        raise RequestRefused(
            f"You have no profile named {name!r} on this server; the chat page's settings list them.", param="profile"
        )
    return found.data[0].request


async def request(url: str, api_key: str | None, method: str, path: str, **options: Any) -> bytes:
    """Makes one HTTP request to `path` below `/v1/`; returns the body of the answer. `options` are passed to httpx.

    Raises `RequestRefused` if the server answers with an error, and otherwise the same errors as `connect`.
    """
    import httpx

    try:
        async with _http_client(url, api_key, TRANSFER_TIMEOUT_S) as client:
            answer = await client.request(method, path, **options)
    except httpx.HTTPError as error:
        raise _unreachable(url, error) from None
    if answer.is_success:
        return answer.content
    raise _refused(answer, url)


def _refused(answer: "httpx.Response", url: str) -> ClientError:
    if answer.status_code == 401:
        return _unauthorized(url)
    try:
        refusal = msgspec.json.decode(answer.content, type=_Refused).error
    except msgspec.DecodeError:
        return _no_server_of_ours(url, answer.status_code)
    return RequestRefused(refusal.message, code=refusal.code, param=refusal.param)


def _unreachable(url: str, error: "httpx.HTTPError") -> ServerUnreachable:
    return ServerUnreachable(
        f"No server answers at {url} ({error or type(error).__name__})."
        " Start one with `codeact serve`, or name another in CODEACT_URL."
    )


async def verify(
    response_id: str,
    *,
    url: str,
    api_key: str | None = None,
    tolerance: float = TOLERANCE,
    progress: Callable[[int, int], None] = lambda block, blocks: None,
) -> Certificate:
    """Lets the server at `url` run a stored answer's code again; returns the certificate, which the server keeps.

    Args:
        response_id: The answer's id.
        url: The server, such as `http://127.0.0.1:8000`.
        api_key: A key of the answer's owner.
        tolerance: How much decimal numbers may differ, relative to the larger one.
        progress: Called when a block of code begins, with its number, from 1, and how many there are.

    Raises:
        RequestRefused: The answer cannot be verified; `code` says why (docs/verify.md).
        ClientError: The server cannot be reached, or does not accept the key.

    Cancelling it ends the verification.
    """
    import httpx

    path = f"responses/{quote(response_id, safe='')}/codeact:verify"
    params = {"stream": "true", "tolerance": repr(tolerance)}
    try:
        async with (
            _http_client(url, api_key, TRANSFER_TIMEOUT_S) as client,
            client.stream("POST", path, params=params) as answer,
        ):
            if not answer.is_success:
                await answer.aread()
                raise _refused(answer, url)
            async for line in answer.aiter_lines():
                if not line.startswith("data: {"):
                    continue
                event = msgspec.json.decode(line[len("data: ") :], type=_Verifying)
                if event.certificate is not None:
                    return event.certificate
                if event.type == "error":
                    raise RequestRefused(event.message, code=event.code)
                progress(event.block, event.blocks)
    except httpx.HTTPError as error:
        raise _unreachable(url, error) from None
    raise ServerGone(f"{url} went away before the verification was complete. Ask again.")


def _http_client(url: str, api_key: str | None, timeout_s: float) -> "httpx.AsyncClient":
    import httpx

    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    base = _socket_url(url).replace("ws", "http", 1).removesuffix("responses")
    local = is_loopback(urlsplit(base).hostname)
    return httpx.AsyncClient(base_url=base, headers=headers, timeout=timeout_s, trust_env=not local)


def _socket_url(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    schemes = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}
    if not separator or scheme not in schemes or not rest:
        raise ConfigurationError(f"{url!r} is not an address; it looks like http://127.0.0.1:8000.")
    return f"{schemes[scheme]}://{rest.rstrip('/').removesuffix('/v1')}/v1/responses"


def _gone(closed: ConnectionClosed, url: str) -> ClientError:
    frame = closed.rcvd
    if frame is not None and frame.code == 4401:
        return _unauthorized(url)
    if frame is not None and 4400 <= frame.code < 4500:
        return RequestRefused(frame.reason or f"{url} closed the connection with code {frame.code}.")
    if frame is None:
        why = "the connection broke"
    elif frame.code == 1012:
        why = "it is restarting"
    else:
        why = f"code {frame.code}" + (f", {frame.reason}" if frame.reason else "")
    return ServerGone(f"{url} went away before the answer was complete ({why}). Ask again.")


def _no_server_of_ours(url: str, status: int) -> ServerUnreachable:
    return ServerUnreachable(
        f"{url} answered with HTTP status {status}: it is not a codeact server, or not a healthy one."
    )


def _unauthorized(url: str) -> ServerUnauthorized:
    return ServerUnauthorized(f"{url} refuses the key. Set CODEACT_API_KEYS to one of the server's keys.")
