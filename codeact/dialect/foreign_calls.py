"""Extracts code from tool calls in the formats of other systems, if the call certainly asks to run code.

The dialect `tags` offers the model no tool. Models that were trained on tool calls make them nevertheless, through the
API or as text. A call whose tool and argument have names for running Python is treated like `<execute>`.
"""

import json
import re
from typing import Any, Literal

__all__ = ["HEAD_CHARS", "Special", "code_of", "code_of_call", "is_call", "special"]

HEAD_CHARS = 160
"""A reply that begins as JSON is recognised as a call, or not, by this many characters."""
MAX_CHARS = 400_000

_NAMES = re.compile(
    r"(?:functions?\.|tools?\.|default_api\.)?"
    r"(?:python|ipython|execute|code|exec|run|jupyter|repl|interpreter|python[_-]?(?:repl|repl_ast|interpreter|exec|executor"
    r"|tool|code|run|execute)|(?:run|exec|execute|eval)[_-]?(?:python|code|ipython|ipython_cell|python_code|cell|block)"
    r"|code[_-]?(?:interpreter|execution|runner|executor|exec)|tool_code|stateful_python_code_exec|jupyter_cell)"
    r"(?::\d+)?",
    re.IGNORECASE,
)
_ARGUMENTS = ("code", "source", "script", "python", "python_code", "source_code", "input", "cell", "content", "command")
_HEAD = re.compile(
    r'"(?:name|function|tool|tool_name|action|recipient_name|function_name)"\s{0,5}:\s{0,5}"(?P<name>[\w.:-]{1,60})"',
    re.IGNORECASE,
)
_WORDS = re.compile(r"[\w.-]{2,60}")
_PARAMETER = re.compile(r"<parameter(?:=|\s{1,5}name\s{0,5}=\s{0,5})[\"']?(\w{1,40})[\"']?\s{0,5}>[ \t]{0,8}\n?")
_DECODER = json.JSONDecoder(strict=False)
_BRACKETS = 20

Special = Literal["python", "channel", "start", "call", "end", "stray"]
_ENDS = {
    "<|im_end|>",
    "<|im_start|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|eot|>",
    "<|return|>",
    "<|user|>",
    "<|observation|>",
    "<｜end▁of▁sentence｜>",
    "<｜user｜>",
    "<end_of_turn>",
    "<eos>",
}


def special(mark: str) -> Special:
    """Returns the meaning of a chat template's special token that appears as text in a reply.

    `stray` tokens mean nothing and are dropped.
    """
    mark = mark.casefold()
    known: dict[str, Special] = {"<|python_tag|>": "python", "<|channel|>": "channel", "<|start|>": "start"}
    if "tool" in mark:
        return "call"
    return known.get(mark, "end" if mark in _ENDS else "stray")


def is_call(head: str) -> bool:
    """Whether JSON that begins with `head` is a call of a tool that runs Python."""
    match = _HEAD.search(head[:HEAD_CHARS])
    return match is not None and _NAMES.fullmatch(match["name"]) is not None


def code_of_call(name: str, arguments: str) -> str | None:
    """Returns the code of a call; None if its tool does not run Python or its arguments contain no code."""
    if not _NAMES.fullmatch(name.strip()):
        return None
    text = arguments.strip()
    if not text.startswith(("{", '"')):
        return text or None
    try:
        value = _DECODER.decode(text[:MAX_CHARS])
    except (ValueError, RecursionError):
        return None
    return _argument(value)


def code_of(raw: str) -> str | None:
    """Returns the code of a call that the model wrote as text: as JSON, or with tags for its parameters.

    Returns None if the call's tool does not run Python or the form is not recognised.
    """
    raw = raw[:MAX_CHARS]
    if match := _PARAMETER.search(raw):
        head, body = raw[: match.start()], raw[match.end() :]
        end = body.rfind("</parameter>")
        called = any(_NAMES.fullmatch(word) for word in _WORDS.findall(head[-500:]))
        if not called or match[1].casefold() not in _ARGUMENTS or end < 0 or _PARAMETER.search(body[:end]):
            return None
        return body[:end].strip("\n") or None
    at = 0
    for _ in range(_BRACKETS):
        starts = [start for start in (raw.find("{", at), raw.find("[", at)) if start >= 0]
        if not starts:
            return None
        at = min(starts)
        try:
            value, _end = _DECODER.raw_decode(raw, at)
        except (ValueError, RecursionError):
            at += 1
            continue
        if isinstance(value, dict) or (isinstance(value, list) and value and isinstance(value[0], dict)):
            return _code_in(value, raw[max(0, at - 300) : at])
        at += 1
    return None


def _code_in(value: Any, before: str) -> str | None:
    """`before` is the text before the JSON; it may contain the tool's name."""
    call = value[0] if isinstance(value, list) else value
    if not isinstance(call, dict):
        return None
    if isinstance(call.get("function"), dict):
        call = call["function"]
    keys = ("name", "tool", "tool_name", "action", "recipient_name", "function_name", "function")
    name = next((call[key] for key in keys if isinstance(call.get(key), str)), None)
    if name is None:
        named = any(_NAMES.fullmatch(word) for word in _WORDS.findall(before))
        return _argument(call) if named else None
    if not _NAMES.fullmatch(name):
        return None
    arguments = next(
        (call[key] for key in ("arguments", "parameters", "args", "action_input", "input", "kwargs") if key in call),
        call,
    )
    if isinstance(arguments, str):
        return code_of_call(name, arguments)
    return _argument(arguments)


def _argument(value: Any) -> str | None:
    """Returns the argument that contains code."""
    if isinstance(value, str):
        return value if value.strip() else None
    if not isinstance(value, dict):
        return None
    for key in _ARGUMENTS:
        if isinstance(code := value.get(key), str) and code.strip():
            return code
    return None
