"""Compacts a conversation that is too long: replaces it by facts from the kernel and a summary by the model.

This happens between two model calls: if the prompt exceeds a threshold of the request, or if it does not fit into the
context window after old output and code were masked.
"""

from collections.abc import Callable, Sequence
from contextlib import aclosing
from functools import partial

import anyio

from codeact import events as e
from codeact import telemetry
from codeact.agent.compaction_items import CompactionItems
from codeact.agent.options import AgentOptions
from codeact.agent.prompting import Prompting
from codeact.agent.recall import numbered
from codeact.agent.reply_text import encodable
from codeact.context.compaction import kept_ids, questions
from codeact.context.compaction_text import ASK, compaction_text, described, earlier_of
from codeact.context.tokens import estimated_tokens
from codeact.dialect.base import Entry
from codeact.dialect.markup import OPEN
from codeact.errors import CodeActError, CompactionFreesTooLittle
from codeact.model import ChatMessage, Model, Sampling, TextDelta, Usage
from codeact.workspaces.workspace import Workspace
from sandbox_pool.errors import SandboxError
from sandbox_pool.inventory import Inventory
from sandbox_pool.logs import Logger

__all__ = ["Compacting"]

log = Logger(__name__)

TOO_LITTLE = 0.8
"""If the prompt would still have more than this part of the limit, it is not compacted."""
AIM = 0.7
KEPT_SHARE = 0.25
"""The part of the limit, without the instructions, for items that are kept unchanged."""
WORDS_TOKENS, WORDS_CHARS, WORDS_S = 1_024, 8_000, 60.0
FEWEST_CHARS, MOST_CHARS = 700, 24_000
CHARS_PER_TOKEN = 3
DESCRIBED_CHARS = 8_000
WITHOUT_LIMIT_TOKENS = 32_000
"""The limit if a client asks for a compaction and the context window is unknown."""


