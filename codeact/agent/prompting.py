"""Builds the prompts of one answer from its items and notes, so that they fit into the model's context window."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from functools import partial

from codeact import events as e
from codeact.agent.answer_format import format_words
from codeact.agent.options import AgentOptions
from codeact.agent.problems import must_words
from codeact.agent.recall import RECALL, numbered, recall_function
from codeact.agent.response_builder import ResponseBuilder
from codeact.context.budget import Budget
from codeact.context.compaction import compacted, latest
from codeact.context.masking import Masks
from codeact.context.policy import MaskOldest, Render
from codeact.context.prompts import fitted, masked
from codeact.context.tokens import meter_of
from codeact.context.window import size_chars
from codeact.dialect import Aside, Dialect, dialect_for, profile_of
from codeact.dialect.base import Entry
from codeact.dialect.images import wanted
from codeact.dialect.known_prompt import KnownPrompt
from codeact.model import ChatMessage, Model, Usage

__all__ = ["Prompting"]

TRUNCATE_TO = 0.7


class Prompting:
    """The prompts of one answer, in the form of `dialect`. Each prompt continues the last one: notes keep their place.

    Call `find_window` before the first prompt. `masks` are those of the conversation. `toolbox` has the functions that
    code can call; `recall` is added once a part of the conversation is left out.
    """

    def __init__(
        self,
        builder: ResponseBuilder,
        context: Sequence[e.Input | e.Item],
        model: Model,
        options: AgentOptions,
        masks: Masks | None = None,
    ) -> None:
        self._builder = builder
        self._context = context
        self._model = model
        self._options = options
        self._budget = Budget(options.window_tokens, options.sampling.max_output_tokens)
        self._meter = meter_of(model)
        self._masks = Masks() if masks is None else masks
        self._policy = MaskOldest(self._masks)
        self._room_chars: int | None = None
        self._refused: tuple[int, int] | None = None  # Characters and tokens of a prompt that the server rejected.
        self._is_truncated = False
        self._asides: list[tuple[int, Aside]] = []  # Each with the index of the item before which it is placed.
        self._known = KnownPrompt() if options.known_prompt is None else options.known_prompt
        self._masks.replaced = self._known.masked
        self._sees = profile_of(model.name).sees if options.shows_images is None else options.shows_images
        self.toolbox = options.toolbox
        self.dialect: Dialect
        self.choose_dialect()

    def choose_dialect(self) -> None:
        """Sets the dialect by the options and by what is known of the model now."""
        options = self._options
        self.dialect = dialect_for(
            self._model, options.dialect, preferred=options.preferred_dialect, shows_images=options.shows_images
        )
        self._instruct()
        self.offer_recall()

    def _instruct(self) -> None:
        self._system = self.dialect.instructions(
            self._options.environment,
            today=datetime.now(UTC).date(),
            instructions=_instructions(self._options),
            functions=self.toolbox.described(),
        )

    async def find_window(self) -> None:
        """Asks the model's adapter for the context window, if prompts may be truncated and it is not configured."""
        window = getattr(self._model, "window_tokens", None)
        if self._options.truncate and self._budget.window_tokens is None:
            reported = await window() if window is not None else None
            self._budget.window_tokens = reported or profile_of(self._model.name).window_tokens

    def observation_chars(self) -> int:
        """Returns the limit for an observation in this model's window, in characters."""
        return self._budget.observation_chars(self._options.observation_chars)

    @property
    def room_tokens(self) -> int | None:
        """How many tokens a prompt may have, by the window and by prompts that the server rejected; None if unknown."""
        rooms = [self._budget.room_tokens, None if self._refused is None else int(self._refused[1] * TRUNCATE_TO)]
        return min((room for room in rooms if room is not None), default=None)

    def say(self, text: str) -> None:
        """Adds a note to the model at the end of the answer so far."""
        self.add(Aside(text))

    def add(self, aside: Aside) -> None:
        """Adds a note with the reply to which it responds, at the end of the answer so far."""
        self._asides.append((len(self._builder.response.output), aside))

    # ---- items ---------------------------------------------------------------------------------------------

    def everything(self) -> list[Entry]:
        """Returns all items of the conversation, including compacted ones, and the notes."""
        output = self._builder.response.output
        items: list[Entry] = list(self._context)
        at = 0
        for index, aside in self._asides:
            items += [*output[at:index], aside]
            at = index
        return items + output[at:]

    def items(self) -> list[Entry]:
        """Returns the items that the model reads, before masking."""
        everything = self.everything()
        if RECALL not in self._options.toolbox:
            self._masks.numbers = {block.id: at for at, block in enumerate(numbered(everything), 1)}
        return compacted(everything)

    def offer_recall(self) -> None:
        """Adds `recall` to the toolbox if something is masked or compacted, unless another function has that name."""
        everything = self.everything()
        if self.toolbox is self._options.toolbox and (latest(everything) is not None or self._masks.hide(everything)):
            self.toolbox = self.toolbox.joined_by(recall_function(self.everything))
            self._instruct()

    # ---- prompts -------------------------------------------------------------------------------------------

    async def tokens(self, *, room_tokens: int) -> int:
        """Returns the tokens of the current prompt. `room_tokens` is the number to compare with; see `TokenMeter`."""
        return await self.tokens_of(self.items(), room_tokens=room_tokens)

    async def tokens_of(self, items: Sequence[Entry], *, room_tokens: int) -> int:
        """Returns the tokens of a prompt with the instructions and only these items."""
        messages = self._policy.rendered(items, render=await self._render(items))
        return await self._meter.count(messages, room_tokens=room_tokens)

    async def mask(self, *, room_tokens: int) -> int:
        """Masks old output and code if the prompt is longer than `room_tokens`; returns its tokens afterwards."""
        items = self.items()
        render = await self._render(items)
        _, tokens = await masked(items, room_tokens=room_tokens, render=render, policy=self._policy, meter=self._meter)
        return tokens

    async def within(self, room_tokens: int | None) -> list[ChatMessage]:
        """Returns the prompt, with parts left out if it has more than `room_tokens`. Raises `ContextTooLong`."""
        items = self.items()
        render = await self._render(items)
        if room_tokens is None:
            return self._policy.rendered(items, render=render)
        return await fitted(items, room_tokens=room_tokens, render=render, policy=self._policy, meter=self._meter)

    async def messages(self) -> list[ChatMessage]:
        """Returns the next prompt, with parts left out if it would be too long. Raises `ContextTooLong`."""
        items = self.items()
        render = await self._render(items)
        if not self._options.truncate:
            return self._policy.rendered(items, render=render)
        fitting = await self.within(self._budget.room_tokens)
        if self._room_chars is not None and size_chars(fitting) > self._room_chars:
            fitting = self._policy.fit(items, room_chars=self._room_chars, render=render)
        if not self._is_truncated and size_chars(fitting) < size_chars(render(items)):
            self._is_truncated = True
            await self._builder.notice(
                "context_truncated",
                "The conversation is longer than the model's context: old output and code, or else the oldest messages,"
                " are left out.",
            )
        if self.toolbox is self._options.toolbox:
            self.offer_recall()
            if self.toolbox is not self._options.toolbox:
                return await self.messages()  # The instructions have changed: they now mention `recall`.
        return fitting

    async def shorten(self, refused: Sequence[ChatMessage]) -> bool:
        """Limits the next prompt to less than this one, which the server rejected. Returns False if it cannot."""
        size = size_chars(refused)
        if not self._options.truncate or (self._refused is not None and size == self._refused[0]):
            return False
        tokens = await self._meter.count(refused, room_tokens=self._budget.room_tokens or size)
        self._refused, self._room_chars = (size, tokens), int(size * TRUNCATE_TO)
        return True

    async def observe(self, messages: Sequence[ChatMessage], usage: Usage) -> None:
        """Corrects the token meter by the provider's count of a prompt."""
        if self._options.truncate or self._options.compact_threshold is not None:
            await self._meter.observe(messages, usage)

    async def _render(self, items: Sequence[Entry]) -> Render:
        images = await self._displayed(items) if self._sees and self.dialect.shows_images else None
        # Nobody changes the items of the conversation before this answer. Those of the answer may still grow.
        growing = set(map(id, self._builder.response.output))

        def render(chosen: Sequence[Entry]) -> list[ChatMessage]:
            return self._known.messages(
                chosen,
                unchanging=_first_of(chosen, growing),
                system=self._system,
                form=(self._model.name, self.dialect.name, images is None),
                render=partial(self.dialect.messages, system=self._system, model=self._model.name, images=images),
            )

        return render

    async def _displayed(self, items: Sequence[Entry]) -> dict[str, str]:
        """Returns the content of displayed images by their URLs; loads each stored image once."""
        load, images = self._options.load_image, self._known.images
        for item in items:
            for url in wanted(item) if isinstance(item, e.CodeInterpreterCall) else ():
                if load is not None and url not in images and not url.startswith("data:"):
                    images[url] = await load(url) or ""
        return images


def _first_of(items: Sequence[Entry], chosen: Collection[int]) -> int:
    """Returns the index of the first of the items whose `id()` is chosen; their number if there is none."""
    if not chosen:
        return len(items)
    return next((at for at, item in enumerate(items) if id(item) in chosen), len(items))


def _instructions(options: AgentOptions) -> str | None:
    """Joins the caller's instructions, the demand for code, and the format of the answer."""
    answer_format = options.answer_format
    parts = (
        options.instructions,
        must_words(options.must_call) if options.must_act else None,
        format_words(answer_format) if answer_format is not None else None,
    )
    return "\n\n".join(part for part in parts if part) or None
