"""The options of an answer that a caller of the agent decides: plain values, the same for a server and for a script."""

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from codeact.agent.model_budget import ModelBudget
from codeact.agent.output_files import Collect
from codeact.dialect import Name
from codeact.environment import Environment
from codeact.events import JsonObjectFormat, JsonSchemaFormat, Reasoning
from codeact.model import Sampling
from codeact.tools.toolbox import Toolbox
from codeact.workspaces.workspace import StagedFile

__all__ = ["AgentOptions"]


@dataclass(frozen=True, slots=True)
class AgentOptions:
    """`max_turns` and `max_tool_calls` count blocks of code; the sampling's `max_output_tokens` is for all calls,
    `call_output_tokens` for one, whatever the model's server allows.

    `generate` False claims the sandbox, if `may_warm` says so then, and asks no model; `truncate` lets old messages go
    that do not fit; `files` are in the working directory when code runs; `environment` is what the model is told of its
    sandbox.
    With `collect` the answer cites the files that its code wrote. `room_bytes` says how much more may be stored: a
    block of code that would show more is ended.

    `budget` is what code may ask of models by itself; what it asked counts as the answer's.

    `dialect` is demanded, `preferred_dialect` taken where the model can have it; without them the model's profile says
    it, and so it does without `shows_images` for whether the model sees what code displayed.

    With `must_act` code runs before the answer, and calls the function `must_call`, if there is one. An answer has the
    `answer_format`, if there is one, or fails. `seal_reasoning` gives the `encrypted_content` of an item, for a client
    that holds the conversation itself. `load_image` gives the `data:` URL of an image that an item names by another
    one. `window_tokens` is how much the model reads, None where its adapter is to find out.

    A prompt of more than `compact_threshold` tokens is compacted, and with `compact_only` nothing else is done.
    `seal_compaction` gives the `encrypted_content` of a compaction's text.
    """

    max_turns: int = 20
    max_tool_calls: int | None = None
    generate: bool = True
    may_warm: Callable[[], bool] = lambda: True
    truncate: bool = False
    files: Sequence[StagedFile] = ()
    observation_chars: int = 12_000
    call_output_tokens: int = 65_536
    instructions: str | None = None
    sampling: Sampling = field(default_factory=Sampling)
    budget: ModelBudget | None = None
    environment: Environment = field(default_factory=Environment)
    toolbox: Toolbox = field(default_factory=Toolbox)
    call_timeout_s: float = 300.0
    collect: Collect | None = None
    room_bytes: Callable[[], float] = lambda: math.inf
    dialect: Name | None = None
    preferred_dialect: Name | None = None
    shows_images: bool | None = None
    window_tokens: int | None = None
    must_act: bool = False
    must_call: str | None = None
    answer_format: JsonSchemaFormat | JsonObjectFormat | None = None
    seal_reasoning: Callable[[Reasoning], str | None] | None = None
    load_image: Callable[[str], Awaitable[str | None]] | None = None
    compact_threshold: int | None = None
    compact_only: bool = False
    seal_compaction: Callable[[str], str] | None = None

    @property
    def max_code(self) -> int:
        """How many blocks of code may run."""
        return self.max_turns if self.max_tool_calls is None else min(self.max_tool_calls, self.max_turns)
