"""The seam between agent and model: how a model is told to act, reads its conversation, and is understood.

Three dialects implement it. They yield the same segments, so nobody else knows which one a model speaks.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Literal, Protocol, get_args

import msgspec

from codeact.dialect.segments import Segment
from codeact.environment import Environment
from codeact.events import Input, Item
from codeact.model import ChatMessage, TextDelta, Tool, ToolCall, ToolCallDelta

__all__ = ["NAMES", "Aside", "Dialect", "Name", "Reader", "Said"]

Name = Literal["tags", "tool_call", "freeform"]
NAMES: tuple[Name, ...] = get_args(Name)


class Aside(msgspec.Struct, frozen=True):
    """Words of the agent to the model at one place of an answer, which are no item of it.

    `said` is the reply of the model that they answer, where no item holds that.
    """

    text: str
    said: str = ""


Said = Input | Item | Aside
"""What a conversation consists of, as a model reads it."""


class Reader(Protocol):
    """Reads one reply of a model. Pieces of any size give the same segments, neighbouring ones of a kind merged."""

    @property
    def done(self) -> bool:
        """Whether the reply is over: no more of it can be used."""
        ...

    @property
    def heard(self) -> bool:
        """Whether text has come."""
        ...

    @property
    def thought_ended(self) -> bool:
        """Whether a closing tag told a thought from the answer."""
        ...

    @property
    def rest(self) -> str:
        """Text that came after the end of the reply and was ignored."""
        ...

    @property
    def ending(self) -> str:
        """What a `stop` of the dialect kept the server from sending, though the model wrote it."""
        ...

    def feed(self, event: TextDelta | ToolCallDelta | ToolCall) -> list[Segment]:
        """What is decided now."""
        ...

    def finish(self, *, stopped: bool) -> list[Segment]:
        """The end of the reply: what was held back. `stopped`: the server ended it by itself, at no limit."""
        ...


class Dialect(Protocol):
    """One way for a model to act. `stop` and `tools` go out with each call; `form` reminds it of the right form."""

    @property
    def name(self) -> Name: ...

    @property
    def stop(self) -> tuple[str, ...]: ...

    @property
    def tools(self) -> tuple[Tool, ...]: ...

    @property
    def form(self) -> str: ...

    @property
    def shows_images(self) -> bool:
        """Whether an observation holds the images that code displayed, for a model that sees them."""
        ...

    def instructions(
        self, environment: Environment, *, today: date, instructions: str | None = None, functions: str = ""
    ) -> str:
        """The system prompt; see `prompt.system_prompt`."""
        ...

    def messages(
        self, items: Sequence[Said], *, system: str, model: str, images: Mapping[str, str] | None = None
    ) -> list[ChatMessage]:
        """The conversation as this model reads it.

        What the model of that name wrote comes back byte for byte, with its own reasoning; a longer conversation
        begins with the messages of a shorter one. `images` holds the content of displayed images by their URL, None
        for a model that sees none.
        """
        ...

    def reader(self, *, fences: bool, thinks: Callable[[], bool]) -> Reader:
        """Reads one reply. `fences`: a Python fence is code too; `thinks`: a reply begins inside of a thought."""
        ...
