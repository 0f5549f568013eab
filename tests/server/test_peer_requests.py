"""What reaches another server: the request as it was sent, and what of it counts there."""

import string
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from codeact.errors import InvalidRequest, RateLimited
from codeact.runs.disk_floor import DiskFloor
from codeact.server.auth.current_caller import begin_request
from codeact.server.auth.open_requests import OpenRequests
from codeact.server.auth.scope_keys import PASSED_ON
from codeact.server.peers.client import Peers, PeerUnreachable
from codeact.server.peers.directory import Directory
from codeact.server.peers.inbound import FromPeers, path_of
from codeact.server.peers.signing import HEADER
from codeact.server.peers.spool import Spool
from codeact.server.requests.upload_slots import UploadSlots
from codeact.settings import Settings
from codeact.store.repositories.servers import LivingServer
from tests.server.test_peer_signing import CALLER, SECRET

pytestmark = pytest.mark.anyio


async def echo(request: Request) -> Response:
    """Tells what has arrived; a stranger's request is refused."""
    if PASSED_ON not in request.scope:
        return Response("Who are you?", 401)
    body, headers = await request.body(), {name: request.headers.get(name) for name in ("accept", "content-type")}
    return JSONResponse({"path": path_of(request.scope).decode("latin-1"), "bytes": len(body), **headers})


class Pair:
    """The server `b`, which passes requests on to the server `a`."""

    def __init__(self, data_dir: Path) -> None:
        settings = Settings.load(data_dir=data_dir, model="demo")
        receiver, sender = (Directory(f"http://{name}", lease_s=3.0) for name in "ab")
        receiver.name, sender.name = "a", "b"
        sender._urls = {"a": "http://a"}
        self.receiver = receiver
        middleware = Middleware(FromPeers, settings=settings, directory=receiver, secret=SECRET, internal={})
        self.app = Starlette(routes=[Route("/{rest:path}", echo, methods=["POST", "DELETE"])], middleware=[middleware])
        self.app.state.codeact = SimpleNamespace(disk=DiskFloor(data_dir, floor_mb=0), uploads=UploadSlots())
        client = httpx.AsyncClient(transport=httpx.ASGITransport(self.app))
        self.peers = Peers(sender, SECRET, client, self._store)

    async def send(self, path: bytes, *, method: str = "POST", body: bytes = b"", **headers: bytes) -> httpx.Response:
        begin_request("")
        named = [(name.replace("_", "-").encode(), value) for name, value in headers.items()]
        with Spool.open() as spool:
            await spool.put(body)
            answer = await self.peers.send("a", method, path, caller=CALLER, body=spool, headers=named)
        await answer.aread()
        return answer

    async def _store(self) -> Any:
        raise AssertionError("the address is known")


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


@pytest.mark.parametrize(
    ("path", "arrives"),
    [
        (b"/x?y=1", "/x?y=1"),
        (b'/x"<>?y="<>', "/x%22%3C%3E?y=%22%3C%3E"),
        (b"/x/./y/../z?q=/./", "/x/z?q=/./"),
        (b"/x?y=\xe9\x01\t", "/x?y=%C3%A9%01%09"),
        (b"/x?y=" + b"a" * 20_000, "/x?y=" + "a" * 20_000),
        (b"/x?%2e%2F%zz", None),
    ],
)
async def test_every_path_is_accepted(pair: Pair, path: bytes, arrives: str | None) -> None:
    answer = await pair.send(path)
    assert answer.status_code == 200
    assert arrives is None or answer.json()["path"] == arrives


async def test_a_path_that_no_url_can_have_is_refused_by_name(pair: Pair) -> None:
    with pytest.raises(InvalidRequest, match="path cannot be passed on"):
        await pair.send(b"/x?y=" + b"a" * 70_000)


async def test_headers_arrive_byte_for_byte(pair: Pair) -> None:
    every = bytes(byte for byte in range(256) if byte >= 0x80 or chr(byte) in string.ascii_letters)
    answer = (await pair.send(b"/x", accept=every, content_type=every)).json()
    assert answer["accept"].encode("latin-1") == answer["content-type"].encode("latin-1") == every


