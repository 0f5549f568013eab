"""The event and item types: the one source of truth for the wire, the store and every face.

They are the OpenAI Responses API's, field by field (types of the official `openai` package, 2.54), plus
our own under the prefix `codeact:`. Events leave the agent with `sequence_number` 0; the run that logs
them gives the number, once. Items are what a response's `output` holds and what is stored.
"""

from typing import Any, Literal

import msgspec

from sandbox_pool.outputs import DisplayData, Error, ExecuteResult, ExecutionResult, Output, Stream

__all__ = [
    "CodeDelta",
    "CodeDone",
    "CodeInterpreterCall",
    "CodeOutput",
    "ContainerFileCitation",
    "ContentPartAdded",
    "ContentPartDone",
    "ConversationRef",
    "Event",
    "FunctionArgumentsDelta",
    "FunctionArgumentsDone",
    "FunctionCall",
    "FunctionCallOutput",
    "ImageOutput",
    "IncompleteDetails",
    "Input",
    "InputMessage",
    "InterpreterCompleted",
    "InterpreterInProgress",
    "InterpreterInterpreting",
    "Item",
    "ItemEvent",
    "Ledger",
    "LogsOutput",
    "McpArgumentsDelta",
    "McpArgumentsDone",
    "McpCall",
    "McpCompleted",
    "McpFailed",
    "McpInProgress",
    "Message",
    "Notice",
    "NoticeEvent",
    "OutputItemAdded",
    "OutputItemDone",
    "OutputText",
    "OutputTextAnnotationAdded",
    "OutputTextDelta",
    "OutputTextDone",
    "Reasoning",
    "ReasoningConfig",
    "ReasoningTextDelta",
    "ReasoningTextDone",
    "ReasoningTextPart",
    "Response",
    "ResponseCompleted",
    "ResponseCreated",
    "ResponseError",
    "ResponseFailed",
    "ResponseInProgress",
    "ResponseIncomplete",
    "ResponseUsage",
    "StatusEvent",
    "StatusName",
    "SteerAccepted",
    "SteerRef",
    "TerminalEvent",
    "TextConfig",
    "decode_event",
    "decode_item",
    "decode_response",
    "encode",
    "to_builtins",
]


# ---- items -------------------------------------------------------------------------------------------


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


# ---- the response ------------------------------------------------------------------------------------


class ResponseError(msgspec.Struct):
    code: str
    message: str


class IncompleteDetails(msgspec.Struct):
    """`steered`: a message of the user's came meanwhile, and the next response goes on with it."""

    reason: Literal["max_output_tokens", "content_filter", "steered"] | None = None


class ConversationRef(msgspec.Struct):
    id: str


class InputTokensDetails(msgspec.Struct):
    cached_tokens: int = 0
    cache_write_tokens: int = 0


class OutputTokensDetails(msgspec.Struct):
    reasoning_tokens: int = 0


class ResponseUsage(msgspec.Struct, kw_only=True):
    """Summed over the model calls of the response."""

    input_tokens: int = 0
    input_tokens_details: InputTokensDetails = msgspec.field(default_factory=InputTokensDetails)
    output_tokens: int = 0
    output_tokens_details: OutputTokensDetails = msgspec.field(default_factory=OutputTokensDetails)
    total_tokens: int = 0
    cost_usd: float | None = msgspec.field(default=None, name="codeact:cost_usd")
    estimated: bool = msgspec.field(default=False, name="codeact:estimated")


class Ledger(msgspec.Struct, kw_only=True):
    """Where the time went; seconds since the request was accepted. None: it never happened."""

    sandbox_wait_s: float | None = None
    first_token_s: float | None = None
    code_detected_s: float | None = None
    first_output_s: float | None = None
    total_s: float | None = None


class Notice(msgspec.Struct):
    """Something the user should know about this response; the model is told the same.

    Codes: `kernel_replaced`, `limit_reached`, `max_turns`, `max_tool_calls`, `context_truncated`.
    """

    code: str
    message: str


class TextFormat(msgspec.Struct, tag="text"):
    """Plain text; there is no other format."""


class TextConfig(msgspec.Struct):
    format: TextFormat = msgspec.field(default_factory=TextFormat)


class ReasoningConfig(msgspec.Struct):
    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = None
    summary: Literal["auto"] | None = None


