"""Parses the body of a create request: untrusted JSON becomes a validated `CreateRequest`, or an error that names the
parameter.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from codeact.dialect import Name
from codeact.errors import InvalidRequest
from codeact.events import InputMessage, JsonSchemaFormat, Notice, ReasoningConfig, TextConfig
from codeact.json_schemas import InvalidSchema, check_schema
from codeact.runs.input_items import (
    FunctionCallItem,
    Given,
    InputItem,
    ItemReference,
    answer_container,
    answer_id,
    as_messages,
    has_content,
    mark_messages,
)
from codeact.runs.new_run import NewRun
from codeact.runs.sent_compactions import CompactionTrigger
from codeact.server.auth.caller import Caller
from codeact.server.requests.mcp_tools import requested_mcp, without_secrets
from codeact.server.requests.pages import ENCRYPTED_REASONING, LOGPROBS, Included
from codeact.server.requests.parameters import checked
from codeact.server.requests.tool_choices import Choice
from codeact.server.requests.tools import (
    AutoContainer,
    CodeInterpreterTool,
    InlineSkill,
    SkillReference,
    Tool,
)
from codeact.server.requests.unserved_tools import without_optional
from codeact.workspaces.options import ALL_HAVE, ContainerOptions

__all__ = [
    "AskedReasoning",
    "AskedText",
    "CancelBody",
    "ClientMetadata",
    "ConversationId",
    "CreateBody",
    "CreateRequest",
    "LogitBias",
    "Metadata",
    "Penalty",
    "ResumeBody",
    "Seed",
    "Stop",
    "StopText",
    "Temperature",
    "Tokens",
    "TopP",
    "check_answer_schema",
    "finished",
    "new_run",
    "parse_create",
    "parse_steer",
]

Metadata = Annotated[
    dict[Annotated[str, Meta(max_length=64)], Annotated[str, Meta(max_length=512)]],
    Meta(max_length=16, description="Up to 16 pairs: keys of at most 64, values of at most 512 characters."),
]

ClientMetadata = Annotated[
    dict[Annotated[str, Meta(max_length=128)], Annotated[str, Meta(max_length=8_192)]],
    Meta(max_length=32, description="What a client says of itself. It is stored with the response and shown nowhere."),
]

Tokens = Annotated[int, Meta(ge=1, le=10**7)]
Temperature = Annotated[float, Meta(ge=0, le=2)]
TopP = Annotated[float, Meta(ge=0, le=1)]


StopText = Annotated[str, Meta(min_length=1, max_length=500)]
Stop = StopText | Annotated[list[StopText], Meta(max_length=4)]
Seed = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
LogitBias = Annotated[
    dict[Annotated[str, Meta(max_length=20)], Annotated[float, Meta(ge=-100, le=100)]], Meta(max_length=1_000)
]


ApprovalRule = Annotated[str, Meta(min_length=1, max_length=200)]


class ConversationId(msgspec.Struct):
    id: str


class StreamOptions(msgspec.Struct, forbid_unknown_fields=True):
    include_obfuscation: Literal[False] | None = None


class AskedReasoning(ReasoningConfig, forbid_unknown_fields=True):
    """`context`: models read their reasoning of all turns in any case. `mode` has no other value here."""

    context: Literal["auto", "all_turns"] | None = None
    mode: Literal["standard"] | None = None


class AskedText(TextConfig, forbid_unknown_fields=True):
    """`verbosity` becomes a sentence of the instructions."""


class PromptCacheOptions(msgspec.Struct, forbid_unknown_fields=True):
    """Providers cache prompts by themselves. `prewarm` is another name for `"generate": false`."""

    mode: Literal["implicit"] | None = None
    prewarm: bool | None = None


class ContextManagement(msgspec.Struct, forbid_unknown_fields=True):
    """The conversation is compacted when a prompt exceeds `compact_threshold` tokens."""

    type: Literal["compaction"]
    compact_threshold: Annotated[int, Meta(ge=1_000, le=10**9)]


class CreateBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The body of `response.create` and `POST /v1/responses`. A field that only accepts null is not supported."""

    input: str | list[InputItem] = ""
    model: str | None = None
    instructions: str | None = None
    conversation: str | ConversationId | None = None
    previous_response_id: str | None = None
    background: bool | None = None
    store: bool | None = None
    generate: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    include: list[Included] | None = None
    metadata: Metadata | None = None
    max_output_tokens: Tokens | None = None
    max_tool_calls: Annotated[int, Meta(ge=0, le=10**4)] | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    truncation: Literal["auto", "disabled"] | None = None
    text: AskedText | None = None
    reasoning: AskedReasoning | None = None
    tools: list[Tool] | None = None
    tool_choice: Literal["auto", "none", "required"] | Choice | None = None
    parallel_tool_calls: bool | None = None
    service_tier: Literal["auto", "default", "flex", "priority"] | None = None
    user: str | None = None
    safety_identifier: Annotated[str, Meta(max_length=512)] | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: Literal["in_memory"] | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    stop: Stop | None = None
    seed: Seed | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: LogitBias | None = None
    context_management: Annotated[list[ContextManagement], Meta(max_length=1)] | None = None
    moderation: None = None
    prompt: None = None
    prompt_cache_options: PromptCacheOptions | None = None
    dialect: Name | None = msgspec.field(default=None, name="codeact:dialect")
    client_metadata: ClientMetadata | None = None
    eager: bool | None = msgspec.field(default=None, name="codeact:eager")
    model_calls: bool | None = msgspec.field(default=None, name="codeact:model_calls")
    state: Literal["point", "keep"] | None = msgspec.field(default=None, name="codeact:state")
    approval: ApprovalRule | Annotated[list[ApprovalRule], Meta(max_length=50)] | None = msgspec.field(
        default=None, name="codeact:approval"
    )


