"""The network modes of Docker sandboxes, checked by interfaces, routes and our own listeners."""

import os
import secrets
import signal
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import anyio
import docker
import psutil
import pytest

from sandbox_pool.backends.docker.backend import DockerBackend
from sandbox_pool.backends.docker.network import proxy_id
from sandbox_pool.sandbox.sandbox import Sandbox
from sandbox_pool.spec import SandboxSpec
from tests.needs import missing, own_name, prepared_docker
from tests.sandbox_pool.conftest import value

pytestmark = [pytest.mark.anyio, pytest.mark.docker]

DEADLINE_S = 60.0
RUN = secrets.token_hex(3)
ALLOWED = ("allowed.test", ".pypi.test", "localhost")
WEB = SandboxSpec(preload=(), network="internal", allowed_hosts=("web.test",))
DOCUMENTATION = f"3fff:{RUN[:3]}:{RUN[3:]}::"
"""Addresses for documentation (RFC 9637). Nobody owns them, and to the proxy they look like public ones."""
INTERNAL = SandboxSpec(preload=(), network="internal", allowed_hosts=ALLOWED)
OPEN = SandboxSpec(preload=(), network="open")

ASK = """
import os, urllib.error, urllib.request
os.environ['no_proxy'] = os.environ['NO_PROXY'] = ''
def ask(url):
    try:
        return urllib.request.urlopen(url, timeout=50).status
    except urllib.error.HTTPError as error:
        return f"{error.code} {error.headers.get('X-Squid-Error', '').split(' ')[0]}"
    except OSError as error:
        return str(error)
"""
CONNECT = """
import socket
def connect(address, port):
    try:
        socket.create_connection((address, port), timeout=1).close()
        return 'connected'
    except OSError as error:
        return type(error).__name__ + ' ' + str(error)
"""


@pytest.fixture(scope="module")
async def backend(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DockerBackend]:
    backend = await prepared_docker(tmp_path_factory.mktemp("network"))
    yield backend
    await backend.close()


@pytest.fixture(scope="module")
async def inside(backend: DockerBackend) -> AsyncIterator[list[Sandbox]]:
    """Two sandboxes with an internal network."""
    try:
        await backend.prepare(INTERNAL, print)
    except Exception as error:
        missing("engine", f"the egress proxy's image cannot be built: {error}")
    sandboxes = [await Sandbox.start(backend, f"{RUN}-in-{n}", INTERNAL, deadline_s=DEADLINE_S) for n in (1, 2)]
    for sandbox in sandboxes:
        await sandbox.run(ASK + CONNECT)
    yield sandboxes
    for sandbox in sandboxes:
        await sandbox.close()


WEB_SERVER = """
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Server(ThreadingHTTPServer):
    address_family = 10

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

threading.Thread(target=Server(("::", 443), Handler).serve_forever).start()
Server(("::", 80), Handler).serve_forever()
"""


@pytest.fixture
def web(backend: DockerBackend, engine: docker.APIClient) -> Iterator[tuple[str, str]]:
    """A network that cannot reach beyond this machine, and the address of a web server in it."""
    name = own_name("web")
    pool = docker.types.IPAMPool(subnet=f"{DOCUMENTATION}/64")
    ipam = docker.types.IPAMConfig(pool_configs=[pool])
    engine.create_network(name, "bridge", internal=True, enable_ipv6=True, ipam=ipam)
    try:
        image = backend._images[None]
        config = engine.create_host_config(network_mode=name)
        command = ["python3", "-c", WEB_SERVER]
        server = engine.create_container(image, name=name, entrypoint=command, user="0:0", host_config=config)
        try:
            engine.start(server)
            yield name, engine.inspect_container(server)["NetworkSettings"]["Networks"][name]["GlobalIPv6Address"]
        finally:
            engine.remove_container(server, force=True)
    finally:
        for member in engine.inspect_network(name)["Containers"]:
            engine.disconnect_container_from_network(member, name, force=True)
        engine.remove_network(name)


@pytest.fixture(scope="module")
async def outside(backend: DockerBackend) -> AsyncIterator[list[Sandbox]]:
    """Two sandboxes with an open network."""
    await backend.prepare(OPEN, print)
    sandboxes = [await Sandbox.start(backend, f"{RUN}-out-{n}", OPEN, deadline_s=DEADLINE_S) for n in (1, 2)]
    for sandbox in sandboxes:
        await sandbox.run(CONNECT)
    yield sandboxes
    for sandbox in sandboxes:
        await sandbox.close()


