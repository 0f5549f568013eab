"""Reads the `input` of a request, and turns it into messages as they are stored and as the model reads them."""

import re
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from codeact.dialect.markup import CLOSE, OPEN
from codeact.errors import InvalidRequest
from codeact.events import (
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
from codeact.runs.sent_calls import (
    CustomCallItem,
    CustomOutputItem,
    McpCallItem,
    McpListItem,
    SearchCallItem,
    SearchOutputItem,
    ShellCallItem,
    ShellOutputItem,
    texts_of,
)
from codeact.runs.sent_compactions import CompactionItem, CompactionTrigger, SealedCompaction
from codeact.store.references import reference

__all__ = [
    "CONTAINER_FILE",
    "FunctionCallItem",
    "Given",
    "InputItem",
    "ItemReference",
    "SealedReasoning",
    "answer_id",
    "as_messages",
    "as_text",
    "file_name",
    "from_item",
    "has_content",
    "mark_items",
    "mark_messages",
]

CONTAINER_FILE = "cfile_"
"""What the ids of files in containers begin with."""

SERVED = re.compile(r"/v1/blobs/([0-9a-f]{64})")
"""The path under which a client was given an image, and by which it names the image again."""


class InputText(msgspec.Struct, tag="input_text"):
    text: str
    prompt_cache_breakpoint: None = None


class OutputText(msgspec.Struct, tag="output_text"):
    """What a model said. Annotations and the like may stand beside it."""

    text: str


class Refusal(msgspec.Struct, tag="refusal"):
    refusal: str


class InputImage(msgspec.Struct, tag="input_image"):
    """`image_url` is a `data:` URL or `/v1/blobs/{sha256}`, `file_id` as in `InputFile`: one of both."""

    image_url: str | None = None
    file_id: str | None = None
    detail: Literal["auto", "low", "high", "original"] | None = None
    prompt_cache_breakpoint: None = None


class InputFile(msgspec.Struct, tag="input_file"):
    """`file_data` is base64, also as a `data:` URL, `file_id` a container file's or the SHA-256 of a blob: one of both.

    The file is written into the sandbox's workspace under `filename`, which a container file has already.
    """

    filename: str | None = None
    file_data: str | None = None
    file_id: str | None = None
    file_url: None = None
    prompt_cache_breakpoint: None = None


Part = InputText | OutputText | Refusal | InputImage | InputFile


class MessageItem(msgspec.Struct, tag="message"):
    """`type` may be left out. `id` is that of an earlier answer's message, sent back."""

    role: Literal["user", "system", "developer", "assistant"]
    content: str | list[Part]
    id: str | None = None


class CodeItem(msgspec.Struct, tag="code_interpreter_call"):
    """Code of an earlier answer, sent back; it is not run again."""

    code: str | None = None
    id: str | None = None
    outputs: list[LogsOutput | ImageOutput] | None = None


class ReasoningItem(msgspec.Struct, tag="reasoning"):
    """Thinking of an earlier answer, sent back. Its model reads it where this server encrypted it; else nobody does."""

    encrypted_content: str | None = None


class ItemReference(msgspec.Struct, tag="item_reference"):
    """An item of an earlier answer, by its id."""

    id: str


class FunctionOutputItem(msgspec.Struct, tag="function_call_output"):
    """The value of a function that code waits for: JSON, or text that stands for a string."""

    call_id: str
    output: str | list[InputText]


class FunctionCallItem(msgspec.Struct, tag="function_call"):
    """A call of an earlier answer, sent back beside its value by clients that keep the conversation themselves."""

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
    | CustomCallItem
    | CustomOutputItem
    | ShellCallItem
    | ShellOutputItem
    | SearchCallItem
    | SearchOutputItem
    | CompactionItem
    | CompactionTrigger
)


class SealedReasoning(msgspec.Struct):
    """Reasoning that only this server can read, if it wrote it."""

    sealed: str


Given = Input | ItemReference | FunctionCallItem | SealedReasoning | SealedCompaction
"""A checked item of the input. Items that are not yet `Input` must be looked up in the database, or decrypted."""


def mark_items(body: Any) -> Any:
    """A body with `items` in it, each with the `type` that messages may leave out."""
    return body | {"items": mark_messages(body["items"])} if isinstance(body, dict) and "items" in body else body


def mark_messages(value: Any) -> Any:
    """Input as it came, with the `type` that messages may leave out."""
    if not isinstance(value, list):
        return value
    return [
        {"type": "message", **item} if isinstance(item, dict) and "role" in item and "type" not in item else item
        for item in value
    ]


