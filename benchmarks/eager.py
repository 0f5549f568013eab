"""Measures what it saves to run code while the model writes it, against the same code run when it is complete.

Scripted models write at 50 and at 100 tokens a second, a token having four characters; whole and eager take turns, in
one process with a real sandbox each.

    whole_total_s, eager_total_s       question to answer, mean of both rates: a block of 60 lines with two seconds of
                                       work at its beginning; `eager_ratio` is their quotient
    first_output_whole_s, …_eager_s    question to the first output, in the same runs
    observation_whole_s, …_eager_s     question to the end of the block
    error_ratio                        total of eager by whole, if the third of 60 lines fails
    tokens_saved                       tokens that the model did not write in that run, of those in the script
    short_ratio                        total of eager by whole, for blocks without any work, at 100 tokens a second
    start_p50_ms, start_p99_ms         the model's piece of text that completes a statement, until that runs
"""

import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import anyio

from codeact import AsyncAgent
from codeact import events as e
from sandbox_pool.percentile import percentile

__all__ = ["Run", "Writer", "measure", "timed"]

TOKEN_CHARS = 4
RATES = (50, 100)
WORK = "import time\nprint('reading')\ntime.sleep(2)\n"
LINES = "".join(f"value_{number} = {number} * {number}\n" for number in range(56)) + "print(value_55)"
BLOCK = f"<execute>\n{WORK}{LINES}\n</execute>"
FAILING = f"<execute>\nx = 1\ny = 2\nx / 0\n{LINES}\n</execute>"
SHORT = f"<execute>\n{LINES}\n</execute>"
STARTS = "".join("print(f'at={time.time():.6f}')\n" for _ in range(40))
STARTING = f"<execute>\nimport time\n{STARTS}x = 1\n</execute>"
ROUNDS = 3


class Writer:
    """A model that writes a script at a rate in tokens a second, and answers `Done.` to what that shows.

    `line_ends` has the times at which it wrote the end of a line, `written` how many tokens of the script it wrote.
    """

    def __init__(self) -> None:
        self.script, self.rate = "", 100
        self.line_ends: list[float] = []
        self.written = 0

    async def __call__(self, messages: Sequence[Any]) -> AsyncIterator[str]:
        if str(messages[-1]["content"]).startswith("Observation:"):
            yield "Done."
            return
        begun, self.written, self.line_ends = time.monotonic(), 0, []
        for at in range(0, len(self.script), TOKEN_CHARS):
            await anyio.sleep(max(0.0, begun + self.written / self.rate - time.monotonic()))
            piece = self.script[at : at + TOKEN_CHARS]
            self.line_ends += [time.time()] * piece.count("\n")
            self.written += 1
            yield piece


class Run:
    """One answer: times in seconds since the question, and the outputs."""

    def __init__(self) -> None:
        self.first_output_s = self.observation_s = self.total_s = 0.0
        self.text = ""


async def measure(sandbox: str) -> dict[str, float]:
    """Runs everything, in about a minute and a half. `sandbox` is `process` or `docker`."""
    writer = Writer()
    with tempfile.TemporaryDirectory() as folder:
        options: dict[str, Any] = {"sandbox": sandbox, "data_dir": Path(folder)}
        async with (
            AsyncAgent(writer, eager=False, **options) as whole,
            AsyncAgent(writer, eager=True, **options) as eager,
        ):
            agents = {"whole": whole, "eager": eager}
            for agent in agents.values():
                await timed(agent, writer, "<execute>\n1\n</execute>", 1000)
            return {name: round(value, 3) for name, value in (await _figures(agents, writer)).items()}


async def _figures(agents: dict[str, AsyncAgent], writer: Writer) -> dict[str, float]:
    work: dict[str, list[Run]] = {name: [] for name in agents}
    for rate in RATES:
        for name, agent in agents.items():
            work[name].append(await timed(agent, writer, BLOCK, rate))
    figures = {f"{name}_total_s": _mean(run.total_s for run in runs) for name, runs in work.items()}
    figures["eager_ratio"] = figures["eager_total_s"] / figures["whole_total_s"]
    for name, runs in work.items():
        figures[f"first_output_{name}_s"] = _mean(run.first_output_s for run in runs)
        figures[f"observation_{name}_s"] = _mean(run.observation_s for run in runs)
    failing = {name: (await timed(agents[name], writer, FAILING, 100), writer.written) for name in agents}
    figures["error_ratio"] = failing["eager"][0].total_s / failing["whole"][0].total_s
    figures["tokens_saved"] = failing["whole"][1] - failing["eager"][1]
    short: dict[str, list[float]] = {name: [] for name in agents}
    for _ in range(ROUNDS):
        for name, agent in agents.items():
            short[name].append((await timed(agent, writer, SHORT, 100)).total_s)
    figures["short_ratio"] = statistics.median(short["eager"]) / statistics.median(short["whole"])
    waits: list[float] = []
    for _ in range(ROUNDS):
        run = await timed(agents["eager"], writer, STARTING, 100)
        ran = [float(line[3:]) for line in run.text.splitlines() if line.startswith("at=")]
        # The first two lines are the tag and the import; the very first statement also prepares the sandbox.
        waits += [(began - ended) * 1000 for began, ended in zip(ran, writer.line_ends[2:], strict=False)][1:]
    return figures | {"start_p50_ms": statistics.median(waits), "start_p99_ms": percentile(sorted(waits), 99)}


async def timed(agent: AsyncAgent, writer: Writer, script: str, rate: int) -> Run:
    writer.script, writer.rate = script, rate
    run, begun = Run(), time.monotonic()
    async for event in agent.stream("Go."):
        if isinstance(event, e.CodeOutput):
            run.first_output_s = run.first_output_s or time.monotonic() - begun
            run.text += getattr(event.output, "text", "")
        elif isinstance(event, e.OutputItemDone) and isinstance(event.item, e.CodeInterpreterCall):
            run.observation_s = time.monotonic() - begun
    run.total_s = time.monotonic() - begun
    return run


def _mean(values: Any) -> float:
    return statistics.fmean(values)
