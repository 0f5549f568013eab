"""Code that calls models itself: questions with values as answers, agents with their own sandboxes, a budget."""

from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest

from codeact import Agent
from codeact import events as e
from codeact.agent.approvals import ApprovalOptions
from codeact.environment import Environment
from codeact.errors import InvalidRequest
from codeact.model import ChatMessage, ModelEvent, Sampling, TextDelta
from codeact.models.scripted import ScriptedModel
from codeact.runs.code_models import CodeModels
from codeact.runs.new_run import NewRun
from codeact.settings import Settings
from codeact.workspaces.options import ALL_HAVE, ContainerOptions
from codeact.workspaces.registry import Workspaces
from codeact.workspaces.workspace import Workspace
from sandbox_pool import SandboxPool

PERSON = '{"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}'


class Crowd:
    """Answers each question by its last words. In the main conversation, it writes the given blocks."""

    def __init__(self, *blocks: str) -> None:
        self.left = [*(f"<execute>\n{block}\n</execute>\n" for block in blocks), "Done."]
        self.wrong = 1

    def __call__(self, messages: Sequence[ChatMessage]) -> str:
        text = str(messages[-1].content)
        if messages[-1].role == "user" and "JSON" in text:
            self.wrong -= 1
            return "not JSON" if self.wrong >= 0 else '```json\n{"age": 36}\n```'
        if "square" in text and "main" not in text:
            return f"<think>hm</think> {int(text.split()[-1]) ** 2}"
        if not any("the main question" in str(message.content) for message in messages):
            block = "I add them.\n<execute>\nprint(sum(numbers))\n</execute>\n"
            return block if "the numbers" in text else "The sum is 6."
        return self.left.pop(0)


def ran(tmp_path: Path, *blocks: str, **settings: Any) -> tuple[e.Response, str, ScriptedModel]:
    """The response, what its code printed, and the model."""
    model = ScriptedModel(Crowd(*blocks), name="crowd")
    settings = {"model_calls": "always", "pool_max": 2} | settings
    with Agent(model, sandbox="process", data_dir=tmp_path, **settings) as agent:
        response = agent.run("the main question")
    blocks_ = [item for item in response.output if isinstance(item, e.CodeInterpreterCall)]
    printed = "".join(
        output.logs for item in blocks_ for output in item.outputs or () if isinstance(output, e.LogsOutput)
    )
    return response, printed, model


def test_code_asks_the_model_and_gets_values(tmp_path: Path) -> None:
    code = (
        f"print(ask('How old is Ada?', {PERSON})['age'] + 1)\n"
        "print(ask_all([f'square {n}' for n in range(12)]))\n"
        "help(ask_all)\n"
    )
    response, printed, model = ran(tmp_path, code)
    assert printed.startswith(f"37\n{[str(n * n) for n in range(12)]}\n")
    assert response.usage is not None
    assert response.usage.output_tokens > 12
    asked = [messages for messages in model.calls if "square" in str(messages[-1].content)]
    assert all(len(messages) == 1 for messages in asked)
    assert "ask(prompt: str" in str(model.calls[0][0].content)


def test_an_agent_in_code_has_a_sandbox_and_shows_its_steps(tmp_path: Path) -> None:
    code = "mine = 1\nprint(agent('Add the numbers.', numbers=(1, 2, 3)))\nprint('numbers' in globals())"
    response, printed, model = ran(tmp_path, code)
    assert printed == "The sum is 6.\nFalse\n"
    [call] = [item for item in response.output if isinstance(item, e.McpCall)]
    assert [step.code for step in call.steps] == [None, "print(sum(numbers))", None]
    assert "6" in call.steps[1].text
    assert response.output_text.endswith("Done.")
    system = next(str(messages[0].content) for messages in model.calls if "the numbers" in str(messages[-1].content))
    assert "The variable numbers is set: a tuple of 3." in system
    assert "agent(task" not in system


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"model_calls_number": 3}, "3 times"), ({"model_calls_tokens": 20}, "20 tokens")],
)
def test_a_budget_ends_the_calls_by_name(tmp_path: Path, settings: dict[str, Any], words: str) -> None:
    code = (
        "for n in range(40):\n    try:\n        ask(f'square {n}')\n"
        "    except CallError as error:\n        print(n, error)\n        break"
    )
    response, printed, _ = ran(tmp_path, code, **settings)
    assert words in printed
    assert "model_calls_exceeded" in printed
    assert int(printed.split()[0]) < 39
    assert response.status == "completed"


