"""Puts the calls of one reply together from their pieces, and gives prose and blocks of code in order."""

import json
from collections.abc import Callable

from codeact.dialect import foreign_calls
from codeact.dialect.json_code import JsonCode
from codeact.dialect.parser_reading import HELD
from codeact.dialect.segments import CodeEnd, CodeStart, CodeText, Malformed, Segment, SegmentWriter, Unreadable
from codeact.dialect.tags import RAW_CHARS, TagsReader
from codeact.model import TextDelta, ToolCall, ToolCallDelta

__all__ = ["CallsReader"]


class _PlainCode:
    """The input of a `custom` tool is the code itself; reads as `JsonCode` does."""

    ended = False

    def feed(self, text: str) -> str:
        return text

    def finish(self) -> str | None:
        return None


class _Call:
    """One call as it is written. Code loses the blank lines before it and the white space after it, as between tags."""

    def __init__(self, call_id: str, code: JsonCode | _PlainCode) -> None:
        self.call_id = call_id
        self.arguments: list[str] = []
        self.is_over = False
        self._code = code
        self._writer = SegmentWriter()
        self._blank = ""
        self._began = False

    def feed(self, text: str) -> list[Segment]:
        """The segments that this piece decides."""
        self.arguments.append(text)
        code = self._code.feed(text)
        if self.is_over:
            return []
        self._put(code)
        if self._code.ended:
            self._end()
        return self._writer.take()

    def finish(self) -> list[Segment]:
        """The call is whole. Arguments that are malformed are told as such."""
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
    """See `Reader`. The first call streams; the pieces of further ones are told when it is over.

    Text that acts (`<execute>`) counts too, for models that fall back to it.
    """

    def __init__(self, *, thinks: Callable[[], bool], custom: bool) -> None:
        self.ending = ""
        self.thought_ended = False
        self._text = TagsReader(fences=False, thinks=thinks)
        self.custom = custom
        self._calls: dict[int, _Call | None] = {}  # None: a call of something else.
        self._strange: dict[int, list[str]] = {}
        self._current: int | None = None
        self._later: dict[int, list[str]] = {}
        self._has_acted = False

    @property
    def done(self) -> bool:
        return self._text.done

    @property
    def heard(self) -> bool:
        return self._text.heard

    @property
    def rest(self) -> str:
        return self._text.rest

    def arguments(self, call_id: str) -> str:
        """What the model wrote as the arguments of this call."""
        return "".join(
            piece for call in self._calls.values() if call and call.call_id == call_id for piece in call.arguments
        )

    def is_valid(self, call_id: str) -> bool:
        """Whether these arguments may be sent back: a server may refuse what is no JSON object."""
        if self.custom:
            return True
        try:
            return isinstance(json.loads(self.arguments(call_id)), dict)
        except (ValueError, RecursionError):
            return False

    def feed(self, event: TextDelta | ToolCallDelta | ToolCall) -> list[Segment]:
        if isinstance(event, TextDelta):
            return self._text.feed(event)
        if isinstance(event, ToolCall) and event.index in self._calls:
            return []  # Its pieces have come already.
        index = event.index
        if index not in self._calls:
            self._calls[index] = self._opened(event)
        call = self._calls[index]
        if call is None:
            self._strange[index].append(event.arguments)
            return []
        if self._current is None:
            self._current = index
        if index == self._current:
            return self._noted(call.feed(event.arguments))
        self._later.setdefault(index, []).append(event.arguments)
        return []

    def finish(self, *, stopped: bool) -> list[Segment]:
        segments = self._noted(self._text.finish(stopped=stopped))
        if self._current is not None:
            current = self._calls[self._current]
            assert current is not None
            segments += self._noted(current.finish())
        for index, pieces in self._later.items():
            if (call := self._calls[index]) is not None:
                segments += self._noted([*call.feed("".join(pieces)), *call.finish()])
        if not self._has_acted and self._strange:
            segments.append(Unreadable("".join(next(iter(self._strange.values())))[:RAW_CHARS]))
        return segments

    def _opened(self, event: ToolCallDelta | ToolCall) -> _Call | None:
        """None for a call of anything but Python."""
        if event.name and foreign_calls.code_of_call(event.name, "x") is None:
            self._strange[event.index] = [f"{event.name}: "]
            return None
        return _Call(event.call_id or f"call_{event.index}", _PlainCode() if self.custom else JsonCode())

    def _noted(self, segments: list[Segment]) -> list[Segment]:
        self._has_acted = self._has_acted or any(
            isinstance(segment, CodeStart | CodeEnd | Malformed | Unreadable) for segment in segments
        )
        return segments
