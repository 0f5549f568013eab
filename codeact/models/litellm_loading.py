"""litellm takes seconds to import and half a second for its first call: a thread does both, the module leaves.

Nothing else imports it, so that a server listens at once and `demo` never pays for it.
"""

import asyncio
import contextlib
import importlib
import logging
import os
import threading
from concurrent.futures import Future
from typing import Any

import anyio

__all__ = ["CLOSE_DEADLINE_S", "close", "preload"]

CLOSE_DEADLINE_S = 5.0

_loading: Future[Any] | None = None


def preload() -> Future[Any]:
    """Starts importing litellm in a thread, once, and returns at once; the result is the module."""
    global _loading
    if _loading is None:
        _loading = Future()
        threading.Thread(target=_import, args=(_loading,), name="import-litellm", daemon=True).start()
    return _loading


def _import(loading: Future[Any]) -> None:
    loading.set_running_or_notify_cancel()  # From here on, a waiter that is cancelled does not cancel it.
    # Read at import: prices come from the package, not the network, and a stray `.env` beside it is left alone.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    os.environ.setdefault("LITELLM_MODE", "PRODUCTION")
    # Nor does a proxy stand between us and a model on this machine.
    direct = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = f"{direct},localhost,127.0.0.1,::1".lstrip(",")
    try:
        litellm: Any = importlib.import_module("litellm")
        litellm.telemetry = False
        litellm.suppress_debug_info = True
        litellm.disable_hf_tokenizer_download = True
        for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        asyncio.run(_warm_up(litellm))
    except BaseException as error:
        loading.set_exception(error)
    else:
        loading.set_result(litellm)


async def _warm_up(litellm: Any) -> None:
    """The first call of litellm loads the other half of it, and would hold the server up for half a second.

    So that happens here: a call that is refused at once (nobody listens on port 0), and a made-up answer.
    """
    call = {"model": "openai/x", "messages": [{"role": "user", "content": "a"}], "stream": True}
    with contextlib.suppress(Exception):
        await litellm.acompletion(**call, api_base="http://127.0.0.1:0", api_key="none", max_retries=0)
    with contextlib.suppress(Exception):
        async for _ in await litellm.acompletion(**call, mock_response="a"):
            pass
    await _close_clients(litellm)


async def close() -> None:
    """Closes the connections that litellm keeps open for the running event loop; call it before that ends."""
    if _loading is not None and _loading.done():
        await _close_clients(_loading.result())


async def _close_clients(litellm: Any) -> None:
    clients = litellm.in_memory_llm_clients_cache.cache_dict
    suffix = f"-{id(asyncio.get_running_loop())}"
    with anyio.move_on_after(CLOSE_DEADLINE_S, shield=True):
        for key in [key for key in clients if str(key).endswith(suffix)]:
            await clients.pop(key).close()
