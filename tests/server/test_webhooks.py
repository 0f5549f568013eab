"""Webhooks: signed for the official client, delivered once by several servers, retried, also after a restart."""

import asyncio
import json
import queue
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import anyio
import httpx
import openai
import pytest

from codeact.errors import ConfigurationError
from codeact.public_addresses import PrivateAddress, check_url
from codeact.public_connections import PublicResolver, public_session
from codeact.server.auth.audit_log import AuditLog
from codeact.server.webhooks import delivery
from codeact.server.webhooks.delivery import deliver_webhooks
from codeact.server.webhooks.endpoints import read_webhooks
from codeact.store import Store, open_store
from codeact.store.records import Delivery, EndedResponse
from sandbox_pool.egress.addresses import is_public
from tests.server.conftest import Running, in_thread, running, settings_of

SECRET = "whsec_c2VjcmV0IHNlY3JldCBzZWNyZXQ="


class Receiver:
    """An endpoint on loopback. It answers with the next of `answers`, then with 200."""

    def __init__(self) -> None:
        self.got: queue.Queue[tuple[dict[str, str], bytes]] = queue.Queue()
        self.answers: queue.Queue[int] = queue.Queue()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.got.put(({name.lower(): value for name, value in self.headers.items()}, body))
                try:
                    status = receiver.answers.get_nowait()
                except queue.Empty:
                    status = 200
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self) -> "Receiver":
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def event(self) -> tuple[dict[str, str], bytes]:
        return self.got.get(timeout=60)


def written(path: Path, *endpoints: dict[str, Any]) -> Path:
    path.write_text(json.dumps({"webhooks": list(endpoints)}))
    return path


def until_empty(server: Running) -> list[dict[str, Any]]:
    """Waits until no delivery waits; returns the audit entries about webhooks."""

    async def look() -> list[dict[str, Any]]:
        async with open_store(server.settings) as store, asyncio.timeout(60):
            deliveries = store._documents.deliveries.get_pymongo_collection()
            audit = store._documents.audit.get_pymongo_collection()
            while True:
                waiting = await deliveries.count_documents({})
                found = [each async for each in audit.find({"action": {"$regex": "^webhook"}}).sort("_id", 1)]
                if found and not waiting:
                    return found
                await asyncio.sleep(0.05)  # The database tells nobody.

    return in_thread(anyio.run, look)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def test_an_event_is_signed_retried_and_delivered_once_by_two_servers_and_after_a_restart(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "PAUSES_S", (0.1, 0.1, 3600.0))
    endpoint = {"url": receiver.url, "secret": SECRET, "allow_private": True}
    unasked = endpoint | {"url": f"{receiver.url}/failed", "events": ["response.failed"]}
    other = endpoint | {"url": f"{receiver.url}/other", "owners": ["somebody"]}
    settings = settings_of(tmp_path, webhooks=written(tmp_path / "hooks.json", endpoint, unasked, other), pool_max=4)
    with ExitStack() as stack:
        first, second = (stack.enter_context(running(settings)) for _ in range(2))
        client = stack.enter_context(
            openai.OpenAI(base_url=f"{first.url}/v1", api_key="none", max_retries=0, webhook_secret=SECRET)
        )
        receiver.answers.put(500)
        client.responses.create(model="codeact", input="Hello")  # not in the background: nobody is told
        made = client.responses.create(model="codeact", input="Hello", background=True)
        attempts = [receiver.event(), receiver.event()]
        events = [client.webhooks.unwrap(body.decode(), headers) for headers, body in attempts]
        assert [(event.type, event.data.id) for event in events] == [("response.completed", made.id)] * 2  # type: ignore[union-attr]
        assert events[0].id == events[1].id == attempts[0][0]["webhook-id"]
        with pytest.raises(openai.InvalidWebhookSignatureError):
            client.webhooks.unwrap(attempts[0][1].decode() + " ", attempts[0][0])
        assert [(each["action"], each["subject"], each["status"]) for each in until_empty(first)] == [
            ("webhook.delivered", made.id, 200)
        ]
        asked = [
            httpx.post(f"{server.url}/v1/responses", json={"input": "Hello", "background": True}, trust_env=False)
            for server in (first, second) * 3
        ]
        told = [json.loads(receiver.event()[1])["data"]["id"] for _ in asked]
        until_empty(first)
        assert sorted(told) == sorted(answer.json()["id"] for answer in asked)
        assert receiver.got.empty()
        for _ in range(3):
            receiver.answers.put(503)
        late = client.responses.create(model="codeact", input="Hello", background=True).id
        for _ in range(3):
            receiver.event()
    monkeypatch.setattr(delivery, "POLL_S", 0.05)

    async def make_due() -> None:
        async with open_store(settings) as store:
            deliveries = store._documents.deliveries.get_pymongo_collection()
            await deliveries.update_many({}, [{"$set": {"due_at": "$ended_at"}}])

    in_thread(anyio.run, make_due)
    with running(settings, ready=False):
        assert json.loads(receiver.event()[1])["data"]["id"] == late


