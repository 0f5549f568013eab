"""The body of `POST /v1/messages`, Anthropic's Messages API: its content blocks, tools and options.

The official `anthropic` package names the fields. `codeact.server.transports.messages` converts a body to a create
request of the Responses API.
"""

from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from codeact.dialect import Name
from codeact.errors import InvalidRequest
from codeact.server.requests.create import StopText, Tokens, TopP
from codeact.server.requests.message_tools import CacheControl, MessagesTool
from codeact.server.requests.parameters import checked
from codeact.skills.staged import MOST_SKILLS

__all__ = [
    "AnyTool",
    "AutoTool",
    "Base64Source",
    "CodeOutcomeBlock",
    "CodeResult",
    "ContentBlock",
    "ContinuedThread",
    "CountBody",
    "DocumentBlock",
    "FileSource",
    "ImageBlock",
    "MessageBody",
    "MessagesBody",
    "NamedTool",
    "NoTool",
    "RedactedThinkingBlock",
    "ServerToolUseBlock",
    "TextBlock",
    "TextSource",
    "Thinking",
    "ThinkingAdaptive",
    "ThinkingBlock",
    "ThinkingDisabled",
    "ThinkingEnabled",
    "ToolResultBlock",
    "ToolUseBlock",
    "UploadBlock",
    "parse_count",
    "parse_messages",
]

Id = Annotated[str, Meta(min_length=1, max_length=100)]


# ---- sources of images and documents -------------------------------------------------------------------------


class Base64Source(msgspec.Struct, tag="base64"):
    data: str
    media_type: Annotated[str, Meta(pattern=r"^[\w.+-]{1,60}/[\w.+-]{1,60}$")]


class TextSource(msgspec.Struct, tag="text"):
    data: str
    media_type: Literal["text/plain"] = "text/plain"


class FileSource(msgspec.Struct, tag="file"):
    file_id: Id


# ---- content blocks ------------------------------------------------------------------------------------------


class TextBlock(msgspec.Struct, tag="text"):
    text: str
    cache_control: CacheControl | None = None


class ImageBlock(msgspec.Struct, tag="image"):
    source: Base64Source | FileSource
    cache_control: CacheControl | None = None
    transformations: None = None


class Citations(msgspec.Struct):
    """Answers cite no documents."""

    enabled: Literal[False] | None = None


class DocumentBlock(msgspec.Struct, tag="document"):
    """A file for the code: it is written into the working directory under its title."""

    source: Base64Source | TextSource | FileSource
    title: Annotated[str, Meta(max_length=500)] | None = None
    context: None = None
    citations: Citations | None = None
    cache_control: CacheControl | None = None


class UploadBlock(msgspec.Struct, tag="container_upload"):
    """A file for the code; in an answer, a file that the code wrote."""

    file_id: Id
    cache_control: CacheControl | None = None


class ToolResultBlock(msgspec.Struct, tag="tool_result"):
    """The value of the call `tool_use_id`. With `is_error`, the call raises an exception with this text in the code.

    With images or documents, code gets the list of its parts, the model sees the images, and documents are files.
    """

    tool_use_id: Id
    content: str | list[TextBlock | ImageBlock | DocumentBlock] | None = None
    is_error: bool | None = None
    cache_control: CacheControl | None = None


class ToolUseBlock(msgspec.Struct, tag="tool_use"):
    """A call of an earlier answer, which the client sends back."""

    id: Id
    name: Annotated[str, Meta(max_length=200)]
    input: dict[str, Any]


class ServerToolUseBlock(msgspec.Struct, tag="server_tool_use"):
    """Code of an earlier answer, which the client sends back; it is not run again."""

    id: Id
    name: Literal["code_execution", "bash_code_execution", "text_editor_code_execution"]
    input: dict[str, Any]


class CodeResult(msgspec.Struct):
    """The outputs of code, or its error. The fields that are there depend on `type`, which is not checked."""

    type: str
    stdout: str = ""
    stderr: str = ""
    return_code: int = 0
    error_code: str | None = None


