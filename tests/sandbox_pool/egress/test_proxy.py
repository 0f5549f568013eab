"""The egress proxy over real connections: what it passes on, what it completes, and what it refuses."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import httpx
import pytest

from sandbox_pool.egress.certificates import Authority
from sandbox_pool.egress.proxy import MOST_CONNECTIONS, Proxy
from sandbox_pool.egress.rules import Rules, Secret
from tests.sandbox_pool.web import Web, web

pytestmark = pytest.mark.anyio

OF_THE_WEB = Authority()
OWN = Authority()


@pytest.fixture(scope="module")
def site() -> Iterator[Web]:
    with web("127.0.0.1", OF_THE_WEB.context("api.test")) as site:
        yield site


async def loopback(host: str, port: int) -> list[str]:
    return ["127.0.0.1"]


@asynccontextmanager
async def proxy(site: Web, *, private: bool = True, secret: str = "s3cret") -> AsyncIterator[str]:
    rules = Rules(
        ("api.test", "open.test"),
        (Secret("api.test", "placeholder-1", secret),),
        private,
        site.plain_port,
        site.tls_port,
    )
    trust = ssl.create_default_context(cadata=OF_THE_WEB.pem)
    serving = Proxy(rules, OWN, trust=trust, resolve=loopback)
    async with await asyncio.start_server(serving.serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def client(url: str, trusted: str) -> httpx.AsyncClient:
    context = ssl.create_default_context(cadata=trusted)
    return httpx.AsyncClient(proxy=httpx.Proxy(url), verify=context, trust_env=False, timeout=30)


async def test_a_secret_reaches_its_host_and_code_has_the_placeholder_alone(site: Web) -> None:
    async with proxy(site) as url, client(url, OWN.pem) as http:
        headers = {"Authorization": "Bearer placeholder-1"}
        for _ in range(2):
            answer = await http.post(f"https://api.test:{site.tls_port}/v1", headers=headers, content=b"x" * 300_000)
            assert (answer.status_code, answer.text) == (200, "hello")
            assert "s3cret" not in str(answer.headers)
    assert [seen["authorization"] for seen in site.seen[-2:]] == ["Bearer s3cret"] * 2
    assert site.received[-2:] == [300_000] * 2


async def test_without_a_secret_the_proxy_cannot_read_what_passes(site: Web) -> None:
    async with proxy(site) as url, client(url, OWN.pem) as http:
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):  # It is the host's own certificate.
            await http.get(f"https://open.test:{site.tls_port}/")


async def test_plain_requests_pass_without_headers_for_the_proxy(site: Web) -> None:
    async with proxy(site) as url, client(url, OWN.pem) as http:
        answer = await http.get(f"http://open.test:{site.plain_port}/", headers={"Proxy-Authorization": "Basic eA=="})
        assert answer.text == "hello"
    assert "proxy-authorization" not in site.seen[-1]
    assert site.seen[-1]["connection"] == "close"


@pytest.mark.parametrize(
    ("head", "says"),
    [
        ("GET http://evil.test/ HTTP/1.1\r\nHost: evil.test\r\n", "evil.test is not allowed"),
        ("GET http://open.test:22/ HTTP/1.1\r\nHost: open.test\r\n", "Only port"),
        ("CONNECT open.test:22 HTTP/1.1\r\nHost: open.test\r\n", "Only port"),
        ("GET http://open.test@evil.test/ HTTP/1.1\r\nHost: open.test\r\n", "evil.test is not allowed"),
        ("GET http://open.test:{port}/ HTTP/1.1\r\nHost: api.test\r\n", "The header Host names another host"),
        ("GET http://api.test:{port}/ HTTP/1.1\r\nHost: api.test\r\nX: placeholder-1\r\n", "over HTTPS alone"),
        ("TRACE http://open.test:{port}/ HTTP/1.1\r\nHost: open.test\r\n", "TRACE is not passed on"),
        ("GET / HTTP/1.1\r\nHost: open.test\r\n", "Set this as the proxy"),
        ("GET https://open.test/ HTTP/1.1\r\nHost: open.test\r\n", "Set this as the proxy"),
    ],
)
async def test_what_the_rules_do_not_allow_is_refused_with_a_reason(site: Web, head: str, says: str) -> None:
    async with proxy(site) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.write(head.format(port=site.plain_port).encode() + b"\r\n")
        answer = (await reader.read(5000)).decode()
        writer.close()
    assert answer.startswith("HTTP/1.1 403 ")
    assert says in answer


@pytest.mark.parametrize("line", ["GET https://open.test/ HTTP/1.1", "CONNECT open.test:443 HTTP/1.1"])
async def test_inside_of_a_tunnel_no_request_names_another_address(site: Web, line: str) -> None:
    before = len(site.seen)
    async with proxy(site) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.write(f"CONNECT api.test:{site.tls_port} HTTP/1.1\r\nHost: api.test\r\n\r\n".encode())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        await writer.start_tls(ssl.create_default_context(cadata=OWN.pem), server_hostname="api.test")
        writer.write(f"{line}\r\nHost: api.test\r\nX: placeholder-1\r\n\r\n".encode())
        answer = (await reader.read(5000)).decode()
        writer.close()
    assert answer.startswith("HTTP/1.1 403 ")
    assert "names a path" in answer
    assert len(site.seen) == before


async def test_a_secret_that_fits_into_no_header_is_not_shown_in_the_error(site: Web) -> None:
    async with proxy(site, secret="s3cret\n") as url, client(url, OWN.pem) as http:
        answer = await http.get(f"https://api.test:{site.tls_port}/", headers={"X": "placeholder-1"})
    assert answer.status_code == 502
    assert "does not fit into a header" in answer.text
    assert "s3cret" not in answer.text


@pytest.mark.parametrize("target", ["http://[open.test/", "http://" + "a" * 70 + ".wide.test/"])
async def test_an_address_that_cannot_be_read_gets_an_answer(site: Web, target: str) -> None:
    async with proxy(site) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.write(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert (await reader.read(100)).startswith((b"HTTP/1.1 502 ", b"HTTP/1.1 403 "))
        writer.close()


async def test_a_name_with_a_private_address_is_refused(site: Web) -> None:
    async with proxy(site, private=False) as url, client(url, OWN.pem) as http:
        answer = await http.get(f"http://open.test:{site.plain_port}/")
        assert answer.status_code == 403
        assert "not on the public internet" in answer.text
        with pytest.raises(httpx.ProxyError, match="403"):
            await http.get(f"https://open.test:{site.tls_port}/")


async def test_headers_without_an_end_and_too_many_connections_cost_little(site: Web) -> None:
    async with proxy(site) as url:
        port = int(url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET http://open.test/ HTTP/1.1\r\nX: " + b"a" * 200_000)
        assert (await reader.read(100)).startswith(b"HTTP/1.1 502 ")
        writer.close()
        opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(MOST_CONNECTIONS)]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert b"connections at once" in await reader.read(1000)
        for _, each in [*opened, (reader, writer)]:
            each.close()
