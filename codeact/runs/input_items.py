"""Reads the `input` of a request and converts it into messages, as they are stored and as the model reads them."""

import re
from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from msgspec import UNSET

from codeact.dialect.markup import CLOSE, OPEN
from codeact.errors import InvalidRequest
from codeact.events import (
    Approval,
    CodeApproval,
    CodeInterpreterCall,
    Compaction,
    FunctionCallOutput,
    ImageOutput,
    Input,
    InputMessage,
    LogsOutput,
    Message,
)
from codeact.file_names import normal
from codeact.ids import new_id
from codeact.observations.observation import HEADER
from codeact.runs.sent_approvals import (
    ApprovalItem,
    ApprovalRequestItem,
    CodeApprovalItem,
    CodeApprovalRequestItem,
)
from codeact.runs.sent_calls import (
    CustomCallItem,
    LocalShellCallItem,
    LocalShellOutputItem,
    McpCallItem,
    McpListItem,
    PatchCallItem,
    PatchOutputItem,
    SearchCallItem,
    SearchOutputItem,
    ShellCallItem,
    ShellOutputItem,
    texts_of,
)
from codeact.runs.sent_compactions import CompactionItem, CompactionTrigger, SealedCompaction
from codeact.store.references import reference
from codeact.tools.client_search import check_loaded

__all__ = [
    "FILE_IDS",
    "FunctionCallItem",
    "Given",
    "InputItem",
    "ItemReference",
    "SealedReasoning",
    "answer_container",
    "answer_id",
    "as_messages",
    "as_text",
    "code_messages",
    "file_name",
    "from_item",
    "has_content",
    "mark_items",
    "mark_messages",
]

FILE_IDS = ("cfile_", "file-")
"""How ids of files begin: of a container's, and of uploaded ones."""
"""The prefix of the ids of files in containers."""

SERVED = re.compile(r"(?:https?://[^/\s]{1,300})?/v1/blobs/([0-9a-f]{64})")
"""The path of an image that the server sent to a client, and by which the client refers to it."""


RETURNED = "A function that your code called has returned this:"


class InputText(msgspec.Struct, tag="input_text"):
    text: str
    prompt_cache_breakpoint: None = None


class OutputText(msgspec.Struct, tag="output_text"):
    """Text of a model; further fields, such as annotations, are ignored."""

    text: str


class Refusal(msgspec.Struct, tag="refusal"):
    refusal: str


class InputImage(msgspec.Struct, tag="input_image"):
    """An image: either `image_url`, a `data:` URL or `/v1/blobs/{sha256}`, or `file_id` as in `InputFile`."""

    image_url: str | None = None
    file_id: str | None = None
    detail: Literal["auto", "low", "high", "original"] | None = None
    prompt_cache_breakpoint: None = None


class InputFile(msgspec.Struct, tag="input_file"):
    """A file: either `file_data`, base64 or a `data:` URL, or `file_id`, a container file's id or a blob's SHA-256.

    The file is written into the sandbox's working directory as `filename`, which may be left out for a container file.
    """

    filename: str | None = None
    file_data: str | None = None
    file_id: str | None = None
    file_url: None = None
    prompt_cache_breakpoint: None = None


Part = InputText | OutputText | Refusal | InputImage | InputFile


class MessageItem(msgspec.Struct, tag="message"):
    """A message; clients may leave out `type`. `id` is set if the client sends a message of an earlier answer back."""

    role: Literal["user", "system", "developer", "assistant"]
    content: str | list[Part]
    id: str | None = None


class CodeItem(msgspec.Struct, tag="code_interpreter_call"):
    """Code of an earlier answer that the client sends back; it is not run again."""

    code: str | None = None
    id: str | None = None
    container_id: str | None = None
    outputs: list[LogsOutput | ImageOutput] | None = None


class ReasoningItem(msgspec.Struct, tag="reasoning"):
    """Reasoning of an earlier answer, sent back by the client. Its model reads it only if this server encrypted it."""

    encrypted_content: str | None = None


class ItemReference(msgspec.Struct, tag="item_reference"):
    """The id of an item of an earlier answer."""

    id: str


class FunctionOutputItem(msgspec.Struct, tag="function_call_output"):
    """The return value of a function that code waits for: JSON; text that is not JSON is the string itself.

    If it has images or files, code gets the list of its parts. The model sees the images, and the files are in the
    working directory. With `is_error`, the call raises an exception with the text in the code.
    """

    call_id: str
    output: str | list[InputText | InputImage | InputFile]
    is_error: bool | None = msgspec.field(default=None, name="codeact:is_error")


class CustomOutputItem(FunctionOutputItem, tag="custom_tool_call_output"):
    """The return value of a custom tool that code waits for, as of a function."""


class FunctionCallItem(msgspec.Struct, tag="function_call"):
    """A call of an earlier answer; clients that store conversations themselves send it back with its value."""

    call_id: str
    name: str = ""
    arguments: str = ""


