"""The interface through which a kernel's client delivers outputs and calls."""

from typing import Literal, Protocol

from sandbox_pool.calls import Call
from sandbox_pool.kernel.messages import Progress
from sandbox_pool.outputs import Output

__all__ = ["Fault", "Sink"]

Fault = Literal["costly", "silent"]
"""Why a kernel is ended although its process runs: reading its messages costs too much CPU time (`costly`), or its
control thread does not answer (`silent`).
"""


class Sink(Protocol):
    """Receives all outputs and calls of the code in one kernel, in order. No method blocks."""

    @property
    def is_full(self) -> bool:
        """Whether the sink accepts no more output. The client then drops outputs undecoded and reports their sizes."""
        ...

    def output(self, output: Output, size_bytes: int) -> None:
        """Receives an output, perhaps of earlier code: a thread may write after its execution has ended."""
        ...

    def omitted(self, size_bytes: int) -> None:
        """Reports that an output of this size was dropped because it exceeded a limit."""
        ...

    def call(self, call: Call) -> str | None:
        """Accepts a call to a function outside of the sandbox (None), or returns why it is refused."""
        ...

    def progress(self, progress: Progress) -> bool:
        """Takes how far an open block is. Returns False if no such message is expected."""
        ...
