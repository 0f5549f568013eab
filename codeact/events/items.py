"""Items: what a response's `output` contains, and what clients send as input."""

from typing import Any, Literal

import msgspec

from codeact.model import TokenLogprob
from sandbox_pool.outputs import DisplayData, Error, ExecuteResult, ExecutionResult, Stream

__all__ = [
    "ApplyPatchCall",
    "ApplyPatchCallOutput",
    "Approval",
    "ApprovalRequest",
    "ClientCall",
    "CodeApproval",
    "CodeApprovalRequest",
    "CodeInterpreterCall",
    "Compaction",
    "ContainerFileCitation",
    "CreateFile",
    "CustomToolCall",
    "DeleteFile",
    "FunctionCall",
    "FunctionCallOutput",
    "ImageOutput",
    "Input",
    "InputMessage",
    "Item",
    "KeptReasoning",
    "LocalShellAction",
    "LocalShellCall",
    "LogsOutput",
    "MadeCall",
    "McpCall",
    "McpError",
    "McpListTools",
    "McpListedTool",
    "Message",
    "OutputText",
    "Phase",
    "ProgramCaller",
    "Reasoning",
    "ReasoningTextPart",
    "RefusedCall",
    "Restart",
    "ShellAction",
    "ShellCall",
    "ShellCallOutput",
    "ShellContainer",
    "ShellExit",
    "ShellLocal",
    "ShellOutput",
    "ShellTimeout",
    "ToolSearchCall",
    "ToolSearchOutput",
    "UpdateFile",
    "Written",
]


class ContainerFileCitation(msgspec.Struct, frozen=True, tag="container_file_citation"):
    """A file that the code wrote.

    `start_index` and `end_index` mark the file's name in the text; both are the text's length if it has no such name.
    """

    container_id: str
    file_id: str
    filename: str
    start_index: int
    end_index: int


class _StreamedText(msgspec.Struct):
    text: str

    def add(self, delta: str) -> None:
        # CPython extends a string in place if only one variable refers to it; otherwise each delta copies all of it.
        text, self.text = self.text, ""
        text += delta
        self.text = text


class OutputText(_StreamedText, tag="output_text"):
    annotations: list[Any] = []
    logprobs: list[TokenLogprob] = []


class ReasoningTextPart(_StreamedText, tag="reasoning_text"):
    pass


