"""Measures whether a script of the tests' corpus takes longer if its statements run while the model writes them.

A scripted model writes each script at 100 tokens a second, a token having four characters; whole and eager take turns,
in one process with a sandbox each. A time is that of one answer, from the question to its end. A pair is one time of
each, in an order that changes. Every script gets two pairs. Then those get further pairs for which it is not certain
whether they are slower by more than 2 %: in rounds, until all are certain or the time is over.

What is certain is told by an interval: the median of the pairs' differences, with three standard errors on each side
(99.7 %). The error is that of the script's own differences once it has six pairs, and before that the one of all
scripts. Both come from the median absolute deviation, since other work on the machine delays a few answers a lot.

    scripts, pairs               how many scripts there are, and how many pairs were measured
    whole_total_s, eager_total_s the sum of the first times; `eager_ratio` is their quotient
    slower                       scripts that are certainly slower by more than 2 %
    uncertain                    scripts of which neither is certain
    worst_script                 the number of the script with the highest ratio of those with six pairs or more
    worst_ratio                  1 plus the median difference by the median time of the whole block
    worst_low, worst_high        its interval
    worst_added_ms               how much longer that script takes
    noise_ms                     the standard deviation of the difference in one pair, over all scripts
"""

import math
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.eager import Writer, timed
from codeact import AsyncAgent
from tests.eager_corpus import scripts

__all__ = ["measure"]

RATE = 100
TOGETHER = 40
"""How many answers one conversation has, whose prompts would grow without an end."""
LASTS_S = 560.0
ALLOWED = 0.02
FEW_PAIRS, OWN_PAIRS = 2, 6
"""So many pairs can show that a script is not slower, and so many that it is: from then on by its own differences."""
MOST_PAIRS = 40
ERRORS = 3.0
MAD, MEDIAN = 1.4826, 1.2533
"""The standard deviation by the median absolute deviation, and the error of a median by that of a mean."""


@dataclass(frozen=True, slots=True)
class Interval:
    """How much longer a script takes, as parts of its time: 0.02 is 2 %. It comes from so many pairs."""

    low: float
    middle: float
    high: float
    pairs: int

    @property
    def is_fast(self) -> bool:
        return self.high <= ALLOWED and self.pairs >= FEW_PAIRS

    @property
    def is_slow(self) -> bool:
        return self.low > ALLOWED and self.pairs >= OWN_PAIRS


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
    """Runs everything, in less than ten minutes. `sandbox` is `process` or `docker`."""
    every, until = scripts(), time.monotonic() + LASTS_S
    times: list[list[tuple[float, float]]] = [[] for _ in every]
    with tempfile.TemporaryDirectory() as folder:
        options: dict[str, Any] = {"sandbox": sandbox, "data_dir": Path(folder), "pool_max": 1}
        open_ones = list(range(len(every)))
        while open_ones and time.monotonic() < until:
            for begin in range(0, len(open_ones), TOGETHER):
                async with _pair(Writer(), options) as pair:
                    for number in open_ones[begin : begin + TOGETHER]:
                        whole_first = (number + len(times[number])) % 2 == 0
                        times[number].append(await pair.times(every[number], whole_first=whole_first))
                if time.monotonic() > until and all(times):
                    break
            noise_s = _noise_s(times)
            open_ones = [
                number
                for number in range(len(every))
                if len(times[number]) < MOST_PAIRS
                and not ((found := _interval(times[number], noise_s)).is_fast or found.is_slow)
            ]
    return {name: round(value, 4) for name, value in _figures(times).items()}


def _figures(times: Sequence[Sequence[tuple[float, float]]]) -> dict[str, float]:
    noise_s = _noise_s(times)
    intervals = [_interval(each, noise_s) for each in times]
    whole_s, eager_s = (sum(each) for each in zip(*(pairs[0] for pairs in times), strict=True))
    often = [number for number, pairs in enumerate(times) if len(pairs) >= OWN_PAIRS] or list(range(len(times)))
    worst = max(often, key=lambda number: intervals[number].middle)
    return {
        "scripts": len(times),
        "pairs": sum(len(pairs) for pairs in times),
        "whole_total_s": whole_s,
        "eager_total_s": eager_s,
        "eager_ratio": eager_s / whole_s,
        "slower": sum(each.is_slow for each in intervals),
        "uncertain": sum(not each.is_slow and not each.is_fast for each in intervals),
        "worst_script": worst,
        "worst_ratio": 1 + intervals[worst].middle,
        "worst_low": 1 + intervals[worst].low,
        "worst_high": 1 + intervals[worst].high,
        "worst_added_ms": statistics.median(_differences(times[worst])) * 1000,
        "noise_ms": noise_s * 1000,
    }


def _differences(pairs: Sequence[tuple[float, float]]) -> list[float]:
    return [eager_s - whole_s for whole_s, eager_s in pairs]


def _noise_s(times: Sequence[Sequence[tuple[float, float]]]) -> float:
    """The standard deviation of the difference in one pair: of the first pairs, so of scripts that differ, too."""
    return _deviation([_differences(pairs)[0] for pairs in times if pairs])


def _deviation(values: Sequence[float]) -> float:
    middle = statistics.median(values)
    return MAD * statistics.median(abs(value - middle) for value in values)


def _interval(pairs: Sequence[tuple[float, float]], noise_s: float) -> Interval:
    differences, whole_s = _differences(pairs), statistics.median(whole for whole, _ in pairs)
    deviation_s = _deviation(differences) if len(pairs) >= OWN_PAIRS else noise_s
    error_s = ERRORS * MEDIAN * deviation_s / math.sqrt(len(pairs))
    middle_s = statistics.median(differences)
    low, middle, high = ((middle_s + error) / whole_s for error in (-error_s, 0.0, error_s))
    return Interval(low, middle, high, len(pairs))
