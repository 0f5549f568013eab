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
from codeact.evals.record import (
    Attempt,
    Key,
    Plan,
    Setup,
    add_spent,
    append,
    read_attempts,
    read_plan,
    write_plan,
    writing,
)
from codeact.evals.scripts import SCRIPTED, script_of, scripted
from codeact.evals.task import Task, check_ids
from codeact.model import Model
from codeact.settings import Settings

__all__ = ["Budget", "Options", "Progress", "evaluate", "known_setups"]

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0


@dataclass(frozen=True, slots=True)
class Budget:
    """What the whole run may cost, None without a limit; the minutes are those of one call.

    A running attempt is not broken off for the first two.
    """

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

    @property
    def key(self) -> Key:
        return self.task.id, self.setup.label, self.repeat


async def evaluate(
    suite: str, tasks: Sequence[Task], options: Options, directory: Path, progress: Progress | None = None
) -> list[Attempt]:
    """Runs what is missing in `directory`, stores each attempt as it ends, and returns all of them.

    Attempts that the infrastructure has spoilt are made again. Cancelling stops the attempts under way; a later call
    makes them again. Raises `ConfigurationError` if the directory holds another run, another run writes to it, no task
    can be asked so, or a model does not exist, and `SandboxError` if there is no sandbox.
    """
    check_ids(tasks, suite=suite)
    plan, jobs = _planned(suite, tasks, options), _jobs(tasks, options)
    if not jobs:
        raise ConfigurationError(
            "No task of the suite can be asked so: --format json and text need functions, one question and no files,"
            " and a model; reference and wrong need a script of the task's, and --format code."
        )
    await anyio.Path(directory).mkdir(parents=True, exist_ok=True)
    with writing(directory):
        _check_same(directory, plan)
        write_plan(directory, plan)
        before = {one.key: one for one in read_attempts(directory)}
        jobs = [job for job in jobs if job.key not in before or before[job.key].failure in INFRASTRUCTURE]
        again = {job.key for job in jobs}
        done = [one for key, one in before.items() if key not in again]
        if jobs:
            run = _Run(plan, options, directory, done, progress or _silent)
            for one in before.values():
                run.count(one)
            try:
                await run.all(jobs)
            except BaseExceptionGroup as failures:
                raise first_of(failures) from None
            write_plan(directory, plan)
        return list((before | {one.key: one for one in done}).values())


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
        not_asked={
            setup.label: left
            for setup in options.setups
            if (left := [one.id for one in tasks if not _fits(one, setup)])
        },
    )


def _fits(task: Task, setup: Setup) -> bool:
    """Whether the task can be asked so: a scripted model needs its script, which is code; other formats functions."""
    if setup.model in SCRIPTED:
        return setup.format == "code" and bool(script_of(task, setup.model))
    return setup.format == "code" or fits(task)


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
    for label, tasks in before.not_asked.items():
        plan.not_asked[label] = list(dict.fromkeys([*tasks, *plan.not_asked.get(label, ())]))
    plan.repeat = max(before.repeat, plan.repeat)
    plan.started_at = before.started_at


def _jobs(tasks: Sequence[Task], options: Options) -> list[_Job]:
    return [
        _Job(task, setup, repeat, None if options.seed is None else options.seed + repeat)
        for repeat in range(options.repeat)
        for task in tasks
        for setup in options.setups
        if _fits(task, setup)
    ]


class _Run:
    def __init__(self, plan: Plan, options: Options, directory: Path, done: list[Attempt], progress: Progress) -> None:
        self._plan, self._options, self._directory = plan, options, directory
        self._done, self._progress = done, progress
        self._running: list[str] = []
        self._models: dict[str, Model] = {}
        self._cost_usd, self._tokens = 0.0, 0

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
        """Makes the attempt, again while the infrastructure spoils it. It has the tokens and costs of all of them."""
        pause_s, before = FIRST_PAUSE_S, None
        for spoilt in range(self._options.retries + 1):
            ended = await attempt(
                job.task, job.setup, model=self._model(job), pool=pool, repeat=job.repeat, seed=job.seed
            )
            self.count(ended)
            if ended.tokens and ended.cost_usd is None and self._options.budget.cost_usd is not None:
                name = job.setup.model
                self._plan.stopped = f"--max-cost: the price of {name} is not known; --max-tokens needs none"
            ended.attempts_before = spoilt
            if before is not None:
                add_spent(ended, before)
            before = ended
            if ended.failure not in INFRASTRUCTURE or spoilt == self._options.retries or self._is_spent():
                break
            await anyio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        return ended

    def count(self, ended: Attempt) -> None:
        """Counts what an attempt has cost."""
        self._tokens += ended.tokens
        self._cost_usd += ended.cost_usd or 0.0

    def _model(self, job: _Job) -> Model:
        if job.setup.model in SCRIPTED:
            return scripted(job.task, job.setup.model)
        return self._models[job.setup.model]

    def _is_spent(self) -> bool:
        budget = self._options.budget
        if budget.cost_usd is not None and self._cost_usd >= budget.cost_usd:
            self._plan.stopped = f"the budget of {budget.cost_usd:g} USD"
        elif budget.tokens is not None and self._tokens >= budget.tokens:
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
