"""Converts requests of Anthropic's Messages API to create requests of the Responses API."""

from collections.abc import Iterator
from typing import Any

import msgspec

from codeact.data_urls import data_url
from codeact.errors import InvalidRequest
from codeact.events import JsonSchemaFormat, LogsOutput
from codeact.json_schemas import InvalidSchema, check_schema
from codeact.runs.input_items import (
    CodeItem,
    FunctionCallItem,
    FunctionOutputItem,
    InputFile,
    InputImage,
    InputItem,
    InputText,
    MessageItem,
    OutputText,
    Part,
    ReasoningItem,
)
from codeact.server.requests.create import AskedReasoning, AskedText, CreateBody, CreateRequest, finished
from codeact.server.requests.message_tools import functions_of_messages
from codeact.server.requests.messages import (
    AnyTool,
    Base64Source,
    CodeOutcomeBlock,
    CodeResult,
    ContainerOptions,
    ContinuedThread,
    CountBody,
    DocumentBlock,
    FileSource,
    ImageBlock,
    MessageBody,
    MessagesBody,
    NamedTool,
    NoTool,
    RedactedThinkingBlock,
    ServerToolUseBlock,
    TextBlock,
    TextSource,
    ThinkingBlock,
    ThinkingDisabled,
    ThinkingEnabled,
    ToolResultBlock,
    ToolUseBlock,
    UploadBlock,
)
from codeact.server.requests.pages import ENCRYPTED_REASONING
from codeact.server.requests.tool_choices import FunctionChoice
from codeact.server.requests.tools import SkillReference

__all__ = ["as_create", "block_id", "message_id", "response_id_of", "shows_thinking", "tool_id"]

CODE_ID, OUR_CODE_ID = "srvtoolu_", "ci_"
CALL_ID, OUR_CALL_ID = "toolu_", "call_"
MESSAGE_ID, OUR_RESPONSE_ID = "msg_", "resp_"
"""How the ids of code, of functions' calls and of answers begin: in the Messages API, and in ours."""

EFFORTS = ((4_096, "low"), (16_384, "medium"))
"""Up to how many `budget_tokens` which effort is asked of the model; for more, it is `high`."""


def block_id(item_id: str) -> str:
    """The id of the block `server_tool_use` for an item of code."""
    return CODE_ID + item_id.removeprefix(OUR_CODE_ID)


def tool_id(call_id: str) -> str:
    """The id of the block `tool_use` for a call of a function."""
    return CALL_ID + call_id.removeprefix(OUR_CALL_ID) if call_id.startswith(OUR_CALL_ID) else call_id


def message_id(response_id: str) -> str:
    """The id of the message for a response."""
    return MESSAGE_ID + response_id.removeprefix(OUR_RESPONSE_ID)


def response_id_of(message_id: str) -> str:
    """The id of the response for a message."""
    return OUR_RESPONSE_ID + message_id.removeprefix(MESSAGE_ID)


def shows_thinking(body: CountBody) -> bool:
    """Whether the answer has blocks with the model's thinking."""
    return body.thinking is not None and not isinstance(body.thinking, ThinkingDisabled)


def as_create(body: MessagesBody | CountBody) -> CreateRequest:
    """Converts the request. Raises `InvalidRequest`, which names the parameter."""
    results = _results(body)
    items = [
        item
        for index, message in enumerate(body.messages)
        for item in _items(message, f"messages[{index}].content", results)
    ]
    create = CreateBody(
        input=items,
        model=body.model,
        instructions=_text(body.system) or None,
        include=[ENCRYPTED_REASONING] if shows_thinking(body) else None,
        reasoning=_reasoning(body),
        text=_format(body),
        truncation="auto",
        tools=list(functions_of_messages(body.tools)),
        tool_choice=_choice(body),
        parallel_tool_calls=not getattr(body.tool_choice, "disable_parallel_tool_use", None),
        dialect=body.dialect,
    )
    if isinstance(body, MessagesBody):
        create.stream = body.stream
        create.max_output_tokens = body.max_tokens
        create.temperature = body.temperature
        create.top_p = body.top_p
        create.stop = body.stop_sequences or None
        create.user = create.safety_identifier = body.metadata.user_id if body.metadata is not None else None
        if isinstance(body.thread, ContinuedThread):
            create.previous_response_id = response_id_of(body.thread.previous_message_id)
        request = finished(create)
        request.top_k = body.top_k
        if isinstance(body.container, ContainerOptions):
            request.further_skills = [SkillReference(one.skill_id, one.version) for one in body.container.skills or ()]
        request.history_container_id = _container_of(body) if create.previous_response_id is None else None
        return request
    create.generate = False
    return finished(create)


def _container_of(body: MessagesBody) -> str | None:
    """The container that the request names."""
    return body.container.id if isinstance(body.container, ContainerOptions) else body.container


# ---- options -------------------------------------------------------------------------------------------------


def _choice(body: CountBody) -> Any:
    match body.tool_choice:
        case NoTool():
            return "none"
        case AnyTool():
            return "required"
        case NamedTool(name=name):
            return FunctionChoice(name)
    return None


