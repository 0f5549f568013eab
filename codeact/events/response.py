"""The response object: its items, its status, its usage and the parameters of its request."""

from typing import Annotated, Any, Literal

import msgspec

from codeact.events.items import Item, Message

__all__ = [
    "ConversationRef",
    "IncompleteDetails",
    "InputTokensDetails",
    "JsonObjectFormat",
    "JsonSchemaFormat",
    "Ledger",
    "Notice",
    "OutputTokensDetails",
    "ReasoningConfig",
    "RecordedEnvironment",
    "Response",
    "ResponseError",
    "ResponseUsage",
    "TextConfig",
    "TextFormat",
]


class ResponseError(msgspec.Struct):
    code: str
    message: str


class IncompleteDetails(msgspec.Struct):
    """`steered` means that the user sent a message meanwhile; the next response continues with it."""

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
    """Timings of a response, in seconds since the server accepted the request; None for what never happened.

    `unwritten_tokens` estimates how many tokens the model did not write, because its code failed while it wrote: by how
    much the other blocks of the conversation are longer on average. A scripted model knows. None: nothing was stopped,
    or there is no other block.
    """

    sandbox_wait_s: float | None = None
    first_token_s: float | None = None
    code_detected_s: float | None = None
    first_output_s: float | None = None
    total_s: float | None = None
    unwritten_tokens: int | None = None


class Notice(msgspec.Struct):
    """Information for the user about this response; the model reads the same text.

    Codes: `kernel_replaced`, `limit_reached`, `max_turns`, `max_tool_calls`, `context_truncated`.
    Of code that waited and whose kernel was lost: `code_diverged`, `output_differs`, `code_not_repeated`.
    """

    code: str
    message: str


class RecordedEnvironment(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What the code of a response ran with, so that it can be run again to verify the answer.

    `image` is the digest of the sandbox's image, if there is one, and `packages` has the versions of the installed
    distributions by name. `functions` is the reference of the blob with the definitions of the functions that the code
    could call. `seeds` are the places where the code set the seed of a random generator, as it wrote them.
    """

    image: str | None = None
    packages: dict[str, str] = {}
    memory_mb: int = 0
    functions: str | None = None
    seeds: list[str] = []


class TextFormat(msgspec.Struct, tag="text"):
    """Plain text."""


class JsonSchemaFormat(msgspec.Struct, tag="json_schema", kw_only=True):
    """JSON that matches a schema. An answer that does not match is rejected, whatever `strict` says."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    schema: dict[str, Any]
    description: str | None = None
    strict: bool | None = None


class JsonObjectFormat(msgspec.Struct, tag="json_object"):
    """Any JSON object."""


class TextConfig(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    format: TextFormat | JsonSchemaFormat | JsonObjectFormat = msgspec.field(default_factory=TextFormat)
    verbosity: Literal["low", "medium", "high"] | None = None


class ReasoningConfig(msgspec.Struct):
    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    summary: Literal["auto", "concise", "detailed"] | None = None


class Response(msgspec.Struct, kw_only=True):
    """The Responses API's response object; fields that we do not use have the standard's defaults.

    `temperature` and `top_p` have them too if the request did not set these fields. `stopped_by` is the text of `stop`
    that ended the answer, if the model's server says so.
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
    parallel_tool_calls: bool = True
    temperature: float = 1.0
    top_p: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    top_logprobs: int = 0
    text: TextConfig = msgspec.field(default_factory=TextConfig)
    reasoning: ReasoningConfig | None = None
    tool_choice: str | dict[str, Any] = "auto"
    tools: list[Any] = []
    truncation: Literal["auto", "disabled"] = "disabled"
    store: bool = True
    service_tier: Literal["default"] = "default"
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    usage: ResponseUsage | None = None
    stopped_by: str | msgspec.UnsetType = msgspec.field(default=msgspec.UNSET, name="codeact:stopped_by")
    notices: list[Notice] = msgspec.field(default_factory=list, name="codeact:notices")
    ledger: Ledger = msgspec.field(default_factory=Ledger, name="codeact:ledger")
    environment: RecordedEnvironment | None = msgspec.field(default=None, name="codeact:environment")

    @property
    def output_text(self) -> str:
        """The text of the answer without commentary; all prose if no message has a `phase`."""
        messages = [item for item in self.output if isinstance(item, Message)]
        if any(message.phase for message in messages):
            messages = [message for message in messages if message.phase != "commentary"]
        return "".join(part.text for message in messages for part in message.content)

    def __str__(self) -> str:
        return self.output_text
