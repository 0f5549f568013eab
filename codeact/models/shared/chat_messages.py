"""Converts our messages to the dictionaries of the Chat Completions API, for both adapters."""

from collections.abc import Sequence
from typing import Any

from codeact.model import ChatMessage, PastCall, Tool

__all__ = ["ITEMS", "as_chat", "as_chat_tool", "images_apart"]

ITEMS = "responses_items"
"""The field of a message's `reasoning` that only the Responses API uses. It is left out of Chat Completions."""
DISPLAYED = "[What the code displayed:]"


def as_chat(message: ChatMessage) -> dict[str, Any]:
    """Converts one message. The API requires `content` null for an assistant message that has calls and no text."""
    wire: dict[str, Any] = {"role": message.role, "content": message.content}
    if not message.tool_calls and message.tool_call_id is None and not message.reasoning:
        return wire
    if message.tool_calls:
        wire["content"] = message.content or None
        wire["tool_calls"] = [_call(call) for call in message.tool_calls]
    if message.tool_call_id is not None:
        wire["tool_call_id"] = message.tool_call_id
    return wire | {name: value for name, value in message.reasoning.items() if name != ITEMS}


def as_chat_tool(tool: Tool) -> dict[str, Any]:
    """Converts a tool for a request."""
    if tool.parameters is None:
        return {"type": "custom", "custom": {"name": tool.name, "description": tool.description}}
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function}


def images_apart(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """For servers that allow only text in the results of calls: moves the images into the following user message."""
    apart: list[ChatMessage] = []
    waiting: list[dict[str, Any]] = []
    for message in messages:
        if waiting and message.role != "tool":
            shown = [{"type": "text", "text": DISPLAYED}, *waiting]
            waiting = []
            if message.role == "user":
                rest = message.content
                shown += [{"type": "text", "text": rest}] if isinstance(rest, str) else rest
                apart.append(ChatMessage("user", shown))
                continue
            apart.append(ChatMessage("user", shown))
        if message.role == "tool" and isinstance(message.content, list):
            waiting += [part for part in message.content if part["type"] != "text"]
            text = "\n\n".join(part["text"] for part in message.content if part["type"] == "text")
            message = ChatMessage("tool", text, tool_call_id=message.tool_call_id)
        apart.append(message)
    if waiting:
        apart.append(ChatMessage("user", [{"type": "text", "text": DISPLAYED}, *waiting]))
    return apart


def _call(call: PastCall) -> dict[str, Any]:
    if call.custom:
        return {"id": call.id, "type": "custom", "custom": {"name": call.name, "input": call.arguments}}
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