def as_messages(value: str | list[InputItem]) -> list[Given]:
    """Text stands for one user message. Raises `InvalidRequest` for a part that is in no form we take."""
    if isinstance(value, str):
        return [_input_message("user", value)] if value.strip() else []
    messages: list[Given] = []
    in_code = False
    for index, item in enumerate(value):
        in_code = isinstance(item, CodeItem | McpCallItem | ReasoningItem) and (in_code or isinstance(item, CodeItem))
        match item:
            case MessageItem(role, str(text)):
                messages.append(_input_message(role, text))
            case MessageItem(role, list(parts)):
                param = f"input[{index}].content"
                content = [_part(part, f"{param}[{at}]") for at, part in enumerate(parts)]
                messages.append(InputMessage(id=new_id("msg"), role=role, content=content))
            case CodeItem(code, outputs=outputs):
                logs = [output.logs for output in outputs or () if isinstance(output, LogsOutput)]
                messages += _code_messages(code or "", "".join(logs))
            case ReasoningItem(str(sealed)):
                messages.append(SealedReasoning(sealed))
            case CompactionItem(sealed):
                messages.append(SealedCompaction(sealed, f"input[{index}].encrypted_content"))
            case CompactionTrigger():
                raise CompactionTrigger.misplaced(f"input[{index}]")
            case ItemReference() | FunctionCallItem():
                messages.append(item)
            case FunctionOutputItem(call_id, output) | CustomOutputItem(call_id, output):
                text = output if isinstance(output, str) else "".join(part.text for part in output)
                messages.append(FunctionCallOutput(id=new_id("fco"), call_id=call_id, output=text))
            case CustomCallItem(call_id, name, text):
                messages.append(FunctionCallItem(call_id, name, text))
            case McpCallItem() | ShellCallItem() | ShellOutputItem() if not in_code:
                messages += [_input_message(role, text) for role, text in texts_of(item)]
    return messages


def answer_id(value: str | list[InputItem]) -> str | None:
    """The id of the last item that an earlier answer gave, as far as the client tells."""
    if isinstance(value, str):
        return None
    for item in reversed(value):
        if isinstance(item, ItemReference | CodeItem | CompactionItem) or (
            isinstance(item, MessageItem) and item.role == "assistant"
        ):
            return item.id
    return None


def from_item(item: Any) -> list[Input]:
    """A stored item of an answer, as input of another one."""
    match item:
        case Message(content=content):
            return [_input_message("assistant", "".join(part.text for part in content))]
        case Compaction(text=text, encrypted_content=sealed):
            return [Compaction(id=new_id("cmp"), text=text, encrypted_content=sealed)]
        case CodeInterpreterCall(code=code, observation=observation):
            return _code_messages(code, "", observation=observation)
    return []


def as_text(item: FunctionCallItem | FunctionCallOutput, names: Mapping[str, str]) -> Input:
    """A call that no code of ours waits for, or its value, in words; `names` are the functions' by call id."""
    match item:
        case FunctionCallItem(_, name, arguments):
            return _input_message("assistant", f"{name}({arguments})")
        case FunctionCallOutput():
            return _input_message("user", f"{names.get(item.call_id, 'The function')}() returned:\n{item.output}")


def has_content(message: Input | SealedReasoning | SealedCompaction) -> bool:
    if isinstance(message, SealedReasoning | SealedCompaction | Compaction):
        return False
    return isinstance(message, FunctionCallOutput) or any(
        part.get("text", "").strip() or part["type"] in ("input_image", "input_file") for part in message.content
    )


def _input_message(role: Any, text: str) -> InputMessage:
    kind = "output_text" if role == "assistant" else "input_text"
    return InputMessage(id=new_id("msg"), role=role, content=[{"type": kind, "text": text}])


def _code_messages(code: str, logs: str, *, observation: str | None = None) -> list[Input]:
    """A block of code and what became of it, in the words in which a model reads them."""
    seen = observation or (f"{HEADER}\n{logs}" if logs else f"{HEADER} (no output)")
    return [_input_message("assistant", f"{OPEN}\n{code}\n{CLOSE}"), _input_message("user", seen)]


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
            has_name = filename is None and file_id is not None and file_id.startswith(CONTAINER_FILE)
            name = None if has_name else file_name(filename or "", f"{param}.filename")
            return {"type": "input_file", "filename": name, "file_data": data, "file_id": file_id}


def file_name(path: str, param: str) -> str:
    """The last part of a path, as the name of a file of its own. Raises `InvalidRequest` where it is none."""
    try:
        return normal(path)
    except ValueError as error:
        raise InvalidRequest(f"This is no name for a file: {error}.", param=param) from None
