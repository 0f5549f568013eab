"""Builds the prompts of one answer: its items and notes enter, the messages that fit into the model's window leave."""

from collections.abc import Sequence
from datetime import UTC, datetime

from codeact import events as e
from codeact.agent.answer_format import format_words
from codeact.agent.options import AgentOptions
from codeact.agent.problems import must_words
from codeact.agent.response_builder import ResponseBuilder
from codeact.context.budget import Budget
from codeact.context.policy import ContextPolicy, MaskOldest
from codeact.context.prompts import fitted
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

    `find_window` comes before the first prompt.
    """

    def __init__(
        self, builder: ResponseBuilder, context: Sequence[e.Input | e.Item], model: Model, options: AgentOptions
    ) -> None:
        self._builder = builder
        self._context = context
        self._model = model
        self._options = options
        self._budget = Budget(options.window_tokens, options.sampling.max_output_tokens)
        self._meter = meter_of(model)
        self._policy: ContextPolicy = MaskOldest()
        self._room_chars: int | None = None
        self._refused_chars: int | None = None
        self._is_truncated = False
        self._asides: list[tuple[int, Aside]] = []  # Each stands before the item of that index.
        self._images: dict[str, str] = {}
        self._sees = profile_of(model.name).sees if options.shows_images is None else options.shows_images
        self.dialect: Dialect
        self.choose_dialect()

    def choose_dialect(self) -> None:
        """Takes the dialect that options and model allow now."""
        options = self._options
        self.dialect = dialect_for(
            self._model, options.dialect, preferred=options.preferred_dialect, shows_images=options.shows_images
        )
        self._system = self.dialect.instructions(
            options.environment,
            today=datetime.now(UTC).date(),
            instructions=_instructions(options),
            functions=options.toolbox.described(),
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

    def say(self, text: str) -> None:
        """Tells the model something behind all that there is of the answer."""
        self.add(Aside(text))

    def add(self, aside: Aside) -> None:
        """As `say`, with the reply that it answers."""
        self._asides.append((len(self._builder.response.output), aside))

    async def messages(self) -> list[ChatMessage]:
        """The conversation so far, as much of it as there is room for."""
        output = self._builder.response.output
        items: list[Said] = list(self._context)
        at = 0
        for index, aside in self._asides:
            items += [*output[at:index], aside]
            at = index
        items += output[at:]
        images = await self._displayed(items) if self._sees and self.dialect.shows_images else None

        def render(chosen: Sequence[Said]) -> list[ChatMessage]:
            return self.dialect.messages(chosen, system=self._system, model=self._model.name, images=images)

        messages = render(items)
        if not self._options.truncate:
            return messages
        fitting = messages
        if (room_tokens := self._budget.room_tokens) is not None:
            fitting = await fitted(
                items, room_tokens=room_tokens, render=render, policy=self._policy, meter=self._meter
            )
        if self._room_chars is not None and size_chars(fitting) > self._room_chars:
            fitting = self._policy.fit(items, room_chars=self._room_chars, render=render)
        if size_chars(fitting) < size_chars(messages) and not self._is_truncated:
            self._is_truncated = True
            await self._builder.notice(
                "context_truncated",
                "The conversation is longer than the model's context: old output and code, or else the oldest messages,"
                " are left out.",
            )
        return fitting

    def shorten(self, refused: Sequence[ChatMessage]) -> bool:
        """Makes the next prompt shorter than this one, which the server found too long. False where nothing can go."""
        size = size_chars(refused)
        if not self._options.truncate or size == self._refused_chars:
            return False
        self._refused_chars, self._room_chars = size, int(size * TRUNCATE_TO)
        return True

    async def observe(self, messages: Sequence[ChatMessage], usage: Usage) -> None:
        """Takes in the provider's own count of a prompt."""
        if self._options.truncate:
            await self._meter.observe(messages, usage)

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
