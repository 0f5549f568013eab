"""Real servers for tests: uvicorn in its own thread, real kernels, a real mongod."""

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import anyio
import httpx
import pytest
from starlette.applications import Starlette

from codeact.models.litellm.client import LiteLLMModel
from codeact.server.app import create_app
from codeact.server.serve import Server, uvicorn_config
from codeact.server.services import Services
from codeact.settings import Settings
from codeact.store import Store, open_store
from tests.lasting_mongod import lasting_mongod
from tests.model_server import ModelServer
from tests.patience import SETTINGS, be_patient_with_servers

STARTS_WITHIN_S = 240.0
T = TypeVar("T")


@dataclass
class Running:
    """A running server. Send requests to `url`; `app` gives tests access to its internals."""

    url: str
    app: Starlette
    settings: Settings
    loops: list[asyncio.AbstractEventLoop]

    @property
    def ws_url(self) -> str:
        return self.url.replace("http", "ws", 1) + "/v1/responses"

    @property
    def state(self) -> Services:
        return self.app.state.codeact

    def run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Runs a coroutine on the server's event loop, and returns its result."""
        return asyncio.run_coroutine_threadsafe(work(), self.loops[0]).result(60)


def hurry(server: Running) -> int:
    """Leaves the code that runs on this server half a second of its time limit; before, a busy machine may be late.

    Returns how many blocks that are.
    """

    async def shorten() -> int:
        living = [workspace.living for workspace in server.state.workspaces._workspaces.values()]
        executions = [sandbox._inbox.running for sandbox in living if sandbox is not None]
        running = [each for each in executions if each is not None and each._timer is not None]
        for each in running:
            each.stop_clock()
            each._left_s = 0.5
            each.start_clock()
        return len(running)

    return server.run(shorten)


@contextmanager
def running(settings: Settings, *, ready: bool = True, **more: Any) -> Iterator[Running]:
    """Runs a server until the context is left. With `ready`, waits for the pool's minimum, the model and the store.

    Passes `more` to `create_app`.
    """
    be_patient_with_servers()
    loops: list[asyncio.AbstractEventLoop] = []

    async def started(services: Services) -> None:
        loops.append(asyncio.get_running_loop())

    app = create_app(settings, **{"on_start": started, **more})
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    server = Server(uvicorn_config(app, settings))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="server")
    thread.start()
    try:
        if ready:
            _wait_until_ready(url)
        yield Running(url, app, settings, loops)
    finally:
        server.should_exit = True
        thread.join(90)
        listener.close()
        assert not thread.is_alive(), "the server did not stop"


def _wait_until_ready(url: str) -> None:
    async def wait() -> None:
        async with asyncio.timeout(STARTS_WITHIN_S), httpx.AsyncClient(trust_env=False) as client:
            while True:
                try:
                    answer = await client.get(f"{url}/readyz")
                    if answer.status_code == 200:
                        return
                    assert not any(
                        part.get("state") == "failed" for part in answer.json().values() if isinstance(part, dict)
                    ), answer.text
                except httpx.TransportError:
                    pass
                await asyncio.sleep(0.05)  # A client gets no event when the server becomes ready.

    asyncio.run(wait())


def settings_of(data_dir: Path, **settings: Any) -> Settings:
    """Returns settings for tests: the demo model, local sandboxes, a separate database, and no checkpoints.

    No sandbox is kept warm, since the last one of each server would never be used.
    """
    values = {"model": "demo", "sandbox": "process", "data_dir": data_dir, "pool_min": 0, "pool_max": 8}
    values |= {
        "checkpoint": False,
        **SETTINGS,
    }  # Thousands of checkpoints would take minutes; few tests switch them on.
    return Settings.load(**values | settings)


def in_thread(function: Callable[..., T], *arguments: Any) -> T:
    """Runs a function that starts an event loop in another thread, since this thread may already run one."""
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(function, *arguments).result()


@pytest.fixture
def calls_come_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits a second for further calls of threads before a response ends, since a busy machine may delay them."""
    monkeypatch.setattr("codeact.agent.code_execution.SETTLE_S", 1.0)


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One data directory for the whole session, so that all servers share one mongod."""
    directory = tmp_path_factory.mktemp("data")
    with lasting_mongod(directory):
        yield directory


@pytest.fixture(scope="session")
def model_server() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@contextmanager
def _starting(data_dir: Path) -> Iterator[Callable[..., Running]]:
    """Gives a function that starts servers, with settings as keyword arguments, and stops them at the end."""
    with ExitStack() as stack:

        def make(**settings: Any) -> Running:
            return stack.enter_context(running(settings_of(settings.pop("data_dir", data_dir), **settings)))

        yield make


@pytest.fixture(scope="session")
def make_lasting_server(data_dir: Path) -> Iterator[Callable[..., Running]]:
    """Starts servers that run until the end of the session. Use it for servers that several files share."""
    with _starting(data_dir) as make:
        yield make


@pytest.fixture(scope="module")
def make_server(data_dir: Path) -> Iterator[Callable[..., Running]]:
    """Starts servers that run until the end of the file, since an idle server costs memory and processor time."""
    with _starting(data_dir) as make:
        yield make


@pytest.fixture(scope="session")
def demo(make_lasting_server: Callable[..., Running]) -> Running:
    """A server with the demo model."""
    return make_lasting_server()


@pytest.fixture(scope="session")
def scripted(make_lasting_server: Callable[..., Running], model_server: ModelServer) -> Running:
    """A server whose models `openai/scripted` and `openai/other` give the replies of `model_server`.

    The code of `openai/other` runs while that writes it.
    """
    return make_lasting_server(
        # Code runs while it is written only if a sandbox is warm by then.
        pool_min=3,
        models="openai/scripted,openai/other;eager=on",
        model=None,
        model_api_base=model_server.base_url,
        model_api_key="test",
        model_retries=1,
        memory_mb_max=4096,
        idle_timeout_max_s=3600,
        egress_domains="example.org,127.77.0.1",
        egress_private=True,
    )


@pytest.fixture(scope="session")
def conforming(make_lasting_server: Callable[..., Running], model_server: ModelServer) -> Running:
    """A server whose models are what `model_server` says, each asked in another way.

    `openai/scripted` and `openai/other` are asked directly, `openai/responses` by the Responses API, `openai/socket` so
    over a WebSocket, and `deepseek/scripted` through litellm. They may pause for minutes.
    """
    server = make_lasting_server(
        models="openai/scripted,openai/other,openai/responses;api=responses,openai/socket;api=responses-ws",
        model=None,
        model_api_base=model_server.base_url,
        model_api_key="test",
        model_token_timeout_s=600,
        model_retries=1,
    )
    assert server.state.models.started is not None
    model = LiteLLMModel("deepseek/scripted", api_base=model_server.base_url, api_key="test", retries=0)
    server.state.models.started.value._models[model.name] = model
    return server


Work = Callable[[Store], Awaitable[None]]


@pytest.fixture
def in_store(data_dir: Path) -> Callable[[Work], None]:
    """Runs a function with the database of the servers here."""

    async def with_store(work: Work) -> None:
        async with open_store(settings_of(data_dir)) as store:
            await work(store)

    return lambda work: in_thread(anyio.run, with_store, work)
