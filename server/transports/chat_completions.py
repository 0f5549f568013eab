"""Converts Chat Completions requests to create requests of the Responses API."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from codeact.dialect import Name
from codeact.errors import InvalidRequest
from codeact.events import JsonObjectFormat, JsonSchemaFormat
from codeact.runs.client_tools import CustomTool, FunctionTool
from codeact.runs.input_items import (
    FunctionCallItem,
    FunctionOutputItem,
    InputFile,
    InputImage,
    InputItem,
    InputText,
    MessageItem,
    OutputText,
    Part,
    Refusal,
)
from codeact.server.requests.create import (
    AskedReasoning,
    AskedText,
    CreateBody,
    CreateRequest,
    LogitBias,
    Metadata,
    Penalty,
    Seed,
    Stop,
    Temperature,
    Tokens,
    TopP,
    check_answer_schema,
    finished,
)
from codeact.server.requests.pages import LOGPROBS
from codeact.server.requests.parameters import checked
from codeact.server.requests.tool_choices import AllowedTools, Choice, CustomChoice, FunctionChoice

__all__ = ["ChatBody", "ChatMessageBody", "ChatTextFormat", "as_create", "is_task", "lines_of", "parse_chat", "text_of"]


TITLES_OF_LIBRECHAT = (
    "Provide a concise, 5-word-or-less title for the conversation",
    "Analyze this conversation and provide:\n1. The detected language of the conversation\n2. A concise title",
)


class ImageUrl(msgspec.Struct):
    url: str
    detail: Literal["auto", "low", "high"] | None = None


class TextPart(msgspec.Struct, tag="text"):
    text: str


class ImagePart(msgspec.Struct, tag="image_url"):
    image_url: ImageUrl


class RefusalPart(msgspec.Struct, tag="refusal"):
    refusal: str


class FileBody(msgspec.Struct, forbid_unknown_fields=True):
    """See `InputFile`."""

    file_id: str | None = None
    file_data: str | None = None
    filename: str | None = None


class FilePart(msgspec.Struct, tag="file"):
    file: FileBody


class CalledFunction(msgspec.Struct):
    name: str
    arguments: str


class ToolCall(msgspec.Struct, tag="function"):
    """A call in an earlier answer, which the client resends with the history."""

    id: str
    function: CalledFunction


class CalledCustom(msgspec.Struct):
    name: str
    input: str


class CustomCall(msgspec.Struct, tag="custom"):
    """A call of a custom tool in an earlier answer."""

    id: str
    custom: CalledCustom


class ChatMessageBody(msgspec.Struct):
    """One message. A `tool` message contains the value of the call `tool_call_id`."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart | ImagePart | RefusalPart | FilePart] | None = None
    name: str | None = None
    tool_calls: list[ToolCall | CustomCall] | None = None
    tool_call_id: str | None = None


