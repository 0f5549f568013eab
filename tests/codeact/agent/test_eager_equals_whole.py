"""Eager and whole-block execution give the same outputs, state and observation, however the text was cut.

The statements are the same for every cut (`test_statements.py`); here they come together, one by one, or in between.
A few scripts of `tests/eager_corpus.py` run always, all of them and many generated programs in `make test-long`, on
both backends. What may differ is in docs/eager.md: after an error there is no more text, and a syntax error comes late.
"""

import os
import random
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from itertools import islice

import anyio
import pytest

from codeact.dialect.statements import Statements, statements_of
from codeact.observations.observation import observation
from sandbox_pool.outputs import Error, ExecutionResult, Output, fold
from sandbox_pool.sandbox.execution import Execution, Progress
from sandbox_pool.sandbox.sandbox import Sandbox
from tests.eager_corpus import examples, generated, scripts
from tests.sandbox_pool.conftest import DEADLINE_S, SPEC, make_backend, new_id

pytestmark = pytest.mark.anyio

LONG = bool(os.environ.get("TEST_LONG"))
SEED = 17
EVERY = 10
"""How many scripts run before the variables are compared."""
STATE = (
    "print(sorted((name, type(value).__name__, repr(value)[:1000]) for name, value in globals().items()"
    " if not name.startswith('_') and name not in ('In', 'Out', 'exit', 'quit', 'open', 'get_ipython')))"
)
VARYING = re.compile(
    r"0x[0-9a-fA-F]+|ipykernel_\d+/\d+|Task-\d+|(?<=In )?\[\d+\](?=, line)|\(\d+\.py|execution_count=\d+|\d+\.\d+ s"
)

Ended = tuple[list[Output], ExecutionResult, int]


@pytest.fixture(scope="module", params=["process", pytest.param("docker", marks=pytest.mark.docker)])
async def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[list[Sandbox]]:
    """Two sandboxes alike: one for whole blocks, one for eager execution."""
    if request.param == "docker" and not LONG:
        pytest.skip("docker runs the corpus in `make test-long`")
    backend = await make_backend(request.param, tmp_path_factory.mktemp("state"))
    async with AsyncExitStack() as stack:
        stack.push_async_callback(backend.close)
        pair = []
        for _ in range(2):
            pair.append(await Sandbox.start(backend, new_id(), SPEC, deadline_s=DEADLINE_S))
            stack.push_async_callback(pair[-1].close)
        yield pair


async def read(execution: Execution, outputs: list[Output]) -> None:
    while True:
        try:
            item = await execution.next()
        except StopAsyncIteration:
            return
        if not isinstance(item, Progress):
            outputs.append(item)  # type: ignore[arg-type]


async def idle(execution: Execution) -> None:
    """Waits until the kernel waits for text, or the block has ended."""
    while not execution.is_idle and not execution.cause.done():  # noqa: ASYNC110 - only its reader is woken
        await anyio.sleep(0.001)


async def eager(sandbox: Sandbox, code: str, chance: random.Random) -> Ended:
    """Runs code that arrives in random pieces; now and then the kernel has run all of it before the next comes.

    Every third block comes line by line, each of which has run before the next.
    """
    statements, execution, outputs = Statements(), None, []  # type: tuple[Statements, Execution | None, list[Output]]
    by_line = chance.random() < 1 / 3
    cuts = sorted(chance.sample(range(len(code) + 1), min(len(code), chance.randint(0, 12))))
    if by_line:
        cuts = [end.end() for end in re.finditer("\n", code)]
    async with anyio.create_task_group() as tasks:
        for begin, end in zip([0, *cuts], [*cuts, len(code)], strict=True):
            ready = statements.feed(code[begin:end])
            if ready and execution is None:
                execution = sandbox.open(ready)
                tasks.start_soon(read, execution, outputs)
            elif ready and execution is not None:
                execution.write(ready)
            if execution is not None and (by_line or chance.random() < 0.5):
                await idle(execution)
        if execution is None:
            execution = sandbox.execute(code)
            tasks.start_soon(read, execution, outputs)
        execution.write([statements.rest] if statements.rest else [], ended=True)
    return outputs, execution.result, execution.ran


def plain(outputs: Sequence[Output]) -> list[str]:
    shown = []
    for output in fold(outputs):
        if isinstance(output, Error):
            marked = [line for line in "\n".join(output.traceback).splitlines() if "-->" in line]
            shown.append(f"{output.ename}: {output.evalue} {marked}")
        else:
            shown.append(repr(output))
    return [VARYING.sub("…", each) for each in shown]


def seen(outputs: Sequence[Output], result: ExecutionResult) -> str:
    return VARYING.sub("…", observation(fold(outputs), result, limit_chars=12_000))


async def compare(pair: list[Sandbox], code: str, chance: random.Random) -> None:
    whole_outputs, whole = await pair[0].run(code)
    outputs, result, ran = await eager(pair[1], code, chance)
    assert (result.status, result.error_kind, result.limit) == (whole.status, whole.error_kind, whole.limit)
    if whole.error_kind == "syntax":
        assert plain(outputs)[-1:] == plain(whole_outputs)
        before = "".join(islice(statements_of(code), ran))
        await pair[0].run(before or "pass")
        await pair[1].run("pass")
    else:
        assert plain(outputs) == plain(whole_outputs)
        if result.error is None:
            assert seen(outputs, result) == seen(whole_outputs, whole)


async def check(pair: list[Sandbox], programs: Sequence[str]) -> None:
    chance = random.Random(SEED)
    for number, code in enumerate(programs, start=1):
        try:
            await compare(pair, code, chance)
            if number % EVERY == 0 or number == len(programs):
                one, other = [plain((await sandbox.run(STATE))[0]) for sandbox in pair]
                assert one == other
        except AssertionError as error:
            raise AssertionError(f"script {number}:\n{code}\n{error}") from None


@pytest.mark.long
async def test_the_corpus_gives_the_same(pair: list[Sandbox]) -> None:
    every = [*scripts(), *examples()]
    assert len(every) >= 380
    few = random.Random(SEED).sample([*scripts(tables=False), *examples()], 30)
    await check(pair, every if LONG else few)


@pytest.mark.long
async def test_generated_programs_give_the_same(pair: list[Sandbox]) -> None:
    await check(pair, list(islice(generated(random.Random(SEED)), 400 if LONG else 15)))
