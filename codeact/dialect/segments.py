"""The segments of a model's reply, and how their pieces are tidied."""

import msgspec

__all__ = [
    "CodeEnd",
    "CodeStart",
    "CodeText",
    "Invented",
    "Malformed",
    "Segment",
    "SegmentWriter",
    "Text",
    "Thinking",
    "ThoughtAloud",
    "Unreadable",
]


class Text(msgspec.Struct, frozen=True):
    """Prose for the user."""

    text: str


class Thinking(msgspec.Struct, frozen=True):
    """What stands between the model's `<think>` tags."""

    text: str


class CodeStart(msgspec.Struct, frozen=True):
    """`tagged`: the block was opened by `<execute>`, not by a fence alone. `call_id`: it is that call's argument."""

    tagged: bool = True
    call_id: str | None = None


class CodeText(msgspec.Struct, frozen=True):
    text: str


class CodeEnd(msgspec.Struct, frozen=True):
    """`code` is the whole block: the `CodeText`s put together."""

    code: str


class Malformed(msgspec.Struct, frozen=True):
    """The block that has begun does not run: nobody can tell where its code ends. `reason` is a sentence."""

    reason: str


class Unreadable(msgspec.Struct, frozen=True):
    """`raw` is meant to act, in a form of which nobody can be sure. It is the end of the reply."""

    raw: str


class Invented(msgspec.Struct, frozen=True):
    """The model began to write an observation that it has not seen. It is the end of the reply."""


class ThoughtAloud(msgspec.Struct, frozen=True):
    """The text and code before this were a thought, whose beginning the model's template has swallowed."""


Segment = Text | Thinking | CodeStart | CodeText | CodeEnd | Malformed | Unreadable | Invented | ThoughtAloud
Written = type[Text] | type[Thinking] | type[CodeText]


class SegmentWriter:
    """Merges neighbouring pieces of one kind, and strips each stretch: whitespace waits for what follows it.

    Code keeps the indentation of its first line.
    """

    def __init__(self) -> None:
        self._segments: list[Segment] = []
        self._kind: Written | None = None
        self._pieces: list[str] = []
        self._spaces: list[str] = []  # In pieces, as they came: joined each time they would take the square.
        self._code: list[str] = []

    @property
    def in_code(self) -> bool:
        return self._kind is CodeText

    def start_code(self, tagged: bool, call_id: str | None = None) -> None:
        self._flush()
        self._kind, self._spaces = CodeText, []
        self._code.clear()
        self._segments.append(CodeStart(tagged, call_id))

    def put(self, kind: Written, text: str) -> None:
        if kind is not self._kind:
            text = text.lstrip()
            if not text:
                return
            self._flush()
            self._kind, self._spaces = kind, []
        body = text.rstrip()
        if body:
            self._pieces += [*self._spaces, body]
            self._spaces = []
        if len(body) < len(text):
            self._spaces.append(text[len(body) :])

    def mark(self, segment: Malformed | Unreadable | Invented | ThoughtAloud) -> None:
        self._flush()
        self._kind, self._spaces = None, []
        self._segments.append(segment)

    @property
    def ends_line(self) -> bool:
        """Whether the text so far ends with the end of a line."""
        return any("\n" in space for space in self._spaces)

    @property
    def code(self) -> str:
        """The block so far."""
        return "".join((*self._code, *self._pieces))

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
