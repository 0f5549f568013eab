"""What an attempt leaves while it is made, and the checker's look at it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import anyio
import msgspec

from codeact import events as e
from codeact.api.images import Image
from codeact.api.pool import Pool
from codeact.api.result import Result
from codeact.data_urls import data_url
from codeact.evals.checks import verdict_of
from codeact.evals.outcome import Call, Outcome, Ran, Verdict
from codeact.evals.record import Step
from codeact.evals.task import Task
from codeact.evals.transcript import steps_of
from codeact.observations.plaintext import excerpt
from sandbox_pool.errors import SandboxError
from sandbox_pool.outputs import Error, ExecuteResult, Stream

__all__ = ["CheckerFailed", "Recording", "check"]

CHECK_TIMEOUT_S = 120.0
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


def _arguments(text: str) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
