"""Docker engines that do not share our file system: reached over TCP, with kernels behind the engine's connection."""

import glob
import os
import re
import secrets
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import replace
from pathlib import Path

import anyio
import docker
import pytest
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.tls import TLSListener, TLSStream

from sandbox_pool.backends.docker.backend import DockerBackend
from sandbox_pool.backends.docker.engine import Engine
from sandbox_pool.backends.shared.unix_stream import UnixStream
from sandbox_pool.errors import EngineUnavailable
from sandbox_pool.sandbox.sandbox import Sandbox
from sandbox_pool.spec import Limits, SandboxSpec
from tests.needs import missing, prepared_docker
from tests.sandbox_pool.conftest import printed, text

pytestmark = [pytest.mark.anyio, pytest.mark.docker]

ENGINE = "/var/run/docker.sock"
SPEC = SandboxSpec(preload=())
DEADLINE_S = 60.0
RUN = secrets.token_hex(3)


SERVER_IN_A_CONTAINER = """
import anyio, sys
from pathlib import Path
from sandbox_pool.backends.docker.backend import DockerBackend
from sandbox_pool.sandbox.sandbox import Sandbox
from sandbox_pool.spec import SandboxSpec

async def main():
    backend = DockerBackend(Path(sys.argv[1]))
    spec = SandboxSpec(preload=())
    await backend.prepare(spec, lambda line: None)
    sandbox = await Sandbox.start(backend, "test-contained", spec, deadline_s=60)
    outputs, result = await sandbox.run("6 * 7")
    print(result.status, outputs[0].data["text/plain"])
    await sandbox.close()
    await backend.close()

anyio.run(main)
"""


@asynccontextmanager
async def engine_over_tcp(encryption: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """The address of a port that forwards to this machine's engine."""

    async def pump(source: ByteStream, sink: ByteStream) -> None:
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            async for piece in source:
                await sink.send(piece)
            await (sink.aclose() if isinstance(sink, TLSStream) else sink.send_eof())

    async def serve(client: ByteStream) -> None:
        engine = await UnixStream.connect(ENGINE)
        async with client, engine, anyio.create_task_group() as tasks:
            tasks.start_soon(pump, client, engine)
            tasks.start_soon(pump, engine, client)

    port = await anyio.create_tcp_listener(local_host="127.0.0.1")
    listener = TLSListener(port, encryption, standard_compatible=False) if encryption else port
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        yield f"tcp://127.0.0.1:{port.extra(SocketAttribute.local_port)}"
        tasks.cancel_scope.cancel()


def certify(directory: Path) -> ssl.SSLContext:
    """Makes certificates for a server that requires them: an authority and a client's, named as Docker expects."""
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=directory, capture_output=True, check=True)

    openssl("req", "-x509", *key, "-subj", "/CN=authority", "-keyout", "ca-key.pem", "-out", "ca.pem")
    for name, prefix, use in (("server", "server-", "serverAuth"), ("client", "", "clientAuth")):
        (directory / "extensions").write_text(f"subjectAltName=IP:127.0.0.1\nextendedKeyUsage={use}\n")
        openssl("req", *key, "-subj", f"/CN={name}", "-keyout", f"{prefix}key.pem", "-out", "request")
        signed = ("-CA", "ca.pem", "-CAkey", "ca-key.pem", "-CAcreateserial", "-extfile", "extensions")
        openssl("x509", "-req", "-in", "request", *signed, "-out", f"{prefix}cert.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=directory / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(directory / "server-cert.pem", directory / "server-key.pem")
    return context


@pytest.fixture(scope="module")
async def remote(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DockerBackend]:
    with closing(socket.socket(socket.AF_UNIX)) as probe:
        try:
            probe.connect(ENGINE)
        except OSError as error:
            missing("engine", str(error))
    with pytest.MonkeyPatch.context() as patch:
        async with engine_over_tcp() as address:
            patch.setenv("DOCKER_HOST", address)
            backend = await prepared_docker(tmp_path_factory.mktemp("remote"))
            yield backend
            await backend.close()


@pytest.fixture(scope="module")
async def sandbox(remote: DockerBackend) -> AsyncIterator[Sandbox]:
    sandbox = await Sandbox.start(remote, f"{RUN}-shared", SPEC, deadline_s=DEADLINE_S)
    yield sandbox
    await sandbox.close()


async def test_code_runs_and_its_output_is_live_complete_and_in_order(sandbox: Sandbox) -> None:
    async with sandbox.execute("print('live')\nimport time\ntime.sleep(60)") as execution:
        assert await printed(execution, "live\n") == "live\n"
    assert execution.result.status == "interrupted"
    outputs, result = await sandbox.run("for number in range(20_000): print(number)")
    assert (text(outputs), result.status) == ("".join(f"{number}\n" for number in range(20_000)), "ok")


@pytest.mark.usefixtures("remote")
async def test_over_tls_each_side_proves_who_it_is_and_nothing_else_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, foreign = tmp_path / "ours", tmp_path / "foreign"
    ours.mkdir()
    foreign.mkdir()
    certify(foreign)
    async with engine_over_tcp(certify(ours)) as address:
        monkeypatch.setenv("DOCKER_HOST", address)
        monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
        # Where it is set, for other programs, it says nothing about an engine.
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(foreign / "ca.pem"))
        for strangers in (("ca.pem",), ("cert.pem", "key.pem")):
            mixed = tmp_path / strangers[0]
            shutil.copytree(ours, mixed)
            for stranger in strangers:
                shutil.copy(foreign / stranger, mixed)
            monkeypatch.setenv("DOCKER_CERT_PATH", str(mixed))
            with pytest.raises(EngineUnavailable, match=re.escape(address)):
                await anyio.to_thread.run_sync(Engine.connect)
        monkeypatch.setenv("DOCKER_CERT_PATH", str(ours))
        backend = await prepared_docker(tmp_path)
        sandbox = await Sandbox.start(backend, f"{RUN}-tls", SPEC, deadline_s=DEADLINE_S)
        outputs, result = await sandbox.run("for number in range(20_000): print(number)")
        assert (text(outputs), result.status) == ("".join(f"{number}\n" for number in range(20_000)), "ok")
        await sandbox.write_file("a/b", b"x" * 1_000_000)
        async with sandbox.read_file("a/b") as file:
            assert sum([len(piece) async for piece in file]) == 1_000_000
        await sandbox.close()
        await backend.close()