def test_an_endpoint_that_is_private_or_gone_gets_nothing_more(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "PAUSES_S", ())
    port = receiver.url.split(":")[2]
    private = {"url": f"https://localhost:{port}", "secret": SECRET, "all_responses": True}
    gone = {"url": receiver.url, "secret": SECRET, "allow_private": True, "all_responses": True}
    settings = settings_of(tmp_path, webhooks=written(tmp_path / "hooks.json", private, gone))
    receiver.answers.put(410)
    with running(settings) as server:
        httpx.post(f"{server.url}/v1/responses", json={"input": "Hello"}, trust_env=False)
        receiver.event()
        found = until_empty(server)
        while len(found) < 2:
            found = until_empty(server)
    assert sorted((each["action"], each["status"]) for each in found) == [
        ("webhook.failed", 410),
        ("webhook.failed", 502),
    ]
    assert receiver.got.empty()


def test_an_endpoint_that_does_not_answer_delays_no_other(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "ANSWER_S", 3600.0)
    monkeypatch.setattr(delivery, "POLL_S", 0.05)
    settings, most = settings_of(tmp_path), delivery.AT_ONCE

    async def deliver(silent: str) -> None:
        endpoint = {"secret": SECRET, "allow_private": True}
        file = written(tmp_path / "hooks.json", endpoint | {"url": silent}, endpoint | {"url": receiver.url})
        webhooks = read_webhooks(file)
        async with open_store(settings) as store, anyio.create_task_group() as tasks:

            async def get() -> Store:
                return store

            for webhook in webhooks:
                for number in range(most + 1):
                    ended = EndedResponse(f"resp_{number}", "me", "completed", True, datetime.now(UTC))
                    await store.deliveries.add(ended, webhook.key, "response.completed", most=1000)
            tasks.start_soon(deliver_webhooks, webhooks, get, AuditLog(get))
            for _ in range(most + 1):
                await anyio.to_thread.run_sync(receiver.event)
            tasks.cancel_scope.cancel()

    with socket.create_server(("127.0.0.1", 0)) as listening:  # It accepts connections, and says nothing.
        in_thread(anyio.run, deliver, f"http://127.0.0.1:{listening.getsockname()[1]}/")


