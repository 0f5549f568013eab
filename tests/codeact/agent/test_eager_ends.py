"""How a block that runs while the model writes it ends: by a stop, as a thought, or together with the model's text."""

from pathlib import Path
from typing import Any

import anyio
import pytest

from codeact import AsyncAgent
from codeact import events as e
from codeact.agent.code_runner import CodeRunner
from codeact.agent.eager import EagerCode
from codeact.agent.repetition import SHORTEST_CHARS
from codeact.model import Finish, ReasoningDelta, TextDelta
from codeact.models.scripted import ScriptedModel
from codeact.tools.approval import Ruling
from tests.codeact.agent.test_eager import Waiting, ask, calls, pieces, printed
from tests.codeact.api.test_api import settings

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("eager")


async def test_a_stop_while_a_judge_decides_about_the_rest_ends_the_block(data_dir: Path) -> None:
    asked = anyio.Event()

    async def approve(question: Any) -> Any:
        asked.set()
        await anyio.sleep_forever()

    waiting = Waiting()
    block = [
        *pieces("<execute>\nprint('safe')\n"),
        waiting.until(printed("safe")),
        *pieces("import os\nos.remove('keep.txt')\n</execute>"),
        Finish("stop"),
    ]
    model = ScriptedModel([block, "<execute>\nprint('next block')\n</execute>", "Done."])
    more: dict[str, Any] = {"approve": approve, "approval": "deletes", **settings(data_dir)}
    async with AsyncAgent(model, eager=True, **more) as agent:
        with anyio.fail_after(240):
            async with anyio.create_task_group() as tasks:

                async def first() -> None:
                    async for event in agent.stream("Go."):
                        waiting.saw(event)

                tasks.start_soon(first)
                await asked.wait()
                tasks.cancel_scope.cancel()
            result = await agent.run("Go on.")
    assert result.status == "completed", result
    read = [str(message.content) for message in model.calls[1]]
    assert any("safe" in text and text.startswith("Observation: interrupted") for text in read), read
    assert "next block" in str(model.calls[-1][-1].content)


async def test_a_block_that_was_a_thought_is_stopped_before_the_answers_block_runs(data_dir: Path) -> None:
    waiting = Waiting()
    turn = [
        *pieces("Maybe I run\n<execute>\nprint('thought')\n"),
        waiting.until(printed("thought")),
        *pieces("for x in [1]:\n    pass\n</execute>\nand look.</think>\n"),
        *pieces("<execute>\nprint('answer')\nprint('x' in globals())\n</execute>"),
        Finish("stop"),
    ]
    answer = await ask(data_dir, [turn, "Done."], waiting)
    assert answer.response.status == "completed", answer.response.error
    thought, block = (item for item in answer.response.output if isinstance(item, e.CodeInterpreterCall))
    assert "thought" in (thought.observation or "")
    assert thought.result is not None
    assert block.outputs == [e.LogsOutput("answer\nFalse\n")]


async def test_a_block_that_runs_as_a_whole_leaves_nothing_to_the_next_reply(data_dir: Path) -> None:
    """The second reply may be a thought, since nothing ended one before it: none of it runs early."""
    first = [ReasoningDelta("Think."), *calls("for i in range(2):\n    print('once', i)\n"), Finish("stop")]
    second = [*calls("print('second')\nz = 1\nprint('end')\n"), Finish("stop")]
    model = ScriptedModel([first, second, "So.</think>Done."], name="r1")
    async with AsyncAgent(model, eager=True, dialect="tool_call", **settings(data_dir)) as agent:
        with anyio.fail_after(240):
            events = [event async for event in agent.stream("Go.")]
    outputs = [getattr(event.output, "text", "") for event in events if isinstance(event, e.CodeOutput)]
    assert "".join(outputs).splitlines() == ["once 0", "once 1", "second", "end"]


async def test_text_that_repeats_itself_after_an_error_still_tells_what_has_run(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = EagerCode.feed

    async def until_it_failed(code: EagerCode, text: str, held: str) -> None:
        """Lets the code fail while the piece is read that shows the repetition."""
        await feed(code, text, held)
        if code.running is not None:
            await code.running.wait()

    monkeypatch.setattr(EagerCode, "feed", until_it_failed)
    turn = [TextDelta("<execute>\n1 / 0\n" + "x = 'y'\n" * (SHORTEST_CHARS // 4)), Finish("stop")]
    answer = await ask(data_dir, [turn, "Done."])
    assert "ZeroDivisionError" in (answer.block.observation or "")
    assert answer.block.result is not None


async def test_a_model_that_has_written_all_is_not_told_that_it_was_stopped(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute = CodeRunner.execute

    async def after_its_end(runner: CodeRunner, code: str) -> bool:
        """Takes the block over when it has failed already."""
        if runner.eager.running is not None:
            await runner.eager.running.wait()
        return await execute(runner, code)

    monkeypatch.setattr(CodeRunner, "execute", after_its_end)
    waiting = Waiting()
    written = waiting.until(lambda event: isinstance(event, e.CodeDone))

    async def hold() -> None:
        """Returns when the model has written the block."""
        await written.wait()

    turn = [*pieces("<execute>\nhold()\n1 / 0\nprint('never')\n</execute>"), Finish("stop")]
    answer = await ask(data_dir, [turn, "Done."], waiting, tools=[hold])
    assert "ZeroDivisionError" in answer.observation
    assert "stopped" not in answer.observation
    assert answer.block.ran is None


async def test_a_small_file_that_an_early_statement_deleted_does_not_make_the_rest_wait(data_dir: Path) -> None:
    waiting = Waiting()
    make = "<execute>\nopen('small.txt', 'w').write('x')\n</execute>"
    turn = [
        *pieces("<execute>\nimport os\nos.remove('small.txt')\nprint('gone')\n"),
        waiting.until(printed("gone")),
        *pieces("y = 1\nprint('rest')\n</execute>"),
        Finish("stop"),
    ]
    asked: list[Any] = []
    answer = await ask(data_dir, [make, turn, "Done."], waiting, approve=asked.append, approval="deletes:1")
    assert "rest" in answer.observation
    assert not asked


async def test_a_judge_may_change_the_rest_of_a_block(data_dir: Path) -> None:
    waiting = Waiting()
    turn = [
        *pieces("<execute>\nprint('safe')\n"),
        waiting.until(printed("safe")),
        *pieces("import os\nos.remove('keep.txt')\n</execute>"),
        Finish("stop"),
    ]
    changed = Ruling(True, code="1 / 0\nprint('never')\n")
    answer = await ask(data_dir, [turn, "Done."], waiting, approve=lambda question: changed, approval="deletes")
    assert answer.block.ran == "print('safe')\nimport os\n1 / 0\nprint('never')\n"
    assert "ZeroDivisionError" in answer.observation
    assert "never" not in answer.observation.partition("The user changed your block")[0]
