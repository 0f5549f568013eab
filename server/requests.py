"""The body of a create request: untrusted JSON enters, a checked `CreateRequest` leaves or an error by name."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from codeact.errors import InvalidRequest
from codeact.events import InputMessage, ReasoningConfig, TextConfig
from server.inputs import FunctionCallItem, Given, InputItem, ItemReference, as_messages, has_content, mark_messages
from server.pages import Included
from server.parameters import checked

__all__ = [
    "CancelBody",
    "CreateBody",
    "CreateRequest",
    "Metadata",
    "ResumeBody",
    "Temperature",
    "Tokens",
    "TopP",
    "finished",
    "parse_create",
    "parse_steer",
]

Metadata = Annotated[
    dict[Annotated[str, Meta(max_length=64)], Annotated[str, Meta(max_length=512)]],
    Meta(max_length=16, description="Up to 16 pairs: keys of at most 64, values of at most 512 characters."),
]

Tokens = Annotated[int, Meta(ge=1, le=10**7)]
Temperature = Annotated[float, Meta(ge=0, le=2)]
TopP = Annotated[float, Meta(ge=0, le=1)]


class ConversationId(msgspec.Struct):
    id: str


class AutoContainer(msgspec.Struct, tag="auto", forbid_unknown_fields=True):
    """The conversation's own sandbox; there is no other."""


class CodeInterpreterTool(msgspec.Struct, tag="code_interpreter", forbid_unknown_fields=True):
    """Always on. Named in `tools`, it asks for nothing more, unless by a container's id for that one's conversation."""

    container: AutoContainer | Annotated[str, Meta(max_length=100)] | None = None


class FunctionTool(msgspec.Struct, tag="function", forbid_unknown_fields=True):
    """A function of the client's: Python in the sandbox, called by the model's code, answered by the next request."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class StreamOptions(msgspec.Struct, forbid_unknown_fields=True):
    include_obfuscation: Literal[False] | None = None


class CreateBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What `response.create` and `POST /v1/responses` take. A field that only takes null is not supported."""

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
    text: TextConfig | None = None
    reasoning: ReasoningConfig | None = None
    tools: list[CodeInterpreterTool | FunctionTool] | None = None
    tool_choice: Literal["auto", "none"] | None = None
    parallel_tool_calls: bool | None = None
    service_tier: Literal["auto", "default"] | None = None
    user: str | None = None
    safety_identifier: Annotated[str, Meta(max_length=64)] | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: Literal["in_memory"] | None = None
    top_logprobs: Literal[0] | None = None
    context_management: None = None
    moderation: None = None
    prompt: None = None
    prompt_cache_options: None = None


class CreateRequest(CreateBody):
    """A body that has been checked; `messages` is its `input` in one shape."""

    messages: list[Given]

    @property
    def conversation_id(self) -> str | None:
        return self.conversation.id if isinstance(self.conversation, ConversationId) else self.conversation

    @property
    def container_id(self) -> str | None:
        """The container that the request names; None where it leaves that to the conversation."""
        named = (tool.container for tool in self.tools or () if isinstance(tool, CodeInterpreterTool))
        return next((container for container in named if isinstance(container, str)), None)


def parse_create(body: Any) -> CreateRequest:
    """Checks a decoded body against what we can do. Raises `InvalidRequest`, naming the parameter."""
    if isinstance(body, dict) and "input" in body:
        body = body | {"input": mark_messages(body["input"])}
    request = checked(body, CreateBody)
    if request.conversation is not None and request.previous_response_id is not None:
        raise InvalidRequest(
            "'conversation' and 'previous_response_id' exclude each other; send one of them.",
            param="conversation",
        )
    if request.store is False:
        _check_unstored(request)
    if request.background and request.generate is False:
        raise InvalidRequest("With 'generate': false there is nothing to do in the background.", param="background")
    return finished(request)


def finished(body: CreateBody) -> CreateRequest:
    """The body with its input as messages. Raises `InvalidRequest` where there is nothing to answer."""
    messages = as_messages(body.input)
    if not any(isinstance(message, ItemReference | FunctionCallItem) or has_content(message) for message in messages):
        if body.generate is not False and body.conversation is None:
            raise InvalidRequest("'input' is empty: send the user's text.", param="input")
        messages = []
    return CreateRequest(**msgspec.structs.asdict(body), messages=messages)


class CancelBody(msgspec.Struct):
    """What `response.cancel` holds beside its type."""

    response_id: str


class ResumeBody(msgspec.Struct):
    """What `codeact:response.resume` holds beside its type."""

    response_id: str
    starting_after: Annotated[int, Meta(ge=-1)] = -1


class SteerBody(msgspec.Struct, forbid_unknown_fields=True):
    """What `response.steer` holds beside its type."""

    previous_response_id: str
    input: str | list[InputItem]


def parse_steer(body: Any) -> list[InputMessage]:
    """What the user says into a running response. Raises `InvalidRequest` for anything but messages of the user."""
    if isinstance(body, dict) and "input" in body:
        body = body | {"input": mark_messages(body["input"])}
    messages = as_messages(checked(body, SteerBody).input)
    said = [message for message in messages if isinstance(message, InputMessage) and message.role == "user"]
    if len(said) < len(messages) or not any(map(has_content, said)):
        raise InvalidRequest("'input' of a response.steer holds messages of the user.", param="input")
    return said


def _check_unstored(request: CreateBody) -> None:
    for name in ("conversation", "background"):
        if getattr(request, name):
            raise InvalidRequest(f"'{name}' needs a response that is stored; leave 'store': false out.", param=name)