def _reasoning(body: CountBody) -> AskedReasoning | None:
    effort: Any = body.output_config.effort if body.output_config is not None else None
    match body.thinking:
        case ThinkingDisabled():
            effort = effort or "none"
        case ThinkingEnabled(budget_tokens=budget):
            effort = effort or next((name for most, name in EFFORTS if budget <= most), "high")
    return AskedReasoning(effort) if effort is not None else None


def _format(body: CountBody) -> AskedText | None:
    if body.output_config is None or body.output_config.format is None:
        return None
    schema = body.output_config.format.schema
    try:
        check_schema(schema)
    except InvalidSchema as error:
        raise InvalidRequest(str(error), param="output_config.format.schema", code="invalid_json_schema") from None
    return AskedText(format=JsonSchemaFormat(name="answer", schema=schema, strict=True))


# ---- messages ------------------------------------------------------------------------------------------------


def _results(body: CountBody) -> dict[str, CodeResult]:
    """The results of code in the history, by the ids of its blocks."""
    blocks = (block for message in body.messages if not isinstance(message.content, str) for block in message.content)
    return {block.tool_use_id: block.content for block in blocks if isinstance(block, CodeOutcomeBlock)}


def _items(message: MessageBody, param: str, results: dict[str, CodeResult]) -> Iterator[InputItem]:
    """The items of one message, in their order. Consecutive texts, images and files are one message."""
    if isinstance(message.content, str):
        yield MessageItem(message.role, message.content)
        return
    parts: list[Part] = []
    for index, block in enumerate(message.content):
        if (part := _part(block, message.role, f"{param}[{index}]")) is not None:
            parts.append(part)
        elif (item := _item(block, results)) is not None:
            if parts:
                yield MessageItem(message.role, parts)
                parts = []
            yield item
    if parts:
        yield MessageItem(message.role, parts)


def _part(block: Any, role: str, param: str) -> Part | None:
    match block:
        case TextBlock(text):
            return OutputText(text) if role == "assistant" else InputText(text)
        case ImageBlock(source) if role != "assistant":
            return _image(source)
        case DocumentBlock(source, title) if role != "assistant":
            return _document(source, title)
        case UploadBlock(file_id):
            return InputFile(file_id=file_id) if role != "assistant" else None
        case ImageBlock() | DocumentBlock():
            raise InvalidRequest("Only messages of the user have images and documents.", param=param)
    return None


def _image(source: Base64Source | FileSource) -> InputImage:
    if isinstance(source, FileSource):
        return InputImage(file_id=source.file_id)
    return InputImage(image_url=f"data:{source.media_type};base64,{source.data}")


def _document(source: Base64Source | TextSource | FileSource, title: str | None) -> InputFile:
    match source:
        case FileSource(file_id):
            return InputFile(filename=title, file_id=file_id)
        case TextSource(data):
            content = data_url("text/plain", data.encode(errors="replace"))
            return InputFile(filename=title or "document.txt", file_data=content)
        case Base64Source(data, media_type):
            ending = "pdf" if media_type == "application/pdf" else "bin"
            return InputFile(filename=title or f"document.{ending}", file_data=data)


def _item(block: Any, results: dict[str, CodeResult]) -> InputItem | None:
    match block:
        case ToolUseBlock(id_, name, arguments):
            return FunctionCallItem(_our_call_id(id_), name, msgspec.json.encode(arguments).decode())
        case ToolResultBlock(id_, content, is_error):
            return FunctionOutputItem(_our_call_id(id_), _value(content), is_error=bool(is_error))
        case ServerToolUseBlock(id_, name, arguments):
            code = arguments.get("code") if name == "code_execution" else None
            written = code if isinstance(code, str) else f"# {name}: {msgspec.json.encode(arguments).decode()}"
            return CodeItem(written, id=_our_code_id(id_), outputs=_outputs(results.get(id_)))
        case ThinkingBlock(_, signature) if signature:
            return ReasoningItem(encrypted_content=signature)
        case RedactedThinkingBlock(data):
            return ReasoningItem(encrypted_content=data)
    return None


def _outputs(result: CodeResult | None) -> list[Any] | None:
    if result is None:
        return None
    return [LogsOutput("\n".join(filter(None, (result.stdout, result.stderr, result.error_code))))]


def _our_code_id(block_id: str) -> str:
    return OUR_CODE_ID + block_id.removeprefix(CODE_ID)


def _our_call_id(tool_id: str) -> str:
    return OUR_CALL_ID + tool_id.removeprefix(CALL_ID) if tool_id.startswith(CALL_ID) else tool_id


def _text(content: str | list[TextBlock] | None) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join(block.text for block in content)


def _value(content: str | list[TextBlock | ImageBlock | DocumentBlock] | None) -> str | list[Any]:
    """The value of a call: text, or its parts if there are images or documents among them."""
    if content is None or isinstance(content, str):
        return content or ""
    texts = [block for block in content if isinstance(block, TextBlock)]
    if len(texts) == len(content):
        return _text(texts)
    return [_part(block, "user", "") for block in content]
