"""One attempt: asks a task's questions in a conversation of their own, and checks what came of it."""

import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import msgspec

from codeact import events as e
from codeact.api.async_agent import AsyncAgent
from codeact.api.images import Image
from codeact.api.pool import Pool
from codeact.api.result import AnswerFailed, Result
from codeact.data_urls import data_url
from codeact.errors import CodeActError
from codeact.evals.checks import verdict_of
from codeact.evals.outcome import Call, Outcome, Ran, Verdict
from codeact.evals.record import Attempt, Setup, Step
from codeact.evals.task import Task
from codeact.evals.transcript import steps_of
from codeact.model import Model, Sampling
from codeact.observations.plaintext import excerpt
from sandbox_pool.errors import SandboxError
from sandbox_pool.outputs import Error, ExecuteResult, Stream

__all__ = ["INFRASTRUCTURE", "Recording", "attempt"]

INFRASTRUCTURE = frozenset(
    {
        *("rate_limit_exceeded", "model_unreachable", "model_timeout", "model_stream_broken", "overloaded"),
        *("at_capacity", "sandbox_start_failed", "sandbox_gone", "engine_unavailable"),
    }
)
"""Codes of errors that say nothing about the model's answer: another attempt may go well."""
CHECK_TIMEOUT_S = 120.0
ANSWER_CHARS = 2_000
FILE_BYTES, FILES = 20_000_000, 200


@dataclass(slots=True)
class Recording:
    """What an attempt has left so far."""

    responses: list[e.Response] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    images: list[Image] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)

    def add(self, question: str, response: e.Response, images: Sequence[Image] = ()) -> None:
        self.responses.append(response)
        self.images += images
        urls = [data_url(image.media_type, image.data) for image in images]
        self.steps += steps_of(question, response, urls)

    async def add_files(self, result: Result) -> None:
        for file in (await result.load_files())[:FILES]:
            if file.data is not None and len(file.data) <= FILE_BYTES:
                self.files[file.path] = file.data

    def calls(self) -> list[Call]:
        items = [item for response in self.responses for item in response.output]
        return [
            Call(item.name, _arguments(item.arguments), str(item.error) if item.error is not None else None)
            for item in items
            if isinstance(item, e.McpCall)
        ]


async def attempt(
    task: Task, setup: Setup, *, model: Model, pool: Pool, repeat: int = 0, seed: int | None = None
) -> Attempt:
    """Makes one attempt and returns what is to be stored of it. Cancelling stops the model and the kernel.

    An error that ends the answer is a failure of the attempt; it is not raised. Raises `CodeActError` if the attempt
    cannot begin, because a setting of the task is wrong.
    """
    from codeact.evals.action_formats import ask_in_format

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
    return _attempt(
        task, setup, recording, verdict, failure, (repeat, seed), (started_at, time.perf_counter() - began)
    )


async def _ask(
    task: Task, setup: Setup, recording: Recording, model: Model, pool: Pool, seed: int | None
) -> Verdict:
    settings: dict[str, Any] = {"max_turns": task.limits.max_turns, **task.settings}
    if setup.dialect is not None:
        settings["dialect"] = setup.dialect
    if "seed" not in getattr(model, "parameters", ()):
        seed = None
    sampling = Sampling(seed=seed, max_output_tokens=task.limits.max_output_tokens)
    with tempfile.TemporaryDirectory(prefix="codeact-eval-") as directory:
        paths = _written(Path(directory), task.files)
        async with AsyncAgent(
            model, pool=pool, tools=task.tools(), files=paths, sampling=sampling, **settings
        ) as agent:
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


class CheckerFailed(Exception):
    """A checker raised an exception: the fault is the task's."""


async def check(task: Task, recording: Recording, pool: Pool) -> Verdict:
    """Returns the checker's verdict. Raises `CheckerFailed` if the checker raises or takes too long."""

    async def run(source: str, files: Mapping[str, bytes]) -> Ran:
        return await _run(source, files, pool)

    outcome = Outcome(recording.responses, dict(recording.files), recording.images, recording.calls(), run)
    try:
        with anyio.fail_after(CHECK_TIMEOUT_S):
            return await verdict_of(task.check, outcome)
    except SandboxError:
        raise
    except TimeoutError:
        raise CheckerFailed(f"The checker did not end within {CHECK_TIMEOUT_S:g} s.") from None
    except Exception as error:
        raise CheckerFailed(f"The checker failed: {type(error).__name__}: {excerpt(str(error), 500)}") from error


async def _run(source: str, files: Mapping[str, bytes], pool: Pool) -> Ran:
    async with pool.sandboxes.acquire(owner="checker") as sandbox:
        for name, data in files.items():
            await sandbox.write_file(name, data)
        outputs, result = await sandbox.run(source)
    text = ""
    for output in outputs:
        if isinstance(output, Stream):
            text += output.text
        elif isinstance(output, ExecuteResult):
            text += str(output.data.get("text/plain", ""))
    if result.status == "ok":
        return Ran(text)
    errors = [output for output in outputs if isinstance(output, Error)]
    told = f"{errors[-1].ename}: {errors[-1].evalue}" if errors else result.detail
    return Ran(text, excerpt(told or result.status, 2_000))


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


def _arguments(text: str) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


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
    outcome = Outcome(responses, {}, (), (), _no_run)
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
        answer=excerpt(outcome.answer, ANSWER_CHARS),
        blocks=len(outcome.blocks),
        failed_blocks=sum(block.result is not None and block.result.status != "ok" for block in outcome.blocks),
        calls=len(recording.calls()),
        input_tokens=sum(usage.input_tokens for usage in usages),
        cached_tokens=sum(usage.input_tokens_details.cached_tokens for usage in usages),
        output_tokens=sum(usage.output_tokens for usage in usages),
        cost_usd=sum(costs) if costs else None,
        total_s=times[1],
        first_token_s=first.first_token_s,
        first_output_s=first.first_output_s,
        sandbox_wait_s=first.sandbox_wait_s,
        started_at=times[0],
        tags=sorted(task.tags),
        transcript=recording.steps,
    )


async def _no_run(source: str, files: Mapping[str, bytes]) -> Ran:
    raise NotImplementedError
