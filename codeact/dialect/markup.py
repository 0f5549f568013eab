r"""The patterns that mark code, thinking and fences in a model's text.

Patterns come in pairs: the first matches a token, the second the end of a text that more text may complete to a token.
The text always includes the character before the position where a search starts, so that `(?<=\n)` means "at the start
of a line".
"""

import functools
import re

__all__ = [
    "CLOSE",
    "CLOSING",
    "HARMONY_THOUGHT",
    "LANGUAGES",
    "NAMES",
    "OPEN",
    "OPENING",
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

NAMES = (
    "execute",
    "execute_code",
    "execute_ipython",
    "execute_python",
    "ipython",
    "python_code",
    "run_code",
    "run_python",
    "tool_code",
)
"""Names that models use for the tag; the prompt says `<execute>`."""
_BLOCKS = ("code", "jupyter", "py", "python", "repl")
"""Tags that HTML in prose may contain; they open code only if they are alone on their line."""
_THOUGHTS = ("think", "thinking", "thought", "seed:think")
_THINK_TAGS = tuple(f"<{end}{name}>" for name in _THOUGHTS for end in ("", "/"))
_THINK_MARKS = ("[think]", "[/think]", "◁think▷", "◁/think▷")
_CALLS = (
    "<tool_call>",
    "<tool_calls>",
    "<function_call>",
    "<function_calls>",
    "<function=",
    "<invoke ",
    "<tool_use>",
    "<execute_bash>",
    "[tool_calls]",
    "[tool_call]",
)
"""Texts that begin a tool call in the formats of other systems, at the start of a line."""
_REMNANTS = ("<start_of_turn>", "<end_of_turn>", "<s>", "</s>", "<eos>", "<bos>", "[inst]", "[/inst]")
_OBSERVATION = "observation:"


def _partial(*tags: str) -> str:
    """Returns a pattern that matches every proper prefix of these tags, the longest first."""
    beginnings = {tag[:size] for tag in tags for size in range(1, len(tag))}
    return "|".join(map(re.escape, sorted(beginnings, key=len, reverse=True)))


def _any(*texts: str) -> str:
    return "|".join(map(re.escape, sorted(texts, key=len, reverse=True)))


# The rest of the line has a maximum length: otherwise the parser would hold an endless line back for ever.
_FENCE = r"(?P<run>`{3,}+(?!.*`)|~{3,})(?P<info>[^<\n]{0,99})\n"
_FENCE_TAIL = r"(?:`{3,}+(?!.*`)|~{3,})[^<\n]{0,99}|`{1,2}|~{1,2}"
_LINE = r"(?<=\n)[ \t]{0,8}"
_ATTRIBUTES = r"(?:\s[^<>\n]{0,200})?"
_OPENING = rf"<(?:{_any(*NAMES)}){_ATTRIBUTES}>"
_CLOSING = rf"</(?:{_any(*NAMES)})\s{{0,8}}>"
_TAG_TAIL = (
    rf"<(?:{_any(*NAMES)})\s[^<>\n]{{0,200}}|</(?:{_any(*NAMES)})\s{{0,8}}"
    rf"|{_partial(*(f'<{end}{name}>' for name in NAMES for end in ('', '/')))}"
)
_SPECIAL = rf"<\|[a-z_]\w{{0,40}}\|>|<｜[^｜<>\n]{{1,40}}｜>|{_any(*_REMNANTS)}"
_SPECIAL_TAIL = rf"<\|(?:[a-z_]\w{{0,40}})?\|?|<｜[^｜<>\n]{{0,40}}｜?|{_partial(*_REMNANTS)}|</s>\s*"
_BLOCK = rf"<(?P<name>{_any(*_BLOCKS)}){_ATTRIBUTES}>[ \t]{{0,8}}\r?\n"
_BLOCK_TAIL = (
    rf"<(?:{_any(*_BLOCKS)})(?:\s[^<>\n]{{0,200}})?(?:>[ \t]{{0,8}}\r?)?|{_partial(*(f'<{name}>' for name in _BLOCKS))}"
)

PROSE: Patterns = (
    re.compile(
        rf"(?<=\n) {{0,3}}{_FENCE}|(?P<ticks>`+)"
        rf"|(?P<tag>{_OPENING}|{_CLOSING}|{_any(*_THINK_TAGS, *_THINK_MARKS)})"
        rf"|(?P<block>{_LINE}{_BLOCK})|(?P<call>{_LINE}(?:{_any(*_CALLS)}))"
        rf"|(?P<observation>{_LINE}(?:User:[ \t]{{0,8}})?{_OBSERVATION})|(?P<special>{_SPECIAL})",
        re.IGNORECASE,
    ),
    re.compile(
        rf"(?:(?<=\n) {{0,3}}(?:{_FENCE_TAIL}|)|`+|{_TAG_TAIL}|{_partial(*_THINK_TAGS, *_THINK_MARKS)}|{_SPECIAL_TAIL}"
        rf"|{_LINE}(?:{_BLOCK_TAIL}|{_partial(*_CALLS)}|(?:User:[ \t]{{0,8}})?(?:{_partial(_OBSERVATION)}|)"
        rf"|{_partial('user:')}|))\Z",
        re.IGNORECASE,
    ),
)
_THOUGHT_END = rf"</(?:{_any(*_THOUGHTS)})>|\[/think\]|◁/think▷"
THINKING: Patterns = (
    re.compile(_THOUGHT_END, re.IGNORECASE),
    re.compile(rf"(?:{_partial(*_THINK_TAGS, *_THINK_MARKS)})\Z", re.IGNORECASE),
)
HARMONY_THOUGHT: Patterns = (
    re.compile(r"<\|(?:end|start|channel|call|return)\|>"),
    re.compile(r"<(?:\|[a-z]{0,8}\|?)?\Z"),
)
OPENING, CLOSING = re.compile(_OPENING, re.IGNORECASE), re.compile(_CLOSING, re.IGNORECASE)
OPENING_FENCE = re.compile(_FENCE)
OPENING_TAIL = re.compile(rf"(?:{_FENCE_TAIL}|{_TAG_TAIL}|)\Z", re.IGNORECASE)


def language(fence: re.Match[str]) -> str:
    """Returns the first word after an opening fence in lower case, or an empty string."""
    return next(iter(fence["info"].casefold().split()), "")


@functools.lru_cache
def fence_patterns(fence: str) -> Patterns:
    """Returns the patterns of what closes a fence in prose."""
    run = rf"(?<=\n) {{0,3}}{fence[0]}"
    return re.compile(rf"{run}{{{len(fence)},}}[ \t\r]*(?=\n)"), re.compile(rf"{run}*[ \t\r]*\Z")


# Tokens that end a turn in chat templates. Python has none of these outside of strings.
_TURN_ENDS = (
    r"<\|(?:im_end|im_start|eot_id|eom_id|end|start|call|return|endoftext|end_of_text|eot|user|assistant)\|>"
    r"|<｜end▁of▁sentence｜>|<end_of_turn>|</s>"
)
_TURN_ENDS_TAIL = rf"<\|[a-z_]{{0,12}}\|?|{_partial('<｜end▁of▁sentence｜>', '<end_of_turn>', '</s>')}"
_ALL = _any(*NAMES, *_BLOCKS)
_WRONG = rf"(?P<wrong><[ \t/\\]{{0,8}}(?:end[_ ]?)?(?:{_ALL})[ \t/\\]{{0,8}}>?|\[[ \t]{{0,8}}[/\\](?:{_ALL})\])"


@functools.lru_cache
def code_patterns(fence: str, name: str = "execute") -> Patterns:
    """Returns the patterns of what closes code.

    `fence` is the Markdown fence around the code, or empty; `name` is the name of the tag that opened the code. Groups
    of the token: `own` is the closing tag of this block, with `line` if it is the first thing on its line; `other`
    closes the block if no string literal is open; `wrong` is a misspelt closing tag, or a second opening tag.
    """
    own = rf"</(?:execute|{re.escape(name)})\s{{0,8}}>"
    others = rf"</(?:{_ALL})\s{{0,8}}>|{_TURN_ENDS}"
    end = rf"(?P<own>(?P<line>(?<=\n)[ \t]*)?{own})|(?P<other>{others})|{_LINE}{_WRONG}[ \t]{{0,8}}(?=\r?\n)"
    tail = rf"(?:(?<=\n)[ \t]*)?(?:{_partial(*(f'</{known}>' for known in (*NAMES, *_BLOCKS)))}|</(?:{_ALL})\s{{0,8}})"
    tail += rf"|{_TURN_ENDS_TAIL}|{_LINE}(?:(?!{others})<[^\n<>]{{0,40}}>?[ \t]{{0,8}}\r?"
    tail += r"|\[[ \t]{0,8}[/\\][^\n]{0,40}|\[)"
    if fence:
        end += rf"|(?P<fence>(?<=\n) {{0,3}}{fence})"
        tail += rf"|(?<=\n) {{0,3}}{fence[0]}{{1,{len(fence) - 1}}}"
    else:
        end += rf"|(?P<fence>{_LINE}```[ \t]{{0,8}}(?=\r?\n))"
        tail += rf"|{_LINE}`{{1,3}}[ \t]{{0,8}}\r?"
    return re.compile(end, re.IGNORECASE), re.compile(rf"(?:{tail}|(?<=\n)[ \t]+)\Z", re.IGNORECASE)
