"""Runs an evaluation: every task in every setup, in parallel over one pool, within a budget; a later call goes on."""

import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import anyio

from codeact.api.components import chosen_model
from codeact.api.pool import Pool
from codeact.errors import ConfigurationError, first_of
from codeact.evals.action_formats import fits
from codeact.evals.attempt import INFRASTRUCTURE, attempt
from codeact.evals.record import Attempt, Plan, Setup, append, read_attempts, read_plan, write_plan
from codeact.evals.scripts import SCRIPTED, script_of, scripted
from codeact.evals.task import Task, check_ids
from codeact.model import Model
from codeact.settings import Settings

__all__ = ["Budget", "Options", "Progress", "evaluate", "known_setups"]

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0


@dataclass(frozen=True, slots=True)
class Budget:
    """What the whole run may cost. None is without a limit. A running attempt is not broken off for the first two."""

    cost_usd: float | None = None
    tokens: int | None = None
    minutes: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to run: `parallel` attempts at once; `retries` for an attempt that the infrastructure spoils."""

    setups: Sequence[Setup]
    repeat: int = 1
    parallel: int = 4
    retries: int = 3
    seed: int | None = None
    budget: Budget = Budget()
    sandbox: dict[str, Any] = field(default_factory=dict)


Progress = Callable[[Plan, Sequence[Attempt], Sequence[str]], None]
"""Is called when an attempt begins or ends: with the plan, the ended attempts, and the names of those under way."""


@dataclass(frozen=True, slots=True)
class _Job:
    task: Task
    setup: Setup
    repeat: int
    seed: int | None


async def evaluate(
    suite: str, tasks: Sequence[Task], options: Options, directory: Path, progress: Progress | None = None
) -> list[Attempt]:
    """Runs what is missing in `directory`, stores each attempt as it ends, and returns all of them.

    Cancelling stops the attempts under way; a later call makes them again. Raises `ConfigurationError` if the directory
    holds another run or a model does not exist, and `SandboxError` if there is no sandbox.
    """
    check_ids(tasks, suite=suite)
    plan = _planned(suite, tasks, options)
    await anyio.Path(directory).mkdir(parents=True, exist_ok=True)
    _check_same(directory, plan)
    write_plan(directory, plan)
    done = read_attempts(directory)
    ended = {one.key for one in done}
    jobs = [job for job in _jobs(tasks, options) if (job.task.id, job.setup.label, job.repeat) not in ended]
    if jobs:
        run = _Run(plan, options, directory, done, progress or _silent)
        try:
            await run.all(jobs)
        except BaseExceptionGroup as failures:
            raise first_of(failures) from None
        write_plan(directory, plan)
    return done


def _silent(plan: Plan, done: Sequence[Attempt], running: Sequence[str]) -> None:
    """Shows nothing."""


def _planned(suite: str, tasks: Sequence[Task], options: Options) -> Plan:
    return Plan(
        suite=suite,
        tasks=[task.id for task in tasks],
        setups=list(options.setups),
        repeat=options.repeat,
        seed=options.seed,
        started_at=time.time(),
        version=version("codeact"),
        sandbox=str(options.sandbox.get("sandbox", "auto")),
    )


def _check_same(directory: Path, plan: Plan) -> None:
    """Raises `ConfigurationError` if the directory holds a run of another suite; adds tasks and setups otherwise."""
    if not (directory / "run.json").exists():
        return
    before = read_plan(directory)
    if before.suite != plan.suite or before.seed != plan.seed:
        raise ConfigurationError(
            f"{directory} holds a run of the suite {before.suite} with the seed {before.seed}."
            " Choose another --out, or the same suite and seed, to continue it."
        )
    plan.tasks = list(dict.fromkeys([*before.tasks, *plan.tasks]))
    plan.setups = list(dict.fromkeys([*before.setups, *plan.setups]))
    plan.repeat = max(before.repeat, plan.repeat)
    plan.started_at = before.started_at


def _jobs(tasks: Sequence[Task], options: Options) -> list[_Job]:
    return [
        _Job(task, setup, repeat, None if options.seed is None else options.seed + repeat)
        for repeat in range(options.repeat)
        for task in tasks
        for setup in options.setups
        if (setup.format == "code" or fits(task)) and (setup.model not in SCRIPTED or script_of(task, setup.model))
    ]


class _Run:
    def __init__(self, plan: Plan, options: Options, directory: Path, done: list[Attempt], progress: Progress) -> None:
        self._plan, self._options, self._directory = plan, options, directory
        self._done, self._progress = done, progress
        self._running: list[str] = []
        self._models: dict[str, Model] = {}

    async def all(self, jobs: Sequence[_Job]) -> None:
        options = self._options
        async with AsyncExitStack() as stack:
            for name in {job.setup.model for job in jobs} - set(SCRIPTED):
                settings = Settings.load(model=name)
                self._models[name] = await chosen_model(None, settings, stack)
            size = options.parallel + 1  # One more, for checkers that run code.
            pool = await stack.enter_async_context(Pool(max_size=size, min_size=min(2, size), **options.sandbox))
            waiting = iter(jobs)
            with anyio.move_on_after(60 * options.budget.minutes if options.budget.minutes else None) as scope:
                async with anyio.create_task_group() as group:
                    for _ in range(min(options.parallel, len(jobs))):
                        group.start_soon(self._work, waiting, pool)
            if scope.cancelled_caught:
                self._plan.stopped = f"the time budget of {options.budget.minutes:g} minutes"

    async def _work(self, waiting: Any, pool: Pool) -> None:
        for job in waiting:
            if self._is_spent():
                return
            name = f"{job.task.id} · {job.setup.label}"
            self._running.append(name)
            self._progress(self._plan, self._done, self._running)
            try:
                ended = await self._attempt(job, pool)
            finally:
                self._running.remove(name)
            append(self._directory, ended)
            self._done.append(ended)
            self._progress(self._plan, self._done, self._running)

    async def _attempt(self, job: _Job, pool: Pool) -> Attempt:
        pause_s = FIRST_PAUSE_S
        for spoilt in range(self._options.retries + 1):
            ended = await attempt(
                job.task, job.setup, model=self._model(job), pool=pool, repeat=job.repeat, seed=job.seed
            )
            ended.attempts_before = spoilt
            if ended.failure not in INFRASTRUCTURE:
                break
            if spoilt < self._options.retries:
                await anyio.sleep(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        return ended

    def _model(self, job: _Job) -> Model:
        if job.setup.model in SCRIPTED:
            return scripted(job.task, job.setup.model)
        return self._models[job.setup.model]

    def _is_spent(self) -> bool:
        budget = self._options.budget
        cost = sum(one.cost_usd or 0.0 for one in self._done)
        tokens = sum(one.tokens for one in self._done)
        if budget.cost_usd is not None and cost >= budget.cost_usd:
            self._plan.stopped = f"the budget of {budget.cost_usd:g} USD"
        elif budget.tokens is not None and tokens >= budget.tokens:
            self._plan.stopped = f"the budget of {budget.tokens:,} tokens"
        return self._plan.stopped is not None


def known_setups(
    models: Sequence[str], dialects: Sequence[str], formats: Sequence[str], eager: Sequence[bool] = ()
) -> list[Setup]:
    """Returns a setup for each combination. Raises `ConfigurationError`.

    Dialects and eager execution matter to code alone, and scripted solutions are written in one dialect.
    """
    if not models:
        raise ConfigurationError("Name a model: --model NAME, or --model reference for the tasks' own solutions.")
    found = []
    for model, format_ in product(models, formats or ("code",)):
        if format_ != "code":
            found.append(Setup(model=model, format=format_))
            continue
        chosen: Sequence[bool | None] = eager or [None]
        forms: Sequence[str | None] = dialects if dialects and model not in SCRIPTED else [None]
        found += [Setup(model=model, dialect=form, eager=at) for form, at in product(forms, chosen)]
    return list(dict.fromkeys(found))
