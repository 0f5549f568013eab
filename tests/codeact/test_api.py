"""`Agent` and `AsyncAgent` in a program of the user's: a scripted model, a real sandbox, no server."""

import json
import sys
from contextlib import aclosing
from pathlib import Path
from typing import Any

import anyio
import pytest

from codeact import Agent, AsyncAgent
from codeact import events as e
from codeact.errors import CodeActError, ModelUnreachable
from codeact.models import TextDelta
from codeact.models.scripted import ScriptedModel
from sandbox_pool.outputs import Stream


def settings(tmp_path: Path) -> dict[str, Any]:
    return {"sandbox": "process", "data_dir": tmp_path}


CODE = "Let me see.\n<execute>\nx = 6 * 7\nprint(x)\n</execute>\n"


def test_an_agent_answers_in_three_lines(tmp_path: Path) -> None:
    with Agent(ScriptedModel([CODE, "It is 42."]), **settings(tmp_path)) as agent:
        response = agent.run("what is x?")
    assert response.status == "completed"
    assert response.output_text == "Let me see.\n\nIt is 42."
    call = response.output[1]
    assert isinstance(call, e.CodeInterpreterCall)
    assert call.outputs == [e.LogsOutput("42\n")]


def test_events_come_in_order_and_the_conversation_goes_on(tmp_path: Path) -> None:
    model = ScriptedModel([CODE, "Done.", "<execute>\nprint(x + 1)\n</execute>\n", "Done again."])
    with Agent(model, **settings(tmp_path)) as agent:
        agent.run("set x")
        events = list(agent.stream("and one more?"))
    assert isinstance(events[0], e.ResponseCreated)
    assert isinstance(events[-1], e.ResponseCompleted)
    assert [event.output for event in events if isinstance(event, e.CodeOutput)] == [Stream("stdout", "43\n")]


def test_a_program_that_stops_reading_stops_the_code(tmp_path: Path) -> None:
    model = ScriptedModel(
        ["<execute>\nimport time\nwhile True:\n    print('.'); time.sleep(0.01)\n</execute>\n", "Next."]
    )
    with Agent(model, **settings(tmp_path)) as agent:
        for event in agent.stream("for ever"):
            if isinstance(event, e.CodeOutput):
                break
        # The kernel is free again: had the code not stopped, this would find it busy.
        assert agent.run("and now?").output_text == "Next."


def test_an_agent_that_was_not_entered_says_how(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="with Agent"):
        Agent(ScriptedModel(["x"]), **settings(tmp_path)).run("hello")


@pytest.mark.anyio
async def test_a_failed_answer_raises_with_its_code(tmp_path: Path) -> None:
    model = ScriptedModel([[ModelUnreachable("nobody is there")]])
    async with AsyncAgent(model, **settings(tmp_path)) as agent:
        with pytest.raises(CodeActError, match="nobody is there") as caught:
            await agent.run("hello")
    assert caught.value.code == "model_unreachable"


@pytest.mark.anyio
async def test_cancelling_the_task_stops_model_and_kernel(tmp_path: Path) -> None:
    never = anyio.Event()
    async with AsyncAgent(ScriptedModel([[TextDelta("a"), never], "Free."]), **settings(tmp_path)) as agent:
        with anyio.move_on_after(10) as scope:
            async with aclosing(agent.stream("wait")) as events:
                async for event in events:
                    if isinstance(event, e.OutputTextDelta):
                        scope.cancel()
        assert (await agent.run("again")).output_text == "Free."


@pytest.mark.anyio
async def test_a_kernel_lost_while_idle_is_told_to_user_and_model(tmp_path: Path) -> None:
    dying = "<execute>\nimport os, threading\nthreading.Timer(0.2, os._exit, (3,)).start()\n</execute>\n"
    model = ScriptedModel([dying, "Set.", "I know."])
    async with AsyncAgent(model, **settings(tmp_path)) as agent:
        await agent.run("set x")
        assert agent._workspace is not None
        sandbox = agent._workspace._sandbox
        assert sandbox is not None
        await sandbox.died()
        response = await agent.run("and x?")
    assert [notice.code for notice in response.notices] == ["kernel_replaced"]
    assert "variables, imports and files are gone" in str(model.calls[-1][-1].content)


def test_functions_of_the_program_run_in_the_program(tmp_path: Path) -> None:
    secret = "not in the sandbox"
    seen: list[str] = []

    def look_up(name: str, *, times: int = 1) -> dict[str, Any]:
        """Looks a name up."""
        seen.append(name)
        if name == "nobody":
            raise KeyError(name)
        return {"length": len(secret), "name": name * times}

    code = (
        "Let me look.\n<execute>\nprint(look_up('Ada', times=2))\n"
        "try:\n    look_up('nobody')\nexcept CallError as error:\n    print(error)\n</execute>\n"
    )
    with Agent(ScriptedModel([code, "Done."]), tools=[look_up], **settings(tmp_path)) as agent:
        events = list(agent.stream("look"))
    assert seen == ["Ada", "nobody"]
    assert isinstance(events[-1], e.ResponseCompleted)
    _, block, one, other, _ = events[-1].response.output
    assert isinstance(block, e.CodeInterpreterCall)
    assert block.outputs == [e.LogsOutput("{'length': 18, 'name': 'AdaAda'}\nlook_up(): KeyError: 'nobody'\n")]
    assert isinstance(one, e.McpCall)
    assert isinstance(other, e.McpCall)
    assert (one.server_label, one.name, one.status) == ("host", "look_up", "completed")
    assert (other.status, other.error) == ("failed", "look_up(): KeyError: 'nobody'")


def test_tools_of_mcp_servers_are_grouped_by_server(tmp_path: Path) -> None:
    config = tmp_path / "mcp.json"
    script = str(Path(__file__).parent.parent / "mcp_server.py")
    config.write_text(json.dumps({"mcpServers": {"sums": {"command": sys.executable, "args": [script]}}}))
    code = "I add.\n<execute>\nprint(sums.add(a=2, b=3))\n</execute>\n"
    with Agent(ScriptedModel([code, "Done."]), mcp_config=config, **settings(tmp_path)) as agent:
        response = agent.run("add")
    block, call = response.output[1:3]
    assert isinstance(block, e.CodeInterpreterCall)
    assert block.outputs == [e.LogsOutput("{'result': 5}\n")]
    assert isinstance(call, e.McpCall)
    assert (call.server_label, call.name, call.output) == ("sums", "add", '{"result": 5}')
