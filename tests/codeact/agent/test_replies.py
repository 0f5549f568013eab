"""Odd replies of a model, without a sandbox: their code is given back to the model and not run."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeact import errors
from codeact import events as e
from codeact.agent.code_runner import CodeRunner
from codeact.agent.options import AgentOptions
from codeact.agent.response_builder import ResponseBuilder
from codeact.agent.turn import Completions
from codeact.model import Finish, ReasoningDelta, TextDelta, ToolCall, ToolCallDelta
from codeact.models.scripted import ScriptedModel, Step, Turn
from codeact.workspaces.workspace import Workspace
from sandbox_pool.outputs import ExecutionResult
from tests.loop_steps import measured_steps
from tests.server.conftest import in_thread

pytestmark = pytest.mark.anyio

CODE = "<execute>\nprint(6*7)\n</execute>"
STOP = Finish("stop")


@dataclass
class Sandbox:
    id: str = "cntr_1"


@dataclass
class Answering:
    response: e.Response
    completions: Completions
    builder: ResponseBuilder
    model: ScriptedModel
    events: list[e.Event] = field(default_factory=list)

    @property
    def asked(self) -> str:
        """The last message of the last call."""
        return str(self.model.calls[-1][-1].content)


async def no_pool() -> NoReturn:
    raise AssertionError("no code runs")


class Runner(CodeRunner):
    """Claims a sandbox that cannot run code."""

    async def claim(self) -> Any:
        return Sandbox()


@asynccontextmanager
async def answering(
    *turns: Turn, name: str = "scripted", options: AgentOptions | None = None
) -> AsyncIterator[Answering]:
    model = ScriptedModel(list(turns), name=name)
    response = e.Response(id="resp_1", created_at=0.0, model=name)
    events: list[e.Event] = []

    async def emit(event: e.Event) -> None:
        events.append(event)

    question = e.InputMessage(id="msg_1", role="user", content=[{"type": "input_text", "text": "6*7?"}])
    async with anyio.create_task_group() as tasks:
        builder = ResponseBuilder(response, emit, started=0.0)
        workspace = Workspace(no_pool, owner="local")
        options = options or AgentOptions()
        runner = Runner(builder, [question], workspace, options, tasks)
        completions = Completions(builder, [question], model, options, runner, tasks, workspace)
        yield Answering(response, completions, builder, model, events)


@pytest.mark.parametrize(
    "turn",
    [
        "",
        " \n\n ",
        "<think>I think and think",
        [ReasoningDelta("I think and that is all."), STOP],
        [STOP],
    ],
)
async def test_a_reply_with_nothing_to_show_gets_one_more_try_and_ends_by_name(turn: Turn) -> None:
    async with answering(turn, "It is 42.") as answer:
        assert await answer.completions.think(last=False) is None
        assert answer.response.output_text == "It is 42."
        assert "your last reply had no text" in answer.asked
    async with answering(turn, turn) as answer:
        with pytest.raises(errors.ModelSaidNothing):
            await answer.completions.think(last=False)
        assert len(answer.model.calls) == 2


LINES = "\n```" * 100_000
LONG = {
    "code with fences": (TextDelta(f"<execute>\n'''{LINES}\n'''\n</execute>"), f"'''{LINES}\n'''"),
    "code in a call": (ToolCallDelta(0, json.dumps({"code": f"1{LINES}"}), "python", "call_1"), f"1{LINES}"),
    "prose": (TextDelta("".join(f"`<execute>` {n}" for n in range(30_000))), None),
}


@pytest.mark.parametrize("kind", LONG)
async def test_a_reply_that_comes_in_one_long_piece_is_read_in_short_steps(kind: str) -> None:
    delta, code = LONG[kind]
    options = AgentOptions(dialect="tool_call") if isinstance(delta, ToolCallDelta) else AgentOptions()
    async with answering([delta, STOP], options=options) as answer:
        with measured_steps() as steps:
            assert await answer.completions.think(last=False) == code
        assert 0 < steps.longest_s < 0.05


async def test_a_thought_whose_end_follows_code_in_the_same_long_piece_is_found() -> None:
    text = f"I try.\n{CODE}\n{'And so on. ' * 300}</think>The answer is 42."
    async with answering([TextDelta(text), STOP], name="unknown-model") as answer:
        assert await answer.completions.think(last=False) is None
        assert answer.response.output_text == "The answer is 42."


async def test_a_call_of_python_that_nobody_offered_is_code() -> None:
    async with answering([ToolCall("python", '{"code": "print(6*7)"}'), STOP]) as answer:
        assert await answer.completions.think(last=False) == "print(6*7)"


@pytest.mark.parametrize(
    "turn",
    [
        [ToolCall("get_weather", '{"city": "Paris"}'), STOP],
        '<tool_call>\n{"name": "search", "arguments": {}}\n</tool_call>',
        "I add.\nObservation: 42\nIt is 42.",
    ],
)
async def test_what_cannot_be_read_is_told_once_with_the_right_form_and_ends_by_name(turn: Turn) -> None:
    async with answering(turn, CODE) as answer:
        assert await answer.completions.think(last=False) == "print(6*7)"
        assert answer.asked.startswith("Observation: ")
        assert "<execute>\n" in answer.asked
    async with answering(turn, turn) as answer:
        with pytest.raises(errors.ModelUnreadable):
            await answer.completions.think(last=False)
        assert "42" not in answer.response.output_text


async def test_a_block_that_is_closed_wrongly_is_told_and_does_not_run() -> None:
    wrong = "<execute>\nprint(6*7)\n<execute>\nThen I am done."
    async with answering(wrong, "It is 42.") as answer:
        assert await answer.completions.think(last=False) is None
        call = answer.response.output[0]
        assert isinstance(call, e.CodeInterpreterCall)
        assert call.result is None
        assert "Close each block with </execute>" in answer.asked
    async with answering(wrong, wrong) as answer:
        with pytest.raises(errors.ModelUnreadable):
            await answer.completions.think(last=False)


async def test_a_block_before_an_unopened_end_of_thinking_was_a_thought() -> None:
    thought = "First I think about <execute>\nprint('in thought')\n</execute> hmm.\n</think>\n\n"
    for name in ("scripted", "deepseek-r1"):
        turn = [TextDelta(piece) for piece in (thought[:30], thought[30:], CODE)]
        async with answering([*turn, STOP], name=name) as answer:
            assert await answer.completions.think(last=False) == "print(6*7)"
            assert answer.response.output_text.strip() == ""


async def test_a_second_block_is_told_to_the_model() -> None:
    async with answering(f"<execute>\nx = 6\n</execute>\nand\n{CODE}", "It is 42.") as answer:
        assert await answer.completions.think(last=False) == "x = 6"
        await answer.builder.code.executed(ExecutionResult(status="ok", duration_s=0.1), "Observation: ok")
        await answer.completions.think(last=False)
        assert "Only the first one ran" in answer.asked


async def test_text_that_repeats_itself_is_told_once_and_ends_by_name() -> None:
    babble: Sequence[Step] = [TextDelta("the same again and again, ")] * 1000
    async with answering(babble, babble) as answer:
        with pytest.raises(errors.ModelRepeats):
            await answer.completions.think(last=False)
        assert "repeated the same text" in answer.asked
        assert len(answer.response.output_text) < 30_000


async def test_a_block_that_ran_three_times_with_the_same_result_is_told_once_and_ends_by_name() -> None:
    async with answering(CODE) as answer:
        for _ in range(3):
            answer.completions.has_run("f()", "Observation: ok, 0.10 s\n1")
        await answer.completions.think(last=False)
        assert "has run three times" in answer.asked
        with pytest.raises(errors.ModelRepeats):
            answer.completions.has_run("f()", "Observation: ok, 0.20 s\n1")


async def test_output_is_bounded_whatever_the_models_server_allows() -> None:
    words = [TextDelta(f"word {number} ") for number in range(2000)]
    async with answering(words, options=AgentOptions(call_output_tokens=100)) as answer:
        assert await answer.completions.think(last=False) is None
        assert answer.completions.incomplete == e.IncompleteDetails("max_output_tokens")
        assert len(answer.response.output_text) < 500


async def test_a_stream_that_breaks_is_asked_once_more_where_no_code_was_shown() -> None:
    broken = errors.ModelStreamBroken("The stream broke.")
    async with answering([TextDelta("I comp"), broken], "It is 42.") as answer:
        assert await answer.completions.think(last=False) is None
        assert [notice.code for notice in answer.response.notices] == ["model_stream_broken"]
    async with answering([TextDelta("<execute>\nprint("), broken], "It is 42.") as answer:
        with pytest.raises(errors.ModelStreamBroken):
            await answer.completions.think(last=False)
    async with answering([TextDelta(CODE + " "), broken]) as answer:
        assert await answer.completions.think(last=False) == "print(6*7)"


async def test_an_answer_that_its_server_could_not_finish_failed() -> None:
    turn = [TextDelta("<execute>\nprint("), Finish("error")]
    async with answering(turn) as answer:
        with pytest.raises(errors.ModelStreamBroken, match="ended the answer with an error"):
            await answer.completions.think(last=False)


TEXTS = ["It is 42.", CODE, f"I compute.\n{CODE}", "```python\nprint(6*7)\n```", "Two words"]


@settings(deadline=None, max_examples=50)
@given(st.sampled_from(TEXTS), st.data())
def test_reasoning_between_any_two_deltas_changes_neither_text_nor_code(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(1, len(text) - 1), max_size=6)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    thoughts = data.draw(st.lists(st.booleans(), min_size=len(pieces), max_size=len(pieces)))
    turn: list[Step] = []
    for piece, thinks in zip(pieces, thoughts, strict=True):
        turn += [ReasoningDelta("hm <execute>")] * thinks + [TextDelta(piece)]

    async def both() -> list[tuple[str | None, str]]:
        results = []
        for script in ([*turn, STOP], [TextDelta(text), STOP]):
            async with answering(script) as answer:
                code = await answer.completions.think(last=False)
                results.append((code, answer.response.output_text))
        return results

    mixed, alone = in_thread(anyio.run, both)
    assert mixed == alone
