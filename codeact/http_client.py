"""A client for our server over HTTP: makes requests, reads the server's status, and has answers verified."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlsplit

import msgspec

from codeact.errors import (
    ClientError,
    ConfigurationError,
    RequestRefused,
    ServerGone,
    ServerUnauthorized,
    ServerUnreachable,
)
from codeact.events.certificates import TOLERANCE, Certificate
from codeact.loopback import is_loopback

if TYPE_CHECKING:
    import httpx

__all__ = [
    "OPEN_TIMEOUT_S",
    "Refusal",
    "SandboxStatus",
    "Status",
    "fetch_status",
    "find_profile",
    "no_server_of_ours",
    "request",
    "socket_url",
    "unauthorized",
    "verify",
]

OPEN_TIMEOUT_S = 10.0
TRANSFER_TIMEOUT_S = 300.0

T = TypeVar("T")


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


class Refusal(msgspec.Struct):
    """What is wrong with a request, as the server says it."""

    message: str
    code: str | None = None
    param: str | None = None


class _Refused(msgspec.Struct):
    error: Refusal


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


async def fetch_status(url: str, api_key: str | None = None) -> Status:
    """The status of the server at `url`. Raises the same errors as `connect`."""
    import httpx

    try:
        async with _http_client(url, api_key, OPEN_TIMEOUT_S) as client:
            answer = (await client.get("status")).raise_for_status()
        return msgspec.json.decode(answer.content, type=Status)
    except httpx.HTTPStatusError as error:
        if error.response.status_code == 401:
            raise unauthorized(url) from None
        raise no_server_of_ours(url, error.response.status_code) from None
    except (httpx.HTTPError, msgspec.DecodeError) as error:
        raise ServerUnreachable(f"{url} does not tell its status ({error}). Is it a codeact server?") from None


async def find_profile(url: str, api_key: str | None, name: str) -> dict[str, Any]:
    """The profile of this name as fields of a request: pass them to `Connection.create`.

    Raises `RequestRefused` if the caller has no such profile, and the same errors as `request`.
    """
    found = _decoded(await request(url, api_key, "GET", "profiles", params={"name": name}), _Profiles, url)
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


def _decoded(content: bytes | str, kind: type[T], url: str) -> T:
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.DecodeError as error:
        raise ServerUnreachable(f"{url} answers as no codeact server of this version does ({error}).") from None


def _refused(answer: "httpx.Response", url: str) -> ClientError:
    if answer.status_code == 401:
        return unauthorized(url)
    try:
        refusal = msgspec.json.decode(answer.content, type=_Refused).error
    except msgspec.DecodeError:
        return no_server_of_ours(url, answer.status_code)
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
                event = _decoded(line[len("data: ") :], _Verifying, url)
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
    base = socket_url(url).replace("ws", "http", 1).removesuffix("responses")
    local = is_loopback(urlsplit(base).hostname)
    return httpx.AsyncClient(base_url=base, headers=headers, timeout=timeout_s, trust_env=not local)


def socket_url(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    schemes = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}
    if not separator or scheme not in schemes or not rest:
        raise ConfigurationError(f"{url!r} is not an address; it looks like http://127.0.0.1:8000.")
    return f"{schemes[scheme]}://{rest.rstrip('/').removesuffix('/v1')}/v1/responses"


def no_server_of_ours(url: str, status: int) -> ServerUnreachable:
    return ServerUnreachable(
        f"{url} answered with HTTP status {status}: it is not a codeact server, or not a healthy one."
    )


def unauthorized(url: str) -> ServerUnauthorized:
    return ServerUnauthorized(f"{url} refuses the key. Set CODEACT_API_KEYS to one of the server's keys.")