class CodeOutcomeBlock(msgspec.Struct):
    """What code of an earlier answer gave, which the client sends back."""

    tool_use_id: Id
    content: CodeResult


class CodeResultBlock(CodeOutcomeBlock, tag="code_execution_tool_result"):
    """The outputs of code of this server or another one."""


class BashResultBlock(CodeOutcomeBlock, tag="bash_code_execution_tool_result"):
    """The outputs of shell commands of an answer of another server."""


class EditorResultBlock(CodeOutcomeBlock, tag="text_editor_code_execution_tool_result"):
    """The outcome of an edit of another server."""


class ThinkingBlock(msgspec.Struct, tag="thinking"):
    """Thinking of an earlier answer. Its model reads it if this server made the signature."""

    thinking: str
    signature: str = ""


class RedactedThinkingBlock(msgspec.Struct, tag="redacted_thinking"):
    data: str


ContentBlock = (
    TextBlock
    | ImageBlock
    | DocumentBlock
    | UploadBlock
    | ToolResultBlock
    | ToolUseBlock
    | ServerToolUseBlock
    | CodeResultBlock
    | BashResultBlock
    | EditorResultBlock
    | ThinkingBlock
    | RedactedThinkingBlock
)


class MessageBody(msgspec.Struct, forbid_unknown_fields=True):
    role: Literal["user", "assistant", "system"]
    content: str | list[ContentBlock]


# ---- tools -------------------------------------------------------------------------------------------------


class _Choice(msgspec.Struct, forbid_unknown_fields=True):
    """Code may call functions from several threads, unless `disable_parallel_tool_use` forbids it."""

    disable_parallel_tool_use: bool | None = None


class AutoTool(_Choice, tag="auto", forbid_unknown_fields=True):
    pass


class AnyTool(_Choice, tag="any", forbid_unknown_fields=True):
    """Code must run before the answer."""


class NamedTool(_Choice, tag="tool", kw_only=True, forbid_unknown_fields=True):
    """Code must call this function before the answer."""

    name: Annotated[str, Meta(max_length=200)]


class NoTool(msgspec.Struct, tag="none", forbid_unknown_fields=True):
    """No code may run."""


# ---- options -------------------------------------------------------------------------------------------------


class _Shown(msgspec.Struct, forbid_unknown_fields=True):
    display: Literal["summarized", "omitted"] | None = None


class ThinkingEnabled(_Shown, tag="enabled", kw_only=True, forbid_unknown_fields=True):
    """`budget_tokens` becomes the nearest `reasoning.effort`."""

    budget_tokens: Annotated[int, Meta(ge=1024, le=10**7)]


class ThinkingAdaptive(_Shown, tag="adaptive", forbid_unknown_fields=True):
    pass


class ThinkingDisabled(msgspec.Struct, tag="disabled", forbid_unknown_fields=True):
    pass


Thinking = ThinkingEnabled | ThinkingAdaptive | ThinkingDisabled


class JsonFormat(msgspec.Struct, tag="json_schema", forbid_unknown_fields=True):
    schema: dict[str, Any]


class OutputConfig(msgspec.Struct, forbid_unknown_fields=True):
    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    format: JsonFormat | None = None


class ContainerSkill(msgspec.Struct, forbid_unknown_fields=True):
    """A skill of `/v1/skills`."""

    skill_id: Id
    type: Literal["custom"] = "custom"
    version: Annotated[str, Meta(max_length=20)] | None = None


class ContainerOptions(msgspec.Struct, forbid_unknown_fields=True):
    """A container of an earlier answer, whose sandbox is used, and skills for the sandbox."""

    id: Id | None = None
    skills: Annotated[list[ContainerSkill], Meta(max_length=MOST_SKILLS)] | None = None


