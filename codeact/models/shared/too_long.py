"""Recognises an error that means: the conversation is too long.

Codes and types are checked first, because wordings change. The table of known wordings is in the tests.
"""

import re

__all__ = ["is_too_long"]

_CODES = {
    "context_length_error",
    "context_length_exceeded",
    "context_too_long",
    "context_window_exceeded",
    "context_window_exceeded_error",
    "contextwindowexceedederror",
    "exceed_context_size_error",
    "input_length_exceeded",
    "input_too_long",
    "max_tokens_exceeded",
    "model_context_window_exceeded",
    "prompt_too_long",
    "request_too_large",
    "string_above_max_length",
    "token_limit_exceeded",
    "tokens_limit_reached",
}
_SENT = r"(?:prompt|inputs?|conversation|messages?|request|text|sequence)"
_WORDS = (
    r"context.{0,20}(?:length|window|size|limit|overflow)",
    r"(?:length|window|size) of (?:the |this )?context",
    r"(?:exceed|larger|longer|greater|more|over|beyond|above|fit).{0,60}context",
    r"context.{0,60}(?:exceed|too (?:long|large|small)|is full|overflow)",
    rf"{_SENT}.{{0,40}}(?:is|are|was|were|be) too (?:long|large|many)",
    rf"{_SENT}.{{0,40}}exceed",
    r"too many (?:input |prompt |total )?tokens",
    r"(?:input|prompt|requested|total|number of) ?tokens?.{0,60}(?:exceed|greater|larger|more than|must be|over|limit)",
    r"tokens?.{0,60}exceed.{0,60}(?:limit|max|allowed|context|length)",
    r"exceed.{0,60}(?:tokens?|max_model_len|n_ctx|sequence length|input length|model'?s? (?:length|maximum))",
    r"(?:max|maximum).{0,40}(?:tokens|sequence length|input length|prompt length|model_len)",
    r"reduce the length of",
    r"(?:prompt|input).{0,20}too long",
    r"range of input length",
    r"(?:max|maximum) (?:model|context|input|prompt|sequence) len",
    r"must have less than \d{1,9} tokens",
    r"token (?:limit|count).{0,40}(?:exceed|reached)|(?:exceed|reached).{0,40}token (?:limit|count)",
)
_LONG = re.compile("|".join(_WORDS), re.IGNORECASE)
_RATE = re.compile(r"per (?:min|minute|day|hour|second)|\b[TR]P[MD]\b|rate.?limit|quota", re.IGNORECASE)
_CAPS = re.compile(r"unsupported parameter|max_completion_tokens' instead", re.IGNORECASE)
_WORDS_CHARS = 2_000


def is_too_long(words: str, names: tuple[str, ...] = ()) -> bool:
    """Whether an error means that the conversation is too long. `names` are the error's code and type."""
    if any(name.casefold() in _CODES for name in names):
        return True
    words = words[:_WORDS_CHARS]
    return bool(_LONG.search(words)) and not _RATE.search(words) and not _CAPS.search(words)