ANSWERS = {
    "an error": (b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", 500),
    "nothing": (b"", 502),
    "a redirect": (b"HTTP/1.1 307 There\r\nLocation: OTHER\r\nContent-Length: 0\r\n\r\n", 307),
    "too little": (b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc", 200),
    "no number": (b"HTTP/1.1 200 OK\r\nContent-Length: abc\r\n\r\nabc", 502),
    "two lengths": (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc", 502),
    "no HTTP": (b"\x00\xff\r\n\r\n", 502),
    "long headers": (b"HTTP/1.1 200 OK\r\nx: " + b"a" * 1_000_000, 502),
}


def test_whatever_an_endpoint_answers_is_a_status_and_no_redirect_is_followed(tmp_path: Path) -> None:
    asked: list[str] = []

    async def serve(name: str, answer: bytes) -> tuple[asyncio.Server, str]:
        async def on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            asked.append(name)
            writer.write(answer)
            writer.close()

        server = await asyncio.start_server(on, "127.0.0.1", 0)
        return server, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"

    async def attempt() -> dict[str, int]:
        statuses = {}
        other, at = await serve("the other", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        async with other, public_session(timeout_s=60, allow_private=True) as session:
            for name, (answer, _) in ANSWERS.items():
                server, url = await serve(name, answer.replace(b"OTHER", at.encode()))
                async with server:
                    endpoint = {"url": url, "secret": SECRET, "allow_private": True}
                    (webhook,) = read_webhooks(written(tmp_path / "hooks.json", endpoint))
                    due = Delivery("whd_1", webhook.key, "response.completed", "resp_1", "me", datetime.now(UTC), 1)
                    statuses[name], _ = await delivery._attempt(due, webhook, session)
        return statuses

    assert asyncio.run(attempt()) == {name: status for name, (_, status) in ANSWERS.items()}
    assert asked == list(ANSWERS)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "::1",
        "::",
        "fe80::1%eth0",
        "fc00::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::7f00:1",
        "::127.0.0.1",
        "::ffff:0:7f00:1",
        "2002:7f00:1::",
        "fec0::1",
        "ff02::1",
        "no address",
    ],
)
def test_private_addresses_are_recognised(address: str) -> None:
    assert not is_public(address)


def test_public_addresses_are_recognised() -> None:
    assert all(map(is_public, ["8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]))


@pytest.mark.anyio
async def test_a_name_that_resolves_to_a_private_address_is_refused() -> None:
    resolver = PublicResolver()
    with pytest.raises(PrivateAddress, match="localhost has no public address"):
        await resolver.resolve("localhost", 443)
    await resolver.close()


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://shop.example", "https://"),
        ("https://user:pass@shop.example", "user name"),
        ("https://127.0.0.1/x", "private"),
        ("https://[::1]/x", "private"),
        ("https://2130706433", "private"),
        ("https://127.1", "private"),
        ("https://127。0。0。1/", "private"),
        ("https://①②⑦.⓪.⓪.①/", "private"),
        ("file:///etc/passwd", "https://"),
        ("https://", "https://"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused(url: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        check_url(url, allow_private=False)


@pytest.mark.parametrize(
    ("endpoint", "told"),
    [
        ({"url": "https://shop.example", "secret": "abc"}, "whsec_"),
        ({"url": "https://shop.example", "secret": "whsec_YQ=="}, "16 bytes"),
        ({"url": "http://shop.example", "secret": SECRET}, "https://"),
        ({"url": "https://shop.example", "secret": SECRET, "events": ["batch.completed"]}, "response.completed"),
        ({"url": "https://shop.example", "secret": SECRET, "colour": "red"}, "colour"),
        ({"secret": SECRET}, "url"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_by_name_and_without_its_secret(
    endpoint: dict[str, Any], told: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=told) as refused:
        read_webhooks(written(tmp_path / "hooks.json", endpoint))
    assert SECRET not in str(refused.value)
    twice = {"url": "https://shop.example", "secret": SECRET}
    with pytest.raises(ConfigurationError, match=r"webhooks: .*https://shop\.example") as refused:
        read_webhooks(written(tmp_path / "hooks.json", twice, twice | {"events": ["response.failed"]}))
    assert SECRET not in str(refused.value)
    path = tmp_path / "other.json"
    path.write_text("{")
    with pytest.raises(ConfigurationError, match="no JSON"):
        read_webhooks(path)
