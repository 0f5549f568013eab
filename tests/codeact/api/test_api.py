"""`Agent` and `AsyncAgent` in a user's program: a scripted model, a real sandbox, no server."""

import json
import signal
import subprocess
import sys
from contextlib import aclosing
from pathlib import Path
from typing import Any

import anyio
import pytest

from codeact import Agent, AsyncAgent
from codeact import events as e
from codeact.errors import CodeActError, InvalidRequest, ModelUnreachable
from codeact.model import Sampling, TextDelta
from codeact.models.scripted import ScriptedModel
from sandbox_pool.outputs import Stream, fold


def settings(tmp_path: Path) -> dict[str, Any]:
    return {"sandbox": "process", "data_dir": tmp_path}


CODE = "Let me see.\n<execute>\nx = 6 * 7\nprint(x)\n</execute>\n"


def test_an_agent_answers_in_three_lines(tmp_path: Path) -> None:
    with Agent(ScriptedModel([CODE, "It is 42."]), **settings(tmp_path)) as agent:
        response = agent.run("what is x?")
    assert response.status == "completed"
    assert response.output_text == "It is 42."
    _, call, _ = response.output
    assert isinstance(call, e.CodeInterpreterCall)
    assert call.outputs == [e.LogsOutput("42\n")]


def test_events_come_in_order_and_the_conversation_goes_on(tmp_path: Path) -> None:
    model = ScriptedModel([CODE, "Done.", "<execute>\nprint(x + 1)\n</execute>\n", "Done again."])
    with Agent(model, **settings(tmp_path)) as agent:
        agent.run("set x")
        events = list(agent.stream("and one more?"))
    assert isinstance(events[0], e.ResponseCreated)
    assert isinstance(events[-1], e.ResponseCompleted)
    outputs = [event.output for event in events if isinstance(event, e.CodeOutput)]
    assert fold(outputs) == [Stream("stdout", "43\n")]


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
        with anyio.move_on_after(60) as scope:
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
    assert (other.status, str(other.error)) == ("failed", "look_up(): KeyError: 'nobody'")


def test_tools_of_mcp_servers_are_grouped_by_server(tmp_path: Path) -> None:
    config = tmp_path / "mcp.json"
    script = str(Path(__file__).parents[2] / "mcp_server.py")
    config.write_text(json.dumps({"mcpServers": {"sums": {"command": sys.executable, "args": [script]}}}))
    code = "I add.\n<execute>\nprint(sums.add(a=2, b=3))\n</execute>\n"
    with Agent(ScriptedModel([code, "Done."]), mcp_config=config, **settings(tmp_path)) as agent:
        response = agent.run("add")
    block, call = response.output[1:3]
    assert isinstance(block, e.CodeInterpreterCall)
    assert block.outputs == [e.LogsOutput("{'result': 5}\n")]
    assert isinstance(call, e.McpCall)
    assert (call.server_label, call.name, call.output) == ("sums", "add", '{"result": 5}')


ENDLESS = "Again.\n<execute>\nimport time\nwhile True:\n    print('on'); time.sleep(0.05)\n</execute>\n"

INTERRUPTED = """
import os, signal, sys, threading
from codeact import Agent
from codeact.models.scripted import ScriptedModel

class Watched(ScriptedModel):
    def stream(self, messages, sampling):
        if len(self.calls) == 1:
            threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
        return super().stream(messages, sampling)

def ask(agent):
    if sys.argv[2] == "run":
        return agent.run("go on")
    for event in agent.stream("go on"):
        pass

model = Watched(["Once.\\n<execute>\\n1\\n</execute>\\n", *[sys.argv[3]] * 9])
with Agent(model, sandbox="process", data_dir=sys.argv[1]) as agent:
    try:
        ask(agent)
    except KeyboardInterrupt:
        print("calls", len(model.calls), "idle", agent._agent._workspace.idle)
"""


