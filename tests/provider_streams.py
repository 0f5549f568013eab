"""Streams a scripted reply in the published formats of Anthropic's Messages API and Gemini's `streamGenerateContent`.

It also checks requests as these services do, and answers invalid ones with status 400 and the service's message.
"""

import json
from collections.abc import Awaitable, Callable
from typing import Any

__all__ = ["AnthropicStream", "GeminiStream", "refusal_by_anthropic", "refusal_by_gemini"]

Write = Callable[[dict[str, Any]], Awaitable[None]]
CACHE_MARKS = 4


class AnthropicStream:
    """Streams a message (https://docs.anthropic.com/en/api/messages-streaming). Equal steps form one content block."""

    def __init__(self, write: Write, model: str, usage: dict[str, Any] | None) -> None:
        self._write = write
        self._model = model
        self._usage = usage or {}
        self._index = -1
        self._kind: Any = None
        self._calls = False

    async def begin(self) -> None:
        cached = (self._usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0)
        usage = {
            "input_tokens": self._usage.get("prompt_tokens", 1) - cached,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": cached,
            "output_tokens": 1,
        }
        message = {"id": "msg_1", "type": "message", "role": "assistant", "model": self._model, "content": []}
        ends = {"stop_reason": None, "stop_sequence": None, "usage": usage}
        await self._write({"type": "message_start", "message": {**message, **ends}})
        await self._write({"type": "ping"})

    async def text(self, delta: str) -> None:
        await self._block("text", {"type": "text", "text": ""})
        await self._delta({"type": "text_delta", "text": delta})

    async def thought(self, delta: str) -> None:
        await self._block("thinking", {"type": "thinking", "thinking": "", "signature": ""})
        await self._delta({"type": "thinking_delta", "thinking": delta})

    async def kept(self, fields: dict[str, Any]) -> None:
        """Sends the `signature` of the thought, or the `data` of a redacted thought."""
        if "data" in fields:
            await self._block("redacted", {"type": "redacted_thinking", **fields})
            return
        await self._block("thinking", {"type": "thinking", "thinking": "", "signature": ""})
        await self._delta({"type": "signature_delta", **fields})

    async def call(self, index: int, arguments: str, name: str | None, call_id: str | None) -> None:
        self._calls = True
        await self._block(("call", index), {"type": "tool_use", "id": call_id, "name": name, "input": {}})
        await self._delta({"type": "input_json_delta", "partial_json": arguments})

    async def end(self, finish: str) -> None:
        await self._close()
        reason = "tool_use" if self._calls else {"length": "max_tokens"}.get(finish, "end_turn")
        usage = {"output_tokens": self._usage.get("completion_tokens", 1)}
        delta = {"stop_reason": reason, "stop_sequence": None}
        await self._write({"type": "message_delta", "delta": delta, "usage": usage})
        await self._write({"type": "message_stop"})

    async def _block(self, kind: Any, block: dict[str, Any]) -> None:
        if kind == self._kind and kind != "redacted":
            return
        await self._close()
        self._kind = kind
        self._index += 1
        await self._write({"type": "content_block_start", "index": self._index, "content_block": block})

    async def _delta(self, delta: dict[str, Any]) -> None:
        await self._write({"type": "content_block_delta", "index": self._index, "delta": delta})

    async def _close(self) -> None:
        if self._kind is not None:
            await self._write({"type": "content_block_stop", "index": self._index})
        self._kind = None


class GeminiStream:
    """Streams an answer (https://ai.google.dev/api/generate-content). A call is sent whole, with its signature."""

    def __init__(self, write: Write, model: str, usage: dict[str, Any] | None) -> None:
        self._write = write
        self._usage = usage or {}
        self._calls: dict[int, tuple[str, list[str], str | None]] = {}
        self._signature: str | None = None

    async def begin(self) -> None:
        """Does nothing: the stream begins with the first part."""

    async def text(self, delta: str) -> None:
        await self._part({"text": delta})

    async def thought(self, delta: str) -> None:
        await self._part({"text": delta, "thought": True})

    async def kept(self, fields: dict[str, Any]) -> None:
        """Sets the `signature` of the next part."""
        self._signature = fields["signature"]

    async def call(self, index: int, arguments: str, name: str | None, call_id: str | None) -> None:
        if index not in self._calls:
            self._calls[index] = (name or "", [], self._signature)
            self._signature = None
        self._calls[index][1].append(arguments)

    async def end(self, finish: str) -> None:
        for name, arguments, signature in self._calls.values():
            self._signature = signature
            await self._part({"functionCall": {"name": name, "args": json.loads("".join(arguments))}})
        cached = (self._usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0)
        counted = {
            "promptTokenCount": self._usage.get("prompt_tokens", 1),
            "candidatesTokenCount": self._usage.get("completion_tokens", 1),
            "cachedContentTokenCount": cached,
            "totalTokenCount": self._usage.get("prompt_tokens", 1) + self._usage.get("completion_tokens", 1),
        }
        reason = "MAX_TOKENS" if finish == "length" else "STOP"
        last = {"content": {"parts": [{"text": ""}], "role": "model"}, "finishReason": reason, "index": 0}
        await self._write({"candidates": [last], "usageMetadata": counted, "modelVersion": "gemini"})

    async def _part(self, part: dict[str, Any]) -> None:
        if self._signature is not None and not part.get("thought"):
            part, self._signature = {**part, "thoughtSignature": self._signature}, None
        candidate = {"content": {"parts": [part], "role": "model"}, "index": 0}
        await self._write({"candidates": [candidate], "modelVersion": "gemini"})


def refusal_by_anthropic(body: dict[str, Any]) -> str | None:
    """Returns why Anthropic would refuse the request, or None."""
    marks = json.dumps(body).count('"cache_control"')
    if marks > CACHE_MARKS:
        return f"A maximum of 4 blocks with cache_control may be provided. Found {marks}."
    pending: set[str] = set()
    for number, message in enumerate(body["messages"]):
        blocks = message["content"] if isinstance(message["content"], list) else []
        results = {block["tool_use_id"] for block in blocks if block["type"] == "tool_result"}
        if results != pending:
            return f"messages.{number}: `tool_use` ids were found without `tool_result` blocks immediately after"
        pending = {block["id"] for block in blocks if block["type"] == "tool_use"}
        for place, block in enumerate(blocks):
            if block["type"] == "thinking" and not block.get("signature"):
                return f"messages.{number}.content.{place}: Invalid `signature` in `thinking` block"
        kinds = [block["type"] for block in blocks]
        if body.get("thinking") and pending and kinds[0] not in ("thinking", "redacted_thinking"):
            return (
                f"messages.{number}.content.0.type: Expected `thinking` or `redacted_thinking`, but found `{kinds[0]}`"
            )
    return None


def refusal_by_gemini(body: dict[str, Any]) -> str | None:
    """Returns why Gemini 3 would refuse the request, or None."""
    for number, content in enumerate(body["contents"]):
        calls = [part for part in content["parts"] if "functionCall" in part or "function_call" in part]
        if calls and not (calls[0].get("thoughtSignature") or calls[0].get("thought_signature")):
            return f"Function call in the {number}. content block is missing a thought_signature."
    return None