async def test_an_answer_to_what_was_not_accepted_is_none(pair: Pair) -> None:
    assert (await pair.send(b"/x")).headers[HEADER]
    pair.receiver._ahead_s = 100.0  # As if a clock had jumped.
    with pytest.raises(PeerUnreachable) as unreachable:
        await pair.send(b"/x")
    assert unreachable.value.was_sent


async def test_a_large_body_counts_as_an_upload_where_it_arrives(pair: Pair) -> None:
    large = 2_000_000 * b"a"
    assert (await pair.send(b"/x", body=large)).json()["bytes"] == len(large)
    with pair.app.state.codeact.uploads.counted("another"):
        pair.app.state.codeact.uploads._most = 1
        refused = await pair.send(b"/x", body=large)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "too_many_uploads")
        assert (await pair.send(b"/x", body=b"small")).json()["bytes"] == 5
    pair.app.state.codeact.disk = DiskFloor(Path("/"), floor_mb=10**12)
    assert (await pair.send(b"/x", body=large)).json()["error"]["code"] == "disk_full"


async def test_only_a_post_has_a_body(pair: Pair) -> None:
    assert (await pair.send(b"/x", method="DELETE")).json()["bytes"] == 0
    assert (await pair.send(b"/x", method="DELETE", body=b"a")).status_code == 413


async def test_a_death_that_a_search_for_an_address_notices_is_told_at_the_next_beat() -> None:
    alive = {name: LivingServer(f"http://10.0.0.{name}", {"ann": 2}) for name in ("b", "c")}

    class Servers:
        async def living(
            self, url: str, open_requests: Mapping[str, int], *, within_s: float
        ) -> tuple[datetime, dict[str, LivingServer]]:
            return datetime.now(UTC), dict(alive)

    store: Any = SimpleNamespace(servers=Servers(), leases=SimpleNamespace(holder="a"))

    async def get_store() -> Any:
        return store

    directory = Directory("http://10.0.0.3", lease_s=3.0)
    async with httpx.AsyncClient() as client:
        peers = Peers(directory, SECRET, client, get_store)
        assert not await directory.beat(store)
        directory.lost("b")
        del alive["b"]
        with Spool.open() as body, pytest.raises(PeerUnreachable):
            await peers.send("b", "POST", b"/x", caller=CALLER, body=body)
    assert await directory.beat(store)
    assert not await directory.beat(store)


async def test_what_is_open_at_other_servers_counts_and_what_a_dead_server_had_does_not() -> None:
    told: dict[str, LivingServer] = {}

    class Servers:
        def __init__(self, name: str) -> None:
            self.name = name

        async def living(
            self, url: str, open_requests: Mapping[str, int], *, within_s: float
        ) -> tuple[datetime, dict[str, LivingServer]]:
            told[self.name] = LivingServer(url, open_requests)
            return datetime.now(UTC), {name: told[name] for name in told if name != self.name}

    here, there = Directory("http://10.0.0.1", lease_s=3.0), Directory("http://10.0.0.2", lease_s=3.0)
    stores: list[Any] = [SimpleNamespace(servers=Servers(name), leases=SimpleNamespace(holder=name)) for name in "ab"]
    opened, opened_there = OpenRequests(3, here.open_elsewhere), OpenRequests(3, there.open_elsewhere)
    here.open_requests, there.open_requests = opened.announced, opened_there.announced

    async def beats() -> None:
        for directory, store in ((here, stores[0]), (there, stores[1]), (here, stores[0])):
            await directory.beat(store)

    with opened.counted("ann"), opened_there.counted("ann"), opened_there.counted("ann"):
        await beats()
        with pytest.raises(RateLimited, match="3 requests and sockets are open"), opened.counted("ann"):
            pass
        with opened.counted("bob"):
            pass
        del told["b"]
        await here.beat(stores[0])
        with opened.counted("ann"):
            pass
    await beats()
    with opened.counted("ann"), opened.counted("ann"), opened.counted("ann"):
        pass


async def test_owners_with_few_open_requests_are_not_told_to_others() -> None:
    opened = OpenRequests(100)
    with opened.counted("small"), ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(opened.counted("large"))
        assert opened.announced() == {"large": 5}
