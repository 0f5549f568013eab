"""The segments of a model's reply: pieces of it enter, already told apart; tidy segments leave."""

import msgspec

__all__ = ["CodeEnd", "CodeStart", "CodeText", "Segment", "SegmentWriter", "Text", "Thinking"]


class Text(msgspec.Struct, frozen=True):
    """Prose for the user."""

    text: str


class Thinking(msgspec.Struct, frozen=True):
    """What stands between the model's `<think>` tags."""

    text: str


class CodeStart(msgspec.Struct, frozen=True):
    """`tagged`: the block was opened by `<execute>`, not by a fence alone."""

    tagged: bool = True


class CodeText(msgspec.Struct, frozen=True):
    text: str


class CodeEnd(msgspec.Struct, frozen=True):
    """`code` is the whole block: the `CodeText`s put together."""

    code: str


Segment = Text | Thinking | CodeStart | CodeText | CodeEnd
Written = type[Text] | type[Thinking] | type[CodeText]


class SegmentWriter:
    """Merges neighbouring pieces of one kind, and strips each stretch: whitespace waits for what follows it.

    Code keeps the indentation of its first line.
    """

    def __init__(self) -> None:
        self._segments: list[Segment] = []
        self._kind: Written | None = None
        self._pieces: list[str] = []
        self._space = ""
        self._code: list[str] = []

    @property
    def in_code(self) -> bool:
        return self._kind is CodeText

    def start_code(self, tagged: bool) -> None:
        self._flush()
        self._kind, self._space = CodeText, ""
        self._segments.append(CodeStart(tagged))

    def put(self, kind: Written, text: str) -> None:
        if kind is not self._kind:
            text = text.lstrip()
            if not text:
                return
            self._flush()
            self._kind, self._space = kind, ""
        text = self._space + text
        body = text.rstrip()
        self._space = text[len(body) :]
        if body:
            self._pieces.append(body)

    def end_code(self) -> None:
        self._flush()
        self._segments.append(CodeEnd("".join(self._code)))

    def take(self) -> list[Segment]:
        """The segments since the last call."""
        self._flush()
        segments, self._segments = self._segments, []
        return segments

    def _flush(self) -> None:
        if self._kind is None or not self._pieces:
            return
        text = "".join(self._pieces)
        self._pieces.clear()
        if self._kind is CodeText:
            self._code.append(text)
        self._segments.append(self._kind(text))
