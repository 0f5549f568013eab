"""A sandbox with hosts of its own, in both backends: proved by its interfaces, its routes and listeners of the test."""

import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest
from anyio import to_thread

from sandbox_pool.backends.base import Backend, egress_problem
from sandbox_pool.backends.shared.egress import EgressProxy
from sandbox_pool.backends.shared.threads import Threads
from sandbox_pool.egress.certificates import Authority
from sandbox_pool.errors import SandboxStartFailed
from sandbox_pool.sandbox.sandbox import Sandbox
from sandbox_pool.spec import DomainSecret, Egress, SandboxSpec
from tests.needs import missing
from tests.sandbox_pool.conftest import DEADLINE_S, make_backend, new_id, value
from tests.sandbox_pool.web import Web, web

pytestmark = pytest.mark.anyio

ALLOWED, PLAIN, OTHER = (f"127.{100 + secrets.randbelow(20)}.{secrets.randbelow(250)}.{last}" for last in (1, 2, 3))
"""Loopback addresses of this machine, on which the ports 80 and 443 are free."""
CODE = """
import os, socket, urllib.error, urllib.request
os.environ["NO_PROXY"] = os.environ["no_proxy"] = ""
def ask(url, **headers):
    try:
        request = urllib.request.Request(url, headers=headers)
        return urllib.request.urlopen(request, timeout=50).read().decode()
    except urllib.error.HTTPError as error:
        return f"{error.code} {error.read().decode()}"
    except OSError as error:
        return str(error)
def connect(address, port):
    try:
        socket.create_connection((address, port), timeout=2).close()
        return "connected"
    except OSError as error:
        return type(error).__name__
"""


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Web]]:
    """Web servers on the two allowed addresses and on another one. Sandboxes trust their certificates."""
    authority = Authority()
    trusted = tmp_path_factory.mktemp("trusted") / "ca.pem"
    trusted.write_text(authority.pem)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(trusted))
        try:
            with (
                web(ALLOWED, authority.context(ALLOWED), plain_port=80, tls_port=443) as allowed,
                web(PLAIN, authority.context(PLAIN), plain_port=80, tls_port=443) as plain,
                web(OTHER, authority.context(OTHER), plain_port=80, tls_port=443) as other,
            ):
                yield [allowed, plain, other]
        except PermissionError as error:
            pytest.skip(f"this user may not listen on port 80: {error}")


@pytest.fixture(scope="module", params=["process", pytest.param("docker", marks=pytest.mark.docker)])
async def backend(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Backend]:
    backend = await make_backend(request.param, tmp_path_factory.mktemp("egress"))
    if problem := egress_problem(backend):
        await backend.close()
        missing("engine", problem)
    yield backend
    await backend.close()


@pytest.fixture(scope="module")
async def sandbox(backend: Backend, sites: list[Web]) -> AsyncIterator[Sandbox]:
    egress = Egress((ALLOWED, PLAIN), (DomainSecret(ALLOWED, "API_TOKEN", "the-real-secret"),))
    spec = SandboxSpec(preload=(), egress=egress, egress_private=True)
    sandbox = await Sandbox.start(backend, new_id(), spec, deadline_s=DEADLINE_S)
    await sandbox.run(CODE)
    yield sandbox
    await sandbox.close()


async def test_it_has_no_interface_and_no_route_and_reaches_nothing_directly(sandbox: Sandbox) -> None:
    assert await value(sandbox, "[name for _, name in socket.if_nameindex()]") == "['lo']"
    assert await value(sandbox, "len(open('/proc/net/route').readlines())") == "1"
    for address in (ALLOWED, PLAIN, OTHER):
        assert await value(sandbox, f"connect({address!r}, 443)") == "ConnectionRefusedError"


async def test_it_reaches_its_own_hosts_through_the_proxy_and_no_other(sandbox: Sandbox, sites: list[Web]) -> None:
    assert await value(sandbox, f"ask('https://{PLAIN}/')") == "hello"
    assert await value(sandbox, f"ask('http://{PLAIN}/')") == "hello"
    assert f"{OTHER} is not allowed" in await value(sandbox, f"ask('http://{OTHER}/')")
    assert "403" in await value(sandbox, f"ask('https://{OTHER}/')")
    assert sites[2].seen == []


async def test_the_proxy_puts_the_secret_in_and_code_sees_a_placeholder(sandbox: Sandbox, sites: list[Web]) -> None:
    header = "Authorization='Bearer ' + os.environ['API_TOKEN']"
    assert await value(sandbox, f"ask('https://{ALLOWED}/', {header})") == "hello"
    assert sites[0].seen[-1]["authorization"] == "Bearer the-real-secret"
    assert (await value(sandbox, "os.environ['API_TOKEN']")).startswith("codeact-secret-")
    assert await value(sandbox, "'the-real-secret' in str(dict(os.environ))") == "False"
    assert "over HTTPS alone" in await value(sandbox, f"ask('http://{PLAIN}/', {header})")
    assert await value(sandbox, f"ask('https://{PLAIN}/', {header})") == "hello"
    assert sites[1].seen[-1]["authorization"].startswith("Bearer codeact-secret-")


async def test_the_proxy_ends_with_its_sandbox(backend: Backend, sites: list[Web]) -> None:
    spec = SandboxSpec(preload=(), egress=Egress((PLAIN,)), egress_private=True)
    before = proxies()
    sandbox = await Sandbox.start(backend, new_id(), spec, deadline_s=DEADLINE_S)
    [its] = proxies() - before
    await sandbox.close()
    assert not psutil.pid_exists(its)


async def test_the_proxy_ends_with_its_server_also_before_its_sandbox_has_come(tmp_path: Path) -> None:
    threads = Threads("test")
    proxy = EgressProxy(Egress(("a.test",)), threads)
    try:
        await proxy.start(tmp_path)
        assert proxy._process is not None
        assert proxy._stdin is not None
        proxy._stdin.close()  # As the system does for a server that is killed.
        assert await to_thread.run_sync(proxy._process.wait, 60) == 0
    finally:
        await proxy.close()
        threads.close()


async def test_without_isolation_a_sandbox_has_no_hosts_of_its_own(tmp_path: Path) -> None:
    backend = await make_backend("plain", tmp_path)
    try:
        assert "bubblewrap" in egress_problem(backend)
        with pytest.raises(SandboxStartFailed, match="isolated sandboxes only"):
            await Sandbox.start(backend, new_id(), SandboxSpec(preload=(), egress=Egress(("a.test",))), deadline_s=60)
    finally:
        await backend.close()


def proxies() -> set[int]:
    """The processes of this one's egress proxies."""
    return {each.pid for each in psutil.Process().children() if "sandbox_pool.egress.main" in each.cmdline()}
