"""Steering messages that wait until a response has what it waits for: values of the client's functions, approvals."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from codeact import events as e

__all__ = ["PendingSteers", "required_input"]

MOST_RESPONSES = 200
"""Of the responses whose steering waits, the one that was steered first is dropped beyond this."""


class PendingSteers:
    """The waiting messages, by the id of their response. They are as short-lived as the code that waits."""

    def __init__(self) -> None:
        self._messages: OrderedDict[str, tuple[str, Sequence[e.InputMessage]]] = OrderedDict()

    def keep(self, response_id: str, messages: Sequence[e.InputMessage], *, owner: str) -> None:
        self._messages[response_id] = owner, tuple(messages)
        if len(self._messages) > MOST_RESPONSES:
            self._messages.popitem(last=False)

    def of(self, response_id: str | None, *, owner: str) -> Sequence[e.InputMessage]:
        """The messages that come before the input of the request that continues this response."""
        kept_for, messages = self._messages.get(response_id or "", ("", ()))
        return messages if kept_for == owner else ()

    def drop(self, response_id: str | None) -> None:
        """Forgets the messages: a response has them now."""
        self._messages.pop(response_id or "", None)


def required_input(response: e.Response) -> list[dict[str, Any]]:
    """What a completed response waits for, as the beginnings of the items that the next request has to bring."""
    blocks = [item for item in response.output if isinstance(item, e.CodeInterpreterCall)]
    if response.status != "completed" or not blocks:
        return []
    waits = blocks[-1].waits_for
    found: list[dict[str, Any]] = []
    for item in response.output:
        match item:
            case e.FunctionCall(call_id=call_id, name=name) if call_id in waits:
                found.append({"type": "function_call_output", "call_id": call_id, "name": name})
            case e.CustomToolCall(call_id=call_id) if call_id in waits:
                found.append({"type": "custom_tool_call_output", "call_id": call_id})
            case e.ShellCall(call_id=call_id) if call_id in waits:
                found.append({"type": "shell_call_output", "call_id": call_id})
            case e.LocalShellCall(call_id=call_id) if call_id in waits:
                found.append({"type": "local_shell_call_output", "id": call_id})
            case e.ToolSearchCall(call_id=call_id) if call_id in waits:
                found.append({"type": "tool_search_output", "call_id": call_id})
            case e.ApprovalRequest(id=request_id) if request_id in waits:
                found.append({"type": "mcp_approval_response", "approval_request_id": request_id})
    return found
