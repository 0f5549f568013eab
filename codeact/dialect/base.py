"""Protocols between agent and model: a dialect writes the prompts of a model and parses its replies.

Three dialects implement them. All yield the same segments, so the rest of the agent does not depend on the dialect.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Literal, Protocol, get_args

import msgspec

from codeact.dialect.parser_reading import Place
from codeact.dialect.segments import Segment
from codeact.environment import Environment
from codeact.events import Input, Item
from codeact.model import ChatMessage, TextDelta, Tool, ToolCall, ToolCallDelta

__all__ = ["NAMES", "Aside", "Dialect", "Entry", "Name", "Reader"]

Name = Literal["tags", "tool_call", "freeform"]
NAMES: tuple[Name, ...] = get_args(Name)


class Aside(msgspec.Struct, frozen=True):
    """A message of the agent to the model in the middle of an answer, for example about an error in its reply.

    It is no item: neither clients nor the database see it. `reply` is the reply of the model to which `text` responds,
    if no item has that reply.
    """

    text: str
    reply: str = ""


Entry = Input | Item | Aside
"""One entry of a conversation from which the prompt is built."""


class Reader(Protocol):
    """Parses one reply of a model while it streams in.

    If adjacent segments of one kind are merged, the result does not depend on how the reply was cut into pieces.
    """

    @property
    def done(self) -> bool:
        """Whether the reply is complete; the caller may stop reading, since further text is ignored."""
        ...

    @property
    def has_text(self) -> bool:
        """Whether any text has arrived."""
        ...

    @property
    def thought_ended(self) -> bool:
        """Whether a closing tag such as `</think>` has ended a thought."""
        ...

    @property
    def rest(self) -> str:
        """Text after the end of the reply, which the reader ignored."""
        ...

    @property
    def ending(self) -> str:
        """The text of the dialect's `stop` sequence that the model wrote and its server therefore did not send."""
        ...

    @property
    def held(self) -> str:
        """White space after the code so far, through its first line end; empty if there is none, and outside of code.

        It is part of the code only if more code follows.
        """
        ...

    def note_places(self) -> None:
        """Asks, before the first piece, to note where in the reply its prose is."""
        ...

    def take_places(self) -> list[Place]:
        """The pieces of prose since the last call, before they are stripped; empty without `note_places`."""
        ...

    def feed(self, event: TextDelta | ToolCallDelta | ToolCall) -> list[Segment]:
        """Returns the segments that are certain after this piece."""
        ...

    def finish(self, *, stopped: bool) -> list[Segment]:
        """Returns the remaining segments at the end of the reply.

        `stopped`: the server ended the reply at its natural end or at a `stop` sequence, not at a token limit.
        """
        ...


class Dialect(Protocol):
    """One form in which a model writes code.

    `stop` and `tools` are sent with each call of the model; `form` is the text that reminds it of the correct form.
    """

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
        """Whether observations contain the images that code displayed, for models that take images."""
        ...

    def instructions(
        self, environment: Environment, *, today: date, instructions: str | None = None, functions: str = ""
    ) -> str:
        """Returns the system prompt; see `prompt.system_prompt` for the arguments."""
        ...

    def messages(
        self, items: Sequence[Entry], *, system: str, model: str, images: Mapping[str, str] | None = None
    ) -> list[ChatMessage]:
        """Returns the conversation as chat messages for the model with the name `model`.

        Replies of that model are repeated byte for byte, with their reasoning. The messages of a conversation do not
        change when it grows, so that prompt caches hit. `images` maps the URLs of displayed images to their content
        (`data:` URLs); it is None for a model that takes no images.
        """
        ...

    def reader(self, *, fences: bool, thinks: Callable[[], bool]) -> Reader:
        """Returns a parser for one reply.

        `fences`: a Markdown fence marked as Python is code, too. `thinks` is called at the first text; it returns
        whether the reply begins inside a thought, without `<think>`.
        """
        ...