class Response(msgspec.Struct, kw_only=True):
    """The Responses API's response object; fields that we do not use keep the standard's defaults.

    So do `temperature` and `top_p` where the request leaves them to the model's server.
    """

    id: str
    created_at: float
    model: str
    object: Literal["response"] = "response"
    status: Literal["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"] = "in_progress"
    completed_at: float | None = None
    error: ResponseError | None = None
    incomplete_details: IncompleteDetails | None = None
    instructions: str | None = None
    metadata: dict[str, str] = {}
    output: list[Item] = []
    conversation: ConversationRef | None = None
    previous_response_id: str | None = None
    background: bool = False
    max_output_tokens: int | None = None
    max_tool_calls: int | None = None
    parallel_tool_calls: bool = False
    temperature: float = 1.0
    top_p: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    top_logprobs: int = 0
    text: TextConfig = msgspec.field(default_factory=TextConfig)
    reasoning: ReasoningConfig | None = None
    tool_choice: str = "auto"
    tools: list[Any] = []
    truncation: Literal["auto", "disabled"] = "disabled"
    store: bool = True
    service_tier: Literal["default"] = "default"
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    usage: ResponseUsage | None = None
    notices: list[Notice] = msgspec.field(default_factory=list, name="codeact:notices")
    ledger: Ledger = msgspec.field(default_factory=Ledger, name="codeact:ledger")

    @property
    def output_text(self) -> str:
        """All of the assistant's prose; the official client has the same."""
        return "".join(part.text for item in self.output if isinstance(item, Message) for part in item.content)

    def __str__(self) -> str:
        return self.output_text


# ---- events ------------------------------------------------------------------------------------------


class _Event(msgspec.Struct, kw_only=True):
    sequence_number: int = 0


class ResponseCreated(_Event, tag="response.created"):
    response: Response


class ResponseInProgress(_Event, tag="response.in_progress"):
    response: Response


class ResponseCompleted(_Event, tag="response.completed"):
    response: Response


class ResponseIncomplete(_Event, tag="response.incomplete"):
    response: Response


class ResponseFailed(_Event, tag="response.failed"):
    response: Response


class OutputItemAdded(_Event, tag="response.output_item.added"):
    output_index: int
    item: Item


class OutputItemDone(_Event, tag="response.output_item.done"):
    output_index: int
    item: Item


class ItemEvent(_Event):
    """Something that happens to one item."""

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
    logprobs: list[Any] = []


class OutputTextAnnotationAdded(ItemEvent, tag="response.output_text.annotation.added"):
    annotation: ContainerFileCitation
    annotation_index: int
    content_index: int = 0


class OutputTextDone(ItemEvent, tag="response.output_text.done"):
    text: str
    content_index: int = 0
    logprobs: list[Any] = []


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
    """One live output, nbformat-shaped."""

    output: Output


class FunctionArgumentsDelta(ItemEvent, tag="response.function_call_arguments.delta"):
    delta: str


class FunctionArgumentsDone(ItemEvent, tag="response.function_call_arguments.done"):
    arguments: str
    name: str


class McpArgumentsDelta(ItemEvent, tag="response.mcp_call_arguments.delta"):
    delta: str


class McpArgumentsDone(ItemEvent, tag="response.mcp_call_arguments.done"):
    arguments: str


class McpInProgress(ItemEvent, tag="response.mcp_call.in_progress"):
    pass


class McpCompleted(ItemEvent, tag="response.mcp_call.completed"):
    pass


class McpFailed(ItemEvent, tag="response.mcp_call.failed"):
    pass


class InterpreterCompleted(ItemEvent, tag="response.code_interpreter_call.completed"):
    pass


class NoticeEvent(_Event, tag="codeact:notice"):
    notice: Notice


class SteerRef(msgspec.Struct):
    """`previous_response_id` is the response that was steered, `next_response_id` the one that goes on after it."""

    id: str
    previous_response_id: str
    next_response_id: str = msgspec.field(name="codeact:next_response_id")


class SteerAccepted(_Event, tag="response.steer.accepted"):
    steer: SteerRef


StatusName = Literal["starting_sandbox", "waiting_for_database"]


class StatusEvent(_Event, tag="codeact:status"):
    """Why nothing happens just now; it passes without another word."""

    status: StatusName
    message: str


TerminalEvent = ResponseCompleted | ResponseIncomplete | ResponseFailed

Event = (
    ResponseCreated
    | ResponseInProgress
    | OutputItemAdded
    | OutputItemDone
    | ContentPartAdded
    | ContentPartDone
    | OutputTextDelta
    | OutputTextAnnotationAdded
    | OutputTextDone
    | ReasoningTextDelta
    | ReasoningTextDone
    | InterpreterInProgress
    | CodeDelta
    | CodeDone
    | InterpreterInterpreting
    | CodeOutput
    | InterpreterCompleted
    | FunctionArgumentsDelta
    | FunctionArgumentsDone
    | McpArgumentsDelta
    | McpArgumentsDone
    | McpInProgress
    | McpCompleted
    | McpFailed
    | NoticeEvent
    | StatusEvent
    | SteerAccepted
    | TerminalEvent
)

_encoder = msgspec.json.Encoder()
encode = _encoder.encode
_item_decoder: msgspec.json.Decoder[Item] = msgspec.json.Decoder(Item)
_response_decoder: msgspec.json.Decoder[Response] = msgspec.json.Decoder(Response)
_event_decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)
decode_event = _event_decoder.decode
decode_item = _item_decoder.decode
decode_response = _response_decoder.decode


def to_builtins(event: Event) -> dict[str, Any]:
    """The event as its JSON holds it."""
    return dict(msgspec.json.decode(encode(event)))