class NewThread(msgspec.Struct, tag="create", forbid_unknown_fields=True):
    """The server keeps the conversation, which it does anyway."""


class ContinuedThread(msgspec.Struct, tag="continue", forbid_unknown_fields=True):
    """The conversation goes on after this message. `system` and `tools` are those of that message's request."""

    previous_message_id: Id


class MessageMetadata(msgspec.Struct, forbid_unknown_fields=True):
    user_id: Annotated[str, Meta(max_length=512)] | None = None


class CountBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /v1/messages/count_tokens`: the fields that affect the prompt."""

    model: str
    messages: Annotated[list[MessageBody], Meta(min_length=1)]
    system: str | list[TextBlock] | None = None
    tools: list[MessagesTool] | None = None
    tool_choice: AutoTool | AnyTool | NamedTool | NoTool | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    cache_control: CacheControl | None = None
    speed: Literal["standard"] | None = None
    context_management: None = None
    mcp_servers: list[Any] | None = None
    dialect: Name | None = msgspec.field(default=None, name="codeact:dialect")


B = TypeVar("B", bound=CountBody)
TopK = Annotated[int, Meta(ge=0, le=1_000_000)]


class MessagesBody(CountBody, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /v1/messages`. A field that only accepts null is not supported."""

    max_tokens: Tokens
    stream: bool | None = None
    stop_sequences: Annotated[list[StopText], Meta(max_length=4)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_p: TopP | None = None
    top_k: TopK | None = None
    metadata: MessageMetadata | None = None
    container: Id | ContainerOptions | None = None
    thread: NewThread | ContinuedThread | None = None
    service_tier: Literal["auto", "standard_only"] | None = None
    inference_geo: None = None
    diagnostics: None = None


def parse_messages(body: Any) -> MessagesBody:
    """Validates the body of `POST /v1/messages`. Raises `InvalidRequest`, which names the parameter."""
    return _with_user(checked(_marked(body), MessagesBody))


def parse_count(body: Any) -> CountBody:
    """Validates the body of `POST /v1/messages/count_tokens`. Raises `InvalidRequest`, which names the parameter."""
    return _with_user(checked(_marked(body), CountBody))


def _marked(body: Any) -> Any:
    """The body with a `type` in every tool, which clients may leave out of their own ones."""
    if not isinstance(body, dict) or not isinstance(body.get("tools"), list):
        return body
    tools = [{"type": "custom"} | _filled(tool) if isinstance(tool, dict) else tool for tool in body["tools"]]
    return body | {"tools": tools}


def _filled(tool: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in tool.items() if name != "type" or value is not None}


def _with_user(body: B) -> B:
    if body.mcp_servers:
        raise InvalidRequest(
            "'mcp_servers' is not supported. An operator names such servers in CODEACT_MCP_CONFIG, and POST"
            " /v1/responses takes the tool 'mcp'.",
            param="mcp_servers",
            code="unsupported_parameter",
        )
    blocks = [block for message in body.messages if not isinstance(message.content, str) for block in message.content]
    known = {block.id for block in blocks if isinstance(block, ToolUseBlock)}
    values = [block for block in blocks if isinstance(block, ToolResultBlock) and block.tool_use_id not in known]
    if values and not (isinstance(body, MessagesBody) and isinstance(body.thread, ContinuedThread)):
        raise InvalidRequest(
            f"The tool_result for '{values[0].tool_use_id}' has no tool_use in 'messages'.", param="messages"
        )
    if not any(message.role == "user" for message in body.messages):
        raise InvalidRequest("'messages' contains no message of the user.", param="messages")
    last = body.messages[-1]
    if last.role == "assistant" and (
        isinstance(last.content, str) or (last.content and isinstance(last.content[-1], TextBlock))
    ):
        raise InvalidRequest(
            "The last message is the beginning of an answer, which models cannot continue here; end with a message of"
            " the user.",
            param=f"messages[{len(body.messages) - 1}]",
        )
    return body
