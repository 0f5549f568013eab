"""Code that runs while the model writes it: from the model's stream to its next prompt, in a real kernel."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest

from codeact import AsyncAgent
from codeact import events as e
from codeact.model import Finish, ModelEvent, TextDelta, ToolCallDelta
from codeact.models.scripted import ScriptedModel, Turn
from tests.codeact.api.test_api import settings

pytestmark = pytest.mark.anyio


class Answer:
    """The events of one answer, and what the model read at its end."""

    def __init__(self, events: list[e.Event], model: ScriptedModel) -> None:
        self.events = events
        self.observation = str(model.calls[-1][-1].content)
        self.model = model

    @property
    def block(self) -> e.CodeInterpreterCall:
        return next(item for item in self.response.output if isinstance(item, e.CodeInterpreterCall))

    @property
    def response(self) -> e.Response:
        last = self.events[-1]
        assert isinstance(last, e.ResponseCompleted | e.ResponseFailed | e.ResponseIncomplete), last
        return last.response


class Waiting:
    """Gates in a model's turn, which open one after the other, each with an event that meets its condition."""

    def __init__(self) -> None:
        self.gates: list[tuple[Callable[[e.Event], bool], anyio.Event]] = []

    def until(self, condition: Callable[[e.Event], bool]) -> anyio.Event:
        gate = anyio.Event()
        self.gates.append((condition, gate))
        return gate

    def saw(self, event: e.Event) -> None:
        for condition, gate in self.gates:
            if not gate.is_set():
                if condition(event):
                    gate.set()
                return


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("eager")


async def ask(
    data_dir: Path, turns: Sequence[Turn], waiting: Waiting | None = None, *, pace_s: float = 0.0, **more: Any
) -> Answer:
    model = ScriptedModel(turns, pace_s=pace_s)
    events: list[e.Event] = []
    with anyio.fail_after(240):
        async with AsyncAgent(model, **{"eager": True, **settings(data_dir), **more}) as agent:
            async for event in agent.stream("Go."):
                events.append(event)
                if waiting is not None:
                    waiting.saw(event)
    return Answer(events, model)


def printed(text: str) -> Callable[[e.Event], bool]:
    return lambda event: isinstance(event, e.CodeOutput) and text in getattr(event.output, "text", "")


def pieces(text: str) -> list[ModelEvent]:
    return [TextDelta(text[at : at + 5]) for at in range(0, len(text), 5)]


def calls(code: str) -> list[ModelEvent]:
    text = json.dumps({"code": code})
    return [ToolCallDelta(0, text[at : at + 5], "python", "call_1") for at in range(0, len(text), 5)]


async def test_a_statement_runs_before_the_model_writes_the_next(data_dir: Path) -> None:
    waiting = Waiting()
    turn = [
        *pieces("Look.\n<execute>\nx = 1\nprint('first')\n"),
        waiting.until(printed("first")),
        *pieces("for i in range(2):\n    print('loop', i)\ny"),
        waiting.until(printed("loop 1")),
        *pieces(" = x\ny + 41\n</execute>"),
        Finish("stop"),
    ]
    answer = await ask(data_dir, [turn, "Done."], waiting)
    kinds = [event.__class__.__name__ for event in answer.events]
    assert kinds.index("InterpreterInterpreting") < kinds.index("CodeOutput") < kinds.index("CodeDone")
    assert "\nvalue:\n42" in answer.observation
    assert answer.observation.startswith("Observation: ok")
    told = [event for event in answer.events if isinstance(event, e.CodeProgress)]
    assert (told[-1].ran, told[-1].line) == (6, None)
    first = next(place for place, event in enumerate(answer.events) if isinstance(event, e.CodeOutput))
    before = [event for event in answer.events[:first] if isinstance(event, e.CodeProgress)]
    assert (before[-1].ran, before[-1].line) == (1, 2)
    numbers = [event.sequence_number for event in answer.events]
    assert numbers == list(range(len(numbers)))


async def test_statements_that_come_with_the_end_of_the_block_have_their_lines_too(data_dir: Path) -> None:
    waiting = Waiting()
    turn = [
        TextDelta("<execute>\nprint('first')\nx = 2"),
        waiting.until(printed("first")),
        TextDelta("\nfor each in [x]:\n    print('second')\nprint('third')\n</execute>"),
    ]
    answer = await ask(data_dir, [turn, "Done."], waiting)
    runs = [event.line for event in answer.events if isinstance(event, e.CodeProgress) and event.line is not None]
    assert (runs[0], runs[-2:]) == (1, [4, 5])


