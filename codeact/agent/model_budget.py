"""The budget for model calls that the code of one answer makes itself, and a model that counts against it."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

import anyio

from codeact.errors import CodeActError
from codeact.model import ChatMessage, Model, ModelEvent, ReasoningDelta, Sampling, TextDelta, ToolCallDelta, Usage

__all__ = ["BudgetExceeded", "MeteredModel", "ModelBudget", "ModelLimits"]

CHARS_PER_TOKEN = 4
"""An estimate, for calls that ended before the server reported their tokens."""


class BudgetExceeded(CodeActError):
    """Raised if the code of an answer has used up its budget for model calls."""

    code = "model_calls_exceeded"
    status = 429


@dataclass(frozen=True, slots=True)
class ModelLimits:
    """Limits for one answer: model calls, their input and output tokens together, their cost, and concurrent calls."""

    calls: int = 100
    tokens: int = 200_000
    cost_usd: float | None = None
    at_once: int = 8


class ModelBudget:
    """Counts the model calls of one answer's code. `usage` is their sum, without the calls of the answer itself.

    `output_left` returns how many tokens the answer may still write, None if there is no limit.
    """

    def __init__(self, limits: ModelLimits) -> None:
        self.usage = Usage()
        self.output_left: Callable[[], int | None] = lambda: None
        self.at_once = anyio.Semaphore(limits.at_once)
        self._limits = limits
        self._calls = 0

    def take(self) -> int:
        """Counts one call, and returns how many tokens it may use. Raises `BudgetExceeded`."""
        limits, spent = self._limits, self.usage
        self._calls += 1
        left = limits.tokens - spent.input_tokens - spent.output_tokens
        if self._calls > limits.calls:
            raise BudgetExceeded(f"The code of an answer may call models {limits.calls} times.")
        if left <= 0:
            raise BudgetExceeded(f"The models that the code of an answer calls may use {limits.tokens:,} tokens.")
        if limits.cost_usd is not None and (spent.cost_usd or 0.0) >= limits.cost_usd:
            raise BudgetExceeded(f"The models that the code of an answer calls may cost {limits.cost_usd:g} USD.")
        of_answer = self.output_left()
        if of_answer is not None and of_answer <= 0:
            raise BudgetExceeded("The answer's max_output_tokens are used up.")
        return left if of_answer is None else min(left, of_answer)

    def book(self, usage: Usage) -> None:
        self.usage += usage


class MeteredModel:
    """A model whose calls count against a budget. Other attributes are those of the wrapped model."""

    def __init__(self, model: Model, budget: ModelBudget) -> None:
        self.name = model.name
        self._model, self._budget = model, budget

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    async def stream(self, messages: Sequence[ChatMessage], sampling: Sampling) -> AsyncGenerator[ModelEvent, None]:
        """Streams like `Model.stream`, with the output limited to the rest of the budget. Raises `BudgetExceeded`."""
        async with self._budget.at_once:
            most = self._budget.take()
            requested = sampling.max_output_tokens
            sampling = replace(sampling, max_output_tokens=most if requested is None else min(most, requested))
            written, counted = 0, False
            try:
                async with aclosing(self._model.stream(messages, sampling)) as events:
                    async for event in events:
                        if isinstance(event, Usage):
                            self._budget.book(event)
                            counted = True
                        elif isinstance(event, TextDelta | ReasoningDelta):
                            written += len(event.text)
                        elif isinstance(event, ToolCallDelta):
                            written += len(event.arguments)
                        yield event
            finally:
                if not counted and written:
                    read = sum(len(message.content) for message in messages if isinstance(message.content, str))
                    tokens = [chars // CHARS_PER_TOKEN + 1 for chars in (read, written)]
                    self._budget.book(Usage(input_tokens=tokens[0], output_tokens=tokens[1], estimated=True))

    async def estimate(self, messages: Sequence[ChatMessage], output: str) -> Usage:
        return await self._model.estimate(messages, output)
