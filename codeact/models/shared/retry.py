"""Repeats failed calls of a model, with increasing pauses."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass

from codeact.errors import ModelTimeout
from codeact.model import ModelEvent, Usage
from codeact.models.shared.errors import Failure
from sandbox_pool.backoff import Backoff

__all__ = ["Retries", "StreamTimeouts", "estimated_usage", "retrying"]

FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 0.5, 30.0
LOADING_PAUSE_S = 1.0
CHARS_PER_TOKEN = 4
MAX_FORMS = 3

Attempt = Callable[[], AsyncGenerator[ModelEvent, None]]


@dataclass(frozen=True, slots=True)
class StreamTimeouts:
    """How long a model may take until its first token, and between two tokens."""

    name: str
    first_token_timeout_s: float
    token_timeout_s: float

    def too_slow(self, *, started: bool) -> ModelTimeout:
        if started:
            pause = f"paused for more than {self.token_timeout_s:g} s between two tokens"
            return ModelTimeout(f"{self.name} {pause} (CODEACT_MODEL_TOKEN_TIMEOUT_S).")
        wait = f"gave no first token within {self.first_token_timeout_s:g} s"
        return ModelTimeout(f"{self.name} {wait} (CODEACT_MODEL_FIRST_TOKEN_TIMEOUT_S).")


class Retries:
    """Decides after each failed attempt whether to try again, and waits until then. For one question.

    Up to `retries` further attempts are made if no event has been yielded yet. Two kinds of failure do not count:
    `adapt` gets the server's message and returns True if the next attempt will use another form; and a server that is
    loading its model is retried for up to `loading_s` seconds.
    """

    def __init__(
        self,
        explain: Callable[[Exception], Failure],
        *,
        retries: int,
        adapt: Callable[[str], bool] = lambda words: False,
        loading_s: float = 0.0,
        loading_pause_s: float = LOADING_PAUSE_S,
    ) -> None:
        self._explain = explain
        self._left = retries
        self._adapt = adapt
        self._loading_pause_s = loading_pause_s
        self._clock = asyncio.get_running_loop().time
        self._loads_until = self._clock() + loading_s
        self._backoff = Backoff(FIRST_BACKOFF_S, LONGEST_BACKOFF_S, jitter=0.5)
        self._forms_left = MAX_FORMS

    async def wait_after(self, exception: Exception, *, started: bool) -> None:
        """Returns when the next attempt should begin. `started`: the failed one has yielded an event.

        If there is no next attempt, raises the error that `explain` makes of the failure. A `ModelTimeout` is never
        retried.
        """
        if isinstance(exception, ModelTimeout):
            raise exception
        failed = self._explain(exception)
        if not started and self._forms_left and self._adapt(failed.words):
            self._forms_left -= 1
            return
        if not started and failed.loading and self._clock() < self._loads_until:
            pause_s = FIRST_BACKOFF_S if failed.after_s is None else failed.after_s
            await asyncio.sleep(min(pause_s, self._loading_pause_s))
            return
        wait_s = self._backoff.next_s() if failed.after_s is None else failed.after_s
        if started or not failed.retry or not self._left or wait_s > LONGEST_BACKOFF_S:
            raise failed.error from exception
        self._left -= 1
        await asyncio.sleep(wait_s)


async def retrying(attempt: Attempt, retries: Retries) -> AsyncGenerator[ModelEvent, None]:
    """Yields the events of the first attempt that succeeds in yielding one. Closing it closes the attempt.

    An adapter that must be fast per token runs such a loop itself: this is a generator around another one.
    """
    while True:
        started = False
        try:
            async with aclosing(attempt()) as events:
                async for event in events:
                    started = True
                    yield event
            return
        except Exception as exception:
            await retries.wait_after(exception, started=started)


def estimated_usage(messages: Iterable[str], output: str) -> Usage:
    """Estimates usage from the length of the texts."""
    chars = sum(map(len, messages))
    return Usage(input_tokens=chars // CHARS_PER_TOKEN, output_tokens=len(output) // CHARS_PER_TOKEN, estimated=True)