class ChatFunction(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class ChatTextFormat(msgspec.Struct, tag="text", forbid_unknown_fields=True):
    """Plain text."""


class ChatTool(msgspec.Struct, tag="function", forbid_unknown_fields=True):
    """A function of the client, as in `FunctionTool`."""

    function: ChatFunction


class ChatGrammar(msgspec.Struct, forbid_unknown_fields=True):
    syntax: Literal["lark", "regex"]
    definition: str


class ChatGrammarFormat(msgspec.Struct, tag="grammar", forbid_unknown_fields=True):
    grammar: ChatGrammar


class ChatCustom(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    description: str | None = None
    format: ChatTextFormat | ChatGrammarFormat | None = None


class ChatCustomTool(msgspec.Struct, tag="custom", forbid_unknown_fields=True):
    """A tool of the client that takes plain text, as in `CustomTool`."""

    custom: ChatCustom


class ChatName(msgspec.Struct, forbid_unknown_fields=True):
    name: Annotated[str, Meta(max_length=200)]


class ChatFunctionChoice(msgspec.Struct, tag="function", forbid_unknown_fields=True):
    function: ChatName


class ChatCustomChoice(msgspec.Struct, tag="custom", forbid_unknown_fields=True):
    custom: ChatName


class ChatAllowed(msgspec.Struct, forbid_unknown_fields=True):
    mode: Literal["auto", "required"]
    tools: Annotated[list[ChatFunctionChoice | ChatCustomChoice], Meta(max_length=1_000)]


class ChatAllowedChoice(msgspec.Struct, tag="allowed_tools", forbid_unknown_fields=True):
    allowed_tools: ChatAllowed


class ChatStreamOptions(msgspec.Struct, forbid_unknown_fields=True):
    include_usage: bool | None = None
    include_obfuscation: Literal[False] | None = None


class ChatJsonFormat(msgspec.Struct, tag="json_object", forbid_unknown_fields=True):
    """Any JSON object."""


class ChatSchema(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """See `JsonSchemaFormat`. Without a `schema`, any JSON object fits."""

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    schema: dict[str, Any] = msgspec.field(default_factory=lambda: {"type": "object"})
    description: str | None = None
    strict: bool | None = None


class ChatSchemaFormat(msgspec.Struct, tag="json_schema", forbid_unknown_fields=True):
    json_schema: ChatSchema


class ChatBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /v1/chat/completions`. A field that only accepts null is not supported."""

    messages: Annotated[list[ChatMessageBody], Meta(min_length=1)]
    model: str | None = None
    stream: bool | None = None
    stream_options: ChatStreamOptions | None = None
    max_tokens: Tokens | None = None
    max_completion_tokens: Tokens | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    metadata: Metadata | None = None
    store: bool | None = None
    user: str | None = None
    safety_identifier: Annotated[str, Meta(max_length=512)] | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: Literal["in_memory"] | None = None
    service_tier: Literal["auto", "default", "flex", "priority"] | None = None
    n: Literal[1] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logprobs: bool | None = None
    modalities: list[Literal["text"]] | None = None
    response_format: ChatTextFormat | ChatJsonFormat | ChatSchemaFormat | None = None
    parallel_tool_calls: bool | None = None
    tool_choice: (
        Literal["auto", "none", "required"] | ChatFunctionChoice | ChatCustomChoice | ChatAllowedChoice | None
    ) = None
    tools: list[ChatTool | ChatCustomTool] | None = None
    audio: None = None
    function_call: None = None
    functions: None = None
    logit_bias: LogitBias | None = None
    prediction: None = None
    seed: Seed | None = None
    stop: Stop | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    verbosity: Literal["low", "medium", "high"] | None = None
    web_search_options: None = None
    dialect: Name | None = msgspec.field(default=None, name="codeact:dialect")


def parse_chat(body: Any) -> ChatBody:
    """Validates the body. Raises `InvalidRequest`, which names the parameter."""
    chat = checked(body, ChatBody)
    if not any(message.role == "user" for message in chat.messages):
        raise InvalidRequest("'messages' contains no message of the user.", param="messages")
    if chat.top_logprobs and not chat.logprobs:
        raise InvalidRequest("'top_logprobs' needs 'logprobs': true.", param="top_logprobs")
    for index, message in enumerate(chat.messages):
        if message.role in ("system", "developer") and not _is_text(message):
            raise InvalidRequest(
                f"A message of the role '{message.role}' takes text alone; send images and files in one of the user.",
                param=f"messages[{index}].content",
            )
        if message.role == "tool" and message.tool_call_id is None:
            raise InvalidRequest(
                f"'messages[{index}].tool_call_id' is missing: whose value is it?",
                param=f"messages[{index}].tool_call_id",
            )
    return chat


def as_create(chat: ChatBody, previous_response_id: str | None) -> CreateRequest:
    """Converts the request. With `previous_response_id`, its input is only what came after that response."""
    messages = list(chat.messages)
    if previous_response_id is not None:
        messages = messages[1 + max(index for index, message in enumerate(messages) if message.role == "assistant") :]
    leading = _leading(chat.messages)
    newest = messages if previous_response_id is not None else messages[len(leading) :]
    items = [item for message in newest for item in _items(message)]
    effort, task = chat.reasoning_effort, is_task(chat)
    body = CreateBody(
        input=items,
        model=chat.model,
        instructions="\n\n".join(map(text_of, leading)) or None,
        previous_response_id=previous_response_id,
        stream=chat.stream,
        store=False if task or chat.store is False else None,
        metadata=chat.metadata,
        max_output_tokens=chat.max_completion_tokens or chat.max_tokens,
        temperature=chat.temperature,
        top_p=chat.top_p,
        reasoning=AskedReasoning(effort) if effort is not None else None,
        stop=chat.stop,
        seed=chat.seed,
        presence_penalty=chat.presence_penalty,
        frequency_penalty=chat.frequency_penalty,
        logit_bias=chat.logit_bias,
        include=[LOGPROBS] if chat.logprobs else None,
        top_logprobs=chat.top_logprobs,
        truncation="auto",
        text=_text(chat),
        tools=[_tool(tool) for tool in chat.tools or ()],
        parallel_tool_calls=chat.parallel_tool_calls,
        tool_choice="none" if task and chat.tool_choice in (None, "auto") else _choice(chat.tool_choice),
        user=chat.user,
        safety_identifier=chat.safety_identifier,
        prompt_cache_key=chat.prompt_cache_key,
        dialect=chat.dialect,
    )
    return finished(body)


def is_task(chat: ChatBody) -> bool:
    """Whether a chat page asks for a title, tags or follow-up questions, which belong into no history.

    Open WebUI sends its prompts for these as the only message, which begins and ends as its templates do. LibreChat
    asks for its titles in one message that begins with one of two texts. With `"store": true` no question is taken for
    one of these.
    """
    if chat.store:
        return False
    asked = [message for message in chat.messages if message.role not in ("system", "developer")]
    if len(asked) != 1 or chat.stream:
        return False
    text = text_of(asked[0])
    return (text.startswith("### Task:") and text.endswith("</chat_history>")) or text.startswith(TITLES_OF_LIBRECHAT)


def _is_text(message: ChatMessageBody) -> bool:
    return not isinstance(message.content, list) or all(isinstance(part, TextPart) for part in message.content)


def _leading(messages: Sequence[ChatMessageBody]) -> list[ChatMessageBody]:
    """The system messages at the start."""
    count = next((i for i, message in enumerate(messages) if message.role not in ("system", "developer")), 0)
    return list(messages[:count])


def _items(message: ChatMessageBody) -> list[InputItem]:
    if message.role == "tool":
        return [FunctionOutputItem(message.tool_call_id or "", _value(message))]
    calls = [_call(call) for call in message.tool_calls or ()]
    message_item = _message(message, message.role)
    return [message_item, *calls] if message_item.content or not calls else [*calls]


def _value(message: ChatMessageBody) -> str | list[Any]:
    """The value of a call as it was sent, with the white space around it; its parts if some are no text."""
    if not isinstance(message.content, list):
        return message.content or ""
    if not _is_text(message):
        return list(_message(message, "user").content)
    return "\n".join(part.text for part in message.content if isinstance(part, TextPart))


def _call(call: ToolCall | CustomCall) -> FunctionCallItem:
    if isinstance(call, CustomCall):
        return FunctionCallItem(call.id, call.custom.name, call.custom.input)
    return FunctionCallItem(call.id, call.function.name, call.function.arguments)


def _tool(tool: ChatTool | ChatCustomTool) -> FunctionTool | CustomTool:
    if isinstance(tool, ChatTool):
        return FunctionTool(**msgspec.structs.asdict(tool.function))
    form = tool.custom.format
    grammar = msgspec.structs.asdict(form.grammar) if isinstance(form, ChatGrammarFormat) else None
    about = {"name": tool.custom.name, "description": tool.custom.description}
    return checked(about | ({} if grammar is None else {"format": {"type": "grammar", **grammar}}), CustomTool)


def _choice(
    choice: Literal["auto", "none", "required"] | ChatFunctionChoice | ChatCustomChoice | ChatAllowedChoice | None,
) -> Literal["auto", "none", "required"] | Choice | None:
    match choice:
        case ChatFunctionChoice(ChatName(name)):
            return FunctionChoice(name)
        case ChatCustomChoice(ChatName(name)):
            return CustomChoice(name)
        case ChatAllowedChoice(ChatAllowed(mode, tools)):
            named = [
                FunctionChoice(tool.function.name)
                if isinstance(tool, ChatFunctionChoice)
                else CustomChoice(tool.custom.name)
                for tool in tools
            ]
            return AllowedTools(mode, [*named])
    return choice


def _text(chat: ChatBody) -> AskedText:
    """The format and length of the answer. Raises `InvalidRequest` for a schema that is none."""
    text = AskedText(verbosity=chat.verbosity)
    match chat.response_format:
        case ChatJsonFormat():
            text.format = JsonObjectFormat()
        case ChatSchemaFormat(ChatSchema() as wanted):
            text.format = JsonSchemaFormat(**msgspec.structs.asdict(wanted))
            check_answer_schema(text.format, "response_format.json_schema.schema")
    return text


def _message(message: ChatMessageBody, role: Literal["system", "developer", "user", "assistant"]) -> MessageItem:
    if not isinstance(message.content, list):
        return MessageItem(role, message.content or "")
    parts: list[Part] = []
    for part in message.content:
        match part:
            case TextPart(text):
                parts.append(OutputText(text) if role == "assistant" else InputText(text))
            case ImagePart(ImageUrl(url, detail)):
                parts.append(InputImage(image_url=url, detail=detail))
            case FilePart(FileBody(file_id, file_data, filename)):
                parts.append(InputFile(filename, file_data, file_id))
            case RefusalPart(refusal):
                parts.append(Refusal(refusal))
    return MessageItem(role, parts)


def lines_of(chat: ChatBody) -> list[tuple[str, str]]:
    """The role and the text of each message."""
    return [(message.role, text_of(message)) for message in chat.messages]


def text_of(message: ChatMessageBody) -> str:
    """The text of the message, without images."""
    if not isinstance(message.content, list):
        return (message.content or "").strip()
    texts = [part.text for part in message.content if isinstance(part, TextPart)]
    return "\n".join(texts).strip()
