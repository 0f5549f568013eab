"""A Python fence is run as code, and the text that the model wrote after it stays in the answer."""

import pytest

from codeact import events as e
from codeact.agent.options import AgentOptions
from codeact.dialect.history import rendered
from codeact.errors import ModelStreamBroken
from codeact.model import Finish, TextDelta
from codeact.models.scripted import Turn
from sandbox_pool.outputs import ExecutionResult
from tests.codeact.agent.test_replies import Answering, answering

pytestmark = pytest.mark.anyio

BEFORE, BLOCK, AFTER = "Do not run it:\n", "```python\nprint(6*7)\n```\n", "As you *see*, it is 42.\n\n- really"
REPLY = BEFORE + BLOCK + AFTER


async def run_block(answer: Answering) -> None:
    await answer.builder.code.executed(ExecutionResult(status="ok", duration_s=0.1), "Observation:\n42")


@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_the_text_after_a_fence_is_a_message_of_its_own_that_says_so(size: int) -> None:
    pieces = tuple(TextDelta(REPLY[at : at + size]) for at in range(0, len(REPLY), size))
    async with answering(pieces, "Yes.") as answer:
        assert await answer.completions.think(last=False) == "print(6*7)"
        await run_block(answer)
        await answer.completions.think(last=False)
    before, code, after = answer.response.output[:3]
    assert isinstance(code, e.CodeInterpreterCall)
    assert isinstance(before, e.Message)
    assert isinstance(after, e.Message)
    assert (before.before_result_of, after.before_result_of) == (None, code.id)
    assert (after.content[0].text, after.phase, after.status) == (AFTER, "commentary", "completed")
    assert [str(message.content) for message in answer.model.calls[-1][-2:]] == [REPLY, "Observation:\n42"]


async def test_another_model_reads_the_text_before_the_observation() -> None:
    async with answering(REPLY) as answer:
        await answer.completions.think(last=False)
        await run_block(answer)
    for calls in (None, "function"):
        messages = rendered(answer.response.output, system="-", model="other", calls=calls)
        said = "".join(str(message.content) for message in messages if message.role == "assistant")
        assert AFTER in said
        assert messages[-1].content == "Observation:\n42"


async def test_a_further_fence_in_that_text_does_not_run_and_the_model_is_told() -> None:
    async with answering(REPLY + "\n```python\nprint(1)\n```\nend", "Yes.") as answer:
        assert await answer.completions.think(last=False) == "print(6*7)"
        await run_block(answer)
        assert await answer.completions.think(last=False) is None
    after = answer.response.output[2]
    assert isinstance(after, e.Message)
    assert after.content[0].text.endswith("```python\nprint(1)\n```\nend")
    assert "only the first" in answer.asked.casefold()


@pytest.mark.parametrize(
    "turn",
    [
        pytest.param((TextDelta(REPLY), *[TextDelta("and so on, and so on. ")] * 2_000), id="repeats itself"),
        pytest.param(f"{REPLY}\nObservation: 43\nSo it is 43.", id="makes up a result"),
        pytest.param((TextDelta(REPLY), Finish("length")), id="is cut off"),
        pytest.param((TextDelta(REPLY), ModelStreamBroken("It broke.")), id="breaks off"),
    ],
)
async def test_the_code_runs_whatever_the_text_after_it_is(turn: Turn) -> None:
    async with answering(turn) as answer:
        assert await answer.completions.think(last=False) == "print(6*7)"
        await run_block(answer)
    after = answer.response.output[2]
    assert isinstance(after, e.Message)
    assert after.content[0].text.startswith(AFTER)
    assert "43" not in after.content[0].text


async def test_an_answer_for_a_program_has_one_message_and_the_text_becomes_reasoning() -> None:
    options = AgentOptions(answer_format=e.JsonObjectFormat())
    async with answering(REPLY, options=options) as answer:
        answer.builder.hold_text()
        assert await answer.completions.think(last=False) == "print(6*7)"
        await run_block(answer)
    assert not any(isinstance(item, e.Message) for item in answer.response.output)
    thoughts = [part.text for item in answer.response.output if isinstance(item, e.Reasoning) for part in item.content]
    assert AFTER in "".join(thoughts)
