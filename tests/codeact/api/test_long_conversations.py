"""Conversations of an agent that are longer than its model's window, with a real kernel."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from codeact import Agent, Pool
from codeact import events as e
from codeact.context.window import text_of
from codeact.dialect import tags
from codeact.dialect.base import Entry
from codeact.dialect.history import rendered
from codeact.model import ChatMessage
from codeact.models.scripted import ScriptedModel

WINDOW = 4_096


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    with Pool(sandbox="process", max_size=2, data_dir=tmp_path_factory.mktemp("pool")) as pool:
        yield pool


class Runner(ScriptedModel):
    """Runs what the user says as code, and then says so; it reads a small window."""

    def __init__(self) -> None:
        super().__init__(self._say)

    async def window_tokens(self) -> int:
        return WINDOW

    def _say(self, messages: Sequence[ChatMessage]) -> str:
        said = text_of(messages[-1])
        if said.startswith("Observation:"):
            return "It ran."
        code = said.rpartition("run: ")[2]
        return f"I run it.\n<execute>\n{code}\n</execute>"


def shown(agent: Agent, code: str) -> str:
    result = agent.run(f"run: {code}")
    [block] = [item for item in result.items if isinstance(item, e.CodeInterpreterCall)]
    assert block.observation is not None
    return block.observation


@pytest.mark.parametrize("taken", [False, True])
def test_code_recalls_what_the_prompt_leaves_out_and_a_variable_of_that_name_stays(pool: Pool, taken: bool) -> None:
    with Agent(model := Runner(), pool=pool) as agent:
        shown(agent, "recall = 0.5" if taken else "pass")
        assert "NameError" in shown(agent, "recal")
        for number in range(8):
            shown(agent, f"print('row {number}, ' * 150)")
        assert any("recall(3) returns the text" in str(call) for call in model.calls)
        if taken:
            assert shown(agent, "print(recall)").endswith("0.5")
        else:
            found = shown(agent, "print(recall(3)[:60])")
            assert "print('row 0, ' * 150)" in found
            assert "blocks 1 to" in shown(agent, "recall(99)")


def test_the_nth_turn_renders_only_what_was_added(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[int] = []

    def counted(items: Sequence[Entry], **more: Any) -> list[ChatMessage]:
        counts[-1] += len(items)
        return rendered(items, **more)

    monkeypatch.setattr(tags, "rendered", counted)
    with Agent(model := ScriptedModel(lambda messages: f"Answer {len(messages)}."), pool=pool) as agent:
        for number in range(8):
            counts.append(0)
            agent.run(f"Question {number}")
        assert len(set(counts[2:])) == 1, counts
        assert [message.content for message in model.calls[-1][-3:]] == ["Question 6", "Answer 14.", "Question 7"]
