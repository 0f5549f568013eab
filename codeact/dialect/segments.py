"""The segments of a model's reply, and the writer that merges and strips their pieces."""

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
    """The text between the model's `<think>` tags."""

    text: str


class CodeStart(msgspec.Struct, frozen=True):
    """`tagged`: `<execute>` opened the block, not only a fence. `call_id`: the call whose argument the code is."""

    tagged: bool = True
    call_id: str | None = None


class CodeText(msgspec.Struct, frozen=True):
    text: str


class CodeEnd(msgspec.Struct, frozen=True):
    """`code` is the whole block: the texts of all its `CodeText` segments."""

    code: str


class Malformed(msgspec.Struct, frozen=True):
    """The block cannot run, since it is unknown where its code ends. `reason` is a sentence for the model."""

    reason: str


class Unreadable(msgspec.Struct, frozen=True):
    """The model tried to call something, in a form that we cannot read for certain. It is the end of the reply."""

    raw: str


class Invented(msgspec.Struct, frozen=True):
    """The model began to write an observation that it has not seen. It is the end of the reply."""


class ThoughtAloud(msgspec.Struct, frozen=True):
    """All text and code before this was a thought; the model's chat template dropped the opening `<think>`."""


Segment = Text | Thinking | CodeStart | CodeText | CodeEnd | Malformed | Unreadable | Invented | ThoughtAloud
Written = type[Text] | type[Thinking] | type[CodeText]


class SegmentWriter:
    """Merges adjacent pieces of one kind into segments, and strips white space at both ends of each kind of text.

    It holds white space back until more text of that kind follows. Code keeps the indentation of its first line.
    """

    def __init__(self) -> None:
        self._segments: list[Segment] = []
        self._kind: Written | None = None
        self._pieces: list[str] = []
        self._spaces: list[str] = []  # A list, since appending to a string for each piece would take quadratic time.
        self._line_end = ""
        self._code: list[str] = []

    @property
    def in_code(self) -> bool:
        return self._kind is CodeText

    def start_code(self, tagged: bool, call_id: str | None = None) -> None:
        self._flush()
        self._kind, self._spaces, self._line_end = CodeText, [], ""
        self._code.clear()
        self._segments.append(CodeStart(tagged, call_id))

    def put(self, kind: Written, text: str) -> None:
        if kind is not self._kind:
            text = text.lstrip()
            if not text:
                return
            self._flush()
            self._kind, self._spaces, self._line_end = kind, [], ""
        body = text.rstrip()
        if body:
            self._pieces += [*self._spaces, body]
            self._spaces, self._line_end = [], ""
        if len(body) < len(text):
            self._spaces.append(text[len(body) :])
            if not self._line_end and "\n" in self._spaces[-1]:
                before, newline, _ = "".join(self._spaces).partition("\n")
                self._line_end = before + newline

    def mark(self, segment: Malformed | Unreadable | Invented | ThoughtAloud) -> None:
        self._flush()
        self._kind, self._spaces, self._line_end = None, [], ""
        self._segments.append(segment)

    @property
    def ends_line(self) -> bool:
        """Whether a line end is among the white space after the text so far."""
        return any("\n" in space for space in self._spaces)

    @property
    def held(self) -> str:
        """The white space after the code so far, through its first line end; empty if there is none."""
        return self._line_end if self._kind is CodeText else ""

    @property
    def spaces(self) -> str:
        """The white space after the text so far."""
        return "".join(self._spaces)

    @property
    def code(self) -> str:
        """The block so far."""
        return "".join((*self._code, *self._pieces))

    def end_code(self) -> None:
        self._flush()
        self._kind = None
        self._segments.append(CodeEnd("".join(self._code)))

    def take(self) -> list[Segment]:
        """Returns the segments since the last call."""
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