class CreateRequest(CreateBody):
    """A validated body. `messages` is its `input` as a list.

    `history_container_id` is the container whose sandbox is used for the history that the client sends.
    `further_skills` are those that no tool names, `top_k` is a parameter of Anthropic's API.
    """

    messages: list[Given]
    compact_only: bool = False
    history_container_id: str | None = None
    top_k: int | None = None
    notices: Sequence[Notice] = ()
    further_skills: list[SkillReference] = []

    @property
    def conversation_id(self) -> str | None:
        return self.conversation.id if isinstance(self.conversation, ConversationId) else self.conversation

    @property
    def container_file_ids(self) -> list[str]:
        """The files that the request wants in its container, each once."""
        containers = [tool.container for tool in self.tools or () if isinstance(tool, CodeInterpreterTool)]
        named = [one for each in containers if isinstance(each, AutoContainer) for one in each.file_ids or ()]
        return list(dict.fromkeys(named))

    @property
    def skills(self) -> list[SkillReference | InlineSkill]:
        """The skills that the request wants in its container."""
        containers = [tool.container for tool in self.tools or () if isinstance(tool, CodeInterpreterTool)]
        found = [one for each in containers if isinstance(each, AutoContainer) for one in each.skills or ()]
        return [*found, *msgspec.convert(self.further_skills, list[SkillReference])]

    @property
    def container_id(self) -> str | None:
        """The container that the request names; None if the conversation's own is to be used."""
        named = (tool.container for tool in self.tools or () if isinstance(tool, CodeInterpreterTool))
        return next((container for container in named if isinstance(container, str)), None)


def parse_create(body: Any, *, drops_tools: bool = False) -> CreateRequest:
    """Validates a decoded body. Raises `InvalidRequest`, which names the parameter.

    Tools that no server of ours has are left out, with a notice, if the client marks them as optional or with
    `drops_tools`.
    """
    body, notices = without_optional(body, drops=drops_tools)
    if isinstance(body, dict) and "input" in body:
        body = body | {"input": mark_messages(body["input"])}
    request = checked(body, CreateBody)
    if request.prompt_cache_options is not None and request.prompt_cache_options.prewarm:
        request.generate = False
    if request.conversation is not None and request.previous_response_id is not None:
        raise InvalidRequest(
            "'conversation' and 'previous_response_id' exclude each other; send one of them.",
            param="conversation",
        )
    if request.store is False:
        _check_unstored(request)
    if request.text is not None and isinstance(request.text.format, JsonSchemaFormat):
        check_answer_schema(request.text.format)
    if request.background and request.generate is False:
        raise InvalidRequest("With 'generate': false there is nothing to do in the background.", param="background")
    return finished(request, notices)


def finished(body: CreateBody, notices: Sequence[Notice] = ()) -> CreateRequest:
    """Adds the input as messages. Raises `InvalidRequest` if there is nothing to answer."""
    items = body.input
    compact_only = bool(items) and isinstance(items[-1], CompactionTrigger)
    messages = as_messages(items[:-1] if compact_only else items)
    if not compact_only and not any(
        isinstance(message, ItemReference | FunctionCallItem) or has_content(message) for message in messages
    ):
        if body.generate is not False and body.conversation is None:
            raise InvalidRequest("'input' is empty: send the user's text.", param="input")
        messages = []
    return CreateRequest(**msgspec.structs.asdict(body), messages=messages, compact_only=compact_only, notices=notices)


