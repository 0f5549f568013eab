"""Items: the content of a response's `output`, and what a client sends to get a response."""

from typing import Any, Literal

import msgspec

from sandbox_pool.outputs import DisplayData, Error, ExecuteResult, ExecutionResult, Stream

__all__ = [
    "CodeInterpreterCall",
    "ContainerFileCitation",
    "FunctionCall",
    "FunctionCallOutput",
    "ImageOutput",
    "Input",
    "InputMessage",
    "Item",
    "KeptReasoning",
    "LogsOutput",
    "McpCall",
    "McpError",
    "Message",
    "OutputText",
    "Phase",
    "Reasoning",
    "ReasoningTextPart",
    "Written",
]


class ContainerFileCitation(msgspec.Struct, frozen=True, tag="container_file_citation"):
    """A file that the code wrote; the indexes are where the text names it, both its end where it does not."""

    container_id: str
    file_id: str
    filename: str
    start_index: int
    end_index: int


class _Growing(msgspec.Struct):
    text: str

    def add(self, delta: str) -> None:
        # While nothing else refers to it, CPython extends a string in place; else each delta would copy all of it.
        text, self.text = self.text, ""
        text += delta
        self.text = text


class OutputText(_Growing, tag="output_text"):
    annotations: list[Any] = []
    logprobs: list[Any] = []


class ReasoningTextPart(_Growing, tag="reasoning_text"):
    pass


