"""Lets code in a kernel call functions outside of its sandbox, and returns their values to it.

`sandbox_pool.calls` sends this file to the kernel, where it becomes the module `codeact_calls`. A call is an IOPub
message `codeact_call`. Its value comes on the control channel, which the kernel serves in a separate thread, so any
number of threads can wait for calls at the same time. An interrupt ends the wait.

Arguments and values are JSON. Values that JSON lacks are objects of the form `{"$codeact": kind, "value": …}`: tuples,
sets, dictionaries with keys that are not strings, dates, bytes, and numbers that are not finite. `codeact.tools.values`
does the same on the server. For anything else, the call raises an error that says what to pass instead.
"""

import base64
import datetime
import decimal
import json
import math
import os
import secrets
import threading
from concurrent.futures import Future
from typing import Any

from IPython import get_ipython

ARGUMENTS_BYTES = 1_000_000
KIND, VALUE = "$codeact", "value"
ELSE = "pass text, numbers, lists, dictionaries, dates or bytes"
INSTEAD = {
    "DataFrame": "pass .to_dict('records') or .to_csv()",
    "Series": "pass .tolist() or .to_dict()",
    "ndarray": "pass .tolist()",
    "Image": "save it to an io.BytesIO and pass its .getvalue()",
    "Figure": "save it to an io.BytesIO with .savefig() and pass its .getvalue()",
    "datetime64": "pass .astype('datetime64[us]').item()",
    "timedelta64": "pass .astype('timedelta64[us]').item()",
    "NaTType": "pass None",
    "NAType": "pass None",
}

_waiting: dict[str, "Future[dict[str, Any]]"] = {}
_sending = threading.Lock()
_process = os.getpid()


class CallError(Exception):
    """The function outside of the sandbox failed. The message is the function's error."""


def call(name: str, arguments: dict[str, Any]) -> Any:
    """Calls a function and returns its value. Raises `CallError` if it fails, `TypeError` for unsupported arguments."""
    if os.getpid() != _process:
        raise CallError(
            f"{name}() cannot be called in a forked process, which has no way out of the sandbox. Call it before, or in"
            " a thread, and pass its value on."
        )
    try:
        text = json.dumps({key: _encoded(value, key) for key, value in arguments.items()}, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(f"{name}() takes what JSON can say, dates and bytes: {error}") from None
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
    return json.loads(reply["value"], object_hook=_decoded)


def _encoded(value: Any, place: str) -> Any:
    kind = type(value)
    instead = next((INSTEAD[base.__name__] for base in kind.__mro__ if base.__name__ in INSTEAD), None)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        text = str.__str__(value)
        if not _is_unicode(text):
            raise TypeError(
                f"{place} is text with halves of characters; pass bytes: .encode('utf-8', 'surrogateescape')"
            )
        return text
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {KIND: "float", VALUE: repr(float(value))}
    if isinstance(value, list):
        return [_encoded(item, place) for item in value]
    if kind in (tuple, set, frozenset):
        return {KIND: kind.__name__, VALUE: [_encoded(item, place) for item in value]}
    if isinstance(value, dict):
        if all(isinstance(key, str) for key in value) and KIND not in value:
            return {_encoded(key, place): _encoded(item, place) for key, item in value.items()}
        return {KIND: "dict", VALUE: [[_encoded(key, place), _encoded(item, place)] for key, item in value.items()]}
    if isinstance(value, (bytes, bytearray)):
        return {KIND: "bytes", VALUE: base64.b64encode(value).decode()}
    if instead is None and kind.__module__.partition(".")[0] == "numpy" and hasattr(value, "item"):
        return _encoded(value.item(), place)
    if instead is None and not getattr(value, "nanosecond", 0) and not getattr(value, "nanoseconds", 0):
        if isinstance(value, datetime.datetime):
            return {KIND: "datetime", VALUE: datetime.datetime.isoformat(value)}
        if isinstance(value, (datetime.date, datetime.time)):
            return {KIND: kind.__name__, VALUE: value.isoformat()}
        if isinstance(value, datetime.timedelta):
            return {KIND: "timedelta", VALUE: [value.days, value.seconds, value.microseconds]}
        if isinstance(value, decimal.Decimal):
            return {KIND: "Decimal", VALUE: str(value)}
    raise TypeError(f"{place} is a {kind.__name__}; {instead or ELSE}")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _decoded(found: dict[str, Any]) -> Any:
    if found.keys() != {KIND, VALUE}:
        return found
    make, value = MADE.get(str(found[KIND])), found[VALUE]
    return found if make is None else make(value)


MADE: dict[str, Any] = {
    "float": float,
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "dict": dict,
    "bytes": base64.b64decode,
    "datetime": datetime.datetime.fromisoformat,
    "date": datetime.date.fromisoformat,
    "time": datetime.time.fromisoformat,
    "timedelta": lambda parts: datetime.timedelta(*parts),
    "Decimal": decimal.Decimal,
}


async def _returned(stream: Any, ident: Any, parent: dict[str, Any]) -> None:
    content = parent["content"]
    answer = _waiting.get(content["call_id"])
    if answer is not None and not answer.done():
        answer.set_result(content)


get_ipython().kernel.control_handlers["codeact_return"] = _returned
