"""If no usable Docker engine exists, the error says why and what to do."""

import json
import secrets
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from sandbox_pool.backends.docker import engine as docker_engine
from sandbox_pool.backends.docker.backend import DockerBackend
from sandbox_pool.errors import EngineUnavailable
from sandbox_pool.spec import SandboxSpec
from tests.needs import leaks_of_the_sdk, prepared_docker

pytestmark = pytest.mark.anyio


async def refusal(tmp_path: Path) -> str:
    """The reason that `prepare` gives why no engine can be used."""
    backend = DockerBackend(tmp_path)
    with leaks_of_the_sdk():
        with pytest.raises(EngineUnavailable) as caught:
            await backend.prepare(SandboxSpec(), print)
        message = caught.value.message
        del caught
    await backend.close()
    return message


async def test_no_socket_tells_how_to_install_an_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/engine.sock")
    message = await refusal(tmp_path)
    assert "sudo apt-get install docker.io" in message
    assert f"{tmp_path}/engine.sock" in message


async def test_a_socket_without_an_engine_tells_how_to_start_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/engine.sock")
    with socket.socket(socket.AF_UNIX) as abandoned:
        abandoned.bind(f"{tmp_path}/engine.sock")
    assert "sudo systemctl start docker" in await refusal(tmp_path)


async def test_an_engine_that_says_nothing_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/engine.sock")
    monkeypatch.setattr(docker_engine, "CONNECT_TIMEOUT_S", 0.2)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(f"{tmp_path}/engine.sock")
        silent.listen()
        assert "did not answer in time" in await refusal(tmp_path)


async def test_an_engine_that_fails_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/engine.sock")
    with failing_engine(f"{tmp_path}/engine.sock"):
        assert "the disk is on fire" in await refusal(tmp_path)


async def test_an_engine_behind_ssh_is_refused_with_the_way_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "ssh://192.0.2.1")
    assert "ssh -N -L" in await refusal(tmp_path)


async def test_a_port_without_an_engine_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{closed.getsockname()[1]}"
        monkeypatch.setenv("DOCKER_HOST", address)
        message = await refusal(tmp_path)
    assert "nothing listens" in message
    assert address in message


async def test_certificates_that_are_missing_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(tmp_path))
    assert "certificate" in await refusal(tmp_path)


async def test_a_runtime_that_the_engine_does_not_have_is_refused_with_those_it_has(tmp_path: Path) -> None:
    backend = await prepared_docker(tmp_path)
    with pytest.raises(EngineUnavailable, match=r"CODEACT_SANDBOX_RUNTIME=runsquid.* runc"):
        await backend.prepare(SandboxSpec(runtime="runsquid"), print)
    await backend.prepare(SandboxSpec(runtime="runc"), print)
    started = await backend.create(f"runtime-{secrets.token_hex(4)}", SandboxSpec(runtime="runc"))
    await backend.destroy(started.sandbox_id)
    await backend.close()


async def test_an_address_that_is_none_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "engine?")
    assert "engine?" in await refusal(tmp_path)


async def test_a_state_directory_too_deep_for_sockets_names_the_setting(tmp_path: Path) -> None:
    message = await refusal(tmp_path / ("deep" * 20))
    assert "CODEACT_DATA_DIR" in message


class _Failing(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        version = self.path.endswith("/version")
        body = json.dumps({"ApiVersion": "1.41"} if version else {"message": "the disk is on fire"}).encode()
        self.send_response(200 if version else 500)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def failing_engine(path: str) -> Iterator[None]:
    """An engine that reports its version and answers everything else with an error."""
    with socketserver.ThreadingUnixStreamServer(path, _Failing) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