@pytest.fixture(scope="module")
def listener() -> Iterator[int]:
    """A web server on every address of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("0.0.0.0", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def addresses(engine: docker.APIClient, network: str) -> dict[str, str]:
    return {
        member["Name"]: member["IPv4Address"].split("/")[0]
        for member in engine.inspect_network(network)["Containers"].values()
    }


def addresses_of_this_machine() -> set[str]:
    return {address.address for interface in psutil.net_if_addrs().values() for address in interface}


def networks(engine: docker.APIClient) -> list[str]:
    return [network["Name"] for network in engine.networks() if RUN in network["Name"]]


# ---- internal ----------------------------------------------------------------------------------------


async def test_an_internal_sandbox_has_one_interface_whose_gateway_is_nobody(
    inside: list[Sandbox], engine: docker.APIClient
) -> None:
    assert await value(inside[0], "sorted(name for _, name in socket.if_nameindex())") == "['eth0', 'lo']"
    [network] = [name for name in networks(engine) if name.endswith(inside[0].id)]
    found = engine.inspect_network(network)
    assert found["Internal"]
    assert sorted(name.rpartition("-")[2][:6] for name in addresses(engine, network)) == ["1", "egress"]
    assert "connected" not in await value(inside[0], "connect('192.0.2.1', 80)")
    assert found["IPAM"]["Config"][0]["Gateway"] not in addresses_of_this_machine()


async def test_the_host_is_not_on_an_internal_network(
    inside: list[Sandbox], listener: int, engine: docker.APIClient
) -> None:
    for network in networks(engine):
        gateway = engine.inspect_network(network)["IPAM"]["Config"][0]["Gateway"]
        for address in (gateway, "172.17.0.1"):
            assert "connected" not in await value(inside[0], f"connect({address!r}, {listener})"), address


async def test_internal_sandboxes_do_not_reach_each_other(inside: list[Sandbox], engine: docker.APIClient) -> None:
    own, other = inside
    await other.run("import socket; server = socket.create_server(('0.0.0.0', 8080))")
    assert await value(other, "connect('127.0.0.1', 8080)") == "connected"
    [network] = [name for name in networks(engine) if name.endswith(other.id)]
    [address] = [ip for name, ip in addresses(engine, network).items() if name.endswith(other.id)]
    assert "connected" not in await value(own, f"connect({address!r}, 8080)")


async def test_a_host_that_is_not_allowed_is_refused_by_the_proxy(inside: list[Sandbox]) -> None:
    for host in ("evil.test", "notallowed.test", "allowed.test.evil.test"):
        assert await value(inside[0], f"ask('http://{host}/')") == "403 ERR_ACCESS_DENIED"
        assert "403" in await value(inside[0], f"ask('https://{host}/')")


async def test_addresses_inside_are_refused_whatever_names_them(inside: list[Sandbox], listener: int) -> None:
    """`localhost` is allowed by name, but resolves to a forbidden address; numeric addresses are not allowed names."""
    assert await value(inside[0], "ask('http://localhost/')") == "403 ERR_ACCESS_DENIED"
    for address in ("127.0.0.1", "169.254.169.254", "172.17.0.1", "10.0.0.1", "[::1]"):
        assert await value(inside[0], f"ask('http://{address}/')") == "403 ERR_ACCESS_DENIED"
    assert await value(inside[0], f"ask('http://localhost:{listener}/')") == "403 ERR_ACCESS_DENIED"


async def test_an_allowed_host_is_asked_for(inside: list[Sandbox]) -> None:
    """No host has this name, and the proxy says so; it does not refuse the request."""
    for host in ("allowed.test", "files.pypi.test"):
        assert await value(inside[0], f"ask('http://{host}/')") == "503 ERR_DNS_FAIL"


TUNNEL = """
import os, socket
from urllib.parse import urlsplit
def tunnel(host, port):
    proxy = urlsplit(os.environ["HTTPS_PROXY"])
    with socket.create_connection((proxy.hostname, proxy.port), timeout=60) as connection:
        connection.sendall(f"CONNECT {host}:{port} HTTP/1.1\\r\\n\\r\\n".encode())
        answer = connection.recv(1000).split(b" ")[1]
        if answer == b"200":
            connection.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
            answer += b", and then " + connection.recv(1000).split(b" ")[1]
    return answer.decode()