async def test_large_messages_go_both_ways(sandbox: Sandbox) -> None:
    outputs, _ = await sandbox.run(f"text = {'x' * 3_000_000!r}\nprint(text, end='')")
    assert text(outputs) == "x" * 3_000_000


async def test_files_go_in_and_out(sandbox: Sandbox) -> None:
    await sandbox.write_file("a/b", b"x" * 1_000_000)
    async with sandbox.read_file("a/b") as file:
        assert sum([len(piece) async for piece in file]) == 1_000_000
    assert [file.path for file in (await sandbox.list_files()).files] == ["a/b"]


async def test_the_sandbox_has_no_network_no_port_and_nothing_of_a_host(sandbox: Sandbox) -> None:
    outputs, _ = await sandbox.run("import socket; print([name for _, name in socket.if_nameindex()])")
    assert text(outputs) == "['lo']\n"
    with closing(docker.APIClient(version="auto")) as engine:
        found = engine.inspect_container(engine.containers(filters={"label": f"codeact.sandbox={RUN}-shared"})[0]["Id"])
    assert [mount for mount in found["Mounts"] if mount["Type"] != "tmpfs"] == []
    assert not found["NetworkSettings"]["Ports"]


@pytest.mark.usefixtures("impatient")
async def test_a_kernel_that_dies_or_does_not_stop_is_found_and_its_socket_is_never_opened_again(
    remote: DockerBackend,
) -> None:
    sandbox = await Sandbox.start(remote, f"{RUN}-death", SPEC, deadline_s=DEADLINE_S)
    _, result = await sandbox.run("import os; os._exit(3)")
    assert (result.status, result.kernel_alive) == ("died", False)
    assert "status 3" in result.detail
    await sandbox.close()
    sandbox = await Sandbox.start(remote, f"{RUN}-stop", SPEC, deadline_s=DEADLINE_S)
    _, result = await sandbox.run("sum(range(10**15))", timeout_s=0.5)
    assert (result.status, result.kernel_alive) == ("timeout", False)
    assert result.duration_s < 60
    await sandbox.close()


async def test_a_kernel_out_of_memory_is_named(remote: DockerBackend) -> None:
    spec = replace(SPEC, limits=Limits(memory_mb=256))
    sandbox = await Sandbox.start(remote, f"{RUN}-memory", spec, deadline_s=DEADLINE_S)
    _, result = await sandbox.run("blocks = []\nwhile True: blocks.append(b'x' * 10_000_000)")
    assert (result.status, result.limit) == ("died", "memory_mb")
    await sandbox.close()


async def test_nothing_is_left(remote: DockerBackend, tmp_path_factory: pytest.TempPathFactory) -> None:
    sandbox = await Sandbox.start(remote, f"{RUN}-left", SPEC, deadline_s=DEADLINE_S)
    await sandbox.close()
    with closing(docker.APIClient(version="auto")) as engine:
        assert engine.containers(all=True, filters={"label": f"codeact.sandbox={RUN}-left"}) == []
    assert not glob.glob(f"{tmp_path_factory.getbasetemp()}/remote*/docker/*/*-left")


async def test_an_image_that_does_not_start_is_told_in_its_own_words(
    remote: DockerBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sandbox_pool.backends.docker.container.BOOT", "echo the disk is on fire >&2; exit 1")
    with pytest.raises(Exception, match="ended before it was ready: the disk is on fire"):
        await Sandbox.start(remote, f"{RUN}-words", SPEC, deadline_s=DEADLINE_S)


async def test_a_server_whose_files_the_engine_does_not_see_needs_no_setting(
    remote: DockerBackend, tmp_path: Path
) -> None:
    """Like in a container with the engine's socket: another file system covers the directory."""
    if os.getuid() != 0:
        pytest.skip("it takes root to mount one")
    mount = f'mount -t tmpfs none "{tmp_path}" && exec "$@"'
    command = [
        "unshare",
        "--mount",
        "sh",
        "-c",
        mount,
        "sh",
        sys.executable,
        "-c",
        SERVER_IN_A_CONTAINER,
        str(tmp_path),
    ]
    environment = {key: value for key, value in os.environ.items() if key != "DOCKER_HOST"}
    server = await anyio.run_process(command, env=environment)
    assert server.stdout == b"ok 42\n"
