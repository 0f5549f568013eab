"""What a caller of the agent decides: plain values, the same for a server and for a script."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from codeact.models import Sampling
from codeact.tools import Toolbox
from codeact.workspace import GivenFile
from codeact.written import Collect
from sandbox_pool.spec import Limits

__all__ = ["AgentOptions"]


@dataclass(frozen=True, slots=True)
class AgentOptions:
    """`max_turns` and `max_tool_calls` count blocks of code; the sampling's `max_output_tokens` is for all calls.

    `generate` False claims the sandbox, if `may_warm` says so then, and asks no model; `truncate` lets old messages go
    that do not fit; `files` are in the working directory when code runs.
    With `collect` the answer cites the files that its code wrote.
    """

    max_turns: int = 20
    max_tool_calls: int | None = None
    generate: bool = True
    may_warm: Callable[[], bool] = lambda: True
    truncate: bool = False
    files: Sequence[GivenFile] = ()
    observation_chars: int = 12_000
    instructions: str | None = None
    sampling: Sampling = field(default_factory=Sampling)
    limits: Limits = field(default_factory=Limits)
    toolbox: Toolbox = field(default_factory=Toolbox)
    call_timeout_s: float = 300.0
    collect: Collect | None = None

    @property
    def max_code(self) -> int:
        """How many blocks of code may run."""
        return self.max_turns if self.max_tool_calls is None else min(self.max_tool_calls, self.max_turns)
