"""Fits a prompt into a number of tokens: applies a context policy until the messages are short enough."""

from collections.abc import Sequence

from codeact.context.policy import ContextPolicy, Render
from codeact.context.tokens import SURELY, TokenMeter
from codeact.context.window import size_chars
from codeact.dialect.base import Entry
from codeact.errors import ContextTooLong
from codeact.model import ChatMessage

__all__ = ["fitted", "masked"]

ROUNDS = 12
MARGIN = 0.97


async def masked(
    items: Sequence[Entry], *, room_tokens: int, render: Render, policy: ContextPolicy, meter: TokenMeter
) -> tuple[list[ChatMessage], int]:
    """Masks old output and code until the prompt fits; returns its messages and their number of tokens.

    They exceed `room_tokens` only if nothing more can be masked.
    """
    messages = policy.rendered(items, render=render)
    for _ in range(ROUNDS):
        tokens = await meter.count(messages, room_tokens=room_tokens)
        size = size_chars(messages)
        if tokens <= room_tokens:
            break
        messages = policy.mask(items, room_chars=int(size * room_tokens / tokens * MARGIN), render=render)
        if size_chars(messages) >= size:
            break
    return messages, tokens


async def fitted(
    items: Sequence[Entry],
    *,
    room_tokens: int,
    render: Render,
    policy: ContextPolicy,
    meter: TokenMeter,
) -> list[ChatMessage]:
    """Returns the messages of these items, with at most `room_tokens` tokens by the meter's count.

    A policy works in characters, and the remaining text may have more tokens per character, so it is counted again.

    Raises:
        ContextTooLong: The instructions and the last question alone are too long: by the count of the server's
            tokenizer, or by an estimate of more than three times the limit.
    """
    messages = policy.rendered(items, render=render)
    for _ in range(ROUNDS):
        tokens = await meter.count(messages, room_tokens=room_tokens)
        if tokens <= room_tokens:
            return messages
        size = size_chars(messages)
        messages = policy.fit(items, room_chars=int(size * room_tokens / tokens * MARGIN), render=render)
        if size_chars(messages) >= size:
            break
    if not meter.is_exact and tokens <= SURELY * room_tokens:
        return messages  # This is only an estimate, so the server decides.
    raise ContextTooLong(
        f"The instructions and the question alone have about {tokens:,} tokens, and the model takes {room_tokens:,} of"
        " a prompt. Shorten them, or choose a model with a larger window (CODEACT_MODELS='…;window=N' sets one)."
    )
