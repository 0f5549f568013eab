"""A conversation that outgrows its model's window goes on, whatever the window; without a sandbox."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NoReturn

import pytest

from codeact import events as e
from codeact.agent.loop import AgentOptions, Stop, answer
from codeact.context.budget import Budget
from codeact.context.compaction_text import ASK
from codeact.context.tokens import estimated_tokens
from codeact.context.window import text_of
from codeact.model import ChatMessage
from codeact.models.scripted import ScriptedModel
from codeact.workspaces.workspace import Workspace
from sandbox_pool.outputs import ExecutionResult

pytestmark = pytest.mark.anyio

AIMS = "The user collects facts."


async def no_pool() -> NoReturn:
    raise AssertionError("no code runs")


def question(text: str) -> e.InputMessage:
    return e.InputMessage(id=f"msg_{text}", role="user", content=[{"type": "input_text", "text": text}])


def prompt_tokens(messages: Sequence[ChatMessage]) -> float:
    return sum(estimated_tokens(text_of(message)) for message in messages)


class Talk:
    """A conversation with a model of this window, whose answers are as long as they are told to be."""

    def __init__(self, window_tokens: int | None, *, says: int, **options: Any) -> None:
        self.items: list[e.Input | e.Item] = []
        self.model = ScriptedModel(self._say)
        self.workspace = Workspace(no_pool, owner="local")
        self._says = says
        self._options = AgentOptions(**{"truncate": True, "window_tokens": window_tokens, **options})

    def _say(self, messages: Sequence[ChatMessage]) -> str:
        if ASK in text_of(messages[-1]):
            return AIMS
        return " ".join(f"Fact {number} of answer {len(self.model.calls)} is so." for number in range(self._says))

    async def ask(self, text: str) -> e.Response:
        response = e.Response(id=f"resp_{len(self.items)}", created_at=0, model=self.model.name)

        async def emit(event: e.Event) -> None: ...

        self.items.append(question(text))
        await answer(
            response,
            list(self.items),
            model=self.model,
            workspace=self.workspace,
            options=self._options,
            emit=emit,
            stop=Stop(),
        )
        self.items += response.output
        return response

    @property
    def compactions(self) -> list[e.Compaction]:
        return [item for item in self.items if isinstance(item, e.Compaction)]


@pytest.mark.parametrize("window", [2_048, 4_096, 8_192, 32_768, 131_072])
async def test_a_conversation_that_outgrows_its_window_is_compacted_and_goes_on(window: int) -> None:
    room = Budget(window).room_tokens
    assert room is not None
    talk = Talk(window, says=window // (80 if window < 100_000 else 35))
    turns = 0
    while len(talk.compactions) < 2:
        response = await talk.ask(f"Question {turns}?")
        assert response.status == "completed"
        assert "Question 0?" in text_of(talk.model.calls[-1][1])
        assert text_of(talk.model.calls[-1][-1]).endswith(f"Question {turns}?")
        turns += 1
        assert turns < 60
    assert all(prompt_tokens(messages) <= room for messages in talk.model.calls)
    assert len(talk.model.calls) == turns + len(talk.compactions)
    assert AIMS in talk.compactions[-1].text
    assert turns >= 2 * len(talk.compactions)


async def test_prompts_only_grow_between_two_compactions_and_over_answers() -> None:
    talk = Talk(8_192, says=60)
    turns = 0
    while len(talk.compactions) < 2:
        await talk.ask(f"Question {turns}?")
        turns += 1
    prompts = [call for call in talk.model.calls if ASK not in text_of(call[-1])]
    rewritten = [after for before, after in pairwise(prompts) if after[: len(before)] != before]
    assert len(rewritten) == len(talk.compactions)


async def test_what_was_masked_in_one_answer_stays_masked_in_the_next() -> None:
    talk = Talk(8_192, says=20)
    for number in range(12):
        talk.items.append(
            e.CodeInterpreterCall(
                id=f"ci_{number}",
                container_id="c",
                code="print(1)",
                observation="Observation: ok, 0.01 s\nstdout:\n" + f"row {number} " * 400,
                result=ExecutionResult(status="ok", duration_s=0.01),
            )
        )
    for turn in range(3):
        assert (await talk.ask(f"Question {turn}?")).status == "completed"
    first, second, third = talk.model.calls
    assert "recall(1) returns the text" in str(first)
    assert "def recall(n" in str(first[0]) or "recall(n: int)" in str(first[0])
    assert (second[: len(first)], third[: len(second)]) == (first, second)
    assert talk.compactions == []


async def test_one_long_question_is_never_compacted_in_a_loop() -> None:
    talk = Talk(4_096, says=5)
    for turn in range(3):
        response = await talk.ask(f"Question {turn}: " + "one more fact, " * 3_000)
        assert response.status == "completed"
    asked = [call for call in talk.model.calls if ASK in text_of(call[-1])]
    assert len(asked) <= 2
    assert all(prompt_tokens(messages) <= 3_072 for messages in talk.model.calls)


async def test_a_threshold_counts_where_nobody_knows_the_window() -> None:
    talk = Talk(None, says=100, truncate=False, compact_threshold=3_000)
    turns = 0
    while not talk.compactions:
        assert (await talk.ask(f"Question {turns}?")).status == "completed"
        turns += 1
    [compaction] = talk.compactions
    assert talk.items[-3].id == compaction.keeps[-1] == f"msg_Question {turns - 1}?"
    assert prompt_tokens(talk.model.calls[-1]) <= 0.8 * 3_000


async def test_a_compaction_that_was_stopped_stands_for_nothing() -> None:
    talk = Talk(8_192, says=5)
    await talk.ask("Question 0?")
    talk.items.append(e.Compaction(id="cmp_1"))
    await talk.ask("Question 1?")
    assert "Fact 0 of answer 1" in str(talk.model.calls[-1])
