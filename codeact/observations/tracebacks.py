"""Shortens a traceback for the model to the frames that help.

IPython formats each frame as a header (`Cell In[3], line 2, in f(x)` or `File PATH:LINE, in NAME(…)`) and numbered
lines of source. The result has the frames of the model's own code and the last frame of a library, and of earlier
errors in a chain only the message. The time is linear in the length of the text.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

__all__ = ["condensed", "failing_line"]

SHOWN_REPEATS = 2
"""How often a repeated frame is shown."""
LIBRARY_LINES = 3

_FRAME = re.compile(r"(?:Cell In\[\d{1,9}\], line \d|File \S[^\n]{0,1000}:\d{1,9}(?:, in |\s*\Z))")
_SOURCE = re.compile(r"\s*(?:-+> ?)?\d{1,9}(?: |\Z)|\s*\(\.\.\.\)|\s*\Z")
_ARROW = re.compile(r"-+> ?\d{1,9} ")
_OWN = re.compile(r"Cell In\[|File (?:~/|/workspace/|/tmp/)")
_INSTALLED = re.compile(r"/(?:site-packages|dist-packages|lib/python3[.\d]*)/")
_OURS = re.compile(r"File <codeact_")
_CHAINED = re.compile(
    r"(?:The above exception was the direct cause of the following|During handling of the above) exception"
)
_HEADING = re.compile(r"-{20,}\Z|[\w.]{1,200} +Traceback \(most recent call last\)\Z")


@dataclass(slots=True)
class _Frame:
    header: str
    lines: list[str] = field(default_factory=list)

    @property
    def own(self) -> bool:
        return _OWN.match(self.header) is not None and not _INSTALLED.search(self.header)

    @property
    def ours(self) -> bool:
        return _OURS.match(self.header) is not None

    def text(self) -> list[str]:
        return [self.header, *self.lines]

    def brief(self) -> list[str]:
        """Returns the header and the line that failed."""
        return [self.header, *[line for line in self.lines if _ARROW.match(line)][:LIBRARY_LINES]]


def condensed(text: str) -> str:
    """Returns the traceback without frames that do not help the model. A text in another form is returned unchanged."""
    chains: list[list[_Frame | str]] = [[]]
    for piece in _pieces(text):
        if piece is None:
            chains.append([])
        else:
            chains[-1].append(piece)
    if not any(isinstance(piece, _Frame) for chain in chains for piece in chain):
        return text
    lines: list[str] = []
    for chain in chains[:-1]:
        lines += _message(chain)
        lines.append("which led to:")
    return "\n".join([*lines, *_last(chains[-1])])


def failing_line(text: str) -> str:
    """Returns the last source line of the model's own code in this traceback; an empty string if there is none."""
    found = ""
    for piece in _pieces(text):
        if isinstance(piece, _Frame) and piece.own:
            found = next((_ARROW.sub("", line, count=1).strip() for line in piece.lines if _ARROW.match(line)), found)
    return found


def _pieces(text: str) -> Iterator[_Frame | str | None]:
    """Yields frames, other lines, and None at each place where one error led to the next."""
    frame: _Frame | None = None
    for line in text.split("\n"):
        if _FRAME.match(line):
            if frame is not None:
                yield frame
            frame = _Frame(line.rstrip())
        elif frame is not None and _SOURCE.match(line):
            if line.strip():
                frame.lines.append(line)
        else:
            if frame is not None:
                yield frame
                frame = None
            if _CHAINED.match(line):
                yield None
            elif line.strip() and not _HEADING.match(line):
                yield line
    if frame is not None:
        yield frame


def _message(chain: Iterable[_Frame | str]) -> list[str]:
    return [piece for piece in chain if isinstance(piece, str)]


def _last(chain: list[_Frame | str]) -> list[str]:
    """Formats the error that was not caught: own frames, the last library frame, counts of the others, the message."""
    frames = [piece for piece in chain if isinstance(piece, _Frame) and not piece.ours]
    shown: list[str] = []
    seen: dict[tuple[str, ...], int] = {}
    skipped = repeated = 0
    for index, frame in enumerate(frames):
        if not frame.own and index < len(frames) - 1:
            skipped += 1
            continue
        text = frame.text() if frame.own else frame.brief()
        times = seen[tuple(text)] = seen.get(tuple(text), 0) + 1
        if times > SHOWN_REPEATS:
            repeated += 1
            continue
        shown += [*_count(skipped, "of libraries"), *_count(repeated, "like these"), *text]
        skipped = repeated = 0
    return [*shown, *_count(skipped, "of libraries"), *_count(repeated, "like these"), *_message(chain)]


def _count(number: int, what: str) -> list[str]:
    return [f"[{number} more frame{'s' if number > 1 else ''} {what}]"] if number else []
