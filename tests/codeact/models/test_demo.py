"""The demo model writes real code: each of its blocks is run here, and it answers from the output."""

import ast
import contextlib
import io
import traceback
from contextlib import aclosing
from typing import Any

import pytest

from codeact.dialect.base import Aside
from codeact.dialect.history import rendered as chat_messages
from codeact.dialect.parser import Parser
from codeact.dialect.prompt import kernel_lost, last_turn
from codeact.dialect.segments import CodeEnd, Text
from codeact.events import CodeInterpreterCall, InputMessage, Item, Message, OutputText
from codeact.model import Finish, Sampling, TextDelta, Usage
from codeact.models.demo.model import EXAMPLES, DemoModel
from codeact.observations.observation import observation
from sandbox_pool.outputs import DisplayData, Error, ExecuteResult, ExecutionResult, Stream

pytestmark = pytest.mark.anyio


class Conversation:
    """A small agent loop, with an `exec` instead of a kernel."""

    def __init__(self) -> None:
        self.items: list[InputMessage | Item] = []
        self.kernel: dict[str, Any] = {}
        self.blocks: list[str] = []

    def say(self, text: str, role: str = "user") -> None:
        part = {"type": "input_text", "text": text}
        self.items.append(InputMessage(id="in", role=role, content=[part]))  # type: ignore[arg-type]

    async def ask(self, question: str) -> str:
        """The prose of the last turn."""
        self.say(question)
        while True:
            prose, code = await self.turn()
            self.items.append(Message(id="msg", content=[OutputText(prose)]))
            if code is None:
                return prose
            self.blocks.append(code)
            self.items.append(CodeInterpreterCall(id="ci", container_id="c", code=code, observation=self.run(code)))

    async def turn(self, *extra: str) -> tuple[str, str | None]:
        messages = chat_messages([*self.items, *map(Aside, extra)], system="S")
        parser, segments = Parser(), []
        async with aclosing(DemoModel(pace_s=0).stream(messages, Sampling())) as stream:
            async for event in stream:
                if isinstance(event, TextDelta):
                    segments += parser.feed(event.text)
        segments += parser.finish()
        prose = "".join(segment.text for segment in segments if isinstance(segment, Text))
        return prose, next((segment.code for segment in segments if isinstance(segment, CodeEnd)), None)

    def run(self, code: str) -> str:
        tree = ast.parse(code)
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        printed, outputs, error = io.StringIO(), [], None
        try:
            with contextlib.redirect_stdout(printed):
                exec(compile(tree, "cell", "exec"), self.kernel)
                if isinstance(last, ast.Expr):
                    value = eval(compile(ast.Expression(last.value), "cell", "eval"), self.kernel)
                    if value is not None:
                        outputs = [ExecuteResult({"text/plain": repr(value)})]
        except Exception as raised:
            error = Error(type(raised).__name__, str(raised), traceback.format_exc().splitlines())
        result = ExecutionResult(status="error" if error else "ok", duration_s=0.1, error=error)
        return observation([Stream("stdout", printed.getvalue()), *outputs], result, limit_chars=5000)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("What is the 100th Fibonacci number?", "The Fibonacci number is **354224848179261915075**."),
        ("fibonacci 10 please", "The Fibonacci number is **55**."),
        ("How many primes are there below 100?", "There are **25 primes up to 100, the largest is 97**."),
        ("What is 12 * (3 + 4)?", "It is **84**."),
        ("Add the numbers 1 to 1000", "The sum is **500500**."),
        ("What is the sum of 4, 5 and 6?", "The sum is **15**."),
        ("Summarise a table of sales", "North sells most, 570 in all; the table above has the details."),
        ("Make a mistake, then fix it", "Fixed: the prices add up to **12.70**."),
        ("count to 1", "Done: the last number was **1**."),
    ],
)
async def test_the_answer_is_what_the_code_gave(question: str, answer: str) -> None:
    conversation = Conversation()
    assert await conversation.ask(question) == answer
    assert conversation.blocks


@pytest.mark.parametrize("question", EXAMPLES)
async def test_it_says_that_it_is_a_demo_before_any_code(question: str) -> None:
    conversation = Conversation()
    conversation.say(question)
    prose, code = await conversation.turn()
    assert prose.startswith("I am the scripted demo, not a language model.")
    assert code is not None


async def test_it_names_its_tasks_when_it_does_not_know_one() -> None:
    prose = await Conversation().ask("Write a poem about rain")
    assert prose.startswith("I am the scripted demo, not a language model, and I know only a few tasks:")
    assert all(f"- {example}\n" in prose for example in EXAMPLES)
    assert "CODEACT_MODEL" in prose


