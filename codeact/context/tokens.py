"""Counts the tokens of prompts.

If the model's server offers its tokenizer, that counts; a prompt that continues an earlier one needs one request, for
the new part. Otherwise the tokens are estimated from the kinds of characters, and each answer's usage corrects that.
"""

import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Protocol, runtime_checkable
from weakref import WeakKeyDictionary

from codeact.concurrency.offloop import off_loop
from codeact.context.window import IMAGE_CHARS, text_of
from codeact.model import ChatMessage, Model, Usage

__all__ = ["SURELY", "Counting", "TokenMeter", "estimated_tokens", "meter_of"]

IMAGE_TOKENS = IMAGE_CHARS // 3
MESSAGE_TOKENS = 8
"""The largest number of tokens that a chat template adds to a message, for its role and the marks around it."""
PROMPT_TOKENS = 16
PROMPTS, MESSAGES = 512, 8_192
"""How many counts of prompts and estimates of messages are kept."""
HASH, TOKENS = "hash", "tokens"
"""Under these names a message has its measures in its `__dict__`."""
LEAST_FACTOR, MOST_FACTOR = 0.3, 4.0
SURELY = 3
"""If an estimate is this many times larger or smaller than the limit, the tokenizer is not asked."""

DENSE_CHARS = 1.5
_DENSE = re.compile(r"[A-Za-z0-9+/=_-]{24,}")
"""Runs without spaces that are this long are no natural language, but keys, hashes or base64."""
_LETTERS = re.compile(r"[A-Za-z]+")
_SINGLE = re.compile(r"[!-@\[-`{-~\n\t\r]+")
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]+")


@runtime_checkable
class Counting(Protocol):
    """A model whose server counts tokens."""

    async def count_tokens(self, text: str) -> int | None:
        """Returns the number of tokens of the text, or None if the server does not count. Never raises."""
        ...


def estimated_tokens(text: str) -> float:
    """Estimates the number of tokens of a text in linear time; the result is more often too high than too low.

    Digits, punctuation and line breaks count as one token each, as in many tokenizers. Words count by their number and
    their letters, text without spaces counts more. Characters beyond ASCII count by their bytes, since tokenizers split
    rare ones into bytes.
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
    """Counts tokens for one model, over all of its answers. It must be used by one event loop only.

    `is_exact` is True once the server's tokenizer has counted.
    """

    def __init__(self, model: Model) -> None:
        self._server = model if isinstance(model, Counting) else None
        self._factor = 1.0
        self._added = PROMPT_TOKENS
        self.is_exact = False
        self._counted: OrderedDict[bytes, int] = OrderedDict()  # By the hash of a prompt.
        self._estimates: OrderedDict[bytes, float] = OrderedDict()  # By the hash of a message.

    async def count(self, messages: Sequence[ChatMessage], *, room_tokens: int) -> int:
        """Returns the tokens of a prompt; only what follows its longest known beginning must be counted.

        It makes at most one request to the server, and only if the estimate is too close to `room_tokens`.
        """
        names = await _named(messages)
        prompts = _prompts(names)
        known = next((at + 1 for at in range(len(prompts) - 1, -1, -1) if prompts[at] in self._counted), 0)
        before = self._counted[prompts[known - 1]] if known else 0
        fixed = _fixed(messages) - PROMPT_TOKENS + self._added
        # The new text may be of another kind than the text so far, so a factor below 1 does not apply to it.
        factor = max(self._factor, 1.0) if known else self._factor
        estimate = before + int(await self._estimated(messages[known:], names[known:]) * factor) + fixed
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
        """Corrects the estimates by the provider's count of a prompt; if it was higher, it applies fully at once."""
        if usage.estimated or usage.input_tokens <= 0:
            return
        tokens = max(0, usage.input_tokens - _fixed(messages))
        names = await _named(messages)
        prompt = _prompts(names)[-1]
        if self.is_exact and (counted := self._counted.get(prompt)) is not None:
            self._added = min(max(self._added, tokens - counted + PROMPT_TOKENS), counted + PROMPT_TOKENS)
        else:
            self._remember(prompt, tokens)
        estimate = await self._estimated(messages, names)
        if estimate > 0:
            seen = min(max(tokens / estimate, LEAST_FACTOR), MOST_FACTOR)
            # Other prompts have another mixture of text, so a lower factor is approached by halves.
            self._factor = max(seen, (self._factor + seen) / 2)

    async def _estimated(self, messages: Sequence[ChatMessage], names: Sequence[bytes]) -> float:
        """Returns the sum of the messages' estimates; each text is estimated once. `names` are their hashes."""
        notes = [message.__dict__ for message in messages]
        new = {name: m for name, m, note in zip(names, messages, notes, strict=True) if TOKENS not in note}
        if new:
            estimates = await self._estimates_of(new)
            for name, note in zip(names, notes, strict=True):
                if TOKENS not in note:
                    note[TOKENS] = estimates[name]
        return float(sum(note[TOKENS] for note in notes))

    async def _estimates_of(self, named: Mapping[bytes, ChatMessage]) -> dict[bytes, float]:
        """Returns the estimates of these messages by their hashes, and keeps them."""
        found = {name: self._estimates[name] for name in named if name in self._estimates}
        new = {name: text_of(message) for name, message in named.items() if name not in found}
        estimates = await off_loop(sum(map(len, new.values())), _all_estimated, list(new.values()))
        found.update(zip(new, estimates, strict=True))
        for name, estimate in found.items():
            self._estimates[name] = estimate
            self._estimates.move_to_end(name)
        while len(self._estimates) > MESSAGES:
            self._estimates.popitem(last=False)
        return found

    def _remember(self, prompt: bytes, tokens: int) -> None:
        self._counted[prompt] = tokens
        if len(self._counted) > PROMPTS:
            self._counted.popitem(last=False)


def _all_estimated(texts: Sequence[str]) -> list[float]:
    return [estimated_tokens(text) for text in texts]


def _fixed(messages: Sequence[ChatMessage]) -> int:
    """Returns the tokens that do not depend on the text: those of the chat template and of images."""
    listed = [message.content for message in messages if not isinstance(message.content, str)]
    images = sum(int(part["type"] != "text") for content in listed for part in content)
    return PROMPT_TOKENS + MESSAGE_TOKENS * len(messages) + IMAGE_TOKENS * images


async def _named(messages: Sequence[ChatMessage]) -> list[bytes]:
    """Returns a hash of each message; hashes each once. Much text is hashed off the event loop."""
    new = [message for message in messages if HASH not in message.__dict__]
    if new:
        texts = [f"{message.role}:{text_of(message)}" for message in new]
        hashes = await off_loop(sum(map(len, texts)), _all_named, texts)
        for message, name in zip(new, hashes, strict=True):
            message.__dict__[HASH] = name
    return [message.__dict__[HASH] for message in messages]


def _all_named(texts: Sequence[str]) -> list[bytes]:
    return [blake2b(text.encode(errors="replace"), digest_size=16).digest() for text in texts]


def _prompts(names: Sequence[bytes]) -> list[bytes]:
    """Returns, for each message, the hash of the prompt that ends with it. `names` are the hashes of the messages."""
    running = blake2b(digest_size=16)
    prompts = []
    for name in names:
        running.update(name)
        prompts.append(running.digest())
    return prompts


_METERS: "WeakKeyDictionary[Model, TokenMeter]" = WeakKeyDictionary()


def meter_of(model: Model) -> TokenMeter:
    """Returns the meter of this model, which all its answers share."""
    meter = _METERS.get(model)
    if meter is None:
        meter = _METERS[model] = TokenMeter(model)
    return meter
