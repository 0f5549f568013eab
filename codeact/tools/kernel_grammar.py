"""Checks a text against the grammar of a client's custom tool.

The kernel gets the text of this module together with the functions, so a grammar that takes too long uses up the time
of the code that calls the function, and nothing else. The package `llguidance` reads the grammars; where the sandbox
does not have it, texts are not checked.
"""

from typing import Any

LIMITS = {"max_items_in_row": 200, "step_max_items": 5_000, "precompute_large_lexemes": False}
"""They keep the time of a check in proportion to the text."""


class Bytes:
    """A tokenizer with one token for each byte."""

    eos_token_id, bos_token_id = 256, None
    tokens = (*(bytes([value]) for value in range(256)), b"<end>")
    special_token_ids = (256,)

    def __call__(self, text: bytes) -> list[int]:
        return list(text)


def check(name: str, syntax: str, definition: str, text: Any) -> None:
    """Raises `TypeError` if `text` is no string, and `ValueError` if it does not match the grammar."""
    if not isinstance(text, str):
        raise TypeError(f"{name}() takes a string, not {type(text).__name__}.")
    try:
        import llguidance
    except ImportError:
        return
    matcher = llguidance.LLMatcher
    made = matcher.grammar_from_lark(definition) if syntax == "lark" else matcher.grammar_from_regex(definition)
    tokenizer = llguidance.LLTokenizer(llguidance.TokenizerWrapper(Bytes()), slices=[])
    reading = matcher(tokenizer, made, log_level=0, limits=llguidance.LLParserLimits(**LIMITS))
    if reading.is_error():
        raise ValueError(f"The grammar of {name}() cannot be read: {reading.get_error()[:1_000]}")
    given = text.encode(errors="replace")
    read = reading.try_consume_tokens(list(given))
    if read == len(given) and reading.is_accepting():
        return
    line = given[:read].count(b"\n") + 1
    at = f"it ends too early, after {given[max(0, read - 40) :].decode(errors='replace')!r}"
    if read < len(given):
        at = f"line {line} does not fit from {given[read : read + 40].decode(errors='replace')!r} on"
    raise ValueError(f"{name}() takes a text in its format ({syntax} grammar): {at}.")