class Written(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What the model `model` wrote in one reply, byte for byte, where that differs from how we would tell it.

    `text` is the reply's text, block included, or beside a call its prose; the items `items` are told by it too.
    Code that was a call's argument has the `call_id`, its `place` among the calls of the reply, and `arguments` where
    they are not what we would write; `custom` where these are plain text.
    """

    model: str
    text: str | None = None
    items: list[str] = []
    call_id: str | None = None
    arguments: str | None = None
    custom: bool = False
    place: int = 0


Phase = Literal["commentary", "final_answer"]


class Message(msgspec.Struct, tag="message", kw_only=True):
    """A stretch of the assistant's prose.

    Once it is done, `phase` says whether it went along with the work, or is the answer; None where nobody knows, since
    the answer was stopped or is an older one.
    """

    id: str
    role: Literal["assistant"] = "assistant"
    status: Literal["in_progress", "completed", "incomplete"] = "in_progress"
    content: list[OutputText] = []
    phase: Phase | None = None
    written: Written | None = msgspec.field(default=None, name="codeact:written")


class KeptReasoning(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Reasoning that came apart from the text, which goes back to the model `model` and to no other.

    `field` is the provider's name for its text; `data` are the provider's own fields, opaque, which go back in its
    place where there are any.
    """

    model: str
    field: str = "reasoning_content"
    data: dict[str, Any] = {}

    def back(self, item: "Reasoning") -> dict[str, Any]:
        """The fields of a message that give the reasoning of `item` back."""
        text = "".join(part.text for part in item.content)
        return self.data or ({self.field: text} if text else {})


class Reasoning(msgspec.Struct, tag="reasoning", kw_only=True):
    """A stretch of the model's thinking; `summary` stays empty, since nothing is summarised.

    `encrypted_content` is what its model wants back, for clients that asked for it because they hold their history.
    """

    id: str
    summary: list[Any] = []
    content: list[ReasoningTextPart] = []
    encrypted_content: str | None = None
    status: Literal["in_progress", "completed", "incomplete"] = "in_progress"
    kept: KeptReasoning | None = msgspec.field(default=None, name="codeact:kept")


class LogsOutput(msgspec.Struct, tag="logs"):
    """Everything textual that the code produced, ANSI codes removed; not read from the store for a model's history."""

    logs: str = ""


class ImageOutput(msgspec.Struct, tag="image"):
    """`url` is a `data:` URL, or `blob:{sha256}` once the item is stored; clients read a URL instead."""

    url: str


class CodeInterpreterCall(msgspec.Struct, tag="code_interpreter_call", kw_only=True):
    """One block of code and what became of it.

    `outputs` is the standard's view (logs and images); `notebook_outputs` the nbformat values of the
    same, for faces that can show them; `result` how the execution ended; `observation` the text the
    model was given; `started_s` when it began, as in the ledger; `tagged` is False when the model wrote the code
    in a fence, without `<execute>`.

    Code that waits for a client's functions ends its item as `incomplete`, with their call ids in `waits_for`;
    what it does after that is an item without code, in the next response, which `continues` that one.
    """

    id: str
    container_id: str
    code: str = ""
    outputs: list[LogsOutput | ImageOutput] | None = None
    status: Literal["in_progress", "interpreting", "completed", "incomplete", "failed"] = "in_progress"
    notebook_outputs: list[Stream | DisplayData | ExecuteResult | Error] = msgspec.field(
        default_factory=list, name="codeact:notebook_outputs"
    )
    result: ExecutionResult | None = msgspec.field(default=None, name="codeact:result")
    observation: str | None = msgspec.field(default=None, name="codeact:observation")
    started_s: float | None = msgspec.field(default=None, name="codeact:started_s")
    tagged: bool = msgspec.field(default=True, name="codeact:tagged")
    waits_for: list[str] = msgspec.field(default_factory=list, name="codeact:waits_for")
    continues: str | None = msgspec.field(default=None, name="codeact:continues")
    written: Written | None = msgspec.field(default=None, name="codeact:written")

    def add(self, delta: str) -> None:
        """Adds to the code; see `_Growing`."""
        code, self.code = self.code, ""
        code += delta
        self.code = code


class FunctionCall(msgspec.Struct, tag="function_call", kw_only=True):
    """Code calls a function of the client, and waits: the next request brings its `FunctionCallOutput`.

    `code_item_id` is the block of code that calls. (The standard's `caller` means programs of another kind: clients
    that have not switched those on refuse it.)
    """

    id: str
    call_id: str
    name: str
    arguments: str = ""
    code_item_id: str | None = msgspec.field(default=None, name="codeact:code_item_id")
    status: Literal["in_progress", "completed", "incomplete"] = "in_progress"


class McpError(msgspec.Struct, tag="mcp_tool_execution_error"):
    """Why a call gave no value, as content of the protocol."""

    content: list[dict[str, str]] = []

    @classmethod
    def of(cls, text: str) -> "McpError":
        return cls([{"type": "text", "text": text}])

    def __str__(self) -> str:
        return "\n".join(part.get("text", "") for part in self.content)


class CallStep(msgspec.Struct, omit_defaults=True):
    """What an agent that a function started has said, or the code that it has run with what that showed."""

    text: str = ""
    code: str | None = None


class McpCall(msgspec.Struct, tag="mcp_call", kw_only=True):
    """Code called a tool of an MCP server, or a function of the host, whose `server_label` is `host`.

    `error` was a text in earlier versions.
    """

    id: str
    server_label: str
    name: str
    arguments: str = ""
    output: str | None = None
    error: McpError | str | None = None
    approval_request_id: str | None = None
    status: Literal["in_progress", "completed", "incomplete", "calling", "failed"] = "in_progress"
    steps: list[CallStep] = msgspec.field(default_factory=list, name="codeact:steps")


Item = Message | Reasoning | CodeInterpreterCall | FunctionCall | McpCall


class InputMessage(msgspec.Struct, tag="message", kw_only=True):
    """What a client said. `content` holds `input_text`, `input_image`, `input_file` and `output_text` parts.

    `kept` is the reasoning that led to an assistant's words, where the client held it encrypted.
    """

    id: str
    role: Literal["user", "system", "developer", "assistant"]
    content: list[dict[str, Any]]
    status: Literal["completed"] = "completed"
    kept: KeptReasoning | msgspec.UnsetType = msgspec.field(default=msgspec.UNSET, name="codeact:kept")


class FunctionCallOutput(msgspec.Struct, tag="function_call_output", kw_only=True):
    """What a client's function gave: JSON, or text that stands for a string."""

    id: str
    call_id: str
    output: str
    status: Literal["completed"] = "completed"


Input = InputMessage | FunctionCallOutput
