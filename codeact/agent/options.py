"""The options of an answer that the agent's caller sets; a server and a script use the same."""

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from codeact.agent.approvals import ApprovalOptions
from codeact.agent.model_budget import ModelBudget
from codeact.agent.output_files import Collect
from codeact.agent.waiting_block import WaitingBlock
from codeact.dialect import Name
from codeact.dialect.known_prompt import KnownPrompt
from codeact.environment import Environment
from codeact.events import JsonObjectFormat, JsonSchemaFormat, Reasoning
from codeact.model import Sampling
from codeact.skills.staged import StagedSkill
from codeact.tools.requested_mcp import RequestedMcp
from codeact.tools.toolbox import Toolbox
from codeact.workspaces.workspace import StagedFile

__all__ = ["AgentOptions"]


@dataclass(frozen=True, slots=True)
class AgentOptions:
    """The options of one answer.

    `max_turns` and `max_tool_calls` limit the blocks of code. `sampling.max_output_tokens` limits the output of all
    model calls together, `call_output_tokens` that of one call.

    With `generate` False, the answer only claims a sandbox, if `may_warm()` returns True. `truncate` allows to leave
    old messages out of prompts that are too long. `files` are in the working directory when code runs, and `skills` in
    a folder that code cannot change. `environment` describes the sandbox to the model. With `collect` the answer cites
    the files that its code wrote. `room_bytes` returns how many more bytes may be stored; a block of code with more
    output is stopped. `budget` limits the model calls that code makes itself; their usage is added to that of the
    answer.

    `dialect` is a demand; `preferred_dialect` is used if the model supports it; otherwise the model's profile decides.
    `shows_images` says whether the model gets the images that code displayed; None leaves that to the profile.

    With `must_act` code must run before the answer, and call the function `must_call` if that is set. An answer without
    the `answer_format` fails. `seal_reasoning` returns the `encrypted_content` of a reasoning item, for a client that
    stores the conversation itself. `load_image` returns the `data:` URL of an image for its URL in an item.
    `mcp_servers` are servers that the request names; with `mcp_public_only` they must have public addresses.
    `window_tokens` is the model's context window; None: its adapter finds out.

    A prompt of more than `compact_threshold` tokens is compacted; with `compact_only` the conversation is only
    compacted, without an answer. `seal_compaction` returns the `encrypted_content` of a compaction's text. `approval`
    says which code and calls wait for approval. `keep_source` stores the definitions of the functions that code can
    call, and returns their reference; without it they are not recorded.

    `keep_state` is called before a block of code whose calls can wait, with the id of its item: it returns the id of
    the state in which the block begins, to which the kernel can go back; None if it cannot. `drop_state` is called with
    that id when the block has ended. `waiting_block` is the block for which the request brings values or decisions, if
    its kernel is lost and it can run again. With `eager` the statements of a block run while the model writes it.
    Without `parallel_calls`, calls of several threads wait for each other.
    `known_prompt` is what the conversation's last answer has rendered; no other answer may use it meanwhile.
    """

    max_turns: int = 20
    max_tool_calls: int | None = None
    generate: bool = True
    may_warm: Callable[[], bool] = lambda: True
    truncate: bool = False
    files: Sequence[StagedFile] = ()
    skills: Sequence[StagedSkill] = ()
    observation_chars: int = 12_000
    call_output_tokens: int = 65_536
    instructions: str | None = None
    sampling: Sampling = field(default_factory=Sampling)
    budget: ModelBudget | None = None
    environment: Environment = field(default_factory=Environment)
    toolbox: Toolbox = field(default_factory=Toolbox)
    mcp_servers: Sequence[RequestedMcp] = ()
    mcp_public_only: bool = True
    call_timeout_s: float = 300.0
    parallel_calls: bool = True
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
    approval: ApprovalOptions = field(default_factory=ApprovalOptions)
    eager: bool = False
    seal_compaction: Callable[[str], str] | None = None
    keep_source: Callable[[str], Awaitable[str]] | None = None
    keep_state: Callable[[str], Awaitable[str | None]] | None = None
    drop_state: Callable[[str], None] | None = None
    waiting_block: WaitingBlock | None = None
    known_prompt: KnownPrompt | None = None

    @property
    def max_code(self) -> int:
        """The largest number of blocks of code."""
        return self.max_turns if self.max_tool_calls is None else min(self.max_tool_calls, self.max_turns)
