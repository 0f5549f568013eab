"""Items: what a response's `output` holds, and what a client says to get one."""

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
    "LogsOutput",
    "McpCall",
    "Message",
    "OutputText",
    "Reasoning",
    "ReasoningTextPart",
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


class Message(msgspec.Struct, tag="message", kw_only=True):
    """A stretch of the assistant's prose."""

    id: str
    role: Literal["assistant"] = "assistant"
    status: Literal["in_progress", "completed", "incomplete"] = "in_progress"
    content: list[OutputText] = []


class Reasoning(msgspec.Struct, tag="reasoning", kw_only=True):
    """A stretch of the model's thinking; `summary` stays empty, since nothing is summarised."""

    id: str
    summary: list[Any] = []
    content: list[ReasoningTextPart] = []
    status: Literal["in_progress", "completed", "incomplete"] = "in_progress"


class LogsOutput(msgspec.Struct, tag="logs"):
    """Everything textual that the code produced, ANSI codes removed."""

    logs: str


class ImageOutput(msgspec.Struct, tag="image"):
    """`url` is a `data:` URL, or `/v1/blobs/{sha256}` once the item is stored."""

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


class McpCall(msgspec.Struct, tag="mcp_call", kw_only=True):
    """Code called a tool of an MCP server, or a function of the host, whose `server_label` is `host`."""

    id: str
    server_label: str
    name: str
    arguments: str = ""
    output: str | None = None
    error: str | None = None
    approval_request_id: str | None = None
    status: Literal["in_progress", "completed", "incomplete", "calling", "failed"] = "in_progress"


Item = Message | Reasoning | CodeInterpreterCall | FunctionCall | McpCall


class InputMessage(msgspec.Struct, tag="message", kw_only=True):
    """What a client said. `content` holds `input_text`, `input_image`, `input_file` and `output_text` parts."""

    id: str
    role: Literal["user", "system", "developer", "assistant"]
    content: list[dict[str, Any]]
    status: Literal["completed"] = "completed"


class FunctionCallOutput(msgspec.Struct, tag="function_call_output", kw_only=True):
    """What a client's function gave: JSON, or text that stands for a string."""

    id: str
    call_id: str
    output: str
    status: Literal["completed"] = "completed"


Input = InputMessage | FunctionCallOutput
