"""Imports litellm in a thread, because importing and first using it takes seconds.

Nothing else imports it, so that a server listens at once and the demo never pays for it.
"""

import asyncio
import contextlib
import importlib
import logging
import os
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import anyio

from codeact.errors import ConfigurationError
from codeact.imports import without_garbage_collection
from sandbox_pool.extras import install_command, missing_extras

__all__ = ["CLOSE_DEADLINE_S", "check_installed", "close", "own_process", "preload"]

CLOSE_DEADLINE_S = 5.0
ENVIRONMENT = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION"}
"""litellm reads these while it is imported: with them it takes prices from its package instead of the network, and
ignores a `.env` file.
"""
LOGGERS = ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy")

_loading: Future[Any] | None = None


def own_process() -> None:
    """Sets the environment variables and log levels of the process that litellm uses.

    For the command line only, which has its own process. A program that uses `Agent` keeps its environment and logging.
    """
    # Do not use a proxy for a model on this machine.
    direct = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = f"{direct},localhost,127.0.0.1,::1".lstrip(",")
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)


def check_installed(name: str) -> None:
    """Raises `ConfigurationError` if litellm, which this model needs, is not installed."""
    if missing_extras("litellm"):
        raise ConfigurationError(
            f"The model '{name[:200]}' needs packages that are not installed: {install_command('litellm')}. A server"
            " that speaks as OpenAI's does, named in CODEACT_MODEL_API_BASE, needs none.",
            param="CODEACT_MODEL",
        )


def preload() -> Future[Any]:
    """Starts importing litellm in a thread, once, and returns immediately. The future's result is the module."""
    global _loading
    if _loading is None:
        _loading = Future()
        threading.Thread(target=_import, args=(_loading,), name="import-litellm", daemon=True).start()
    return _loading


def _import(loading: Future[Any]) -> None:
    loading.set_running_or_notify_cancel()  # From now on, cancelling a waiting caller does not cancel the import.
    is_ours = "litellm" not in sys.modules
    try:
        with _environment(), without_garbage_collection():
            litellm: Any = importlib.import_module("litellm")
        if is_ours:  # If the program imported it before us, its configuration stays as it is.
            litellm.telemetry = False
            litellm.suppress_debug_info = True
            litellm.disable_hf_tokenizer_download = True
        asyncio.run(_warm_up(litellm))
    except BaseException as error:
        loading.set_exception(error)
    else:
        loading.set_result(litellm)


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    """Sets `ENVIRONMENT` during the import, except for variables that are set already."""
    added = [name for name in ENVIRONMENT if name not in os.environ]
    os.environ.update({name: ENVIRONMENT[name] for name in added})
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


async def _warm_up(litellm: Any) -> None:
    """Makes litellm load the rest of itself, which it does in its first call and which takes half a second.

    Calls it once with an address that refuses connections (port 0), and once with a mock reply.
    """
    call = {"model": "openai/x", "messages": [{"role": "user", "content": "a"}], "stream": True}
    with contextlib.suppress(Exception):
        await litellm.acompletion(**call, api_base="http://127.0.0.1:0", api_key="none", max_retries=0)
    with contextlib.suppress(Exception):
        async for _ in await litellm.acompletion(**call, mock_response="a"):
            pass
    await _close_clients(litellm)


async def close() -> None:
    """Closes the connections that litellm has open in the running event loop. Call it before that loop ends."""
    if _loading is not None and _loading.done():
        await _close_clients(_loading.result())


async def _close_clients(litellm: Any) -> None:
    clients = litellm.in_memory_llm_clients_cache.cache_dict
    suffix = f"-{id(asyncio.get_running_loop())}"
    with anyio.move_on_after(CLOSE_DEADLINE_S, shield=True):
        for key in [key for key in clients if str(key).endswith(suffix)]:
            await clients.pop(key).close()
