"""The event and item types, from which the wire format, the stored format and all user interfaces are derived.

The types follow the OpenAI Responses API field by field (as the official `openai` package, 2.54, defines them). Our
own additions have the prefix `codeact:`. The agent creates events with `sequence_number` 0, and the run's event log
sets the number once. A response's `output` is a list of items, and the database stores the same items.
"""

from typing import Any

import msgspec

from codeact.events.checkpoints import CheckpointItem, CheckpointRestored, NotRestored
from codeact.events.item_progress import (
    CodeDelta,
    CodeDone,
    CodeOutput,
    CodeProgress,
    CompactionCompacting,
    ContentPartAdded,
    ContentPartDone,
    CustomInputDelta,
    CustomInputDone,
    FunctionArgumentsDelta,
    FunctionArgumentsDone,
    InterpreterCompleted,
    InterpreterInProgress,
    InterpreterInterpreting,
    ItemEvent,
    McpArgumentsDelta,
    McpArgumentsDone,
    McpCompleted,
    McpFailed,
    McpInProgress,
    McpListCompleted,
    McpListFailed,
    McpListInProgress,
    McpStep,
    OutputTextAnnotationAdded,
    OutputTextDelta,
    OutputTextDone,
    ReasoningTextDelta,
    ReasoningTextDone,
    ShellOutputDelta,
    ShellOutputDone,
)
from codeact.events.items import (
    ApplyPatchCall,
    ApplyPatchCallOutput,
    Approval,
    ApprovalRequest,
    CallStep,
    ClientCall,
    CodeApproval,
    CodeApprovalRequest,
    CodeInterpreterCall,
    Compaction,
    ContainerFileCitation,
    CreateFile,
    CustomToolCall,
    DeleteFile,
    FunctionCall,
    FunctionCallOutput,
    ImageOutput,
    Input,
    InputMessage,
    Item,
    KeptReasoning,
    LocalShellAction,
    LocalShellCall,
    LogsOutput,
    MadeCall,
    McpCall,
    McpError,
    McpListedTool,
    McpListTools,
    Message,
    OutputText,
    Phase,
    ProgramCaller,
    Reasoning,
    ReasoningTextPart,
    RefusedCall,
    Restart,
    ShellAction,
    ShellCall,
    ShellCallOutput,
    ShellContainer,
    ShellExit,
    ShellLocal,
    ShellOutput,
    ShellTimeout,
    ToolSearchCall,
    ToolSearchOutput,
    UpdateFile,
    Written,
)
from codeact.events.progress import (
    NoticeEvent,
    OutputItemAdded,
    OutputItemDone,
    ResponseCompleted,
    ResponseCreated,
    ResponseFailed,
    ResponseIncomplete,
    ResponseInProgress,
    ResponseQueued,
    StatusEvent,
    StatusName,
    SteerAccepted,
    SteerRef,
)
from codeact.events.response import (
    ConversationRef,
    IncompleteDetails,
    InputTokensDetails,
    JsonObjectFormat,
    JsonSchemaFormat,
    Ledger,
    Notice,
    OutputTokensDetails,
    ReasoningConfig,
    RecordedEnvironment,
    Response,
    ResponseError,
    ResponseUsage,
    TextConfig,
)

__all__ = [
    "ApplyPatchCall",
    "ApplyPatchCallOutput",
    "Approval",
    "ApprovalRequest",
    "CallStep",
    "CheckpointItem",
    "CheckpointRestored",
    "ClientCall",
    "CodeApproval",
    "CodeApprovalRequest",
    "CodeDelta",
    "CodeDone",
    "CodeInterpreterCall",
    "CodeOutput",
    "CodeProgress",
    "Compaction",
    "CompactionCompacting",
    "ContainerFileCitation",
    "ContentPartAdded",
    "ContentPartDone",
    "ConversationRef",
    "CreateFile",
    "CustomInputDelta",
    "CustomInputDone",
    "CustomToolCall",
    "DeleteFile",
    "Event",
    "FunctionArgumentsDelta",
    "FunctionArgumentsDone",
    "FunctionCall",
    "FunctionCallOutput",
    "ImageOutput",
    "IncompleteDetails",
    "Input",
    "InputMessage",
    "InputTokensDetails",
    "InterpreterCompleted",
    "InterpreterInProgress",
    "InterpreterInterpreting",
    "Item",
    "ItemEvent",
    "JsonObjectFormat",
    "JsonSchemaFormat",
    "KeptReasoning",
    "Ledger",
    "LocalShellAction",
    "LocalShellCall",
    "LogsOutput",
    "MadeCall",
    "McpArgumentsDelta",
    "McpArgumentsDone",
    "McpCall",
    "McpCompleted",
    "McpError",
    "McpFailed",
    "McpInProgress",
    "McpListCompleted",
    "McpListFailed",
    "McpListInProgress",
    "McpListTools",
    "McpListedTool",
    "McpStep",
    "Message",
    "NotRestored",
    "Notice",
    "NoticeEvent",
    "OutputItemAdded",
    "OutputItemDone",
    "OutputText",
    "OutputTextAnnotationAdded",
    "OutputTextDelta",
    "OutputTextDone",
    "OutputTokensDetails",
    "Phase",
    "ProgramCaller",
    "Reasoning",
    "ReasoningConfig",
    "ReasoningTextDelta",
    "ReasoningTextDone",
    "ReasoningTextPart",
    "RecordedEnvironment",
    "RefusedCall",
    "Response",
    "ResponseCompleted",
    "ResponseCreated",
    "ResponseError",
    "ResponseFailed",
    "ResponseInProgress",
    "ResponseIncomplete",
    "ResponseQueued",
    "ResponseUsage",
    "Restart",
    "ShellAction",
    "ShellCall",
    "ShellCallOutput",
    "ShellContainer",
    "ShellExit",
    "ShellLocal",
    "ShellOutput",
    "ShellOutputDelta",
    "ShellOutputDone",
    "ShellTimeout",
    "StatusEvent",
    "StatusName",
    "SteerAccepted",
    "SteerRef",
    "TerminalEvent",
    "TextConfig",
    "ToolSearchCall",
    "ToolSearchOutput",
    "UpdateFile",
    "Written",
    "decode_event",
    "decode_item",
    "decode_response",
    "encode",
    "to_builtins",
]

TerminalEvent = ResponseCompleted | ResponseIncomplete | ResponseFailed

Event = (
    ResponseCreated
    | ResponseQueued
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
    | CodeProgress
    | InterpreterCompleted
    | CompactionCompacting
    | FunctionArgumentsDelta
    | FunctionArgumentsDone
    | CustomInputDelta
    | CustomInputDone
    | McpArgumentsDelta
    | McpArgumentsDone
    | McpInProgress
    | McpListInProgress
    | McpListCompleted
    | McpListFailed
    | ShellOutputDelta
    | ShellOutputDone
    | McpStep
    | McpCompleted
    | McpFailed
    | NoticeEvent
    | StatusEvent
    | CheckpointRestored
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
    """Returns the event as the dict that a client gets when it parses the event's JSON."""
    return dict(msgspec.json.decode(encode(event)))
