"""A model of a fleet, as a discrete-event simulation: pools of sandboxes, server processes, databases.

`PoolModel` follows `sandbox_pool.pool`: the target of warm sandboxes, starts that run side by side, the queue, the
shrinking. `tests/sandbox_pool/pool/test_scaling_model.py` runs the real pool and the model over the same arrivals, on a
virtual clock, and compares what came of them.
"""

import random
from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

import simpy

from sandbox_pool.pool.sizing import REMEMBERED_S, target_size
from sandbox_pool.pool.warm_pool import SHRINK_INTERVAL_S

__all__ = ["Costs", "Load", "PoolModel", "ServerResult", "simulate_server"]

Process = Generator[simpy.Event, Any, Any]


class PoolModel:
    """A pool whose starts all take `refill_s`. `waits_s` are the waits of all acquires that got a sandbox."""

    def __init__(
        self, env: simpy.Environment, *, min_size: int, max_size: int, concurrent_starts: int, refill_s: float
    ) -> None:
        self._env = env
        self._min_size = min_size
        self._max_size = max_size
        self._concurrent_starts = concurrent_starts
        self._refill_s = refill_s
        self._arrivals: list[float] = []
        self._queue: deque[simpy.Event] = deque()
        self.warm = self.starting = self.leased = self.hits = self.most_leased = 0
        self.waits_s: list[float] = []
        env.process(self._shrink())
        self._refill()

    def acquire(self) -> Process:
        """Waits for a sandbox."""
        began = self._env.now
        self._arrivals.append(began)
        if self.warm:
            self.warm -= 1
            self.hits += 1
            self._lend()
        else:
            turn = self._env.event()
            self._queue.append(turn)
            self._refill()
            yield turn
        self._refill()
        self.waits_s.append(self._env.now - began)

    def release(self) -> None:
        """Gives a sandbox up: it is destroyed, and a new one may start in its place."""
        self.leased -= 1
        self._refill()

    @property
    def target(self) -> int:
        """How many should be warm now."""
        while self._arrivals and self._arrivals[0] < self._env.now - REMEMBERED_S:
            self._arrivals.pop(0)
        return target_size(
            self._arrivals,
            now=self._env.now,
            refill_s=self._refill_s,
            concurrent_starts=self._concurrent_starts,
            min_size=self._min_size,
            max_size=self._max_size,
        )

    def _lend(self) -> None:
        self.leased += 1
        self.most_leased = max(self.most_leased, self.leased)

    def _refill(self) -> None:
        while (
            self.starting < self._concurrent_starts
            and self.warm + self.starting < self.target + len(self._queue)
            and self.warm + self.starting + self.leased < self._max_size
        ):
            self.starting += 1
            self._env.process(self._start())

    def _start(self) -> Process:
        yield self._env.timeout(self._refill_s)
        self.starting -= 1
        if self._queue:
            self._lend()
            self._queue.popleft().succeed()
        else:
            self.warm += 1
        self._refill()

    def _shrink(self) -> Process:
        while True:
            yield self._env.timeout(SHRINK_INTERVAL_S)
            self.warm = min(self.warm, max(self.target, 0))


@dataclass(frozen=True, slots=True)
class Costs:
    """What one server process and its database spend, as measured (docs/scaling.md says how)."""

    token_cpu_s: float
    answer_cpu_s: float
    block_cpu_s: float
    answer_db_s: float
    stream_db_s: float
    start_s: float


@dataclass(frozen=True, slots=True)
class Load:
    """What conversations do: one question each `think_s` on average, `tokens` of answer, `blocks` of code each.

    A sandbox that is idle for `hold_s` is given up.
    """

    think_s: float = 60.0
    tokens: int = 300
    rate: float = 50.0
    blocks: float = 1.0
    block_s: float = 0.5
    hold_s: float = 900.0


@dataclass(slots=True)
class ServerResult:
    """`late_s` are the waits of pieces of work for the server's processor; `busy` the share of time that it worked."""

    late_s: list[float] = field(default_factory=list)
    waits_s: Sequence[float] = ()
    busy: float = 0.0
    database_busy: float = 0.0
    most_leased: int = 0
    hit_rate: float = 0.0
    answers: int = 0


PIECE_TOKENS = 25
"""The model of a server works on so many tokens of one answer at once."""
SLICE_S = 0.003
"""After so much work for one answer, the next one has its turn, as on the server's event loop."""


def simulate_server(
    conversations: int, load: Load, costs: Costs, *, pool_max: int, starts: int, seconds: float, seed: int
) -> ServerResult:
    """One server process with one processor, its pool, and its part of a database."""
    env = simpy.Environment()
    chance = random.Random(seed)
    processor, database = simpy.Resource(env), simpy.Resource(env)
    pool = PoolModel(env, min_size=2, max_size=pool_max, concurrent_starts=starts, refill_s=costs.start_s)
    result = ServerResult()
    worked = {processor: 0.0, database: 0.0}

    def work(resource: simpy.Resource, seconds: float) -> Process:
        while seconds > 0:
            began, piece = env.now, min(seconds, SLICE_S)
            with resource.request() as turn:
                yield turn
                if resource is processor:
                    result.late_s.append(env.now - began)
                yield env.timeout(piece)
            worked[resource] += piece
            seconds -= piece

    def conversation() -> Process:
        held_until = -1.0
        yield env.timeout(chance.uniform(0, load.think_s))
        while True:
            yield from work(database, costs.answer_db_s)
            yield from work(processor, costs.answer_cpu_s)
            if chance.random() < load.blocks:
                if held_until < env.now:
                    if held_until >= 0:
                        pool.release()
                    yield from pool.acquire()
                yield from work(processor, costs.block_cpu_s)
                yield env.timeout(load.block_s)
                held_until = env.now + load.hold_s
            for _ in range(load.tokens // PIECE_TOKENS):
                yield env.timeout(PIECE_TOKENS / load.rate)
                worked[database] += costs.stream_db_s * PIECE_TOKENS / load.rate
                yield from work(processor, costs.token_cpu_s * PIECE_TOKENS)
            result.answers += 1
            yield env.timeout(chance.expovariate(1 / load.think_s))
            if 0 <= held_until < env.now:
                pool.release()
                held_until = -1.0

    for _ in range(conversations):
        env.process(conversation())
    env.run(until=seconds)
    result.waits_s = pool.waits_s
    result.busy, result.database_busy = worked[processor] / seconds, worked[database] / seconds
    result.most_leased = pool.most_leased
    result.hit_rate = pool.hits / max(1, len(pool.waits_s))
    return result