@pytest.mark.parametrize("question", ["Plot a sine wave", "Draw a histogram"])
async def test_a_plot_is_drawn_and_described(question: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "agg")
    conversation = Conversation()
    conversation.say(question)
    _, code = await conversation.turn()
    assert code is not None
    seen = conversation.run(code.replace("plt.show()", "figure = plt.gcf()"))
    assert conversation.kernel["figure"].axes
    picture = DisplayData({"image/png": "…"}, {"image/png": {"width": 640, "height": 480}})
    shown = observation([picture], ExecutionResult(status="ok", duration_s=1), limit_chars=500).partition("\n")[2]
    conversation.items.append(CodeInterpreterCall(id="ci", container_id="c", code=code, observation=f"{seen}\n{shown}"))
    prose, code = await conversation.turn()
    assert code is None
    assert prose.startswith("Here it is, 640x480 pixels: ")


async def test_the_error_is_real_and_is_read_before_it_is_fixed() -> None:
    conversation = Conversation()
    await conversation.ask("Make a mistake, then fix it")
    observations = [item.observation for item in conversation.items if isinstance(item, CodeInterpreterCall)]
    assert "TypeError: unsupported operand" in str(observations[0])
    assert any(
        isinstance(item, Message) and "That raised `TypeError: unsupported operand" in item.content[0].text
        for item in conversation.items
    )
    assert len(conversation.blocks) == 2


async def test_a_follow_up_uses_what_the_kernel_kept() -> None:
    conversation = Conversation()
    await conversation.ask("What is the 10th Fibonacci number?")
    assert await conversation.ask("And the next one?") == "The next one is **11: 89**."
    assert await conversation.ask("and the next one?") == "The next one is **12: 144**."
    assert "def fibonacci" not in conversation.blocks[-1]


async def test_it_starts_again_when_the_kernel_was_lost() -> None:
    conversation = Conversation()
    await conversation.ask("What is the 10th Fibonacci number?")
    conversation.kernel.clear()
    conversation.say(kernel_lost("it was idle"), role="developer")
    assert await conversation.ask("And the next one?") == "The next one is **11: 89**."
    assert "def fibonacci" in conversation.blocks[-1]


async def test_a_question_after_a_stopped_block_is_the_question() -> None:
    conversation = Conversation()
    conversation.say("Count to 10, live")
    stopped = "Observation: interrupted from outside, 1.00 s\nstdout:\n1"
    conversation.items.append(CodeInterpreterCall(id="ci", container_id="c", code="...", observation=stopped))
    assert await conversation.ask("What is 6 * 7?") == "It is **42**."


@pytest.mark.parametrize(
    ("seen", "answer"),
    [
        (
            "Observation: error, 0.10 s\ntraceback:\nModuleNotFoundError: No module named 'matplotlib'",
            "That went wrong, and the demo has no other way: `ModuleNotFoundError: No module named 'matplotlib'`."
            " The sandbox has no matplotlib.",
        ),
        (
            "Observation: stopped at the time limit, 60.00 s\nLimit reached: execution_timeout_s\nstdout:\n1",
            "The code did not finish (stopped at the time limit, 60.00 s), so I have no answer.",
        ),
    ],
)
@pytest.mark.parametrize("question", [*EXAMPLES, "and the next one?"])
async def test_an_end_it_did_not_expect_is_told_as_it_is(question: str, seen: str, answer: str) -> None:
    conversation = Conversation()
    conversation.say(question)
    conversation.items.append(CodeInterpreterCall(id="ci", container_id="c", code="…", observation=seen))
    prose, code = await conversation.turn()
    if "mistake" in question and code is not None:
        assert "traceback" in seen
    else:
        assert prose == answer


async def test_in_the_last_turn_it_answers_from_what_it_has() -> None:
    conversation = Conversation()
    conversation.say("What is 6 * 7?")
    _, code = await conversation.turn()
    assert code is not None
    conversation.items.append(
        CodeInterpreterCall(id="ci", container_id="c", code=code, observation=conversation.run(code))
    )
    assert await conversation.turn(last_turn(1)) == ("It is **42**.", None)


async def test_it_streams_word_by_word_and_ends_with_a_finish_and_usage() -> None:
    messages = chat_messages([], system="S")
    async with aclosing(DemoModel(pace_s=0).stream(messages, Sampling())) as stream:
        events = [event async for event in stream]
    deltas = [event.text for event in events if isinstance(event, TextDelta)]
    assert len(deltas) > 20
    assert all(len(delta.split()) <= 1 for delta in deltas)
    assert events[-2] == Finish("stop")
    assert isinstance(events[-1], Usage)
    assert events[-1].cost_usd == 0.0


def test_its_name_is_demo() -> None:
    assert DemoModel().name == "demo"
