"""Streams a scripted reply as a server of the Responses API does, and validates each event with the official types.

It validates requests with the official types, too, and answers invalid ones with status 400, as OpenAI does.
"""

import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from openai.types.responses import ResponseInputItemParam, ResponseStreamEvent
from openai.types.responses.response_create_params import ResponseCreateParamsStreaming
from pydantic import ConfigDict, TypeAdapter, ValidationError

__all__ = ["ResponseStream", "refusal_of"]

_EVENTS: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
_ITEMS: TypeAdapter[Any] = TypeAdapter(ResponseInputItemParam, config=ConfigDict(arbitrary_types_allowed=True))
_KNOWN = frozenset(ResponseCreateParamsStreaming.__annotations__) | frozenset(
    name for base in ResponseCreateParamsStreaming.__orig_bases__ for name in getattr(base, "__annotations__", {})
)  # type: ignore[attr-defined]

Write = Callable[[dict[str, Any]], Awaitable[None]]


def refusal_of(body: dict[str, Any]) -> str | None:
    """Returns why a request is invalid according to the official types, or None."""
    if strange := set(body) - _KNOWN:
        return f"Unknown parameter: '{min(strange)}'."
    items = body.get("input")
    for number, item in enumerate(items if isinstance(items, list) else ()):
        try:
            _ITEMS.validate_python(item)
        except ValidationError as error:
            return f"Invalid value for 'input[{number}]': {error.errors()[0]['msg']} ({json.dumps(item)[:300]})."
    return None


def tokens_of(text: str, tops: int) -> list[dict[str, Any]]:
    """A token for each word, as probable as one in `e`, with up to two alternatives."""

    def token(word: str, logprob: float) -> dict[str, Any]:
        return {"token": word, "logprob": logprob, "bytes": list(word.encode())}

    words = re.findall(r"\s*\w+|\s*\W", text)
    return [token(word, -1.0) | {"top_logprobs": [token(word, -1.0), token(" no", -2.0)][:tops]} for word in words]


@dataclass
class _Open:
    index: int
    item: dict[str, Any]
    text: list[str] = field(default_factory=list)


class ResponseStream:
    """Streams one response. Consecutive steps of one kind form one item."""

    def __init__(
        self,
        write: Write,
        model: str,
        *,
        custom: bool,
        usage: dict[str, Any] | None,
        asked: dict[str, Any],
        response_id: str = "resp_1",
    ) -> None:
        gives = "message.output_text.logprobs" in (asked.get("include") or ())
        self._tops: int | None = (asked.get("top_logprobs") or 0) if gives else None
        self._write = write
        self._usage = usage
        self._custom = custom
        self._number = 0
        self.output: list[dict[str, Any]] = []
        self._open: _Open | None = None
        self._call = -1
        self._response: dict[str, Any] = {
            "id": response_id,
            "object": "response",
            "created_at": 1.0,
            "model": model,
            "output": self.output,
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
        }

    async def begin(self) -> None:
        for kind in ("created", "in_progress"):
            await self._emit(f"response.{kind}", response=self._response | {"status": "in_progress"})

    async def text(self, delta: str) -> None:
        """Sends a piece of the assistant's text."""
        opened = await self._item("message", {"role": "assistant", "content": []})
        if not opened.text:
            part = {"type": "output_text", "text": "", "annotations": []}
            await self._of_item("response.content_part.added", opened, content_index=0, part=part)
        opened.text.append(delta)
        logprobs = [] if self._tops is None else tokens_of(delta, self._tops)
        await self._of_item("response.output_text.delta", opened, content_index=0, delta=delta, logprobs=logprobs)

    async def thought(self, delta: str) -> None:
        """Sends a piece of a reasoning summary."""
        opened = await self._item("reasoning", {"summary": []})
        opened.text.append(delta)
        await self._of_item("response.reasoning_summary_text.delta", opened, summary_index=0, delta=delta)

    async def kept(self, fields: dict[str, Any]) -> None:
        """Sets fields of a reasoning item, such as `encrypted_content`."""
        opened = await self._item("reasoning", {"summary": []})
        opened.item.update(fields)

    async def call(self, index: int, arguments: str, name: str | None, call_id: str | None) -> None:
        """Sends a piece of the call with this index."""
        if index != self._call:
            await self.close()
            self._call = index
        kind = "custom_tool_call" if self._custom else "function_call"
        empty = {"input": ""} if self._custom else {"arguments": ""}
        opened = await self._item(kind, {"call_id": call_id, "name": name, **empty})
        if arguments:
            opened.text.append(arguments)
            event = "custom_tool_call_input" if self._custom else "function_call_arguments"
            await self._of_item(f"response.{event}.delta", opened, delta=arguments)

    async def close(self) -> None:
        """Ends the open item."""
        if self._open is None:
            return
        opened, self._open = self._open, None
        text = "".join(opened.text)
        item = opened.item
        match item["type"]:
            case "message":
                part = {"type": "output_text", "text": text, "annotations": []}
                await self._of_item("response.output_text.done", opened, content_index=0, text=text, logprobs=[])
                await self._of_item("response.content_part.done", opened, content_index=0, part=part)
                item["content"] = [part]
            case "reasoning":
                item["summary"] = [{"type": "summary_text", "text": text}] if text else []
            case "function_call":
                item["arguments"] = text
                await self._of_item("response.function_call_arguments.done", opened, arguments=text, name=item["name"])
            case "custom_tool_call":
                item["input"] = text
                await self._of_item("response.custom_tool_call_input.done", opened, input=text)
        if item["type"] != "custom_tool_call":
            item["status"] = "completed"
        await self._emit("response.output_item.done", output_index=opened.index, item=item)

    async def end(self, finish: str) -> None:
        """Sends the last event. It has the usage, translated from the fields of a chat completion."""
        await self.close()
        status = "incomplete" if finish in ("length", "content_filter") else "completed"
        response = self._response | {"status": status}
        if status == "incomplete":
            reason = "max_output_tokens" if finish == "length" else finish
            response["incomplete_details"] = {"reason": reason}
        if self._usage is not None:
            response["usage"] = _usage(self._usage)
        await self._emit(f"response.{status}", response=response)

    async def fail(self, error: dict[str, Any]) -> None:
        await self._emit("response.failed", response=self._response | {"status": "failed", "error": error})

    async def _item(self, kind: str, fields: dict[str, Any]) -> _Open:
        if self._open is not None and self._open.item["type"] == kind:
            return self._open
        await self.close()
        index = len(self.output)
        item = {"type": kind, "id": f"item_{index}", **fields}
        if kind != "custom_tool_call":
            item["status"] = "in_progress"
        self.output.append(item)
        self._open = _Open(index, item)
        await self._emit("response.output_item.added", output_index=index, item=item)
        return self._open

    async def _of_item(self, kind: str, opened: _Open, **fields: Any) -> None:
        await self._emit(kind, item_id=opened.item["id"], output_index=opened.index, **fields)

    async def _emit(self, kind: str, **fields: Any) -> None:
        event = {"type": kind, "sequence_number": self._number, **fields}
        self._number += 1
        _EVENTS.validate_python(event)
        await self._write(event)


def _usage(usage: dict[str, Any]) -> dict[str, Any]:
    prompt, completion = usage.get("prompt_tokens", 0), usage.get("completion_tokens", 0)
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0)
    reasoning = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens", 0)
    return {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
        "output_tokens": completion,
        "output_tokens_details": {"reasoning_tokens": reasoning},
        "total_tokens": prompt + completion,
    }
