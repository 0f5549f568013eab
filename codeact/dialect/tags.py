"""The dialect `tags`, the fallback for every model: it writes code between `<execute>` tags in its text."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date

from codeact.dialect import foreign_calls
from codeact.dialect.base import Entry, Name
from codeact.dialect.history import rendered
from codeact.dialect.markup import CLOSE
from codeact.dialect.parser import Parser
from codeact.dialect.parser_reading import Place
from codeact.dialect.prompt import TAGS_FORM, system_prompt
from codeact.dialect.segments import CodeEnd, CodeStart, CodeText, Malformed, Segment, Unreadable
from codeact.environment import Environment
from codeact.model import ChatMessage, TextDelta, Tool, ToolCall, ToolCallDelta

__all__ = ["Tags", "TagsReader"]

RAW_CHARS = 2_000
ACTS = frozenset({CodeStart, Malformed, Unreadable})


class Tags:
    """See `Dialect`. `shows_images` is off unless the operator turns it on for a model that takes images."""

    name: Name = "tags"
    tools: tuple[Tool, ...] = ()
    form = TAGS_FORM

    def __init__(self, *, shows_images: bool = False) -> None:
        self.stop: tuple[str, ...] = (CLOSE,)
        self.shows_images = shows_images

    def instructions(
        self, environment: Environment, *, today: date, instructions: str | None = None, functions: str = ""
    ) -> str:
        """See `Dialect.instructions`."""
        return system_prompt(environment, today=today, instructions=instructions, functions=functions)

    def messages(
        self, items: Sequence[Entry], *, system: str, model: str, images: Mapping[str, str] | None = None
    ) -> list[ChatMessage]:
        """See `Dialect.messages`."""
        return rendered(items, system=system, model=model, images=images if self.shows_images else None)

    def reader(self, *, fences: bool, thinks: Callable[[], bool]) -> "TagsReader":
        """See `Dialect.reader`."""
        return TagsReader(fences=fences, thinks=thinks)


class TagsReader:
    """See `Reader`. A tool call through the API counts as code if its meaning is certain, though we offer no tool."""

    def __init__(self, *, fences: bool, thinks: Callable[[], bool]) -> None:
        self.ending = ""
        self._fences = fences
        self._thinks = thinks
        self._parser: Parser | None = None
        self._call: ToolCall | None = None
        self._has_acted = False
        self._notes_places = False

    @property
    def done(self) -> bool:
        return self._parser is not None and self._parser.done

    @property
    def has_text(self) -> bool:
        return self._parser is not None

    @property
    def thought_ended(self) -> bool:
        return self._parser is not None and self._parser.thought_ended

    @property
    def rest(self) -> str:
        return self._parser.rest if self._parser is not None else ""

    @property
    def held(self) -> str:
        return self._parser.held if self._parser is not None else ""

    def note_places(self) -> None:
        self._notes_places = True

    def take_places(self) -> list[Place]:
        return self._parser.take_places() if self._parser is not None else []

    def feed(self, event: TextDelta | ToolCallDelta | ToolCall) -> list[Segment]:
        if isinstance(event, ToolCall):
            self._call = self._call or event
        elif isinstance(event, TextDelta):
            if self._parser is None:
                self._parser = Parser(fences=self._fences, thinks=self._thinks(), notes_places=self._notes_places)
            return self._noted(self._parser.feed(event.text))
        return []

    def finish(self, *, stopped: bool) -> list[Segment]:
        segments: list[Segment] = []
        if self._parser is not None and not self._parser.done:
            segments = self._noted(self._parser.finish(stopped=stopped))
            self.ending = CLOSE if self._parser.was_stopped else ""
        if not self._has_acted and self._call is not None:
            segments += _called(self._call)
        return segments

    def _noted(self, segments: list[Segment]) -> list[Segment]:
        for segment in segments:
            if type(segment) in ACTS:
                self._has_acted = True
        return segments


def _called(call: ToolCall) -> list[Segment]:
    code = foreign_calls.code_of_call(call.name, call.arguments)
    if code is None:
        return [Unreadable(f"{call.name}({call.arguments[:RAW_CHARS]})")]
    return [CodeStart(), CodeText(code), CodeEnd(code)]
