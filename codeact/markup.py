r"""The marks in a model's text: what opens and closes code, thinking and fences, as patterns.

Patterns come in pairs: the token, and the end of a text that may still become that token once more text
comes. They run on a text that keeps the character before the place they search from, so that `(?<=\n)` means
"at the start of a line".
"""

import functools
import re

__all__ = [
    "CLOSE",
    "LANGUAGES",
    "OPEN",
    "OPENING_FENCE",
    "OPENING_TAIL",
    "PROSE",
    "THINKING",
    "Patterns",
    "code_patterns",
    "fence_patterns",
    "language",
]

Patterns = tuple[re.Pattern[str], re.Pattern[str]]

OPEN, CLOSE = "<execute>", "</execute>"
LANGUAGES = {"python", "python3", "py", "ipython", "ipython3", "tool_code"}


def _partial(*tags: str) -> str:
    """A pattern for each beginning of these tags, the longest first."""
    beginnings = {tag[:size] for tag in tags for size in range(1, len(tag))}
    return "|".join(sorted(beginnings, key=len, reverse=True))


# The rest of the line is bounded, so that a line without an end is not held back for ever.
_FENCE = r"(?P<run>`{3,}(?!.*`)|~{3,})(?P<info>[^<\n]{0,99})\n"
_FENCE_TAIL = r"(?:`{3,}(?!.*`)|~{3,})[^<\n]{0,99}|`{1,2}|~{1,2}"
_TAGS = (OPEN, CLOSE, "<think>", "</think>", "<thinking>", "</thinking>")

PROSE: Patterns = (
    re.compile(rf"(?<=\n) {{0,3}}{_FENCE}|(?P<ticks>`+)|(?P<tag>{'|'.join(_TAGS)})"),
    re.compile(rf"(?:(?<=\n) {{0,3}}(?:{_FENCE_TAIL}|)|`+|{_partial(*_TAGS)})\Z"),
)
THINKING: Patterns = (
    re.compile(r"</think(?:ing)?>"),
    re.compile(rf"(?:{_partial('</think>', '</thinking>')})\Z"),
)
OPENING_FENCE = re.compile(_FENCE)
OPENING_TAIL = re.compile(rf"(?:{_FENCE_TAIL}|{_partial(OPEN, CLOSE)}|)\Z")


def language(fence: re.Match[str]) -> str:
    """The first word after an opening fence, in lower case; empty when there is none."""
    return next(iter(fence["info"].casefold().split()), "")


@functools.lru_cache
def fence_patterns(fence: str) -> Patterns:
    """What closes a fence that is prose."""
    run = rf"(?<=\n) {{0,3}}{fence[0]}"
    return re.compile(rf"{run}{{{len(fence)},}}[ \t\r]*(?=\n)"), re.compile(rf"{run}*[ \t\r]*\Z")


@functools.lru_cache
def code_patterns(fence: str) -> Patterns:
    """What closes code. `fence` is the one it stands in, or empty.

    The token's group `line` is there when the closing tag has nothing before it on its line.
    """
    end, tail = rf"(?P<line>(?<=\n)[ \t]*)?{CLOSE}", rf"(?:(?<=\n)[ \t]*)?(?:{_partial(CLOSE)})"
    if fence:
        end += rf"|(?<=\n) {{0,3}}{fence}"
        tail += rf"|(?<=\n) {{0,3}}{fence[0]}{{1,{len(fence) - 1}}}"
    return re.compile(end), re.compile(rf"(?:{tail}|(?<=\n)[ \t]+)\Z")
