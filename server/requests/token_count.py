"""Parses the body of `POST /v1/responses/input_tokens`."""

from typing import Any, Literal

import msgspec

from codeact.dialect import Name
from codeact.runs.input_items import InputItem, mark_messages
from codeact.server.requests.create import AskedReasoning, AskedText, ConversationId, CreateRequest, parse_create
from codeact.server.requests.parameters import checked
from codeact.server.requests.tool_choices import Choice
from codeact.server.requests.tools import Tool
from codeact.server.requests.unserved_tools import without_optional

__all__ = ["InputTokens", "InputTokensBody", "parse_input_tokens"]


class InputTokensBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The fields of a create request that affect the prompt."""

    input: str | list[InputItem] | None = None
    model: str | None = None
    instructions: str | None = None
    conversation: str | ConversationId | None = None
    previous_response_id: str | None = None
    tools: list[Tool] | None = None
    tool_choice: Literal["auto", "none", "required"] | Choice | None = None
    text: AskedText | None = None
    reasoning: AskedReasoning | None = None
    truncation: Literal["auto", "disabled"] | None = None
    parallel_tool_calls: bool | None = None
    dialect: Name | None = msgspec.field(default=None, name="codeact:dialect")


class InputTokens(msgspec.Struct):
    input_tokens: int
    object: Literal["response.input_tokens"] = "response.input_tokens"


def parse_input_tokens(body: Any, *, drops_tools: bool = False) -> CreateRequest:
    """The request whose prompt is counted. Raises `InvalidRequest`, which names the parameter."""
    if isinstance(body, dict) and "input" in body:
        body = body | {"input": mark_messages(body["input"])}
    body, _ = without_optional(body, drops=drops_tools)
    checked(body, InputTokensBody)
    return parse_create({name: value for name, value in body.items() if value is not None} | {"generate": False})
