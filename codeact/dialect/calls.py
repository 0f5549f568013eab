"""The reader of the dialects with calls: assembles a reply's calls from pieces, and yields prose and code in order."""

import json
from collections.abc import Callable

from codeact.dialect import foreign_calls
from codeact.dialect.json_code import JsonCode
from codeact.dialect.parser_reading import HELD, Place
from codeact.dialect.segments import CodeEnd, CodeStart, CodeText, Malformed, Segment, SegmentWriter, Unreadable
from codeact.dialect.tags import RAW_CHARS, TagsReader
from codeact.model import TextDelta, ToolCall, ToolCallDelta

__all__ = ["CallsReader"]


class _PlainCode:
    """Decoder for the input of a `custom` tool, which is the code itself; it has the methods of `JsonCode`."""

    ended = False

    def feed(self, text: str) -> str:
        return text

    def finish(self) -> str | None:
        return None


class _Call:
    """One call while it streams in. Blank lines before the code and white space after it are removed, as with tags."""

    def __init__(self, call_id: str, code: JsonCode | _PlainCode) -> None:
        self.call_id = call_id
        self.arguments: list[str] = []
        self.is_over = False
        self._code = code
        self._writer = SegmentWriter()
        self._blank = ""
        self._began = False

    @property
    def held(self) -> str:
        return self._writer.held

    def feed(self, text: str) -> list[Segment]:
        """Returns the segments that are certain after this piece of the arguments."""
        self.arguments.append(text)
        code = self._code.feed(text)
        if self.is_over:
            return []
        self._put(code)
        if self._code.ended:
            self._end()
        return self._writer.take()

    def finish(self) -> list[Segment]:
        """Returns the remaining segments once the call is complete: `Malformed` if the arguments hold no code."""
        if self.is_over:
            return []
        error = self._code.finish()
        if error is None:
            self._end()
        else:
            if not self._began:
                self._begin()
            self.is_over = True
            self._writer.mark(Malformed(error))
        return self._writer.take()

    def _put(self, code: str) -> None:
        if not self._began:
            code = self._blank + code
            body = code.lstrip()
            blanks = len(code) - len(body)
            code = code[max(code.rfind("\n", 0, blanks) + 1, blanks - HELD) :]
            if not body:
                self._blank = code
                return
            self._begin()
        self._writer.put(CodeText, code)

    def _begin(self) -> None:
        self._began = True
        self._writer.start_code(True, call_id=self.call_id)

    def _end(self) -> None:
        self.is_over = True
        if self._began:
            self._writer.end_code()


class CallsReader:
    """See `Reader`. Segments of the first call stream; `finish` returns those of further calls.

    Code between `<execute>` tags in the text counts too, since some models fall back to that form.
    """

    def __init__(self, *, thinks: Callable[[], bool], custom: bool) -> None:
        self.ending = ""
        self.thought_ended = False
        self._text = TagsReader(fences=False, thinks=thinks)
        self.custom = custom
        self._calls: dict[int, _Call | None] = {}  # By index; None: a call of an unknown tool.
        self._unknown: dict[int, list[str]] = {}
        self._current: int | None = None
        self._later: dict[int, list[Segment]] = {}
        self._has_acted = False

    @property
    def done(self) -> bool:
        return self._text.done

    @property
    def has_text(self) -> bool:
        return self._text.has_text

    @property
    def rest(self) -> str:
        return self._text.rest

    @property
    def held(self) -> str:
        call = None if self._current is None else self._calls[self._current]
        return self._text.held if call is None else call.held

    def arguments(self, call_id: str) -> str:
        """Returns the arguments of this call exactly as the model wrote them."""
        return "".join(
            piece for call in self._calls.values() if call and call.call_id == call_id for piece in call.arguments
        )

    def is_valid(self, call_id: str) -> bool:
        """Whether the call's arguments can be sent back in a prompt; servers may reject what is no JSON object."""
        if self.custom:
            return True
        try:
            return isinstance(json.loads(self.arguments(call_id)), dict)
        except (ValueError, RecursionError):
            return False

    def note_places(self) -> None:
        self._text.note_places()

    def take_places(self) -> list[Place]:
        return self._text.take_places()

    def feed(self, event: TextDelta | ToolCallDelta | ToolCall) -> list[Segment]:
        if isinstance(event, TextDelta):
            return self._text.feed(event)
        if isinstance(event, ToolCall) and event.index in self._calls:
            return []  # Deltas of this call have already been read.
        index = event.index
        if index not in self._calls:
            self._calls[index] = self._open(event)
        call = self._calls[index]
        if call is None:
            self._unknown[index].append(event.arguments)
            return []
        if self._current is None:
            self._current = index
        if index == self._current:
            return self._noted(call.feed(event.arguments))
        self._later.setdefault(index, []).extend(call.feed(event.arguments))
        return []

    def finish(self, *, stopped: bool) -> list[Segment]:
        segments = self._noted(self._text.finish(stopped=stopped))
        if self._current is not None:
            current = self._calls[self._current]
            assert current is not None
            segments += self._noted(current.finish())
        for index, later in self._later.items():
            if (call := self._calls[index]) is not None:
                segments += self._noted([*later, *call.finish()])
        if not self._has_acted and self._unknown:
            segments.append(Unreadable("".join(next(iter(self._unknown.values())))[:RAW_CHARS]))
        return segments

    def _open(self, event: ToolCallDelta | ToolCall) -> _Call | None:
        """Returns None if the call's tool is not Python."""
        if event.name and foreign_calls.code_of_call(event.name, "x") is None:
            self._unknown[event.index] = [f"{event.name}: "]
            return None
        return _Call(event.call_id or f"call_{event.index}", _PlainCode() if self.custom else JsonCode())

    def _noted(self, segments: list[Segment]) -> list[Segment]:
        self._has_acted = self._has_acted or any(
            isinstance(segment, CodeStart | CodeEnd | Malformed | Unreadable) for segment in segments
        )
        return segments
