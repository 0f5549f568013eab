"""Measures how fast the dashboard shows its pages, with a database of 100,000 conversations.

The database is that of benchmarks/history.py, ending now, with 100,000 audit entries and 5,000 ratings. A server with
the demo model runs at the same time; it answers three questions while the page Live is shown. Run it where Streamlit is
installed: `.venv-dashboard/bin/codeact bench dashboard --sandbox process`. The browser's part is not measured:
Streamlit's own test driver opens the pages.

    PAGE_first_ms      the page in a new session with empty caches; its default period, 7 days
    PAGE_next_ms       the same session asks again, as a refresh or a click does; median of 5
    PAGE_year_ms       another session chooses the period of a year, with empty caches
    PAGE_year_next_ms  the same session asks again; median of 5
    search_ms          conversations with a word, and the order by tokens
"""

import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
from pymongo import AsyncMongoClient

from benchmarks.history import fill
from codeact.models.demo.model import EXAMPLES
from codeact.store import HistoryQuery, Store, embedded_mongod

__all__ = ["measure", "show"]

APP = Path(__file__).parent.parent / "streamlit_app" / "app.py"
PAGES = (
    "overview",
    "conversations",
    "conversation",
    "feedback",
    "errors",
    "latency",
    "cost",
    "live",
    "sandboxes",
    "audit",
    "health",
)
PERIODS = ("overview", "errors", "latency", "cost")
TIMEOUT_S = 60
AUDITED, RATED = 100_000, 5_000


async def measure(sandbox: str) -> dict[str, float]:
    """Makes the database and shows each page, in about four minutes on two cores."""
    with tempfile.TemporaryDirectory(prefix="codeact-bench-") as directory:
        async with embedded_mongod(Path(directory)) as uri:
            await fill(uri, end=datetime.now(UTC))
            await fill_more(uri)
            async with Store.connect(uri) as store:
                [one] = (await store.history.find(HistoryQuery(), owner=None, limit=1)).conversations
            return await anyio.to_thread.run_sync(show, directory, one.id, sandbox)


def show(data_dir: str, conversation_id: str, sandbox: str) -> dict[str, float]:
    """Shows each page with the database in `data_dir`; returns the figures."""
    import streamlit
    from streamlit import config

    try:
        with _server(data_dir, sandbox) as url:
            os.environ |= {"CODEACT_DATA_DIR": data_dir, "CODEACT_URL": url, "CODEACT_MODEL": "demo"}
            config.set_option("server.address", "127.0.0.1")
            figures = _figures(url, conversation_id)
    finally:
        streamlit.cache_resource.clear()  # It contains the open database.
    return {name.replace("year_first", "year"): round(value, 1) for name, value in figures.items()}


def _figures(url: str, conversation_id: str) -> dict[str, float]:
    _run(_opened("live", {}))  # The first session of a process imports Streamlit's modules and opens the database.
    figures: dict[str, float] = {}
    for name in PAGES:
        if name == "live":
            for _ in range(3):
                _ask(url, next(example for example in EXAMPLES if example.startswith("Count")))
        figures |= _shown(name, name, {"id": conversation_id} if name == "conversation" else {})
    for name in PERIODS:
        figures |= _shown(name, f"{name}_year", {"period": "1 y"})
    figures["search_ms"] = _run(_opened("conversations", {"q": "word7", "sort": "most tokens"}))
    return figures


def _shown(name: str, called: str, query: Mapping[str, str]) -> dict[str, float]:
    import streamlit

    streamlit.cache_data.clear()
    page = _opened(name, query)
    first = _run(page)
    return {f"{called}_first_ms": first, f"{called}_next_ms": statistics.median(_run(page) for _ in range(5))}


def _opened(name: str, query: Mapping[str, str]) -> Any:
    from streamlit.testing.v1 import AppTest

    page = AppTest.from_file(str(APP), default_timeout=TIMEOUT_S)
    page.query_params.update(query)
    return page.switch_page(f"views/{name}.py") if name != "overview" else page


def _run(page: Any) -> float:
    started = time.perf_counter()
    page.run()
    assert not page.exception
    # An error of the page itself has an icon; an exception of code in a conversation has none.
    assert not any(one.icon for one in page.error), [one.value for one in page.error]
    assert len(page.title) == 1
    return (time.perf_counter() - started) * 1000


# ---- a server, and what only servers write -----------------------------------------------------------


@contextmanager
def _server(data_dir: str, sandbox: str) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    settings = {"CODEACT_DATA_DIR": data_dir, "CODEACT_PORT": port, "CODEACT_MODEL": "demo", "CODEACT_SANDBOX": sandbox}
    command = [str(Path(sys.executable).with_name("codeact")), "serve"]
    process = subprocess.Popen(command, env={**os.environ, **settings}, cwd=data_dir, stdout=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_for(f"{url}/readyz")
        yield url
    finally:
        process.terminate()
        process.wait()


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
    raise TimeoutError(f"{url} did not answer 200 within 120 s.")


def _ask(url: str, text: str) -> None:
    body = json.dumps({"input": text, "background": True}).encode()
    urllib.request.urlopen(urllib.request.Request(f"{url}/v1/responses", body, {"Content-Type": "application/json"}))


async def fill_more(uri: str) -> None:
    """Adds an audit log of three months and ratings of answers, both ending now."""
    rng, now = random.Random(0), datetime.now(UTC)
    async with AsyncMongoClient(uri) as client:
        database = client.get_database("codeact")
        entries = [_entry(now - timedelta(days=90) * (1 - number / AUDITED), rng) for number in range(AUDITED)]
        await database["audit"].insert_many(entries)
        found = database["responses"].find({}, {"owner": 1, "created_at": 1, "response.conversation.id": 1})
        ratings = [_rating(one, rng) async for one in found.limit(RATED)]
        await database["feedback"].insert_many(ratings)


def _entry(at: datetime, rng: random.Random) -> dict[str, Any]:
    return {
        "at": at,
        "owner": f"owner{rng.randrange(50)}",
        "credential_id": None,
        "action": rng.choice(
            ("response.create", "DELETE /v1/conversations/{conversation_id}", "GET /v1/blobs/{sha256}")
        ),
        "subject": f"resp_{rng.getrandbits(128):032x}",
        "status": 200,
        "address": "127.0.0.1",
        "purge_at": at + timedelta(days=90, hours=1),
    }


def _rating(response: Mapping[str, Any], rng: random.Random) -> dict[str, Any]:
    return {
        "_id": response["_id"],
        "owner": response["owner"],
        "conversation_id": response["response"]["conversation"]["id"],
        "rating": rng.choice(("up", "down")),
        "comment": rng.choice((None, "Right, and quick.")),
        "created_at": response["created_at"],
    }