def test_what_stops_the_answer_stops_its_models(tmp_path: Path) -> None:
    begun, ended = [], []

    class Silent(ScriptedModel):
        async def stream(self, messages: Sequence[ChatMessage], sampling: Sampling) -> AsyncGenerator[ModelEvent, None]:
            if "main" in str(messages[-1].content):
                async for event in super().stream(messages, sampling):
                    yield event
                return
            begun.append(messages)
            try:
                yield TextDelta("Well")
                await anyio.sleep_forever()
            finally:
                ended.append(messages)

    model = Silent(["<execute>\nask_all(['a', 'b'])\n</execute>\n"])
    with Agent(model, sandbox="process", data_dir=tmp_path, model_calls="always") as agent:
        stream = agent.stream("the main question")
        for _ in stream:
            if len(begun) == 2:
                break
        stream.close()
    assert len(ended) == 2


def test_without_a_word_of_it_code_asks_no_model(tmp_path: Path) -> None:
    _, printed, model = ran(tmp_path, "print('ask' in globals())", model_calls="request")
    assert printed == "False\n"
    assert "ask_all" not in str(model.calls[0][0].content)


def test_answers_that_fit_no_schema_are_an_error(tmp_path: Path) -> None:
    code = (
        "for schema in ({'type': 'text'}, {'type': 'null'}, {'$ref': 'http://127.0.0.1:1/x'}):\n"
        "    try:\n        ask('x', schema)\n    except CallError as error:\n        print(error)"
    )
    _, printed, _ = ran(tmp_path, code)
    lines = printed.splitlines()
    assert "The JSON schema is wrong at ['type']" in lines[0]
    assert "does not fit the schema" in lines[1]
    assert "which it does not hold" in lines[2]


def test_a_request_for_what_is_forbidden_is_refused(tmp_path: Path) -> None:
    settings = Settings.load(model_calls="never")
    run = NewRun(owner="me", model_calls=True)
    with pytest.raises(InvalidRequest, match="CODEACT_MODEL_CALLS is never") as refused:
        CodeModels(
            run,
            ScriptedModel([]),
            settings=settings,
            workspaces=None,  # type: ignore[arg-type]
            environment=lambda options: Environment(),
            approval=ApprovalOptions(),
            options=lambda: ALL_HAVE,
        )
    assert refused.value.param == "codeact:model_calls"


@pytest.mark.anyio
async def test_a_sub_agent_has_no_more_network_than_the_code_that_asks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted: list[ContainerOptions] = []
    told: list[ContainerOptions] = []

    def environment(options: ContainerOptions) -> Environment:
        told.append(options)
        return Environment()

    async def no_pool() -> SandboxPool:
        raise AssertionError("no code runs here")

    monkeypatch.setattr(Workspace, "want", lambda self, options: wanted.append(options))
    options = ContainerOptions(no_network=True)
    async with Workspaces.open(no_pool, idle_timeout_s=600) as workspaces:
        models = CodeModels(
            NewRun(owner="me", model_calls=True),
            ScriptedModel(["Fine."]),
            settings=Settings.load(),
            workspaces=workspaces,
            environment=environment,
            approval=ApprovalOptions(),
            options=lambda: options,
        )
        agent = models.functions[-1]
        assert agent.answer is not None
        assert await agent.answer({"task": "fetch it for me"}) == '"Fine."'
    assert (wanted, told) == ([options], [options])
