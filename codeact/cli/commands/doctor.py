"""`codeact doctor`: tries each component that `codeact serve` would use, and prints the results."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import asdict, dataclass
from functools import partial

import anyio
from rich.console import Console
from rich.text import Text

from codeact.cli.controls import print_json
from codeact.concurrency.concurrently import gathered
from codeact.errors import CodeActError
from codeact.logs import configure
from codeact.model import ChatMessage, Model, Sampling
from codeact.models.litellm.loading import own_process
from codeact.settings import Settings
from sandbox_pool.errors import SandboxError

__all__ = ["Finding", "doctor", "examine"]


MODEL_S = 60.0
TOKENS = 16
"""The least that the Responses API takes. Reading stops at the first one."""
MOST_MODELS = 20
"""A model server may list hundreds; each that is asked may cost a token."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The result for one component. `fix` has lines of advice that correct or improve it."""

    part: str
    ok: bool
    summary: str
    why: str = ""
    fix: tuple[str, ...] = ()


def doctor(settings: Settings, *, as_json: bool) -> int:
    """Prints the findings; returns the exit code: 0 if all components work, else 1."""
    configure("error")
    own_process()
    findings = anyio.run(examine, settings)
    ok = all(finding.ok for finding in findings)
    if as_json:
        print_json({"ok": ok, "findings": [asdict(finding) for finding in findings]})
    else:
        console = Console(highlight=False)
        for finding in findings:
            mark = ("✓", "green") if finding.ok else ("✗", "red")
            console.print(Text.assemble(mark, f" {finding.part:9} ", finding.summary), soft_wrap=True)
            for line in filter(None, (finding.why, *finding.fix)):
                console.print(Text(" " * 12 + line, style="dim"), soft_wrap=True)
    return 0 if ok else 1


async def examine(settings: Settings) -> list[Finding]:
    """Opens and closes each component. It leaves no sandbox behind and changes nothing in the database."""
    findings: list[Finding] = []
    for part, check in (("model", _model), ("sandbox", _sandbox), ("database", _database)):
        try:
            async with check(settings) as finding:
                findings.append(finding)
        except (CodeActError, SandboxError) as error:
            findings.append(Finding(part, False, error.message))
    return findings


@asynccontextmanager
async def _model(settings: Settings) -> AsyncIterator[Finding]:
    from codeact.models.discovery import find_models

    found = await find_models(settings)
    models = found.registry.models
    try:
        refusals = await gathered([partial(_refusal, model) for model in models[:MOST_MODELS]])
    finally:
        await found.close()
    failed = [f"{model.name}: {refusal}" for model, refusal in zip(models, refusals, strict=False) if refusal]
    hints = (found.hint,) if found.hint else ()
    if failed:
        yield Finding(
            "model", False, f"{len(failed)} of {len(refusals)} models give no answer", found.why, (*failed, *hints)
        )
        return
    asked = "it has answered" if len(refusals) == 1 else f"the first {len(refusals)} have answered"
    yield Finding("model", True, f"{found.registry.summary}; {asked}", found.why, hints)


async def _refusal(model: Model) -> str:
    """Asks the model for a token. Returns why it gave none, or an empty text."""
    question = [ChatMessage("user", "Say OK.")]
    try:
        async with (
            asyncio.timeout(MODEL_S),
            aclosing(model.stream(question, Sampling(max_output_tokens=TOKENS))) as events,
        ):
            async for _ in events:
                return ""
    except TimeoutError:
        return f"no answer within {MODEL_S:g} s"
    except CodeActError as error:
        return error.message
    return "it ended its answer before the first token"


@asynccontextmanager
async def _sandbox(settings: Settings) -> AsyncIterator[Finding]:
    from codeact.ids import new_id
    from sandbox_pool.backends.registry import open_backend
    from sandbox_pool.sandbox.sandbox import Sandbox

    spec = settings.sandbox_spec
    opened = await open_backend(
        settings.sandbox,
        spec,
        state_dir=settings.data_dir / "run",
        progress=partial(print, file=sys.stderr),
    )
    try:
        sandbox = await Sandbox.start(opened.backend, new_id("cntr"), spec, deadline_s=60)
        try:
            _, result = await sandbox.run("1 + 1")
        finally:
            await sandbox.close()
        ran = f"; ran 1 + 1 in {result.duration_s * 1000:.0f} ms"
        yield Finding("sandbox", True, opened.backend.isolation.summary + ran, opened.why, opened.hints)
    finally:
        await opened.backend.close()


@asynccontextmanager
async def _database(settings: Settings) -> AsyncIterator[Finding]:
    from codeact.store.opening import chosen, reach

    await reach(settings)
    summary, why, hints = chosen(settings)
    yield Finding("database", True, summary, why, hints)
