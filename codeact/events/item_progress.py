"""Events about one item: deltas of its text, code and arguments, and the events that finish each of them."""

import msgspec

from codeact.events.items import CallStep, ContainerFileCitation, OutputText, ReasoningTextPart, ShellOutput
from codeact.events.progress import NumberedEvent
from codeact.model import TokenLogprob
from sandbox_pool.outputs import Output

__all__ = [
    "CodeDelta",
    "CodeDone",
    "CodeOutput",
    "CodeProgress",
    "CompactionCompacting",
    "ContentPartAdded",
    "ContentPartDone",
    "CustomInputDelta",
    "CustomInputDone",
    "FunctionArgumentsDelta",
    "FunctionArgumentsDone",
    "InterpreterCompleted",
    "InterpreterInProgress",
    "InterpreterInterpreting",
    "ItemEvent",
    "McpArgumentsDelta",
    "McpArgumentsDone",
    "McpCompleted",
    "McpFailed",
    "McpInProgress",
    "McpListCompleted",
    "McpListFailed",
    "McpListInProgress",
    "McpStep",
    "OutputTextAnnotationAdded",
    "OutputTextDelta",
    "OutputTextDone",
    "ReasoningTextDelta",
    "ReasoningTextDone",
    "ShellOutputDelta",
    "ShellOutputDone",
]


class ItemEvent(NumberedEvent):
    """Base of the events about one item; `output_index` is the item's position in the response's `output`."""

    item_id: str
    output_index: int


class ContentPartAdded(ItemEvent, tag="response.content_part.added"):
    part: OutputText | ReasoningTextPart
    content_index: int = 0


class ContentPartDone(ItemEvent, tag="response.content_part.done"):
    part: OutputText | ReasoningTextPart
    content_index: int = 0


class OutputTextDelta(ItemEvent, tag="response.output_text.delta"):
    delta: str
    content_index: int = 0
    logprobs: list[TokenLogprob] = msgspec.field(default_factory=list)


class OutputTextAnnotationAdded(ItemEvent, tag="response.output_text.annotation.added"):
    annotation: ContainerFileCitation
    annotation_index: int
    content_index: int = 0


class OutputTextDone(ItemEvent, tag="response.output_text.done"):
    text: str
    content_index: int = 0
    logprobs: list[TokenLogprob] = msgspec.field(default_factory=list)


class ReasoningTextDelta(ItemEvent, tag="response.reasoning_text.delta"):
    delta: str
    content_index: int = 0


class ReasoningTextDone(ItemEvent, tag="response.reasoning_text.done"):
    text: str
    content_index: int = 0


class InterpreterInProgress(ItemEvent, tag="response.code_interpreter_call.in_progress"):
    pass


class CodeDelta(ItemEvent, tag="response.code_interpreter_call_code.delta"):
    delta: str


class CodeDone(ItemEvent, tag="response.code_interpreter_call_code.done"):
    code: str


class InterpreterInterpreting(ItemEvent, tag="response.code_interpreter_call.interpreting"):
    pass


class CodeOutput(ItemEvent, tag="codeact:code_interpreter_call.output"):
    """One output of running code, in the form of a notebook's output (nbformat)."""

    output: Output


class CodeProgress(ItemEvent, tag="codeact:code_interpreter_call.progress"):
    """How far a block is that runs while the model writes it: its first `ran` lines have run.

    `line` is the last line of the statement that runs now, whose outputs follow; None: it waits for the model.
    """

    ran: int
    line: int | None = None


class CompactionCompacting(ItemEvent, tag="response.compaction.compacting"):
    """The server begins to write the text of a compaction."""


class FunctionArgumentsDelta(ItemEvent, tag="response.function_call_arguments.delta"):
    delta: str


class FunctionArgumentsDone(ItemEvent, tag="response.function_call_arguments.done"):
    arguments: str
    name: str


class CustomInputDelta(ItemEvent, tag="response.custom_tool_call_input.delta"):
    delta: str


class CustomInputDone(ItemEvent, tag="response.custom_tool_call_input.done"):
    input: str


class McpArgumentsDelta(ItemEvent, tag="response.mcp_call_arguments.delta"):
    delta: str


class McpArgumentsDone(ItemEvent, tag="response.mcp_call_arguments.done"):
    arguments: str


class McpInProgress(ItemEvent, tag="response.mcp_call.in_progress"):
    pass


class McpListInProgress(ItemEvent, tag="response.mcp_list_tools.in_progress"):
    pass


class McpListCompleted(ItemEvent, tag="response.mcp_list_tools.completed"):
    pass


class McpListFailed(ItemEvent, tag="response.mcp_list_tools.failed"):
    pass


class ShellOutputDelta(ItemEvent, tag="response.shell_call_output_content.delta"):
    """A command printed something: `delta` has `stdout` or `stderr`."""

    command_index: int
    delta: dict[str, str]


class ShellOutputDone(ItemEvent, tag="response.shell_call_output_content.done"):
    """A command has ended."""

    command_index: int
    output: list[ShellOutput]


class McpStep(ItemEvent, tag="codeact:mcp_call.step"):
    """An agent that the called function started has written text or run code."""

    step: CallStep


class McpCompleted(ItemEvent, tag="response.mcp_call.completed"):
    pass


class McpFailed(ItemEvent, tag="response.mcp_call.failed"):
    pass


class InterpreterCompleted(ItemEvent, tag="response.code_interpreter_call.completed"):
    pass
