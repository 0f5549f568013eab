"""The Docker engine is killed while code waits: what waits stays in the list, and goes on from its state afterwards."""

import logging
import os
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import docker
import openai
import pytest
from openai.types.responses import Response

from sandbox_pool.backends.docker.containers import SANDBOX
from sandbox_pool.backends.docker.engine import DEFAULT_ENGINE
from sandbox_pool.backends.docker.image import ensure_image
from tests.docker.own_engine import own_engine
from tests.model_server import ModelServer
from tests.needs import LONG, leaks_of_the_sdk, missing, only_long
from tests.server import waiting_code
from tests.server.conftest import Running, running, settings_of
from tests.server.test_approvals import call_request, code_request, decision, until, waiting
from tests.server.test_functions import calls, logs, output, run_code
from tests.server.waiting_code import ask, notices, settle, start

pytestmark = [pytest.mark.docker, pytest.mark.xdist_group("kill")]

patience = waiting_code.patience
client = waiting_code.client


class Proxy:
    """Stands for an engine that can be killed: a socket before the shared engine, and the containers of one server."""

    def __init__(self, path: Path, engine: docker.APIClient) -> None:
        self.path = path
        self._engine = engine
        self._open: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self.start()

    def start(self) -> None:
        self._listener.close()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen(64)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def kill(self, sandbox_ids: Iterable[str]) -> None:
        """Ends all connections, and these sandboxes, as `kill -9` and a new start of an engine do."""
        self.close()
        for sandbox_id in sandbox_ids:
            for container in self._engine.containers(filters={"label": f"{SANDBOX}={sandbox_id}"}):
                self._engine.kill(container)

    def close(self) -> None:
        """Ends all connections; there is no engine any more."""
        self.path.unlink()
        for connection in (self._listener, *self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        self._open.clear()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                near, far = listener.accept()[0], socket.socket(socket.AF_UNIX)
                far.connect(DEFAULT_ENGINE.removeprefix("unix://"))
                self._open += (near, far)
                for source, target in ((near, far), (far, near)):
                    threading.Thread(target=_pass_on, args=(source, target), daemon=True).start()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        if "DOCKER_HOST" in os.environ or not Path(DEFAULT_ENGINE.removeprefix("unix://")).exists():
            missing("engine", f"no engine listens at {DEFAULT_ENGINE}")
        shared = stack.enter_context(closing(docker.APIClient(version="auto")))
        proxy = stack.enter_context(closing(Proxy(tmp_path_factory.mktemp("engine") / "docker.sock", shared)))
        patch.setenv("DOCKER_HOST", f"unix://{proxy.path}")
        yield proxy


@pytest.fixture(scope="module")
def server(
    engine: Proxy,
    make_server: Callable[..., Running],
    model_server: ModelServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Running:
    return start(make_server, model_server, tmp_path_factory.mktemp("mcp"), sandbox="docker")


def wait_for(client: openai.OpenAI, server: Running, model_server: ModelServer, call: str, *rules: str) -> Response:
    """Returns a response whose code waits in this call. The code needs the variable `n` of the response before."""
    model_server.reset()
    run_code(model_server, "n = 1")
    before = ask(client)
    settle(server, before)
    model_server.reset()
    run_code(model_server, f"n += 1\nprint('asking', n)\n{call}\nprint('got', n)")
    first = ask(client, *rules, previous_response_id=before.id)
    assert logs(first) == "asking 2\n"
    settle(server, first)
    return first


@pytest.mark.long
def test_what_waits_survives_the_death_of_the_engine_and_goes_on_from_its_state(
    client: openai.OpenAI,
    server: Running,
    engine: Proxy,
    model_server: ModelServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    # Records that say that sandboxes could not be destroyed would keep the sockets of the failed requests.
    caplog.set_level(logging.CRITICAL, logger="sandbox_pool.sandbox.lifecycle")
    of_call = wait_for(client, server, model_server, "sums.add(a=1, b=2)", "calls")
    answers = [(of_call, "got 2\n", decision(call_request(of_call)))]
    if LONG:
        of_value = wait_for(client, server, model_server, "get_weather('Bern')")
        answers.append((of_value, "got 2\n", output(calls(of_value)[0], "fine")))
        model_server.reset()
        run_code(model_server, "print('approved')")
        of_code = ask(client, "code")
        answers.append((of_code, "approved\n", decision(code_request(of_code))))
    sandboxes = [each.living for each in server.state.workspaces._workspaces.values() if each.living is not None]
    assert sandboxes
    with leaks_of_the_sdk():
        engine.kill(sandbox.id for sandbox in sandboxes)
        until(lambda: not any(sandbox.alive for sandbox in sandboxes))
        assert {each["response_id"] for each in waiting(client)} == {first.id for first, _, _ in answers}
        engine.start()
        model_server.reset()
        for first, shown, answer in answers:
            model_server.reply("Done.")
            second = ask(client, "calls", previous_response_id=first.id, input=[answer])
            assert logs(second) == shown
            assert ("kernel_restored" in notices(second)) is (shown == "got 2\n")
        assert waiting(client) == []


@pytest.mark.long
@only_long
def test_what_waits_survives_kill_9_of_the_engine_itself(tmp_path: Path, model_server: ModelServer) -> None:
    """The engine is one of the test's own. Its containers live on until it starts again, and then it ends them."""
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        with closing(docker.APIClient(version="auto")) as shared:
            image = ensure_image(shared, None, print)
        own = stack.enter_context(own_engine(image))
        patch.setenv("DOCKER_HOST", own.host)
        stack.enter_context(leaks_of_the_sdk())

        def make_server(**settings: Any) -> Running:
            return stack.enter_context(running(settings_of(tmp_path / "data", **settings)))

        server = start(make_server, model_server, tmp_path, sandbox="docker")
        client = stack.enter_context(
            openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", timeout=120, max_retries=0)
        )
        of_call = wait_for(client, server, model_server, "sums.add(a=1, b=2)", "calls")
        meanwhile = wait_for(client, server, model_server, "get_weather('Bern')")
        of_value = wait_for(client, server, model_server, "get_weather('Bern')")
        model_server.reset()
        run_code(model_server, "n = 3")
        went_first = ask(client)
        settle(server, went_first)
        model_server.reset()
        run_code(model_server, "print('approved', n)")
        of_code = ask(client, "code", previous_response_id=went_first.id)
        sandboxes = [each.living for each in server.state.workspaces._workspaces.values() if each.living is not None]

        def answered(first: Response, answer: Any) -> Response:
            model_server.reset()
            model_server.reply("Done.")
            return ask(client, "calls", previous_response_id=first.id, input=[answer])

        own.kill()
        assert {each["response_id"] for each in waiting(client)} == {
            each.id for each in (of_call, meanwhile, of_value, of_code)
        }
        went_on = answered(meanwhile, output(calls(meanwhile)[0], "fine"))
        assert (logs(went_on), notices(went_on)) == ("got 2\n", [])
        own.start_again()
        until(lambda: not any(sandbox.alive for sandbox in sandboxes))
        for first, answer in (
            (of_call, decision(call_request(of_call))),
            (of_value, output(calls(of_value)[0], "fine")),
        ):
            second = answered(first, answer)
            assert (logs(second), notices(second)) == ("got 2\n", ["kernel_restored"])
        assert logs(answered(of_code, decision(code_request(of_code)))) == "approved 3\n"
        assert waiting(client) == []
