"""Calls the store's event loop from Streamlit's threads.

One thread per process runs an event loop, which owns the one open `Store`. A session's script waits for its answers;
the store's own deadlines bound the wait.
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
    """The settings from the environment and `.env`. Raises `ConfigurationError`."""
    return Settings.load()


def ask(question: Question[T]) -> T:
    """The answer of the store. Raises the store's errors, also if no database can be opened."""
    return _bridge().ask(question)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine that does not use the store; returns its result."""
    return asyncio.run(work)


class _Bridge:
    """The thread with the open store.

    It runs until the process ends or `close` is called. Any thread may call `ask`.
    """

    def __init__(self, settings: Settings) -> None:
        opened: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event, Store]] = Future()
        # A daemon thread, because nothing tells us when Streamlit ends. The database's locks end with the process.
        self._thread = threading.Thread(
            target=asyncio.run, args=(_keep_open(settings, opened),), name="store", daemon=True
        )
        self._thread.start()
        self._loop, self._closing, self._store = opened.result()

    def ask(self, question: Question[T]) -> T:
        return asyncio.run_coroutine_threadsafe(question(self._store), self._loop).result()

    def close(self) -> None:
        """Closes the store and waits until it is closed."""
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join()


async def _keep_open(
    settings: Settings, opened: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event, Store]]
) -> None:
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
