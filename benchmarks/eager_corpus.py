"""Measures whether a script of the tests' corpus takes longer if its statements run while the model writes them.

A scripted model writes each script at 100 tokens a second, a token having four characters; whole and eager take turns,
in one process with a sandbox each. A time is that of one answer, from the question to its end. Every script runs once
in each way; then those with the highest ratios run again, many times, and only these further times count for them.

    scripts                      how many scripts there are
    whole_total_s, eager_total_s the sum of all first times; `eager_ratio` is their quotient
    worst_ratio                  eager by whole of the script that is worst, and `worst_script`, its number: the fastest
                                 time of each, since other work on the machine only adds to times
    worst_added_ms               how much longer that script takes
    over_2_percent               how many of the scripts that ran again have a ratio above 1.02
    noise_ratio                  the same as `worst_ratio`, for whole against whole: the times of every other round
    noise_p50_ratio              the median of that over these scripts
"""

import statistics
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from benchmarks.eager import Writer, timed
from codeact import AsyncAgent
from tests.eager_corpus import scripts

__all__ = ["measure"]

RATE = 100
TOGETHER = 40
"""How many scripts are asked for in one conversation, whose prompts would grow without an end."""
AGAIN, ROUNDS = 10, 8
ALLOWED = 1.02


class Pair:
    """Two conversations: one whose blocks run as a whole, and one whose statements run while the model writes them."""

    def __init__(self, writer: Writer, whole: AsyncAgent, eager: AsyncAgent) -> None:
        self._writer = writer
        self._agents = (whole, eager)

    async def times(self, script: str, *, whole_first: bool) -> tuple[float, float]:
        """Returns how many seconds the answer took, as a whole and eager."""
        found = [0.0, 0.0]
        for which in (0, 1) if whole_first else (1, 0):
            answer = await timed(self._agents[which], self._writer, f"<execute>\n{script}\n</execute>", RATE)
            found[which] = answer.total_s
        return found[0], found[1]


@asynccontextmanager
async def _pair(writer: Writer, options: dict[str, Any]) -> AsyncIterator[Pair]:
    async with (
        AsyncAgent(writer, eager=False, **options) as whole,
        AsyncAgent(writer, eager=True, **options) as eager,
    ):
        pair = Pair(writer, whole, eager)
        for _ in range(2):
            await pair.times("1", whole_first=True)
        yield pair


async def measure(sandbox: str) -> dict[str, float]:
    """Runs everything, in about four minutes. `sandbox` is `process` or `docker`."""
    writer, every = Writer(), scripts()
    first: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        options: dict[str, Any] = {"sandbox": sandbox, "data_dir": Path(folder), "pool_max": 1}
        for begin in range(0, len(every), TOGETHER):
            async with _pair(writer, options) as pair:
                for number, script in enumerate(every[begin : begin + TOGETHER]):
                    first.append(await pair.times(script, whole_first=number % 2 == 0))
        worst = sorted(range(len(every)), key=lambda number: first[number][1] / first[number][0])[-AGAIN:]
        again: dict[int, list[tuple[float, float]]] = {}
        for number in worst:
            async with _pair(writer, options) as pair:
                again[number] = [await pair.times(every[number], whole_first=place % 2 == 0) for place in range(ROUNDS)]
    return {name: round(value, 4) for name, value in _figures(first, again).items()}


def _figures(first: Sequence[tuple[float, float]], again: dict[int, list[tuple[float, float]]]) -> dict[str, float]:
    whole_s, eager_s = (sum(each) for each in zip(*first, strict=True))
    ratios = {number: _ratio([e for _, e in times], [w for w, _ in times]) for number, times in again.items()}
    noises = [_ratio([w for w, _ in times[::2]], [w for w, _ in times[1::2]]) for times in again.values()]
    noises = [max(each, 1 / each) for each in noises]
    worst = max(ratios, key=lambda number: ratios[number])
    times = again[worst]
    return {
        "scripts": len(first),
        "whole_total_s": whole_s,
        "eager_total_s": eager_s,
        "eager_ratio": eager_s / whole_s,
        "worst_ratio": ratios[worst],
        "worst_script": worst,
        "worst_added_ms": (min(e for _, e in times) - min(w for w, _ in times)) * 1000,
        "over_2_percent": sum(ratio > ALLOWED for ratio in ratios.values()),
        "noise_ratio": max(noises),
        "noise_p50_ratio": statistics.median(noises),
    }


def _ratio(times: Sequence[float], by: Sequence[float]) -> float:
    return min(times) / min(by)
