"""A plain Python function as a model: it takes the messages and returns text, whole or in pieces."""

import inspect
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any

import anyio

from codeact.errors import ModelError
from codeact.model import ChatMessage, ModelEvent, Sampling, TextDelta, Usage
from codeact.models.shared.retry import estimated_usage

__all__ = ["FunctionModel"]

END = object()


class FunctionModel:
    """Calls `function(messages)`; each message is a dictionary with `role` and `content`.

    The function returns the reply: a text, an object with a text as `content`, what a `transformers` pipeline returns,
    or an iterable of pieces of text. It may be async, and it may be a generator. If it has parameters named `stop`,
    `temperature`, `top_p` or `max_output_tokens`, it gets these. A synchronous function runs in a thread; cancelling
    does not wait for it and drops what it still returns. Its exceptions are raised as `ModelError`.
    """

    def __init__(self, function: Callable[..., Any], *, name: str | None = None) -> None:
        self.name = name or str(getattr(function, "__name__", type(function).__name__))
        self._function = function
        self._takes = _parameters(function)

    async def stream(self, messages: Sequence[ChatMessage], sampling: Sampling) -> AsyncGenerator[ModelEvent, None]:
        """See `Model.stream`."""
        chat = [{"role": message.role, "content": message.content} for message in messages]
        options = {
            "stop": list(sampling.stop),
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_output_tokens": sampling.max_output_tokens,
        }
        call = partial(self._function, chat, **{name: options[name] for name in options if name in self._takes})
        try:
            async with aclosing(_pieces(await _called(call))) as pieces:
                async for piece in pieces:
                    if piece:
                        yield TextDelta(piece)
        except ModelError:
            raise
        except Exception as error:
            raise ModelError(f"The function {self.name} failed: {type(error).__name__}: {error}") from error

    async def estimate(self, messages: Sequence[ChatMessage], output: str) -> Usage:
        """See `Model.estimate`. Estimated from the length."""
        return estimated_usage([str(message.content) for message in messages], output)


def _parameters(function: Callable[..., Any]) -> set[str]:
    try:
        return set(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # Some callables written in C have no signature.
        return set()


async def _called(call: Callable[[], Any]) -> Any:
    function = call.func if isinstance(call, partial) else call
    method = getattr(function, "__call__", None)  # noqa: B004 - an object's method may be async
    if any(map(inspect.iscoroutinefunction, (function, method))):
        return await call()
    if any(map(inspect.isasyncgenfunction, (function, method))):
        return call()
    found = await anyio.to_thread.run_sync(call, abandon_on_cancel=True)
    return await found if inspect.isawaitable(found) else found


async def _pieces(reply: Any) -> AsyncGenerator[str, None]:
    """The pieces of text in a function's return value. Raises `ModelError` if it contains no text."""
    if isinstance(reply, AsyncIterable):
        async for piece in reply:
            yield _text(piece)
    elif isinstance(reply, Iterator):
        while (piece := await anyio.to_thread.run_sync(next, reply, END, abandon_on_cancel=True)) is not END:
            yield _text(piece)
    elif isinstance(reply, Iterable) and not isinstance(reply, str | dict):
        for piece in reply:
            yield _text(piece)
    else:
        yield _text(reply)


def _text(reply: Any) -> str:
    if isinstance(reply, str):
        return reply
    # A pipeline returns the reply, or the whole chat with the reply at its end.
    if isinstance(reply, dict) and "generated_text" in reply:
        generated = reply["generated_text"]
        return _text(generated[-1] if isinstance(generated, list) and generated else generated)
    content = reply.get("content") if isinstance(reply, dict) else getattr(reply, "content", None)
    if not isinstance(content, str):
        raise ModelError(f"A reply must be text, or have one as 'content', not {type(reply).__name__}.")
    return content
