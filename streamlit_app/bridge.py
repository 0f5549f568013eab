"""Calls the store's event loop from Streamlit's threads.

One thread per process runs one event loop, which owns the one open `Store`. The script of a session waits for its
answers there; each is bounded by the store's own deadlines.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

import streamlit as st

from codeact.settings import Settings
from codeact.store import Store, open_store

__all__ = ["ask", "run", "settings"]

T = TypeVar("T")
Question = Callable[[Store], Coroutine[Any, Any, T]]


@st.cache_resource(show_spinner=False)
def settings() -> Settings:
    """Those of the environment and `.env`. Raises `ConfigurationError`."""
    return Settings.load()


def ask(question: Question[T]) -> T:
    """What the store answers. Raises as the store does, also where no database can be opened."""
    return _bridge().ask(question)


def run(work: Coroutine[Any, Any, T]) -> T:
    """What something else that is asynchronous gives."""
    return asyncio.run(work)


class _Bridge:
    """Opened once, until the process ends or `close`. Any thread may ask."""

    def __init__(self, settings: Settings) -> None:
        opened: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event, Store]] = Future()
        # A daemon, since nothing tells us when Streamlit ends; the database's locks end with the process.
        self._thread = threading.Thread(target=asyncio.run, args=(_hold(settings, opened),), name="store", daemon=True)
        self._thread.start()
        self._loop, self._closing, self._store = opened.result()

    def ask(self, question: Question[T]) -> T:
        return asyncio.run_coroutine_threadsafe(question(self._store), self._loop).result()

    def close(self) -> None:
        """Closes the store and waits for that."""
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join()


async def _hold(settings: Settings, opened: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event, Store]]) -> None:
    closing = asyncio.Event()
    try:
        async with open_store(settings) as store:
            opened.set_result((asyncio.get_running_loop(), closing, store))
            await closing.wait()
    except Exception as error:
        if opened.done():
            raise
        opened.set_exception(error)


@st.cache_resource(show_spinner="Opening the database …", on_release=_Bridge.close)
def _bridge() -> _Bridge:
    return _Bridge(settings())
