"""Reads the log probabilities that servers send with a reply's tokens. Odd and oversized entries are left out."""

import math
from typing import Any

from codeact.model import TokenLogprob, TopLogprob

__all__ = ["MOST_ALTERNATIVES", "read_tokens"]

MOST_ALTERNATIVES = 20
MOST_TOKENS = 20_000
TOKEN_CHARS = 500


def read_tokens(given: Any, most: int) -> list[TokenLogprob]:
    """The tokens of one chunk, each with at most `most` alternatives; empty if `given` is no list of tokens."""
    tokens = []
    for entry in given[:MOST_TOKENS] if isinstance(given, list) else ():
        token = _token(entry)
        if token is not None:
            tops = entry.get("top_logprobs")
            likeliest = [_token(top) for top in (tops[:most] if isinstance(tops, list) else ())]
            tops = [top for top in likeliest if top is not None]
            tokens.append(TokenLogprob(token.token, token.logprob, token.bytes, tops))
    return tokens


def _token(entry: Any) -> TopLogprob | None:
    if not isinstance(entry, dict):
        return None
    token, logprob, given = entry.get("token"), entry.get("logprob"), entry.get("bytes")
    if not isinstance(token, str) or len(token) > TOKEN_CHARS:
        return None
    if isinstance(logprob, bool) or not isinstance(logprob, int | float) or not math.isfinite(logprob):
        return None
    if not isinstance(given, list) or len(given) > 4 * TOKEN_CHARS or not all(map(_is_byte, given)):
        given = list(token.encode(errors="replace"))
    return TopLogprob(token if token.isascii() else token.encode(errors="replace").decode(), float(logprob), given)


def _is_byte(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 256