InputItem = (
    MessageItem
    | CodeItem
    | ReasoningItem
    | ItemReference
    | FunctionOutputItem
    | FunctionCallItem
    | McpCallItem
    | McpListItem
    | ApprovalItem
    | ApprovalRequestItem
    | CodeApprovalItem
    | CodeApprovalRequestItem
    | CustomCallItem
    | CustomOutputItem
    | ShellCallItem
    | ShellOutputItem
    | LocalShellCallItem
    | LocalShellOutputItem
    | PatchCallItem
    | PatchOutputItem
    | SearchCallItem
    | SearchOutputItem
    | CompactionItem
    | CompactionTrigger
)


IN_CODE = CodeItem | McpCallItem | ReasoningItem | ShellCallItem | ShellOutputItem | PatchCallItem | PatchOutputItem
"""What may stand beside code that made the calls: the code's output shows them."""


class SealedReasoning(msgspec.Struct):
    """Encrypted reasoning. Only the server that encrypted it can read it."""

    sealed: str


Given = Input | ItemReference | FunctionCallItem | SealedReasoning | SealedCompaction
"""A checked item of the input. Items other than `Input` must be looked up in the database, or decrypted."""


def mark_items(body: Any) -> Any:
    """Returns a body whose `items` all have a `type`, which clients may leave out of messages."""
    return body | {"items": mark_messages(body["items"])} if isinstance(body, dict) and "items" in body else body


def mark_messages(value: Any) -> Any:
    """Returns the input with a `type` in every message, which clients may leave out."""
    if not isinstance(value, list):
        return value
    return [
        {"type": "message", **item} if isinstance(item, dict) and "role" in item and "type" not in item else item
        for item in value
    ]


def as_messages(value: str | list[InputItem]) -> list[Given]:
    """Converts a request's input; a string becomes one user message. Raises `InvalidRequest` for an invalid part."""
    if isinstance(value, str):
        return [_input_message("user", value)] if value.strip() else []
    messages: list[Given] = []
    found: list[tuple[list[Any], str]] = []
    in_code = False
    in_container = {item.call_id for item in value if isinstance(item, ShellCallItem) and not item.is_local}
    for index, item in enumerate(value):
        in_code = isinstance(item, IN_CODE) and (in_code or isinstance(item, CodeItem))
        match item:
            case MessageItem(role, str(text)):
                messages.append(_input_message(role, text))
            case MessageItem(role, list(parts)):
                param = f"input[{index}].content"
                content = [_part(part, f"{param}[{at}]") for at, part in enumerate(parts)]
                messages.append(InputMessage(id=new_id("msg"), role=role, content=content))
            case CodeItem(code, outputs=outputs):
                logs = [output.logs for output in outputs or () if isinstance(output, LogsOutput)]
                messages += code_messages(code or "", "".join(logs))
            case ReasoningItem(str(sealed)):
                messages.append(SealedReasoning(sealed))
            case CompactionItem(sealed):
                messages.append(SealedCompaction(sealed, f"input[{index}].encrypted_content"))
            case CompactionTrigger():
                raise CompactionTrigger.misplaced(f"input[{index}]")
            case ItemReference() | FunctionCallItem():
                messages.append(item)
            case ApprovalItem() | CodeApprovalItem():
                messages.append(item.decision())
            case FunctionOutputItem():
                messages += _output_messages(item, f"input[{index}].output")
            case CustomCallItem(call_id, name, text):
                messages.append(FunctionCallItem(call_id, name, text))
            case ShellCallItem(action, call_id) if item.is_local:
                messages.append(FunctionCallItem(call_id, "shell", msgspec.json.encode(action).decode()))
            case LocalShellCallItem(call_id, action):
                messages.append(FunctionCallItem(call_id, "local_shell", msgspec.json.encode(action).decode()))
            case ShellOutputItem(call_id=call_id) if call_id and call_id not in in_container:
                messages.append(FunctionCallOutput(id=new_id("fco"), call_id=call_id, output=item.value))
            case LocalShellOutputItem(output, id_, call_id):
                messages.append(FunctionCallOutput(id=new_id("fco"), call_id=call_id or id_, output=output))
            case SearchCallItem(arguments, str(call_id), "client"):
                messages.append(FunctionCallItem(call_id, "tool_search", msgspec.json.encode(arguments).decode()))
            case SearchOutputItem(tools) if item.is_of_client:
                messages.append(item.loaded(f"input[{index}]"))
                found.append((tools, f"input[{index}].tools"))
            case McpCallItem() | ShellCallItem() | ShellOutputItem() | PatchCallItem() | PatchOutputItem():
                if not in_code:
                    messages += [_input_message(role, text) for role, text in texts_of(item)]
    check_loaded(found)
    return messages


def answer_id(value: str | list[InputItem]) -> str | None:
    """Returns the id of the last item that came from an earlier answer, or None if the client sends no such id."""
    if isinstance(value, str):
        return None
    for item in reversed(value):
        if isinstance(item, ItemReference | CodeItem | CompactionItem) or (
            isinstance(item, MessageItem) and item.role == "assistant"
        ):
            return item.id
    return None


