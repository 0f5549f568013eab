"""A real Chromium with the built page and real servers, kernels and mongod."""

import socket
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.model_server import ModelServer
from tests.needs import missing
from tests.ports import free_port
from tests.server.conftest import (  # noqa: F401  (fixtures)
    Running,
    data_dir,
    demo,
    in_thread,
    make_lasting_server,
    make_server,
    model_server,
    running,
    scripted,
    settings_of,
)
from tests.web.chat import Chat
from tests.web.hosts import LISTEN, OPEN_ROOTS, Embed, Host, Servers, serving
from tests.web.window import LIMIT_MS, Window
from web.build import BuildError, build

expect.set_options(timeout=LIMIT_MS)

NETWORK_CHANGED = "net::ERR_NETWORK_CHANGED"
"""Chromium says this when a container of another test comes or goes. It drops all requests; the page repeats them."""

FOLDER = Path(__file__).parent
WINDOW = Window()


def pytest_configure(config: pytest.Config) -> None:
    config.add_cleanup(WINDOW.close)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(nextitem: pytest.Item | None) -> Generator[None, object, object]:
    """Closes the browser after the last test of this folder."""
    done = yield
    if nextitem is None or FOLDER not in nextitem.path.parents:
        WINDOW.close()
    return done


@pytest.fixture(scope="session")
def page_built() -> None:
    try:
        build(dev=True)
    except BuildError as error:
        missing("browser", str(error))


@pytest.fixture(scope="session")
def locked(make_lasting_server: Callable[..., Running]) -> Running:  # noqa: F811
    """A server that requires an API key. It has two."""
    return make_lasting_server(api_keys=("secret", "other"), pool_min=0)


@pytest.fixture(scope="session")
def bare(make_lasting_server: Callable[..., Running]) -> Running:  # noqa: F811
    """A server that finds no bubblewrap, so that its code is not isolated."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", "/nowhere")
        return make_lasting_server(pool_min=0)


@pytest.fixture(scope="module")
def asking(make_server: Callable[..., Running], model_server: ModelServer) -> Running:  # noqa: F811
    """A server whose code waits for approval."""
    base = {"model": "openai/scripted", "model_api_base": model_server.base_url, "model_api_key": "test"}
    return in_thread(lambda: make_server(**base, approval="code"))


@pytest.fixture
def starting(data_dir: Path) -> Iterator[Running]:  # noqa: F811
    """A server whose database does not answer."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"mongodb://127.0.0.1:{silent.getsockname()[1]}/codeact"
        with running(settings_of(data_dir, mongodb_uri=uri, pool_min=0), ready=False) as server:
            yield server


@pytest.fixture(scope="session")
def narrow(make_lasting_server: Callable[..., Running], model_server: ModelServer) -> Running:  # noqa: F811
    """A server that can run only one sandbox."""
    base = {"model": "openai/scripted", "model_api_base": model_server.base_url}
    return make_lasting_server(**base, pool_min=0, pool_max=1)


@pytest.fixture
def window(
    page_built: None,
    demo: Running,  # noqa: F811
    scripted: Running,  # noqa: F811
    locked: Running,
    bare: Running,
    narrow: Running,
) -> Window:
    """The browser's window. It opens after all servers."""
    return WINDOW


@pytest.fixture
def browser(window: Window) -> Browser:
    return window.browser()


@pytest.fixture
def script(model_server: ModelServer) -> Iterator[Callable[..., None]]:  # noqa: F811
    """Adds the next replies of the model, one text for each of its calls. Use `execute` for replies with code."""
    model_server.reset()

    def add(*replies: str) -> None:
        for reply in replies:
            model_server.reply(reply)

    yield add
    model_server.reset()


@pytest.fixture
def visit(window: Window) -> Iterator[Callable[..., Chat]]:
    """Opens a server's page. A message in the browser's console fails the test unless `expected` has part of it.

    With `own` or options, it has a context of its own, which its test may change.
    """
    complaints: list[str] = []
    with ExitStack() as stack:

        def open_page(
            url: str, *, expected: tuple[str, ...] = (), script: str = "", own: bool = False, **options: Any
        ) -> Chat:
            if own or options:
                page = stack.enter_context(window.context(script, **options)).new_page()
            else:
                page = stack.enter_context(window.tab(url, script))

            def complain(text: str) -> None:
                if not any(part in text for part in (*expected, NETWORK_CHANGED)):
                    complaints.append(text)

            page.on("console", lambda message: complain(f"{message.text} {message.location['url']}"))
            page.on("pageerror", lambda error: complain(str(error)))
            page.goto(url)
            return Chat(page)

        yield open_page
    assert complaints == []


@pytest.fixture(scope="session")
def servers(
    make_lasting_server: Callable[..., Running],  # noqa: F811
    model_server: ModelServer,  # noqa: F811
    page_built: None,
) -> Iterator[Servers]:
    shop, other, foreign = hosts = [Host(free_port()) for _ in range(3)]
    codeact = in_thread(
        lambda: make_lasting_server(
            model="openai/scripted",
            model_api_base=model_server.base_url,
            model_api_key="test",
            api_keys=("secret",),
            embed_origins=(shop.origin, other.origin),
            # Visitors' unused sandboxes may take at most a quarter of this, for all tests together.
            pool_max=100,
        )
    )
    with ExitStack() as stack:
        for host in hosts:
            host.codeact = codeact.url
            stack.enter_context(serving(host.app(), host.port))
        yield Servers(codeact, shop, other, foreign)


@pytest.fixture
def enter(visit: Callable[..., Chat], servers: Servers, request: pytest.FixtureRequest) -> Callable[..., Embed]:
    """Opens a host page as a new user."""
    for host in (servers.shop, servers.other):
        host.user = f"{request.node.name} {id(request)}"

    def open_page(url: str, **options: Any) -> Embed:
        embed = Embed(visit(url, script=OPEN_ROOTS, **options).page)
        embed.page.evaluate(LISTEN)
        return embed

    return open_page
