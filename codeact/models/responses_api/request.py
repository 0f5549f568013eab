"""Builds the body of a request to the Responses API from chat messages. No I/O."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from codeact.model import AnswerFormat, ChatMessage, PastCall, Sampling, Tool
from codeact.models.shared.chat_messages import ITEMS, images_apart
from codeact.models.shared.fallbacks import without_system

__all__ = ["AS_IT_IS", "ResponsesForm", "input_items", "may_go_back"]

_IS_REFUSED = re.compile(
    r"not|n't|un(?:support|know|recogni|expect|permitt)\w*|invalid|extra|must|only|forbidden", re.IGNORECASE
)
_ENCRYPTED = re.compile(r"encrypted|\binclude\b", re.IGNORECASE)
_REASONING = re.compile(r"reasoning.{0,40}\bitems?\b|\btype.{0,20}['\"`]reasoning['\"`]|\brs_\w", re.IGNORECASE)
_SUMMARY = re.compile(r"reasoning\.summary|reasoning summar", re.IGNORECASE)
_PHASE = re.compile(r"\bphase\b", re.IGNORECASE)
_IMAGES = re.compile(r"output.{0,80}(?:image|must be a string|valid string|content part)|input_image", re.IGNORECASE)
_FORMAT = re.compile(r"json_schema|json_object|text\.format|structured output", re.IGNORECASE)
_PREVIOUS = re.compile(r"previous[_ ]response", re.IGNORECASE)
_INSTRUCTIONS = re.compile(r"\binstructions\b", re.IGNORECASE)
_WORDS_CHARS = 2_000


@dataclass(frozen=True, slots=True)
class ResponsesForm:
    """The form of requests that a server accepts. Optional fields that it has refused are left out.

    `encrypted`: ask for encrypted reasoning. `reasoning`, `phase`: send its own back. `summary`: ask for a summary of
    the reasoning. `tool_images`: results of calls may contain images. `continues`: over a WebSocket, continue from the
    socket's last response.
    """

    encrypted: bool = True
    reasoning: bool = True
    summary: bool = True
    phase: bool = True
    tool_images: bool = True
    instructions: bool = True
    answer_format: bool = True
    continues: bool = True

    def after(self, words: str) -> "ResponsesForm | None":
        """The next form to try, if this error text refuses the current form; None if it refuses something else."""
        words = words[:_WORDS_CHARS]
        if not _IS_REFUSED.search(words):
            return None
        if self.continues and _PREVIOUS.search(words):
            return replace(self, continues=False)
        if self.encrypted and _ENCRYPTED.search(words):
            return replace(self, encrypted=False)
        if self.summary and _SUMMARY.search(words):
            return replace(self, summary=False)
        if self.reasoning and _REASONING.search(words):
            return replace(self, reasoning=False)
        if self.phase and _PHASE.search(words):
            return replace(self, phase=False)
        if self.answer_format and _FORMAT.search(words):
            return replace(self, answer_format=False)
        if self.tool_images and _IMAGES.search(words):
            return replace(self, tool_images=False)
        if self.instructions and _INSTRUCTIONS.search(words):
            return replace(self, instructions=False)
        return None

    def request(self, messages: Sequence[ChatMessage], sampling: Sampling) -> dict[str, Any]:
        """The fields of a request, except the model's name; None: the server decides.

        Each request contains the whole conversation and asks the server to store nothing.
        """
        if not self.tool_images:
            messages = images_apart(messages)
        instructions: str | None = None
        if not self.instructions:
            messages = without_system(messages)
        elif messages and messages[0].role == "system" and isinstance(messages[0].content, str):
            instructions, messages = messages[0].content, messages[1:]
        logprobs = [] if sampling.logprobs is None else ["message.output_text.logprobs"]
        reasoning = {
            "effort": sampling.reasoning_effort,
            "summary": sampling.reasoning_summary if self.summary else None,
        }
        reasoning = {name: value for name, value in reasoning.items() if value is not None}
        return {
            "instructions": instructions,
            "input": input_items(messages, reasoning=self.reasoning, phase=self.phase),
            "stream": True,
            "store": False,
            "include": [*(["reasoning.encrypted_content"] if self.encrypted else []), *logprobs] or None,
            "top_logprobs": sampling.logprobs,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_output_tokens": sampling.max_output_tokens,
            "reasoning": reasoning or None,
            "tools": [_tool(tool) for tool in sampling.tools] or None,
            "tool_choice": sampling.tool_choice if sampling.tools else None,
            "text": _text_config(sampling.answer_format) if self.answer_format else None,
        }


AS_IT_IS = ResponsesForm()


def input_items(messages: Sequence[ChatMessage], *, reasoning: bool = True, phase: bool = True) -> list[dict[str, Any]]:
    """The conversation as input items. `reasoning`, `phase`: send the model's own back at their place."""
    customs = {call.id for message in messages for call in message.tool_calls if call.custom}
    items: list[dict[str, Any]] = []
    for message in messages:
        if message.role == "tool":
            kind = "custom_tool_call_output" if message.tool_call_id in customs else "function_call_output"
            items.append({"type": kind, "call_id": message.tool_call_id, "output": _content(message.content)})
        elif message.role == "assistant":
            items += _reply(message, reasoning=reasoning, phase=phase)
        else:
            items.append({"type": "message", "role": message.role, "content": _content(message.content)})
    return items


