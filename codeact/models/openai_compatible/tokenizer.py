"""Asks a model's server how many tokens a text has: `POST /tokenize` of llama.cpp and vLLM.

llama.cpp takes `content` and answers `{"tokens": [1, 2]}`. vLLM takes `model` and `prompt` and answers with `count`. A
server that supports neither is not asked again.
"""

import re
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

__all__ = ["ANSWER_BYTES", "Post", "Tokenizer"]

PIECE_CHARS = 400_000
"""How many characters are sent in one request."""
MOST_PIECES = 4
ANSWER_BYTES = 4_000_000
_NUMBERS = re.compile(rb"\[[\d\s,]*\]")

Post = Callable[[str, dict[str, Any]], Awaitable[tuple[int, bytes] | None]]
"""Sends JSON to an address; returns status and body, or None if there is no answer in time."""


class _Answer(msgspec.Struct):
    count: int | None = None
    tokens: msgspec.Raw = msgspec.Raw()


_decoder = msgspec.json.Decoder(_Answer)


class Tokenizer:
    """Counts tokens for one model at one server. `root` is the server's address without `/v1`."""

    def __init__(self, root: str, model: str, post: Post) -> None:
        self._url = f"{root}/tokenize"
        self._post = post
        self._forms: list[Callable[[str], dict[str, Any]]] = [
            lambda text: {"content": text, "add_special": False},
            lambda text: {"model": model, "prompt": text, "add_special_tokens": False},
        ]

    async def count(self, text: str) -> int | None:
        """The number of tokens in the text; None if the server does not say, or if the text is too long to ask.

        Never raises.
        """
        if not self._forms or len(text) > MOST_PIECES * PIECE_CHARS:
            return None
        tokens = 0
        for start in range(0, len(text), PIECE_CHARS):
            counted = await self._piece(text[start : start + PIECE_CHARS])
            if counted is None:
                return None
            tokens += counted
        return tokens

    async def _piece(self, text: str) -> int | None:
        while self._forms:
            answer = await self._post(self._url, self._forms[0](text))
            if answer is None:
                return None  # The server may be starting or busy.
            status, body = answer
            if (counted := _counted(body) if status == 200 else None) is not None:
                del self._forms[1:]
                return counted
            if status >= 500 or status == 429:
                return None
            del self._forms[0]
        return None


def _counted(body: bytes) -> int | None:
    """The count in an answer. Counts the commas in a token list, without creating a Python list."""
    if len(body) > ANSWER_BYTES:
        return None
    try:
        answer = _decoder.decode(body)
    except (ValueError, RecursionError):
        return None
    if answer.count is not None:
        return answer.count if answer.count >= 0 else None
    tokens = bytes(answer.tokens)
    if not _NUMBERS.fullmatch(tokens):
        return None
    return tokens.count(b",") + 1 if any(48 <= letter <= 57 for letter in tokens) else 0
