"""A real server that has answered the demo's example questions, and the dashboard's pages for its database.

These tests need Streamlit. `make test` runs them in the dashboard's environment; in others they are skipped.
"""

import json
import re
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from codeact.models.demo.model import EXAMPLES
from tests.server.conftest import Running, running, settings_of

HOSTILE = "<table><tr><th>a</th></tr><tr><td><img src=/none onerror=\"document.title='owned'\"></td></tr></table>"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server whose history has one conversation for each example."""
    with running(settings_of(tmp_path_factory.mktemp("data"))) as server:
        for example in EXAMPLES:
            ask(server, example)
        # What a page asks for that was only opened: it is neither a run nor a conversation of anybody.
        post(server, "responses", {"generate": False})
        yield server


@pytest.fixture(scope="session")
def environment(server: Running) -> Iterator[dict[str, str]]:
    """The environment variables of the dashboard's process."""
    values = {"CODEACT_DATA_DIR": str(server.settings.data_dir), "CODEACT_URL": server.url, "CODEACT_MODEL": "demo"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            patch.setenv(name, value)
        yield values


@pytest.fixture(scope="session")
def app(environment: dict[str, str]) -> Iterator[Callable[..., Any]]:
    """Opens a page by its name (by default the first one) and with query parameters, as a browser does."""
    streamlit = pytest.importorskip("streamlit", reason="make install-dashboard")
    from streamlit import config
    from streamlit.testing.v1 import AppTest

    config.set_option("server.address", "127.0.0.1")

    def open_page(name: str = "overview", **query: str) -> Any:
        test = AppTest.from_file("../../streamlit_app/app.py", default_timeout=60)
        for key, value in query.items():
            test.query_params[key] = value
        return (test.switch_page(f"views/{name}.py") if name != "overview" else test).run()

    yield open_page
    streamlit.cache_resource.clear()


def ask(server: Running, text: str, **fields: Any) -> dict[str, Any]:
    return post(server, "responses", {"input": text, **fields})


def post(server: Running, path: str, body: dict[str, Any], **headers: str) -> dict[str, Any]:
    request = urllib.request.Request(
        f"{server.url}/v1/{path}", json.dumps(body).encode(), {"Content-Type": "application/json", **headers}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def shown(markdown: str) -> str:
    """Removes the escapes of a Markdown text."""
    return re.sub(r"\\(.)", r"\1", markdown)


def conversation_of(server: Running, words: str) -> str:
    """Returns the id of the newest conversation that contains these words."""
    with urllib.request.urlopen(f"{server.url}/v1/conversations?query={words}", timeout=60) as answer:
        return str(json.load(answer)["data"][0]["id"])