def _reply(message: ChatMessage, *, reasoning: bool, phase: bool) -> Iterator[dict[str, Any]]:
    """One reply of the model. Each reasoning item stands before the text or call to which it led."""
    kept = message.reasoning.get(ITEMS) if reasoning else None
    thoughts = [entry for entry in kept if may_go_back(entry["item"])] if isinstance(kept, list) else []
    yield from (entry["item"] for entry in thoughts if entry["at"] == 0)
    if message.content:
        text = message.content if isinstance(message.content, str) else _text(message.content)
        wire: dict[str, Any] = {"type": "message", "role": "assistant", "content": text}
        names = [entry["phase"] for entry in thoughts if "phase" in entry]
        yield {**wire, "phase": names[0]} if phase and names else wire
    for number, call in enumerate(message.tool_calls, 1):
        yield from (entry["item"] for entry in thoughts if entry["at"] == number)
        yield _call(call)


def may_go_back(item: dict[str, Any]) -> bool:
    """Whether a reasoning item is useful to a server that stored nothing: its id alone is not."""
    return bool(item.get("encrypted_content") or item.get("content"))


def _call(call: PastCall) -> dict[str, Any]:
    if call.custom:
        return {"type": "custom_tool_call", "call_id": call.id, "name": call.name, "input": call.arguments}
    return {"type": "function_call", "call_id": call.id, "name": call.name, "arguments": call.arguments}


def _tool(tool: Tool) -> dict[str, Any]:
    if tool.parameters is None:
        return {"type": "custom", "name": tool.name, "description": tool.description, "format": {"type": "text"}}
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", **function, "strict": False}


def _text_config(wanted: AnswerFormat | None) -> dict[str, Any] | None:
    if wanted is None or wanted.schema is None:
        return None if wanted is None else {"format": {"type": "json_object"}}
    strict = {} if wanted.strict is None else {"strict": wanted.strict}
    return {"format": {"type": "json_schema", "name": wanted.name, "schema": wanted.schema, **strict}}


def _content(content: str | list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    return content if isinstance(content, str) else [_part(part) for part in content]


def _part(part: dict[str, Any]) -> dict[str, Any]:
    if part["type"] == "image_url":
        image = part["image_url"]
        return {"type": "input_image", "image_url": image["url"], "detail": image.get("detail", "auto")}
    return {"type": "input_text", "text": part["text"]}


def _text(content: list[dict[str, Any]]) -> str:
    return "\n\n".join(part["text"] for part in content if part["type"] == "text")
