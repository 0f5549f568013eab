"""One attempt: asks a task's questions in a conversation of their own, and checks what came of it."""

import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio

from codeact import events as e
from codeact.api.async_agent import AsyncAgent
from codeact.api.pool import Pool
from codeact.api.result import AnswerFailed
from codeact.errors import CodeActError, ConfigurationError
from codeact.evals.action_formats import ask_in_format
from codeact.evals.outcome import Verdict, answers_of, blocks_of
from codeact.evals.record import Attempt, Setup
from codeact.evals.recording import CheckerFailed, Recording, check
from codeact.evals.task import Task
from codeact.model import Model, Sampling
from codeact.observations.plaintext import excerpt
from sandbox_pool.errors import SandboxError

__all__ = ["INFRASTRUCTURE", "attempt"]

INFRASTRUCTURE = frozenset(
    {
        *("rate_limit_exceeded", "model_unreachable", "model_timeout", "model_stream_broken", "overloaded"),
        *("at_capacity", "sandbox_start_failed", "sandbox_gone", "engine_unavailable"),
    }
)
"""Codes of errors that say nothing about the model's answer: another attempt may go well."""
ANSWER_CHARS = 2_000


async def attempt(
    task: Task, setup: Setup, *, model: Model, pool: Pool, repeat: int = 0, seed: int | None = None
) -> Attempt:
    """Makes one attempt and returns what is to be stored of it. Cancelling stops the model and the kernel.

    An error that ends the answer is a failure of the attempt; it is not raised. A model that takes no seed gets none.
    """
    if "seed" not in getattr(model, "parameters", ()):
        seed = None
    started_at, began = time.time(), time.perf_counter()
    recording = Recording()
    verdict, failure = Verdict(False), None
    try:
        with anyio.fail_after(task.limits.timeout_s):
            if setup.format == "code":
                verdict = await _ask(task, setup, recording, model, pool, seed)
            else:
                verdict = await ask_in_format(task, setup, recording, model, pool, seed)
    except TimeoutError:
        failure, verdict = "timeout", Verdict(False, f"not done after {task.limits.timeout_s:g} s")
    except AnswerFailed as error:
        failure, verdict = error.code, Verdict(False, error.message)
    except CheckerFailed as error:
        failure, verdict = "checker_failed", Verdict(False, str(error))
    except (CodeActError, SandboxError) as error:
        failure, verdict = error.code, Verdict(False, error.message)
    if failure is None and not verdict.passed:
        failure = _limit(recording.responses) or "wrong"
    return _attempt(task, setup, recording, verdict, failure, (repeat, seed), (started_at, time.perf_counter() - began))


class _Narrow:
    """A model whose context has at most so many tokens, whatever it has itself."""

    def __init__(self, model: Model, most: int) -> None:
        self._model, self._most = model, most

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    async def window_tokens(self) -> int:
        own = await self._model.window_tokens() if hasattr(self._model, "window_tokens") else None
        return min(own, self._most) if own is not None else self._most


async def _ask(task: Task, setup: Setup, recording: Recording, model: Model, pool: Pool, seed: int | None) -> Verdict:
    settings: dict[str, Any] = {"max_turns": task.limits.max_turns, **task.settings}
    if setup.dialect is not None:
        settings["dialect"] = setup.dialect
    if setup.eager is not None:
        settings["eager"] = setup.eager
    sampling = Sampling(seed=seed, max_output_tokens=task.limits.max_output_tokens)
    if task.window_tokens is not None:
        model = _Narrow(model, task.window_tokens)
    with tempfile.TemporaryDirectory(prefix="codeact-eval-") as directory:
        paths = _written(Path(directory), task.files)
        async with _agent(task, model, pool=pool, files=paths, sampling=sampling, **settings) as agent:
            questions = list(task.questions)
            tries = task.tries
            while True:
                for question in questions:
                    await _question(agent, question, recording)
                verdict = await check(task, recording, pool)
                tries -= 1
                if verdict.passed or tries <= 0:
                    return verdict
                questions = [task.feedback]


def _agent(task: Task, model: Model, **arguments: Any) -> AsyncAgent:
    try:
        approve = task.approve() if task.approve is not None else None
        return AsyncAgent(model, tools=task.tools(), approve=approve, **arguments)
    except TypeError as error:
        raise ConfigurationError(f"The task '{task.id}': {error}") from None


async def _question(agent: AsyncAgent, question: str, recording: Recording) -> None:
    try:
        result = await agent.run(question)
    except AnswerFailed as error:
        recording.add(question, error.response)
        raise
    recording.add(question, result.response, result.images)
    # The sandbox may be gone, by the code's own doing: then there are no files.
    with suppress(SandboxError):
        await recording.add_files(result)


def _written(directory: Path, files: Mapping[str, bytes]) -> list[Path]:
    paths = []
    for name, data in files.items():
        path = directory / Path(name).name
        path.write_bytes(data)
        paths.append(path)
    return paths


def _limit(responses: Sequence[e.Response]) -> str | None:
    """The limit that ended the last answer, if one did."""
    if not responses:
        return None
    last = responses[-1]
    if last.status == "incomplete" and last.incomplete_details is not None:
        return last.incomplete_details.reason
    return next((notice.code for notice in last.notices if notice.code == "max_turns"), None)


def _attempt(
    task: Task,
    setup: Setup,
    recording: Recording,
    verdict: Verdict,
    failure: str | None,
    numbers: tuple[int, int | None],
    times: tuple[float, float],
) -> Attempt:
    responses = recording.responses
    usages = [response.usage for response in responses if response.usage is not None]
    costs = [usage.cost_usd for usage in usages if usage.cost_usd is not None]
    answers, blocks = answers_of(responses), blocks_of(responses)
    score = verdict.score if verdict.score is not None else float(verdict.passed)
    first = responses[0].ledger if responses else e.Ledger()
    return Attempt(
        task=task.id,
        setup=setup,
        repeat=numbers[0],
        seed=numbers[1],
        passed=verdict.passed and failure is None,
        failure=failure,
        score=min(1.0, max(0.0, score)),
        reason="" if verdict.passed else excerpt(verdict.reason, ANSWER_CHARS),
        answer=excerpt(answers[-1] if answers else "", ANSWER_CHARS),
        blocks=len(blocks),
        failed_blocks=sum(block.result is not None and block.result.status != "ok" for block in blocks),
        calls=len(recording.calls()),
        input_tokens=sum(usage.input_tokens for usage in usages),
        cached_tokens=sum(usage.input_tokens_details.cached_tokens for usage in usages),
        output_tokens=sum(usage.output_tokens for usage in usages),
        cost_usd=sum(costs) if costs else None,
        total_s=times[1],
        first_token_s=first.first_token_s,
        code_detected_s=first.code_detected_s,
        first_output_s=first.first_output_s,
        sandbox_wait_s=first.sandbox_wait_s,
        started_at=times[0],
        tags=sorted(task.tags),
        transcript=recording.steps,
    )
