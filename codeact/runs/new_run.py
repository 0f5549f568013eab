"""The checked parameters of a run, independent of the transport of the request."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from codeact.dialect import Name
from codeact.events import Input, JsonObjectFormat, JsonSchemaFormat, Notice, ReasoningConfig, TextConfig
from codeact.model import Sampling
from codeact.runs.input_items import Given
from codeact.runs.tool_choice import ToolChoice, choice_of
from codeact.skills.staged import StagedSkill
from codeact.store import OwnerLimits
from codeact.tools.approval import ApprovalPolicy
from codeact.tools.function import Function
from codeact.tools.requested_mcp import RequestedMcp
from codeact.workspaces.options import ALL_HAVE, ContainerOptions

__all__ = ["Account", "NewRun"]

VERBOSITY = {
    "low": "Keep the text of your answers short.",
    "high": "Let the text of your answers be detailed.",
}

Account = tuple[str, OwnerLimits]
"""A name for which usage is counted, and its limits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRun:
    """A question and the options for its answer; `RunService.create` starts a run for it.

    The question is in `messages`. It continues `previous_response_id`, or the end of `conversation_id`, or the
    conversation of `container_id`; otherwise, if `messages` repeat a conversation that has the item `answer_id` or
    the container `answer_container_id`, it uses that conversation's sandbox. `history_container_id` asks for the
    sandbox of this container's conversation, which must exist. `is_unnamed`: the client has named
    nothing of the history that it sends. The files `container_file_ids` are written into the sandbox, and `skills`
    where code cannot change them. `container` is what the request asks of its sandbox beside what all have. `store`:
    whether the response is stored. With `generate` False there is no answer: the server only prepares a sandbox,
    and `always_warm` says that this may take a sandbox from others. With `dialect` None, the settings and the
    model's profile decide. `model_calls`: code may call models. Code can call `functions` of this process in
    addition to the client's `tools`. With `collects_files` a stored answer cites the files that its code wrote.
    With `encrypted_reasoning` reasoning items contain, encrypted, what their model needs back. A prompt of more
    than `compact_threshold` tokens is compacted; with `compact_only` the conversation is only compacted, without an
    answer. With `keeps_kernel` code runs in the conversation's kernel as it is, also where the question continues an
    earlier point. With `stays` it runs on this server, even if another one holds the conversation's kernel. What the
    rules of `approval` name waits for approval, in addition to what the settings say; `caller` is who makes the
    request, and decides what its messages approve. `eager` says whether the statements of a block run while the model
    writes it; None: the settings decide. `logprobs` asks for the log probabilities of messages' tokens, and
    `top_logprobs` for those of so many alternatives, too. `client_metadata` is stored with the response and shown
    nowhere. Without `gets_code` the client gets no items of code, so that a history that it sends has none. Without
    `parallel_tool_calls` code has at most one call open at a time, also with several threads.
    """

    owner: str
    accounts: Sequence[Account] = ()
    always_warm: bool = True
    messages: Sequence[Given | Input] = ()
    model: str | None = None
    instructions: str | None = None
    previous_response_id: str | None = None
    conversation_id: str | None = None
    container_id: str | None = None
    answer_id: str | None = None
    answer_container_id: str | None = None
    history_container_id: str | None = None
    is_unnamed: bool = False
    container_file_ids: Sequence[str] = ()
    skills: Sequence[StagedSkill] = ()
    container: ContainerOptions = ALL_HAVE
    store: bool = True
    generate: bool = True
    background: bool = False
    metadata: dict[str, str] = field(default_factory=dict)
    client_metadata: dict[str, str] = field(default_factory=dict)
    max_output_tokens: int | None = None
    max_tool_calls: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    top_k: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: Mapping[str, float] | None = None
    logprobs: bool = False
    top_logprobs: int | None = None
    text: TextConfig = field(default_factory=TextConfig)
    reasoning: ReasoningConfig | None = None
    tools: Sequence[dict[str, Any]] = ()
    functions: Sequence[Function] = ()
    mcp_servers: Sequence[RequestedMcp] = ()
    tool_choice: str | dict[str, Any] = "auto"
    parallel_tool_calls: bool = True
    truncation: Literal["auto", "disabled"] = "disabled"
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    dialect: Name | None = None
    gets_code: bool = True
    model_calls: bool = False
    collects_files: bool = True
    encrypted_reasoning: bool = False
    notices: Sequence[Notice] = ()
    compact_threshold: int | None = None
    compact_only: bool = False
    keeps_kernel: bool = False
    stays: bool = False
    approval: ApprovalPolicy = field(default_factory=ApprovalPolicy)
    caller: str = "local"
    eager: bool | None = None

    @property
    def model_instructions(self) -> str | None:
        """The instructions for the model: the client's, and a sentence for its `text.verbosity`."""
        servers = [f"{each.label}: {each.description}" for each in self.mcp_servers if each.description]
        return (
            "\n\n".join(filter(None, (self.instructions, *servers, VERBOSITY.get(self.text.verbosity or "")))) or None
        )

    @property
    def may_compact(self) -> bool:
        """Whether its conversation may be compacted."""
        return self.compact_only or self.compact_threshold is not None or self.truncation == "auto"

    @property
    def choice(self) -> ToolChoice:
        """The parsed `tool_choice`. Raises `InvalidRequest`."""
        return choice_of(self.tool_choice, self.tools)

    @property
    def answer_format(self) -> JsonSchemaFormat | JsonObjectFormat | None:
        """The JSON format of the answer, or None for plain text."""
        text_format = self.text.format
        return text_format if isinstance(text_format, JsonSchemaFormat | JsonObjectFormat) else None

    @property
    def sampling(self) -> Sampling:
        reasoning = self.reasoning or ReasoningConfig()
        return Sampling(
            self.temperature,
            self.top_p,
            self.max_output_tokens,
            reasoning.effort,
            reasoning_summary=reasoning.summary,
            client_stop=self.stop,
            seed=self.seed,
            presence_penalty=self.presence_penalty,
            frequency_penalty=self.frequency_penalty,
            logit_bias=self.logit_bias,
            top_k=self.top_k,
            logprobs=self.top_logprobs or 0 if self.logprobs or self.top_logprobs else None,
        )