class Compacting:
    """The compactions of one answer. `book` is called with the usage of their model calls."""

    def __init__(
        self,
        items: CompactionItems,
        prompting: Prompting,
        model: Model,
        options: AgentOptions,
        workspace: Workspace,
        book: Callable[[Usage], None],
    ) -> None:
        self._items = items
        self._prompting = prompting
        self._model = model
        self._options = options
        self._workspace = workspace
        self._book = book
        self._gave_up = False

    async def before_call(self) -> None:
        """Compacts the conversation if the next prompt is too long.

        Raises:
            CompactionFreesTooLittle: The prompt exceeds the request's threshold, even after a compaction.
        """
        threshold = self._options.compact_threshold
        if threshold is not None:
            tokens = await self._prompting.tokens(room_tokens=threshold)
            if tokens > threshold and (left := await self._compact(threshold, tokens)) > (TOO_LITTLE * threshold):
                raise CompactionFreesTooLittle(
                    f"The conversation passed the compact_threshold of {threshold:,} tokens, and a compaction leaves"
                    f" about {left:,} of them: the instructions and the newest messages. Raise the threshold."
                )
        room = self._prompting.room_tokens if self._options.truncate else None
        if room is not None and not self._gave_up:
            tokens = await self._prompting.mask(room_tokens=room)
            if tokens > room:  # If it frees too little, the rest of this answer drops the oldest messages instead.
                self._gave_up = await self._compact(room, tokens) > TOO_LITTLE * room

    async def now(self) -> None:
        """Compacts the conversation, however short it is; the user's messages are kept."""
        limit = self._prompting.room_tokens or WITHOUT_LIMIT_TOKENS
        await self._write(limit, self._prompting.items(), [], spare_tokens=AIM * limit)

    async def _compact(self, limit_tokens: int, tokens: int) -> int:
        """Compacts, and returns how many tokens the prompt has then. Does nothing if that would save too little."""
        items = self._prompting.items()
        spare_tokens = limit_tokens - await self._prompting.tokens_of([], room_tokens=limit_tokens)
        keeps = kept_ids(items, room_tokens=KEPT_SHARE * spare_tokens)
        kept = [item for item in items if getattr(item, "id", None) in keeps]
        rest = await self._prompting.tokens_of(kept, room_tokens=limit_tokens)
        if tokens - rest <= (1 - TOO_LITTLE) * limit_tokens:
            return tokens
        await self._write(limit_tokens, items, keeps, spare_tokens=AIM * limit_tokens - rest)
        return await self._prompting.tokens(room_tokens=limit_tokens)

    async def _write(
        self,
        limit_tokens: int,
        items: Sequence[Entry],
        keeps: list[str],
        *,
        spare_tokens: float,
    ) -> None:
        await self._items.begin()
        words = await self._words(limit_tokens)
        inventory = await self._inventory()
        everything = self._prompting.everything()
        earlier = next((item.text for item in items if isinstance(item, e.Compaction)), "")
        covered = [item for item in items if keeps and getattr(item, "id", None) not in keeps]
        most_chars = max(FEWEST_CHARS, min(MOST_CHARS, int(spare_tokens * CHARS_PER_TOKEN)))
        write = partial(
            compaction_text,
            words=words,
            said=questions(covered),
            inventory=inventory,
            blocks=len(numbered(everything)),
            earlier=earlier_of(earlier),
        )
        while True:
            text = write(most_chars=most_chars)
            if most_chars <= FEWEST_CHARS or estimated_tokens(text) <= spare_tokens:
                break
            most_chars = max(FEWEST_CHARS, int(most_chars * min(0.9, spare_tokens / estimated_tokens(text))))
        kept = [item for item in items if getattr(item, "id", None) in keeps]
        await self._items.end(text, sealed=self._sealed(text, kept), keeps=keeps)
        self._prompting.offer_recall()
        log.info("conversation compacted", model=self._model.name, chars=len(text), kept=len(keeps))

    def _sealed(self, text: str, kept: Sequence[Entry]) -> str:
        """Returns the encrypted text for a client, which also describes the kept items: it may send only this back."""
        seal = self._options.seal_compaction
        last = described(kept, most_chars=DESCRIBED_CHARS)
        return "" if seal is None else seal(f"{text}\n\n{last}" if last else text)

    async def _inventory(self) -> Inventory | None:
        """Returns the kernel's inventory; None if no kernel runs or it does not answer."""
        sandbox = self._workspace.living
        try:
            return None if sandbox is None else await sandbox.inventory()
        except SandboxError as error:
            log.warning("no inventory for a compaction", sandbox=sandbox.id if sandbox else None, reason=error.message)
            return None

    async def _words(self, limit_tokens: int) -> str:
        """Returns the model's summary of aims, decisions and open ends; empty if the model cannot write one."""
        sampling = Sampling(
            temperature=self._options.sampling.temperature,
            top_p=self._options.sampling.top_p,
            max_output_tokens=min(WORDS_TOKENS, limit_tokens // 6),
            tools=self._prompting.dialect.tools,
            tool_choice="none",
        )
        pieces: list[str] = []
        chars = 0
        usage: Usage | None = None
        try:
            room = self._prompting.room_tokens
            room = None if room is None else room - int(estimated_tokens(ASK))
            messages = _with_request(await self._prompting.within(room))
            with anyio.move_on_after(WORDS_S), telemetry.model_call(self._model.name) as span:
                async with aclosing(self._model.stream(messages, sampling)) as events:
                    async for event in events:
                        if isinstance(event, Usage):
                            usage = event
                        elif isinstance(event, TextDelta):
                            pieces.append(event.text)
                            chars += len(event.text)
                            if chars >= WORDS_CHARS:
                                break
                telemetry.note_usage(span, self._model.name, usage)
            text = "".join(pieces)[:WORDS_CHARS]
            if usage is None and text:
                usage = await self._model.estimate(messages, text)
        except CodeActError as error:
            log.warning("no words for a compaction", model=self._model.name, reason=error.message)
            return ""
        finally:
            if usage is not None:
                self._book(usage)
        return encodable(text.rpartition("</think>")[2].partition(OPEN)[0]).strip()


def _with_request(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """Returns the messages with the request for a summary at the end."""
    *before, last = messages
    if last.role != "user":
        return [*messages, ChatMessage("user", ASK)]
    if isinstance(last.content, str):
        return [*before, ChatMessage("user", f"{last.content}\n\n{ASK}")]
    return [*before, ChatMessage("user", [*last.content, {"type": "text", "text": ASK}])]
