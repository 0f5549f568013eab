"""How fast the dashboard shows its pages: a database of 100,000 conversations is made, one flat dict of figures leaves.

It is the history's database (benchmarks/history.py), ending now. To be run where Streamlit is:
`.venv-dashboard/bin/codeact bench dashboard`. Without the browser's part: Streamlit's own test driver asks.

    PAGE_first_ms    the page in a session of its own, nothing kept from before; its default period, 7 days
    PAGE_next_ms     the same session asks again, as a refresh or a click does
    PAGE_year_ms     another session chooses the period of a year, nothing kept from before
    search_ms        conversations with a word, and the order by tokens
"""

import os
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio

from benchmarks.history import fill
from codeact.store import HistoryQuery, Store, embedded_mongod

__all__ = ["measure", "show"]

APP = Path(__file__).parent.parent / "streamlit_app" / "app.py"
PAGES = ("overview", "conversations", "conversation", "feedback", "errors", "latency", "cost", "live", "audit")
PERIODS = ("overview", "errors", "latency", "cost")
TIMEOUT_S = 60


async def measure(sandbox: str) -> dict[str, float]:
    """Makes the database and shows each page, in about four minutes on two cores. No sandbox is used."""
    with tempfile.TemporaryDirectory(prefix="codeact-bench-") as directory:
        async with embedded_mongod(Path(directory)) as uri:
            await fill(uri, end=datetime.now(UTC))
            async with Store.connect(uri) as store:
                [one] = (await store.history.find(HistoryQuery(), owner=None, limit=1)).conversations
            return await anyio.to_thread.run_sync(show, directory, one.id)


def show(data_dir: str, conversation_id: str) -> dict[str, float]:
    """Each page over the database in `data_dir`."""
    import streamlit
    from streamlit import config

    os.environ["CODEACT_DATA_DIR"] = data_dir
    config.set_option("server.address", "127.0.0.1")
    _run(_opened("live", {}))  # The first session of a process imports Streamlit's parts and opens the database.
    figures = {}
    for name in PAGES:
        streamlit.cache_data.clear()
        page = _opened(name, {"id": conversation_id} if name == "conversation" else {})
        figures[f"{name}_first_ms"] = _run(page)
        figures[f"{name}_next_ms"] = _run(page)
    for name in PERIODS:
        streamlit.cache_data.clear()
        figures[f"{name}_year_ms"] = _run(_opened(name, {"period": "1 y"}))
    figures["search_ms"] = _run(_opened("conversations", {"q": "word7", "sort": "most tokens"}))
    streamlit.cache_resource.clear()
    return figures


def _opened(name: str, query: Mapping[str, str]) -> Any:
    from streamlit.testing.v1 import AppTest

    page = AppTest.from_file(str(APP), default_timeout=TIMEOUT_S)
    page.query_params.update(query)
    return page.switch_page(f"views/{name}.py") if name != "overview" else page


def _run(page: Any) -> float:
    started = time.perf_counter()
    page.run()
    assert not page.exception
    assert len(page.title) == 1
    return (time.perf_counter() - started) * 1000
