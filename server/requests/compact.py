"""Parses the body of `POST /v1/responses/compact`, and builds its answer."""

from collections.abc import Sequence
from typing import Literal

import msgspec

from codeact import events as e
from codeact.context.compaction import is_of_user
from codeact.errors import InvalidRequest
from codeact.runs.input_items import InputItem, as_messages, mark_messages
from codeact.runs.new_run import NewRun
from codeact.server.auth.caller import Caller
from codeact.server.requests.create import PromptCacheOptions
from codeact.server.requests.parameters import checked

__all__ = ["CompactBody", "CompactedResponse", "compact_run", "compacted_response"]


class CompactBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /v1/responses/compact`."""

    input: str | list[InputItem] | None = None
    model: str | None = None
    instructions: str | None = None
    previous_response_id: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: PromptCacheOptions | None = None
    prompt_cache_retention: Literal["in_memory"] | None = None
    service_tier: Literal["auto", "default", "flex", "priority"] | None = None


class CompactedResponse(msgspec.Struct, kw_only=True):
    """The user's messages, then the compaction. The next request sends them instead of the conversation."""

    id: str
    created_at: int
    object: Literal["response.compaction"] = "response.compaction"
    output: list[e.InputMessage | e.Compaction]
    usage: e.ResponseUsage


def compact_run(body: object, caller: Caller) -> NewRun:
    """The run that compacts the body's conversation. Raises `InvalidRequest`, which names the parameter."""
    if isinstance(body, dict) and "input" in body:
        body = body | {"input": mark_messages(body["input"])}
    request = checked(body, CompactBody)
    messages = as_messages(request.input or [])
    if not messages and request.previous_response_id is None:
        raise InvalidRequest(
            "There is nothing to compact: send the conversation as 'input', or name its last response as"
            " 'previous_response_id'.",
            param="input",
        )
    return NewRun(
        owner=caller.owner,
        accounts=caller.accounts,
        always_warm=caller.grant is None,
        messages=messages,
        model=request.model,
        instructions=request.instructions,
        previous_response_id=request.previous_response_id,
        prompt_cache_key=request.prompt_cache_key,
        store=False,
        compact_only=True,
    )


def compacted_response(response: e.Response, conversation: Sequence[e.Input | e.Item]) -> CompactedResponse:
    """Builds the answer from a run that has ended and the conversation that it compacted."""
    messages = [item for item in conversation if isinstance(item, e.InputMessage) and is_of_user(item)]
    compactions = [item for item in response.output if isinstance(item, e.Compaction)]
    usage = response.usage or e.ResponseUsage()
    return CompactedResponse(
        id=response.id, created_at=int(response.created_at), output=[*messages, *compactions], usage=usage
    )