class Written(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The exact bytes of one reply of the model `model`, stored if a prompt rebuilt from the items would differ.

    `text` is the reply's text with its code block, or the prose before a call. `items` lists the ids of further items
    that `text` covers. If the code was the argument of a call, `call_id` is that call's id and `place` its position
    among the calls of the reply. `arguments` is set if it differs from what we would write; `custom` says that the
    call has plain text instead of JSON arguments.
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
    """Prose of the assistant.

    When the item is done, `phase` says whether it is commentary on the work or the final answer. It is unset before,
    and if that is unknown: the response was stopped, or an older version stored it (as None). `before_result_of` is
    the id of the block of code after which the model wrote this text, before it knew the block's result.
    """

    id: str
    role: Literal["assistant"] = "assistant"
    status: Literal["in_progress", "completed", "incomplete"] = "in_progress"
    content: list[OutputText] = []
    phase: Phase | msgspec.UnsetType | None = msgspec.UNSET
    written: Written | None = msgspec.field(default=None, name="codeact:written")
    before_result_of: str | None = msgspec.field(default=None, name="codeact:before_result_of")


class KeptReasoning(msgspec.Struct, kw_only=True, omit_defaults=True):
    """How to send reasoning back to the model `model`, which gets it with its next prompt; no other model does.

    `field` is the provider's name for the reasoning text. `data` holds opaque fields of the provider; if it is not
    empty, it is sent instead of the text.
    """

    model: str
    field: str = "reasoning_content"
    data: dict[str, Any] = {}

    def back(self, item: "Reasoning") -> dict[str, Any]:
        """Returns the fields that a chat message needs in order to send the reasoning of `item` back."""
        text = "".join(part.text for part in item.content)
        return self.data or ({self.field: text} if text else {})


class Reasoning(msgspec.Struct, tag="reasoning", kw_only=True):
    """Thinking of the model. `summary` is empty: clients that ask for a summary get the text of `content` there.

    `encrypted_content` is set for clients that ask for it because they store the history themselves: they send it back
    with their next request, and the server passes the reasoning in it on to the model.
    """

    id: str
    summary: list[Any] = []
    content: list[ReasoningTextPart] = []
    encrypted_content: str | None = None
    status: Literal["in_progress", "completed", "incomplete"] = "in_progress"
    kept: KeptReasoning | None = msgspec.field(default=None, name="codeact:kept")


class LogsOutput(msgspec.Struct, tag="logs"):
    """All text that the code produced, without ANSI codes.

    When the store loads the history for a model's prompt, it leaves this text out.
    """

    logs: str = ""


class ImageOutput(msgspec.Struct, tag="image"):
    """`url` is a `data:` URL, or `blob:{sha256}` in a stored item. Clients get an HTTP URL in place of `blob:`."""

    url: str


class RefusedCall(msgspec.Struct):
    """A call by running code that failed before anything was called, such as one that was rejected.

    `name` is the function's name in calls, and `arguments` the SHA-256 of the call's arguments.
    """

    name: str
    arguments: str
    error: str


class MadeCall(msgspec.Struct, omit_defaults=True):
    """A call that code made before it waited: the function's name in calls, and the SHA-256 of the call's arguments.

    `got` is the id of what has its result: of an `mcp_call` item, of a call of the client's (`call_id`), or of what
    waits for approval. `error` is the error of a call that nobody was asked about. Without both, the call was answered
    inside of the sandbox.
    """

    name: str
    arguments: str
    got: str | None = None
    error: str | None = None


class Restart(msgspec.Struct, omit_defaults=True):
    """What a block that waits needs in order to run again in another kernel.

    `state` is the id of the state in which it began: a response after which there is a checkpoint, an item of code
    before which one was taken, or empty for a kernel in which no code had run. `code` is what runs; `statements` says
    that it is an open block, whose statements run one by one. Both are only in the first item of the block, and `calls`
    are those of this item alone. `side_by_side`: calls were made while others waited. It may run again until
    `expires_at`.
    """

    state: str = ""
    code: str = ""
    statements: bool = False
    calls: list[MadeCall] = []
    side_by_side: bool = False
    expires_at: int = 0


class CodeInterpreterCall(msgspec.Struct, tag="code_interpreter_call", kw_only=True):
    """One block of code and its execution.

    `outputs` holds the outputs as the Responses API defines them (logs and images), `notebook_outputs` the same as
    nbformat values, for clients that show rich outputs. `result` says how the execution ended, `observation` is the
    text that the model read about it, and `started_s` the start in seconds since the request, as in `Ledger`. `tagged`
    is False if the model wrote the code in a Markdown fence instead of `<execute>`. `ran` is the code that ran if that
    is not what the model wrote. `eager`: its statements ran while the model wrote it. `refused` are its calls of which
    there is no item. `restart` is set while code waits that can run again in another kernel.

    If the code calls functions of the client, its item ends as `completed`, with the ids of those calls in
    `waits_for`. The next response has an item without code for the rest of the execution; its `continues` is the id of
    the first item.
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
    ran: str | None = msgspec.field(default=None, name="codeact:ran")
    eager: bool = msgspec.field(default=False, name="codeact:eager")
    refused: list[RefusedCall] = msgspec.field(default_factory=list, name="codeact:refused")
    restart: Restart | None = msgspec.field(default=None, name="codeact:restart")

    def add(self, delta: str) -> None:
        """Appends to the code, in place as `_StreamedText.add` does."""
        code, self.code = self.code, ""
        code += delta
        self.code = code


class ProgramCaller(msgspec.Struct, tag="program"):
    """Code called the function: the item of code with the id `caller_id`."""

    caller_id: str


class ClientCall(msgspec.Struct, kw_only=True):
    """A call of a client's function by running code, which waits until the next request brings `FunctionCallOutput`.

    `code_item_id` is the id of the code's item. `caller` says the same in the standard's words. It is set for requests
    with the tool `programmatic_tool_calling`, since clients that have not enabled that reject it. `namespace` is set if
    the function is in one.
    """

    id: str
    call_id: str
    name: str
    namespace: str | msgspec.UnsetType = msgspec.UNSET
    caller: ProgramCaller | msgspec.UnsetType = msgspec.UNSET
    code_item_id: str | None = msgspec.field(default=None, name="codeact:code_item_id")
    status: Literal["in_progress", "completed", "incomplete"] = "in_progress"


class FunctionCall(ClientCall, tag="function_call", kw_only=True):
    """A call with arguments as JSON."""

    arguments: str = ""


class CustomToolCall(ClientCall, tag="custom_tool_call", kw_only=True):
    """A call with plain text."""

    input: str = ""


class McpError(msgspec.Struct, tag="mcp_tool_execution_error"):
    """The reason why a call failed, as content parts of the Model Context Protocol."""

    content: list[dict[str, str]] = []

    @classmethod
    def of(cls, text: str) -> "McpError":
        return cls([{"type": "text", "text": text}])

    def __str__(self) -> str:
        return "\n".join(part.get("text", "") for part in self.content)


class CallStep(msgspec.Struct, omit_defaults=True):
    """One step of an agent that a function started: its prose, or its `code` with the code's output in `text`."""

    text: str = ""
    code: str | None = None


class McpCall(msgspec.Struct, tag="mcp_call", kw_only=True):
    """A call that running code made: of a tool of an MCP server, or of a Python function of the host.

    `server_label` is `host` for functions of the host. `error` is a string in items that earlier versions stored.
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


class McpListedTool(msgspec.Struct, kw_only=True):
    """A tool of an MCP server that code can call. `annotations` has what its maker says of its calls."""

    name: str
    description: str = ""
    input_schema: Any = None
    annotations: dict[str, bool] = {}


class McpListTools(msgspec.Struct, tag="mcp_list_tools", kw_only=True):
    """The tools of an MCP server that the request names. If `error` is set, they could not be read."""

    id: str
    server_label: str
    tools: list[McpListedTool] = []
    error: str | None = None


class ShellAction(msgspec.Struct):
    commands: list[str]
    timeout_ms: int | None = None
    max_output_length: int | None = None


class ShellContainer(msgspec.Struct, tag="container_reference"):
    container_id: str


class ShellLocal(msgspec.Struct, tag="local"):
    """The client runs the commands."""


class ShellCall(ClientCall, tag="shell_call", kw_only=True):
    """Shell commands that code runs in its sandbox, or asks the client to run, one after the other.

    `ShellCallOutput` has the same `call_id`; the client's is in the next request.
    """

    name: str = "shell"
    action: ShellAction
    environment: ShellContainer | ShellLocal | None = None


class LocalShellAction(msgspec.Struct, tag="exec", kw_only=True):
    command: list[str]
    env: dict[str, str] = {}
    timeout_ms: int | None = None
    user: str | None = None
    working_directory: str | None = None


class LocalShellCall(ClientCall, tag="local_shell_call", kw_only=True):
    """A command that the client is asked to run."""

    name: str = "local_shell"
    action: LocalShellAction


class ToolSearchCall(ClientCall, tag="tool_search_call", kw_only=True):
    """A search for functions that the client is asked to carry out, with the arguments of its tool `tool_search`."""

    name: str = "tool_search"
    arguments: dict[str, Any] = {}
    execution: Literal["client"] = "client"


class ShellExit(msgspec.Struct, tag="exit"):
    exit_code: int


class ShellTimeout(msgspec.Struct, tag="timeout"):
    """The command did not end in its time."""


class ShellOutput(msgspec.Struct, kw_only=True):
    """What one command printed. `outcome` is unset while it runs."""

    stdout: str = ""
    stderr: str = ""
    outcome: ShellExit | ShellTimeout | None = None


class ShellCallOutput(msgspec.Struct, tag="shell_call_output", kw_only=True):
    """The output of shell commands, one entry for each command that began."""

    id: str
    call_id: str
    output: list[ShellOutput] = []
    max_output_length: int | None = None
    status: Literal["in_progress", "completed", "incomplete"] = "in_progress"


class CreateFile(msgspec.Struct, tag="create_file"):
    path: str
    diff: str


class UpdateFile(msgspec.Struct, tag="update_file"):
    path: str
    diff: str


class DeleteFile(msgspec.Struct, tag="delete_file"):
    path: str


class ApplyPatchCall(msgspec.Struct, tag="apply_patch_call", kw_only=True):
    """A change of a file that code makes in its sandbox. `ApplyPatchCallOutput` has the same `call_id`."""

    id: str
    call_id: str
    operation: CreateFile | UpdateFile | DeleteFile
    status: Literal["in_progress", "completed"] = "completed"


class ApplyPatchCallOutput(msgspec.Struct, tag="apply_patch_call_output", kw_only=True):
    """Whether a change was made, and what was wrong if not."""

    id: str
    call_id: str
    output: str = ""
    status: Literal["completed", "failed"] = "completed"


class Compaction(msgspec.Struct, tag="compaction", kw_only=True):
    """A summary of the conversation before it: from here on the model reads `text` instead of the earlier items.

    `keeps` are the ids of earlier items that the model still reads. `encrypted_content` has the same text, for a client
    that stores the conversation itself. If `text` is empty, the compaction was stopped and has no effect.
    """

    id: str
    encrypted_content: str = ""
    text: str = msgspec.field(default="", name="codeact:text")
    keeps: list[str] = msgspec.field(default_factory=list, name="codeact:keeps")


class ApprovalRequest(msgspec.Struct, tag="mcp_approval_request", kw_only=True):
    """A call by running code that waits until somebody approves it, by an `Approval` in a later request.

    `reasons` are the rules that ask. `expires_at` (Unix seconds) is when it can no longer be approved.
    """

    id: str
    server_label: str
    name: str
    arguments: str
    code_item_id: str | None = msgspec.field(default=None, name="codeact:code_item_id")
    reasons: list[str] = msgspec.field(default_factory=list, name="codeact:reasons")
    expires_at: int | None = msgspec.field(default=None, name="codeact:expires_at")


class CodeApprovalRequest(msgspec.Struct, tag="codeact:approval_request", kw_only=True):
    """A block of code that waits, before it runs, until a `CodeApproval` decides. See `ApprovalRequest`."""

    id: str
    code: str
    code_item_id: str | None = None
    reasons: list[str] = []
    expires_at: int | None = None


Item = (
    Message
    | Reasoning
    | CodeInterpreterCall
    | FunctionCall
    | CustomToolCall
    | McpCall
    | McpListTools
    | ShellCall
    | ShellCallOutput
    | LocalShellCall
    | ToolSearchCall
    | ApplyPatchCall
    | ApplyPatchCallOutput
    | Compaction
    | ApprovalRequest
    | CodeApprovalRequest
)


class InputMessage(msgspec.Struct, tag="message", kw_only=True):
    """A message that a client sent. `content` has `input_text`, `input_image`, `input_file` and `output_text` parts.

    `kept` is the reasoning before an assistant's message, if the client sent it back encrypted.
    """

    id: str
    role: Literal["user", "system", "developer", "assistant"]
    content: list[dict[str, Any]]
    status: Literal["completed"] = "completed"
    kept: KeptReasoning | msgspec.UnsetType = msgspec.field(default=msgspec.UNSET, name="codeact:kept")


class FunctionCallOutput(msgspec.Struct, tag="function_call_output", kw_only=True):
    """The return value of a client's function: JSON; text that is not JSON is the string itself.

    With `is_error`, the function failed: the call raises an exception with this text.
    """

    id: str
    call_id: str
    output: str
    status: Literal["completed"] = "completed"
    is_error: bool | msgspec.UnsetType = msgspec.field(default=msgspec.UNSET, name="codeact:is_error")


class ToolSearchOutput(FunctionCallOutput, tag="tool_search_output", kw_only=True):
    """What a client's search has found: tools of the types `function`, `custom` and `namespace`.

    Code can call them as long as the conversation contains this item. `output` names them, for prompts; code gets their
    descriptions. `call_id` is empty if no code waits for it: the client has sent it with a history.
    """

    output: str = msgspec.field(default="", name="codeact:output")
    tools: list[Any] = []
    execution: Literal["client"] = "client"


class Approval(msgspec.Struct, tag="mcp_approval_response", kw_only=True):
    """The decision about a call that waits. `arguments` (JSON) replaces those of the call.

    With `scope` `conversation`, the function's calls are not asked about again in this conversation. The server sets
    `decided_by`; a decision without it, of an imported conversation, allows nothing.
    """

    id: str
    approval_request_id: str
    approve: bool
    reason: str | None = None
    arguments: str | None = msgspec.field(default=None, name="codeact:arguments")
    scope: Literal["once", "conversation"] = msgspec.field(default="once", name="codeact:scope")
    decided_by: str | None = msgspec.field(default=None, name="codeact:decided_by")


class CodeApproval(msgspec.Struct, tag="codeact:approval_response", kw_only=True):
    """The decision about code that waits. `code` runs in place of what waits.

    With `scope` `conversation`, the rules that asked do not ask about code again in this conversation. See `Approval`.
    """

    id: str
    approval_request_id: str
    approve: bool
    reason: str | None = None
    code: str | None = None
    scope: Literal["once", "conversation"] = "once"
    decided_by: str | None = None


Input = InputMessage | FunctionCallOutput | ToolSearchOutput | Compaction | Approval | CodeApproval
