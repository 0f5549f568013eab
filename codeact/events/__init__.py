"""The event and item types, from which the wire format, the stored format and all user interfaces are derived.

They are the OpenAI Responses API's, field by field (types of the official `openai` package, 2.54), plus
our own under the prefix `codeact:`. Events leave the agent with `sequence_number` 0; the run that logs
them gives the number, once. Items are what a response's `output` holds and what is stored.
"""

from typing import Any

import msgspec

from codeact.events.item_progress import (
    CodeDelta,
    CodeDone,
    CodeOutput,
    ContentPartAdded,
    ContentPartDone,
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
    McpStep,
    OutputTextAnnotationAdded,
    OutputTextDelta,
    OutputTextDone,
    ReasoningTextDelta,
    ReasoningTextDone,
)
from codeact.events.items import (
    CallStep,
    CodeInterpreterCall,
    ContainerFileCitation,
    FunctionCall,
    FunctionCallOutput,
    ImageOutput,
    Input,
    InputMessage,
    Item,
    KeptReasoning,
    LogsOutput,
    McpCall,
    McpError,
    Message,
    OutputText,
    Phase,
    Reasoning,
    ReasoningTextPart,
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
    Response,
    ResponseError,
    ResponseUsage,
    TextConfig,
)

__all__ = [
    "CallStep",
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
    "LogsOutput",
    "McpArgumentsDelta",
    "McpArgumentsDone",
    "McpCall",
    "McpCompleted",
    "McpError",
    "McpFailed",
    "McpInProgress",
    "McpStep",
    "Message",
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
    "ResponseQueued",
    "ResponseUsage",
    "StatusEvent",
    "StatusName",
    "SteerAccepted",
    "SteerRef",
    "TerminalEvent",
    "TextConfig",
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
    | InterpreterCompleted
    | FunctionArgumentsDelta
    | FunctionArgumentsDone
    | McpArgumentsDelta
    | McpArgumentsDone
    | McpInProgress
    | McpStep
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
