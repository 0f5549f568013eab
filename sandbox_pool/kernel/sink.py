"""What a kernel's client gives to whoever reads the kernel."""

from typing import Literal, Protocol

from sandbox_pool.calls import Call
from sandbox_pool.outputs import Output

__all__ = ["Fault", "Sink"]

Fault = Literal["costly", "silent"]
"""Why a kernel is given up although it lives: reading it costs too much, or its control thread answers nothing."""


class Sink(Protocol):
    """Takes everything that the code in one kernel says, in order. No method waits."""

    @property
    def is_full(self) -> bool:
        """Whether no more output is taken: it is then dropped by its size, before it is decoded."""
        ...

    def output(self, output: Output, size_bytes: int) -> None:
        """Takes an output, whichever code it comes from: a thread may write after its execution has ended."""
        ...

    def omitted(self, size_bytes: int) -> None:
        """Learns of an output whose content is not there, since it was over a limit."""
        ...

    def call(self, call: Call) -> str | None:
        """Takes a call to a function outside of the sandbox, to be answered later; or says why it is refused."""
        ...
