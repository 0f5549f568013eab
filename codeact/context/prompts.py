"""Fits prompts into a model's room: the items of a conversation enter, messages with few enough tokens leave."""

from collections.abc import Sequence

from codeact.context.policy import ContextPolicy, Render
from codeact.context.tokens import SURELY, TokenMeter
from codeact.context.window import size_chars
from codeact.dialect.base import Said
from codeact.errors import ContextTooLong
from codeact.model import ChatMessage

__all__ = ["fitted", "masked"]

ROUNDS = 12
MARGIN = 0.97


async def masked(
    items: Sequence[Said], *, room_tokens: int, render: Render, policy: ContextPolicy, meter: TokenMeter
) -> tuple[list[ChatMessage], int]:
    """The messages of these items and how many tokens they have, after old output and code had to be left out.

    They have more tokens than the room only where nothing more of that can go.
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
    items: Sequence[Said],
    *,
    room_tokens: int,
    render: Render,
    policy: ContextPolicy,
    meter: TokenMeter,
) -> list[ChatMessage]:
    """The messages of these items, with at most so many tokens as the meter counts them.

    A policy works in characters. What it leaves may be denser than the whole was, so it is counted again.

    Raises:
        ContextTooLong: What has to stay (the instructions, the last question) is longer than the room, as the
            server's own tokenizer counts it, or three times as long as an estimate says.
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
        return messages  # Its server knows better than an estimate.
    raise ContextTooLong(
        f"The instructions and the question alone have about {tokens:,} tokens, and the model takes {room_tokens:,} of"
        " a prompt. Shorten them, or choose a model with a larger window (CODEACT_MODELS='…;window=N' sets one)."
    )
