"""Counts the tokens of prompts: messages enter, a number of tokens leaves.

The tokenizer of the model's server counts where it offers one. A prompt that continues an earlier one costs one request
for what is new. Without a tokenizer an estimate by kinds of characters stands in, which each answer's usage corrects.
"""

import re
from collections import OrderedDict
from collections.abc import Sequence
from hashlib import blake2b
from typing import Protocol, runtime_checkable
from weakref import WeakKeyDictionary

from codeact.concurrency.offloop import off_loop
from codeact.context.window import IMAGE_CHARS, text_of
from codeact.model import ChatMessage, Model, Usage

__all__ = ["SURELY", "Counting", "TokenMeter", "estimated_tokens", "meter_of"]

IMAGE_TOKENS = IMAGE_CHARS // 3
MESSAGE_TOKENS = 8
"""What a chat template adds to a message, at most: the marks around it and its role."""
PROMPT_TOKENS = 16
PROMPTS, MESSAGES = 512, 8_192
"""So many are remembered."""
LEAST_FACTOR, MOST_FACTOR = 0.3, 4.0
SURELY = 3
"""An estimate that is this many times larger, or smaller, than the room decides without the tokenizer."""

DENSE_CHARS = 1.5
_DENSE = re.compile(r"[A-Za-z0-9+/=_-]{24,}")
"""What has no spaces for so long is no language: keys, hashes, base64."""
_LETTERS = re.compile(r"[A-Za-z]+")
_SINGLE = re.compile(r"[!-@\[-`{-~\n\t\r]+")
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]+")


@runtime_checkable
class Counting(Protocol):
    """A model whose server counts tokens."""

    async def count_tokens(self, text: str) -> int | None:
        """How many tokens the text has; None where the server does not say. Never raises."""
        ...


def estimated_tokens(text: str) -> float:
    """About how many tokens a text has, rather too many than too few. Linear.

    Digits, punctuation and line breaks count as a token each, since many tokenizers have it so; words by their number
    and their letters; characters beyond ASCII by their bytes, since rare ones are spelled out in bytes; text without
    spaces more than words.
    """
    runs = [len(run) for run in _LETTERS.findall(text)]
    letters, words = sum(runs), len(runs)
    single = sum(map(len, _SINGLE.findall(text)))
    others = sum(map(len, _BEYOND_ASCII.findall(text)))
    beyond = len(text.encode(errors="replace")) - (len(text) - others) if others else 0
    spaces = len(text) - letters - single - others
    dense = min(letters, sum(map(len, _DENSE.findall(text))))
    return single + beyond + dense / DENSE_CHARS + 0.75 * words + (letters - dense) / 4 + spaces / 4


class TokenMeter:
    """Counts for one model, over all of its answers. Not for several event loops at once.

    `is_exact`: the server's tokenizer has counted.
    """

    def __init__(self, model: Model) -> None:
        self._server = model if isinstance(model, Counting) else None
        self._factor = 1.0
        self._added = PROMPT_TOKENS
        self.is_exact = False
        self._counted: OrderedDict[bytes, int] = OrderedDict()  # By what names a prompt.
        self._estimates: OrderedDict[bytes, float] = OrderedDict()  # By what names a message.

    async def count(self, messages: Sequence[ChatMessage], *, room_tokens: int) -> int:
        """The tokens of a prompt. The longest beginning that has been counted before costs nothing.

        The server is asked once at most, and only where an estimate of the rest would not tell whether the prompt fits.
        """
        prompts = _prompts(messages)
        known = next((at + 1 for at in range(len(prompts) - 1, -1, -1) if prompts[at] in self._counted), 0)
        before = self._counted[prompts[known - 1]] if known else 0
        fixed = _fixed(messages) - PROMPT_TOKENS + self._added
        # What is new may be of another kind than all that was seen: no discount for it.
        factor = max(self._factor, 1.0) if known else self._factor
        estimate = before + int(await self._estimated(messages[known:]) * factor) + fixed
        is_clear = estimate > SURELY * room_tokens or SURELY * estimate < room_tokens
        if self._server is None or known == len(prompts) or is_clear:
            return estimate
        new: int | None = await self._server.count_tokens("\n".join(text_of(each) for each in messages[known:]))
        if new is None:
            return estimate
        self.is_exact = True
        self._remember(prompts[-1], before + new)
        return before + new + fixed

    async def observe(self, messages: Sequence[ChatMessage], usage: Usage) -> None:
        """Takes in the provider's count of a prompt. A prompt that took more than thought counts at once."""
        if usage.estimated or usage.input_tokens <= 0:
            return
        tokens = max(0, usage.input_tokens - _fixed(messages))
        prompt = _prompts(messages)[-1]
        if self.is_exact and (counted := self._counted.get(prompt)) is not None:
            self._added = min(max(self._added, tokens - counted + PROMPT_TOKENS), counted + PROMPT_TOKENS)
        else:
            self._remember(prompt, tokens)
        estimate = await self._estimated(messages)
        if estimate > 0:
            seen = min(max(tokens / estimate, LEAST_FACTOR), MOST_FACTOR)
            # Other prompts have another mixture of text: half of a margin is kept.
            self._factor = max(seen, (self._factor + seen) / 2)

    async def _estimated(self, messages: Sequence[ChatMessage]) -> float:
        """The texts' estimates; each text is read once."""
        names = [_name(message) for message in messages]
        new = {name: text_of(m) for name, m in zip(names, messages, strict=True) if name not in self._estimates}
        if new:
            found = await off_loop(sum(map(len, new.values())), _all_estimated, list(new.values()))
            self._estimates.update(zip(new, found, strict=True))
        estimate = 0.0
        for name in names:
            self._estimates.move_to_end(name)
            estimate += self._estimates[name]
        while len(self._estimates) > MESSAGES + len(names):
            self._estimates.popitem(last=False)
        return estimate

    def _remember(self, prompt: bytes, tokens: int) -> None:
        self._counted[prompt] = tokens
        if len(self._counted) > PROMPTS:
            self._counted.popitem(last=False)


def _all_estimated(texts: Sequence[str]) -> list[float]:
    return [estimated_tokens(text) for text in texts]


def _fixed(messages: Sequence[ChatMessage]) -> int:
    """What does not depend on the text: the template's marks, and images."""
    listed = [message.content for message in messages if not isinstance(message.content, str)]
    images = sum(int(part["type"] != "text") for content in listed for part in content)
    return PROMPT_TOKENS + MESSAGE_TOKENS * len(messages) + IMAGE_TOKENS * images


def _name(message: ChatMessage) -> bytes:
    return blake2b(f"{message.role}:{text_of(message)}".encode(errors="replace"), digest_size=16).digest()


def _prompts(messages: Sequence[ChatMessage]) -> list[bytes]:
    """For each message, what names the prompt that ends with it."""
    running = blake2b(digest_size=16)
    prompts = []
    for message in messages:
        running.update(_name(message))
        prompts.append(running.digest())
    return prompts


_METERS: "WeakKeyDictionary[Model, TokenMeter]" = WeakKeyDictionary()


def meter_of(model: Model) -> TokenMeter:
    """The meter of this model: what one answer has shown serves the next one."""
    meter = _METERS.get(model)
    if meter is None:
        meter = _METERS[model] = TokenMeter(model)
    return meter