def new_run(
    request: CreateRequest, caller: Caller, container: ContainerOptions = ALL_HAVE, *, gets_code: bool = True
) -> NewRun:
    """The run that the request asks for, on behalf of its caller. For an embed token, warming sandboxes is limited.

    `gets_code`: whether the client gets items of code.
    """
    return NewRun(
        owner=caller.owner,
        accounts=caller.accounts,
        always_warm=caller.grant is None,
        messages=request.messages,
        model=request.model,
        instructions=request.instructions,
        previous_response_id=request.previous_response_id,
        conversation_id=request.conversation_id,
        container_id=request.container_id,
        container_file_ids=request.container_file_ids,
        answer_id=answer_id(request.input),
        answer_container_id=answer_container(request.input),
        container=container,
        history_container_id=request.history_container_id,
        store=request.store is not False,
        generate=request.generate is not False,
        background=bool(request.background),
        metadata=request.metadata or {},
        client_metadata=request.client_metadata or {},
        notices=request.notices,
        max_output_tokens=request.max_output_tokens,
        max_tool_calls=request.max_tool_calls,
        temperature=request.temperature,
        top_p=request.top_p,
        stop=(request.stop,) if isinstance(request.stop, str) else tuple(request.stop or ()),
        seed=request.seed,
        top_k=request.top_k,
        presence_penalty=request.presence_penalty,
        frequency_penalty=request.frequency_penalty,
        logit_bias=request.logit_bias,
        logprobs=LOGPROBS in (request.include or ()),
        top_logprobs=request.top_logprobs,
        text=request.text or TextConfig(),
        reasoning=request.reasoning,
        tools=without_secrets(request.tools or []),
        mcp_servers=requested_mcp(request.tools or [], embedded=caller.grant is not None),
        tool_choice=msgspec.to_builtins(request.tool_choice or "auto"),
        parallel_tool_calls=request.parallel_tool_calls is not False,
        truncation=request.truncation or "disabled",
        user=request.user,
        safety_identifier=request.safety_identifier,
        prompt_cache_key=request.prompt_cache_key,
        dialect=request.dialect,
        eager=request.eager,
        compact_threshold=next((each.compact_threshold for each in request.context_management or ()), None),
        compact_only=request.compact_only,
        encrypted_reasoning=ENCRYPTED_REASONING in (request.include or ()),
        gets_code=gets_code,
        model_calls=bool(request.model_calls),
        keeps_kernel=request.state == "keep",
    )


class CancelBody(msgspec.Struct):
    """The fields of `response.cancel` besides its type."""

    response_id: str


class ResumeBody(msgspec.Struct):
    """The fields of `codeact:response.resume` besides its type."""

    response_id: str
    starting_after: Annotated[int, Meta(ge=-1)] = -1
    include: list[Included] | None = None


class SteerBody(msgspec.Struct, forbid_unknown_fields=True):
    """The fields of `response.steer` besides its type."""

    previous_response_id: str
    input: str | list[InputItem]


def parse_steer(body: Any) -> list[InputMessage]:
    """The user's messages for a running response. Raises `InvalidRequest` for anything other than user messages."""
    if isinstance(body, dict) and "input" in body:
        body = body | {"input": mark_messages(body["input"])}
    messages = as_messages(checked(body, SteerBody).input)
    user_messages = [message for message in messages if isinstance(message, InputMessage) and message.role == "user"]
    if len(user_messages) < len(messages) or not any(map(has_content, user_messages)):
        raise InvalidRequest("'input' of a response.steer must contain messages of the user only.", param="input")
    return user_messages


def check_answer_schema(wanted: JsonSchemaFormat, param: str = "text.format.schema") -> None:
    """Raises `InvalidRequest`, which names `param`, if the format's schema is none."""
    try:
        check_schema(wanted.schema)
    except InvalidSchema as error:
        raise InvalidRequest(str(error), param=param, code="invalid_json_schema") from None


def _check_unstored(request: CreateBody) -> None:
    for name in ("conversation", "background"):
        if getattr(request, name):
            raise InvalidRequest(f"'{name}' needs a response that is stored; leave 'store': false out.", param=name)
