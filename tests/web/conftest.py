"""A real Chromium before a real server: the built page, real kernels, a real mongod."""

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.model_server import ModelServer
from tests.needs import missing
from tests.server.conftest import (  # noqa: F401  (fixtures)
    Running,
    data_dir,
    demo,
    make_server,
    model_server,
    running,
    scripted,
    settings_of,
)
from tests.web.chat import Chat
from web.build import BuildError, build

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
expect.set_options(timeout=30_000)


@pytest.fixture(scope="session")
def page_built() -> None:
    try:
        build(dev=True)
    except BuildError as error:
        missing("browser", str(error))


@pytest.fixture(scope="session")
def locked(make_server: Callable[..., Running]) -> Running:  # noqa: F811
    """A server that wants a key."""
    return make_server(api_keys=("secret",), pool_min=0)


@pytest.fixture(scope="session")
def bare(make_server: Callable[..., Running]) -> Running:  # noqa: F811
    """A server that finds no bubblewrap, so that nothing isolates its code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", "/nowhere")
        return make_server(pool_min=0)


@pytest.fixture
def starting(data_dir: Path) -> Iterator[Running]:  # noqa: F811
    """A server whose database does not answer."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"mongodb://127.0.0.1:{silent.getsockname()[1]}/codeact"
        with running(settings_of(data_dir, mongodb_uri=uri, pool_min=0), ready=False) as server:
            yield server


@pytest.fixture(scope="session")
def narrow(make_server: Callable[..., Running], model_server: ModelServer) -> Running:  # noqa: F811
    """A server with room for one sandbox."""
    base = {"model": "openai/scripted", "model_api_base": model_server.base_url}
    return make_server(**base, pool_min=0, pool_max=1)


@pytest.fixture(scope="module")
def browser(
    page_built: None,
    demo: Running,  # noqa: F811
    scripted: Running,  # noqa: F811
    locked: Running,
    bare: Running,
    narrow: Running,
) -> Iterator[Browser]:
    """Comes after every server: while Playwright is open, nothing else can run a loop in this thread."""
    if not CHROMIUM.exists():
        missing("browser", f"{CHROMIUM} is missing: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def script(model_server: ModelServer) -> Iterator[Callable[..., None]]:  # noqa: F811
    """Adds what the model says next: texts, each one call of the model; code goes into `execute`."""
    model_server.reset()

    def add(*replies: str) -> None:
        for reply in replies:
            model_server.reply(reply)

    yield add
    model_server.reset()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Chat]]:
    """Opens a server's page. Anything in the browser's console fails the test, unless it is `expected`."""
    complaints: list[str] = []
    with ExitStack() as stack:

        def open_page(url: str, *, expected: tuple[str, ...] = (), **options: Any) -> Chat:
            context = browser.new_context(**{"viewport": {"width": 1100, "height": 900}} | options)
            stack.callback(context.close)
            page = context.new_page()

            def complain(text: str) -> None:
                if not any(part in text for part in expected):
                    complaints.append(text)

            page.on("console", lambda message: complain(f"{message.text} {message.location['url']}"))
            page.on("pageerror", lambda error: complain(str(error)))
            page.goto(url)
            return Chat(page)

        yield open_page
    assert complaints == []
