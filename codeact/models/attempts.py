"""What every adapter does alike: attempts at one call enter; the events of the one that works leave, in time."""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass

from codeact.errors import ModelTimeout
from codeact.models import ModelEvent, Usage
from codeact.models.failures import Failure

__all__ = ["Pace", "guessed", "retried"]

FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 0.5, 30.0
CHARS_PER_TOKEN = 4

Attempt = Callable[[], AsyncGenerator[ModelEvent, None]]


@dataclass(frozen=True, slots=True)
class Pace:
    """How long a model may take: until its first token, and from one to the next."""

    name: str
    first_token_timeout_s: float
    token_timeout_s: float

    def too_slow(self, *, started: bool) -> ModelTimeout:
        if started:
            pause = f"paused for more than {self.token_timeout_s:g} s between two tokens"
            return ModelTimeout(f"{self.name} {pause} (CODEACT_MODEL_TOKEN_TIMEOUT_S).")
        wait = f"gave no first token within {self.first_token_timeout_s:g} s"
        return ModelTimeout(f"{self.name} {wait} (CODEACT_MODEL_FIRST_TOKEN_TIMEOUT_S).")


async def retried(
    attempt: Attempt, explain: Callable[[Exception], Failure], *, retries: int
) -> AsyncGenerator[ModelEvent, None]:
    """The events of the first attempt that yields one; `retries` further ones are made before that, with pauses.

    Raises what `explain` makes of the last failure, and `ModelTimeout` at once. Closing closes the attempt.
    """
    for number in range(retries + 1):
        started = False
        try:
            async with aclosing(attempt()) as events:
                async for event in events:
                    started = True
                    yield event
            return
        except ModelTimeout:
            raise
        except Exception as exception:
            failed = explain(exception)
            wait_s = _backoff_s(number) if failed.after_s is None else failed.after_s
            if started or not failed.retry or number == retries or wait_s > LONGEST_BACKOFF_S:
                raise failed.error from exception
        await asyncio.sleep(wait_s)


def guessed(messages: Iterable[str], output: str) -> Usage:
    """Tokens by the length of the texts."""
    said = sum(map(len, messages))
    return Usage(input_tokens=said // CHARS_PER_TOKEN, output_tokens=len(output) // CHARS_PER_TOKEN, estimated=True)


def _backoff_s(attempt: int) -> float:
    longest: float = min(FIRST_BACKOFF_S * 2**attempt, LONGEST_BACKOFF_S)
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 (jitter, no secret)