async def test_the_first_error_ends_the_models_stream_at_once(data_dir: Path) -> None:
    for dialect in ("tags", "tool_call"):
        code = "x = 1\n\n1 / 0\nprint('never')\n"
        never = anyio.Event()
        write = calls(code) if dialect == "tool_call" else pieces(f"<execute>\n{code}")
        turn = [*write, never, *pieces("x = 2\n")]
        answer = await ask(data_dir, [turn, "Done."], dialect=dialect)
        assert not never.is_set()
        assert "Lines 1 to 1" not in answer.observation
        assert (
            "Line 1 had run before the error; you were stopped there, and nothing after it ran." in answer.observation
        )
        assert "ZeroDivisionError" in answer.observation
        assert answer.block.code.startswith("x = 1\n\n1 / 0\n")
        assert "never" not in answer.observation
        history = answer.model.calls[-1]
        assert all("<execute>" not in str(each.content) or "</execute>" in str(each.content) for each in history[1:])
        assert answer.response.usage is not None
        assert answer.response.usage.output_tokens > 0


async def test_the_ledger_says_how_much_was_not_written(data_dir: Path) -> None:
    text = "<execute>\n1 / 0\n" + "print('never')\n" * 200 + "</execute>"
    answer = await ask(data_dir, [text, "Done."], pace_s=0.02)
    assert 0 < (answer.response.ledger.unwritten_tokens or 0) <= len(text) // 4


async def test_a_later_syntax_error_is_told_with_the_lines_that_ran(data_dir: Path) -> None:
    turn = [*pieces("<execute>\nprint('early')\nx = = 1\ny = 2\n"), anyio.Event()]
    answer = await ask(data_dir, [turn, "Done."])
    assert answer.observation.startswith("Observation: syntax error, line 1 had run before")
    assert "early" in answer.observation
    assert "send the block from there on again" in answer.observation


async def test_code_that_ends_itself_ends_the_stream_too(data_dir: Path) -> None:
    turn = [*pieces("<execute>\nprint('early')\nexit()\nprint('never')\n"), anyio.Event()]
    answer = await ask(data_dir, [turn, "Done."])
    assert answer.observation.startswith("Observation: ok")
    assert "before your code ended itself" in answer.observation
    assert "never" not in answer.observation


async def test_functions_of_early_statements_are_called_early(data_dir: Path) -> None:
    called = anyio.Event()

    async def ring(name: str) -> str:
        """Rings."""
        called.set()
        return f"{name} rang"

    turn = [*pieces("<execute>\nr = ring('bell')\n"), called, *pieces("print(r)\n</execute>"), Finish("stop")]
    answer = await ask(data_dir, [turn, "Done."], tools=[ring])
    assert "bell rang" in answer.observation


async def test_with_approval_it_waits_at_the_first_statement_that_needs_some(data_dir: Path) -> None:
    asked: list[str] = []
    waiting = Waiting()

    def approve(question: Any) -> Any:
        asked.append(question.code)
        return None if "keep" not in question.code else "keep it"

    turn = [
        *pieces("<execute>\nprint('safe')\n"),
        waiting.until(printed("safe")),
        *pieces("import os\nos.remove('keep.txt')\nprint('after')\n</execute>"),
        Finish("stop"),
    ]
    answer = await ask(data_dir, [turn, "Done."], waiting, approve=approve, approval="deletes")
    assert asked == ["os.remove('keep.txt')\nprint('after')"]
    assert "safe" in answer.observation
    assert "after" not in answer.observation
    assert (
        "The block from line 3 on was rejected, and nothing of that was run. The reason: keep it" in answer.observation
    )


async def test_a_block_that_comes_in_one_piece_runs_as_a_whole(data_dir: Path) -> None:
    text = TextDelta("<execute>\nprint(1)\nprint(2)\n</execute>")
    answer = await ask(data_dir, [[text, Finish("stop")], "Done."])
    assert not any(isinstance(event, e.CodeProgress) for event in answer.events)
    off = await ask(data_dir, [[*pieces(text.text), Finish("stop")], "Done."], eager=False)
    assert not any(isinstance(event, e.CodeProgress) for event in off.events)
    assert off.observation.partition(",")[0] == answer.observation.partition(",")[0] == "Observation: ok"


async def test_a_block_without_an_end_keeps_what_has_run(data_dir: Path) -> None:
    code = json.dumps({"code": "print('early')\nx = 1\n"})[:-2] + "\\q"
    turn = [ToolCallDelta(0, piece, "python", "call_1") for piece in (code[:30], code[30:])]
    answer = await ask(data_dir, [[*turn, Finish("stop")], "Done."], dialect="tool_call")
    assert "early" in answer.observation
    assert "is no escape" in answer.observation


async def test_stopping_while_the_model_writes_stops_the_code(data_dir: Path) -> None:
    model = ScriptedModel([[*pieces("<execute>\nprint('on')\nimport time\ntime.sleep(60)\nx = 1\n"), anyio.Event()]])
    async with AsyncAgent(model, eager=True, **settings(data_dir)) as agent:
        with anyio.fail_after(30):
            async for event in agent.stream("Go."):
                if printed("on")(event):
                    break