def answer_container(value: str | list[InputItem]) -> str | None:
    """Returns the container of the last code that came from an earlier answer, as far as the client says."""
    codes = [item.container_id for item in value if isinstance(item, CodeItem)] if isinstance(value, list) else []
    return codes[-1] if codes else None


def from_item(item: Any) -> list[Input]:
    """Converts a stored item of an answer into input for another answer."""
    match item:
        case Message(content=content):
            return [_input_message("assistant", "".join(part.text for part in content))]
        case Compaction(text=text, encrypted_content=sealed):
            return [Compaction(id=new_id("cmp"), text=text, encrypted_content=sealed)]
        case CodeInterpreterCall(code=code, observation=observation):
            return code_messages(code, "", observation=observation)
    return []


def as_text(item: FunctionCallItem | FunctionCallOutput, names: Mapping[str, str]) -> Input:
    """Describes a call or its value in a message, if no code waits for it. `names` maps call ids to functions."""
    match item:
        case FunctionCallItem(_, name, arguments):
            return _input_message("assistant", f"{name}({arguments})")
        case FunctionCallOutput():
            return _input_message("developer", f"{names.get(item.call_id, 'The function')}() returned:\n{item.output}")


def has_content(message: Input | SealedReasoning | SealedCompaction) -> bool:
    if isinstance(message, SealedReasoning | SealedCompaction | Compaction):
        return False
    return isinstance(message, FunctionCallOutput | Approval | CodeApproval) or any(
        part.get("text", "").strip() or part["type"] in ("input_image", "input_file") for part in message.content
    )


def _input_message(role: Any, text: str) -> InputMessage:
    kind = "output_text" if role == "assistant" else "input_text"
    return InputMessage(id=new_id("msg"), role=role, content=[{"type": kind, "text": text}])


def code_messages(code: str, logs: str, *, observation: str | None = None) -> list[Input]:
    """Returns a block of code and its observation, as messages in the form of the dialect `tags`."""
    seen = observation or (f"{HEADER}\n{logs}" if logs else f"{HEADER} (no output)")
    return [_input_message("assistant", f"{OPEN}\n{code}\n{CLOSE}"), _input_message("developer", seen)]


def _output_messages(item: FunctionOutputItem, param: str) -> list[Given]:
    """Returns the value of a call, after a message with its images and files."""
    shown: list[Given] = []
    if isinstance(item.output, str):
        value = item.output
    elif all(isinstance(part, InputText) for part in item.output):
        value = "".join(part.text for part in item.output if isinstance(part, InputText))
    else:
        parts = [_part(part, f"{param}[{at}]") for at, part in enumerate(item.output)]
        media = [part for part in parts if part["type"] != "input_text"]
        content = [{"type": "input_text", "text": RETURNED}, *media]
        shown.append(InputMessage(id=new_id("msg"), role="user", content=content))
        value = msgspec.json.encode([_without_content(part) for part in parts]).decode()
    is_error = True if item.is_error else UNSET
    return [*shown, FunctionCallOutput(id=new_id("fco"), call_id=item.call_id, output=value, is_error=is_error)]


def _without_content(part: dict[str, Any]) -> dict[str, Any]:
    """Returns a part of a function's value for code: with images, but with names instead of files' contents."""
    if part["type"] == "input_file":
        return {"type": "input_file", "filename": part["filename"], "file_id": part["file_id"]}
    return part


def _part(part: Part, param: str) -> dict[str, Any]:
    match part:
        case InputText(text):
            return {"type": "input_text", "text": text}
        case OutputText(text) | Refusal(text):
            return {"type": "output_text", "text": text}
        case InputImage(url, file_id, detail):
            if (url is None) == (file_id is None):
                raise InvalidRequest("An image needs either 'image_url' or 'file_id'.", param=param)
            if url is not None and (served := SERVED.fullmatch(url)) is not None:
                url = reference(served[1])
            elif url is not None and not url.startswith("data:image/"):
                raise InvalidRequest(
                    "'image_url' must be a data:image/… URL or a /v1/blobs/… of this server, which fetches nothing"
                    " from elsewhere.",
                    param=f"{param}.image_url",
                )
            named = {"image_url": url} if url is not None else {"file_id": file_id}
            return {"type": "input_image", **named, "detail": detail or "auto"}
        case InputFile(filename, data, file_id):
            if (data is None) == (file_id is None):
                raise InvalidRequest("A file needs either 'file_data' or 'file_id'.", param=param)
            has_name = filename is None and file_id is not None and file_id.startswith(FILE_IDS)
            name = None if has_name else file_name(filename or "", f"{param}.filename")
            return {"type": "input_file", "filename": name, "file_data": data, "file_id": file_id}


def file_name(path: str, param: str) -> str:
    """Returns the last part of a path as a normalised file name. Raises `InvalidRequest` if it cannot be one."""
    try:
        return normal(path)
    except ValueError as error:
        raise InvalidRequest(f"This is no name for a file: {error}.", param=param) from None
