"""Builds the prompts of one answer: its items and notes enter, the messages that fit into the model's window leave."""

from collections.abc import Sequence
from datetime import UTC, datetime

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
from codeact.dialect.base import Said
from codeact.dialect.images import wanted
from codeact.model import ChatMessage, Model, Usage

__all__ = ["Prompting"]

TRUNCATE_TO = 0.7


class Prompting:
    """`dialect` is how this model is spoken to. What was told at one place stays there: each prompt continues the last.

    `find_window` comes before the first prompt. `masks` are the conversation's. `toolbox` is what code can call:
    `recall` joins it once something is left out.
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
        self._refused: tuple[int, int] | None = None  # Characters and tokens of what the server found too long.
        self._is_truncated = False
        self._asides: list[tuple[int, Aside]] = []  # Each stands before the item of that index.
        self._images: dict[str, str] = {}
        self._sees = profile_of(model.name).sees if options.shows_images is None else options.shows_images
        self.toolbox = options.toolbox
        self.dialect: Dialect
        self.choose_dialect()

    def choose_dialect(self) -> None:
        """Takes the dialect that options and model allow now."""
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
        """Asks the model's adapter once how much its model can read, where that matters."""
        window = getattr(self._model, "window_tokens", None)
        if self._options.truncate and self._budget.window_tokens is None:
            said = await window() if window is not None else None
            self._budget.window_tokens = said or profile_of(self._model.name).window_tokens

    def observation_chars(self) -> int:
        """How long an observation may be in this model's window."""
        return self._budget.observation_chars(self._options.observation_chars)

    @property
    def room_tokens(self) -> int | None:
        """How many tokens a prompt may have, as far as the window or a refusal of the server tells."""
        rooms = [self._budget.room_tokens, None if self._refused is None else int(self._refused[1] * TRUNCATE_TO)]
        return min((room for room in rooms if room is not None), default=None)

    def say(self, text: str) -> None:
        """Tells the model something behind all that there is of the answer."""
        self.add(Aside(text))

    def add(self, aside: Aside) -> None:
        """As `say`, with the reply that it answers."""
        self._asides.append((len(self._builder.response.output), aside))

    # ---- what the conversation consists of -----------------------------------------------------------------

    def everything(self) -> list[Said]:
        """All items of the conversation, those that no model reads any more among them, and what was told beside."""
        output = self._builder.response.output
        items: list[Said] = list(self._context)
        at = 0
        for index, aside in self._asides:
            items += [*output[at:index], aside]
            at = index
        return items + output[at:]

    def items(self) -> list[Said]:
        """What the model reads, before anything is masked."""
        everything = self.everything()
        if RECALL not in self._options.toolbox:
            self._masks.numbers = {block.id: at for at, block in enumerate(numbered(everything), 1)}
        return compacted(everything)

    def offer_recall(self) -> None:
        """Lets code call `recall` where something is masked or compacted, unless a function has that name."""
        everything = self.everything()
        if self.toolbox is self._options.toolbox and (latest(everything) is not None or self._masks.hide(everything)):
            self.toolbox = self.toolbox.joined_by(recall_function(self.everything))
            self._instruct()

    # ---- prompts -------------------------------------------------------------------------------------------

    async def tokens(self, *, room_tokens: int) -> int:
        """How many tokens the prompt has as it is now. `room_tokens` is what they are compared with."""
        return await self.tokens_of(self.items(), room_tokens=room_tokens)

    async def tokens_of(self, items: Sequence[Said], *, room_tokens: int) -> int:
        """How many tokens a prompt with these items alone has, beside the instructions."""
        messages = self._policy.rendered(items, render=await self._render(items))
        return await self._meter.count(messages, room_tokens=room_tokens)

    async def mask(self, *, room_tokens: int) -> int:
        """Leaves out old output and code where the prompt is longer; returns how many tokens it has then."""
        items = self.items()
        render = await self._render(items)
        _, tokens = await masked(items, room_tokens=room_tokens, render=render, policy=self._policy, meter=self._meter)
        return tokens

    async def within(self, room_tokens: int | None) -> list[ChatMessage]:
        """The conversation so far, in at most so many tokens: what is too much is left out."""
        items = self.items()
        render = await self._render(items)
        if room_tokens is None:
            return self._policy.rendered(items, render=render)
        return await fitted(items, room_tokens=room_tokens, render=render, policy=self._policy, meter=self._meter)

    async def messages(self) -> list[ChatMessage]:
        """The conversation so far, as much of it as there is room for."""
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
                return await self.messages()  # The instructions tell of `recall`.
        return fitting

    async def shorten(self, refused: Sequence[ChatMessage]) -> bool:
        """Makes the next prompt shorter than this one, which the server found too long. False where nothing can go."""
        size = size_chars(refused)
        if not self._options.truncate or (self._refused is not None and size == self._refused[0]):
            return False
        tokens = await self._meter.count(refused, room_tokens=self._budget.room_tokens or size)
        self._refused, self._room_chars = (size, tokens), int(size * TRUNCATE_TO)
        return True

    async def observe(self, messages: Sequence[ChatMessage], usage: Usage) -> None:
        """Takes in the provider's own count of a prompt."""
        if self._options.truncate or self._options.compact_threshold is not None:
            await self._meter.observe(messages, usage)

    async def _render(self, items: Sequence[Said]) -> Render:
        images = await self._displayed(items) if self._sees and self.dialect.shows_images else None

        def render(chosen: Sequence[Said]) -> list[ChatMessage]:
            return self.dialect.messages(chosen, system=self._system, model=self._model.name, images=images)

        return render

    async def _displayed(self, items: Sequence[Said]) -> dict[str, str]:
        """The images that code displayed, by their URLs; those that are kept elsewhere are read once."""
        load = self._options.load_image
        for item in items:
            for url in wanted(item) if isinstance(item, e.CodeInterpreterCall) else ():
                if load is not None and url not in self._images and not url.startswith("data:"):
                    self._images[url] = await load(url) or ""
        return self._images


def _instructions(options: AgentOptions) -> str | None:
    """The caller's own, what has to be done, and the format of the answer."""
    wanted = options.answer_format
    parts = (
        options.instructions,
        must_words(options.must_call) if options.must_act else None,
        format_words(wanted) if wanted is not None else None,
    )
    return "\n\n".join(part for part in parts if part) or None
