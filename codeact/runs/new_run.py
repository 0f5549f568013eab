"""The checked input of a run: everything that was asked for, whichever transport brought it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from codeact.dialect import Name
from codeact.events import Input, JsonObjectFormat, JsonSchemaFormat, ReasoningConfig, TextConfig
from codeact.model import Sampling
from codeact.runs.input_items import Given
from codeact.runs.tool_choice import ToolChoice, choice_of
from codeact.store import OwnerLimits
from codeact.tools.function import Function

__all__ = ["Account", "NewRun"]

VERBOSITY = {
    "low": "Keep the text of your answers short.",
    "high": "Let the text of your answers be detailed.",
}

Account = tuple[str, OwnerLimits]
"""A name for which use is counted, and up to which limits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRun:
    """A question and how to answer it; `RunService.create` makes a run of it.

    `messages` are what the question says. It attaches to `previous_response_id`, or to the end of `conversation_id`,
    or to the conversation of `container_id`; otherwise to the conversation that has the item `answer_id`, in whose
    sandbox the code then runs. `store`: whether the response is stored. With `generate` False nothing is answered:
    a sandbox is made ready. `always_warm`: that sandbox is claimed whatever it costs others. `dialect` None leaves the
    dialect to the settings and the model's profile. `model_calls`: code may ask models by itself. Code can call
    `functions` of this process beside the client's `tools`. With `collects_files` the answer cites the files that its
    code wrote, if it is stored. With `encrypted_reasoning` items of reasoning hold what their model wants back,
    encrypted. A prompt of more than `compact_threshold` tokens is compacted; with `compact_only` the conversation is
    compacted and nothing is answered.
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
    store: bool = True
    generate: bool = True
    background: bool = False
    metadata: dict[str, str] = field(default_factory=dict)
    max_output_tokens: int | None = None
    max_tool_calls: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    text: TextConfig = field(default_factory=TextConfig)
    reasoning: ReasoningConfig | None = None
    tools: Sequence[dict[str, Any]] = ()
    functions: Sequence[Function] = ()
    tool_choice: str | dict[str, Any] = "auto"
    truncation: Literal["auto", "disabled"] = "disabled"
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    dialect: Name | None = None
    model_calls: bool = False
    collects_files: bool = True
    encrypted_reasoning: bool = False
    compact_threshold: int | None = None
    compact_only: bool = False

    @property
    def told(self) -> str | None:
        """The instructions that the model reads: the client's, and how long it wants answers."""
        return "\n\n".join(filter(None, (self.instructions, VERBOSITY.get(self.text.verbosity or "")))) or None

    @property
    def may_compact(self) -> bool:
        """Whether its conversation may be compacted."""
        return self.compact_only or self.compact_threshold is not None or self.truncation == "auto"

    @property
    def choice(self) -> ToolChoice:
        """What `tool_choice` means. Raises `InvalidRequest`."""
        return choice_of(self.tool_choice, self.tools)

    @property
    def answer_format(self) -> JsonSchemaFormat | JsonObjectFormat | None:
        """The JSON that was asked for; None for plain text."""
        wanted = self.text.format
        return wanted if isinstance(wanted, JsonSchemaFormat | JsonObjectFormat) else None

    @property
    def sampling(self) -> Sampling:
        asked = self.reasoning or ReasoningConfig()
        return Sampling(
            self.temperature,
            self.top_p,
            self.max_output_tokens,
            asked.effort,
            reasoning_summary=asked.summary,
        )