"""


async def test_an_allowed_host_is_reached_through_the_proxy_and_nothing_else_at_its_address(
    backend: DockerBackend, web: tuple[str, str], engine: docker.APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, address = web
    create_host_config = docker.APIClient.create_host_config

    def knowing_names(self: docker.APIClient, **arguments: object) -> object:
        if arguments.get("network_mode") == "bridge":
            arguments["extra_hosts"] = {"web.test": address, "other.test": address}
            arguments["sysctls"] = {"net.ipv6.conf.all.disable_ipv6": "0"}
        return create_host_config(self, **arguments)

    monkeypatch.setattr(docker.APIClient, "create_host_config", knowing_names)
    await backend.prepare(WEB, print)
    engine.connect_container_to_network(backend._prepared.name(proxy_id(WEB.allowed_hosts)), network)
    sandbox = await Sandbox.start(backend, f"{RUN}-web", WEB, deadline_s=DEADLINE_S)
    try:
        await sandbox.run(ASK + CONNECT + TUNNEL)
        assert await value(sandbox, "ask('http://web.test/')") == "200"
        assert await value(sandbox, "tunnel('web.test', 443)") == "200, and then 200"
        assert await value(sandbox, "ask('http://other.test/')") == "403 ERR_ACCESS_DENIED"
        assert await value(sandbox, "tunnel('other.test', 443)") == "403"
        assert await value(sandbox, "tunnel('web.test', 80)") == "403"
        assert await value(sandbox, "ask('http://web.test:8080/')") == "403 ERR_ACCESS_DENIED"
        assert "connected" not in await value(sandbox, f"connect({address!r}, 80)")
    finally:
        await sandbox.close()


async def test_names_are_not_resolved_inside(inside: list[Sandbox]) -> None:
    _, result = await inside[0].run("import socket; socket.getaddrinfo('allowed.test', 80)")
    assert result.error
    assert result.error.ename == "gaierror"


async def test_the_proxy_is_held_short(inside: list[Sandbox], engine: docker.APIClient) -> None:
    [network] = [name for name in networks(engine) if name.endswith(inside[0].id)]
    [proxy] = [name for name in addresses(engine, network) if "egress" in name]
    found = engine.inspect_container(proxy)
    assert found["HostConfig"]["ReadonlyRootfs"]
    assert found["HostConfig"]["CapDrop"] == ["ALL"]
    assert found["Config"]["User"] == "proxy"
    assert found["Mounts"] == []


FLOOD = """
import os, socket
from urllib.parse import urlsplit
def flood(number):
    proxy, held = urlsplit(os.environ["HTTPS_PROXY"]), []
    for _ in range(number):
        try:
            connection = socket.create_connection((proxy.hostname, proxy.port), timeout=2)
            connection.sendall(b"GET http://allowed.test/ HTTP/1.1\\r\\nX: " + b"x" * 30_000)
            held.append(connection)
        except OSError:
            pass
    return len(held)
"""


async def test_a_flood_of_one_sandbox_leaves_the_proxy_to_the_others(
    inside: list[Sandbox], engine: docker.APIClient
) -> None:
    [network] = [name for name in networks(engine) if name.endswith(inside[0].id)]
    [proxy] = [name for name in addresses(engine, network) if "egress" in name]
    before = engine.inspect_container(proxy)["State"]
    await inside[0].run(FLOOD)
    assert await value(inside[0], "flood(300)")
    assert await value(inside[1], "ask('http://evil.test/')") == "403 ERR_ACCESS_DENIED"
    after = engine.inspect_container(proxy)["State"]
    assert (after["Pid"], after["OOMKilled"]) == (before["Pid"], False)


async def test_a_proxy_that_is_killed_comes_back_by_itself(inside: list[Sandbox], engine: docker.APIClient) -> None:
    [network] = [name for name in networks(engine) if name.endswith(inside[1].id)]
    [proxy] = [name for name in addresses(engine, network) if "egress" in name]
    os.kill(engine.inspect_container(proxy)["State"]["Pid"], signal.SIGKILL)
    with anyio.fail_after(60):
        while await value(inside[1], "ask('http://evil.test/')") != "403 ERR_ACCESS_DENIED":
            pass


# ---- open --------------------------------------------------------------------------------------------


async def test_an_open_sandbox_reaches_what_the_host_reaches(outside: list[Sandbox], listener: int) -> None:
    gateway = await value(
        outside[0],
        "next(socket.inet_ntoa(bytes.fromhex(l.split()[2])[::-1]) for l in open('/proc/net/route') "
        "if l.split()[1] == '00000000')",
    )
    assert await value(outside[0], f"connect({gateway!r}, {listener})") == "connected"


async def test_open_sandboxes_do_not_reach_each_other(outside: list[Sandbox]) -> None:
    own, other = outside
    await other.run("server = socket.create_server(('0.0.0.0', 8080))")
    address = await value(other, "socket.gethostbyname(socket.gethostname())")
    assert socket.inet_aton(address)
    assert await value(other, f"connect({address!r}, 8080)") == "connected"
    assert "connected" not in await value(own, f"connect({address!r}, 8080)")


# ---- clean-up ----------------------------------------------------------------------------------------


async def test_a_sandbox_takes_its_network_with_it(
    backend: DockerBackend, inside: list[Sandbox], engine: docker.APIClient
) -> None:
    sandbox = await Sandbox.start(backend, f"{RUN}-gone", INTERNAL, deadline_s=DEADLINE_S)
    assert any(name.endswith(f"{RUN}-gone") for name in networks(engine))
    await sandbox.close()
    assert not any(name.endswith(f"{RUN}-gone") for name in networks(engine))