@pytest.mark.parametrize("how", ["run", "stream"])
def test_ctrl_c_stops_the_model_and_the_code_before_it_is_raised(tmp_path: Path, how: str) -> None:
    """In a separate process, because the signal goes to the main thread."""
    script = tmp_path / "script.py"
    script.write_text(INTERRUPTED)
    done = subprocess.run(
        [sys.executable, script, tmp_path / "data", how, ENDLESS],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "calls 2 idle True\n", done.stderr


def test_an_interrupted_agent_goes_on_with_the_next_question(tmp_path: Path) -> None:
    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with Agent(ScriptedModel([ENDLESS, "Free."]), **settings(tmp_path)) as agent:
            signal.setitimer(signal.ITIMER_REAL, 1.0)
            with pytest.raises(KeyboardInterrupt):
                agent.run("go on")
            assert agent.run("and now?").output_text == "Free."
    finally:
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("agent", [Agent, AsyncAgent])
def test_an_argument_that_an_agent_does_not_have_is_an_error_with_the_nearest_name(agent: type[Any]) -> None:
    with pytest.raises(TypeError, match=r"no argument 'temprature'.*mean 'temperature'"):
        agent(temprature=0)
    with pytest.raises(TypeError, match=r"no argument 'max_turn'.*mean 'max_turns'"):
        agent(max_turn=3)
    with pytest.raises(TypeError, match="does not take 'port'"):
        agent(port=80)


def test_what_is_said_of_sampling_reaches_the_model(tmp_path: Path) -> None:
    model = ScriptedModel(["Yes."])
    with Agent(
        model, temperature=0, top_p=0.5, max_output_tokens=99, reasoning_effort="low", **settings(tmp_path)
    ) as it:
        it.run("hello")
    assert model.samplings == [Sampling(0, 0.5, 99, "low", stop=("</execute>",))]


def test_files_of_the_caller_are_in_the_working_directory_and_the_model_is_told(tmp_path: Path) -> None:
    first, second = tmp_path / "first.csv", tmp_path / "second.txt"
    first.write_text("a,b\n1,2\n")
    second.write_text("two")
    read = "<execute>\nprint(open('{}').read())\n</execute>\n"
    model = ScriptedModel([read.format("first.csv"), "Read.", read.format("second.txt"), "Read too."])
    with Agent(model, files=[first], **settings(tmp_path)) as agent:
        one = agent.run("read it")
        two = agent.run("and this", files=[str(second)])
    assert [one.output[0].outputs, two.output[0].outputs] == [  # type: ignore[union-attr]
        [e.LogsOutput("a,b\n1,2\n\n")],
        [e.LogsOutput("two\n")],
    ]
    assert "'first.csv', 8 bytes" in str(model.calls[0][-1].content)
    assert "'second.txt', 3 bytes" in str(model.calls[2][-1].content)


@pytest.mark.parametrize("missing", ["nothing.csv", "."])
def test_a_file_that_cannot_be_read_is_named_and_the_agent_goes_on(tmp_path: Path, missing: str) -> None:
    with Agent(ScriptedModel(["Yes."]), **settings(tmp_path)) as agent:
        with pytest.raises(InvalidRequest, match=f"There is no file '{tmp_path / missing}'"):
            agent.run("read it", files=[tmp_path / missing])
        assert agent.run("hello").output_text == "Yes."


def test_files_of_one_name_and_too_large_ones_are_refused(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.txt").write_bytes(b"x" * (1024 * 1024 + 1))
    (tmp_path / "b.txt").write_bytes(b"x")
    (tmp_path / "sub" / "b.txt").write_bytes(b"y")
    with Agent(ScriptedModel([]), file_mb=1, **settings(tmp_path)) as agent:
        with pytest.raises(InvalidRequest, match="larger than 1 MB"):
            agent.run("read it", files=[tmp_path / "a.txt"])
        with pytest.raises(InvalidRequest, match=r"Two files are called 'b\.txt'"):
            agent.run("read it", files=[tmp_path / "b.txt", tmp_path / "sub" / "b.txt"])
