"""What a kernel needs to call functions outside of its sandbox: a name and arguments leave, the value comes back.

Runs inside a sandbox as the module `codeact_calls`, sent there by `sandbox_pool.calls`. A call goes out as an
iopub message `codeact_call`; its value comes on the control channel, which a thread of its own serves, so that
any number of threads can wait for calls at once. An interrupt ends the wait.
"""

import json
import secrets
import threading
from concurrent.futures import Future
from typing import Any

from IPython import get_ipython

ARGUMENTS_BYTES = 1_000_000

_waiting: dict[str, "Future[dict[str, Any]]"] = {}
_sending = threading.Lock()


class CallError(Exception):
    """What a function outside of the sandbox answered in place of a value."""


def call(name: str, arguments: dict[str, Any]) -> Any:
    """The function's value. Raises `CallError` with its words where it failed, `TypeError` for what JSON cannot say."""
    try:
        text = json.dumps(arguments, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(f"{name}() takes what JSON can say: {error}") from None
    if len(text) > ARGUMENTS_BYTES:
        raise ValueError(f"{name}() takes at most {ARGUMENTS_BYTES:,} characters of JSON; these are {len(text):,}.")
    kernel = get_ipython().kernel
    call_id = f"call_{secrets.token_hex(16)}"
    answer = _waiting[call_id] = Future()
    try:
        with _sending:
            content = {"call_id": call_id, "name": name, "arguments": text}
            kernel.session.send(kernel.iopub_socket, "codeact_call", content, parent=kernel.get_parent("shell"))
        reply = answer.result()
    finally:
        del _waiting[call_id]
    if "error" in reply:
        raise CallError(reply["error"])
    return json.loads(reply["value"])


async def _returned(stream: Any, ident: Any, parent: dict[str, Any]) -> None:
    content = parent["content"]
    answer = _waiting.get(content["call_id"])
    if answer is not None and not answer.done():
        answer.set_result(content)


get_ipython().kernel.control_handlers["codeact_return"] = _returned
