"""`codeact run` and `codeact chat` as separate processes, with a scripted server."""

import os
import pty
import signal
import sys
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from codeact import events as e
from sandbox_pool.outputs import Stream

pytestmark = pytest.mark.anyio

COMMAND = [sys.executable, "-c", "from codeact.cli.main import main; main()"]
DEADLINE_S = 60
PROMPT = "› "
STATUS = {
    "version": "0.1.0",
    "model": "demo",
    "sandbox": {"backend": "process", "isolated": False, "summary": "local", "missing": ["No bwrap."]},
    "store": "embedded",
    "examples": ["Plot a sine"],
}

Answering = Callable[["Call"], Awaitable[None]]


class Call:
    """One question that the server received."""

    def __init__(self, socket: ServerConnection, request: dict[str, Any]) -> None:
        self.socket = socket
        self.request = request

    async def send(self, event: e.Event) -> None:
        frame = msgspec.json.decode(e.encode(event)) | {"stream_id": self.request["stream_id"]}
        await self.socket.send(msgspec.json.encode(frame), text=True)

    async def begin(self, *words: str) -> None:
        await self.send(e.ResponseCreated(response=response("in_progress")))
        for word in words:
            await self.send(e.OutputTextDelta(item_id="msg_1", output_index=0, delta=word))


@asynccontextmanager
async def serving(answer: Answering) -> AsyncIterator[tuple[str, list[dict[str, Any]]]]:
    """The address of a server with these answers, and the list of the requests that it receives."""
    requests: list[dict[str, Any]] = []

    async def handler(socket: ServerConnection) -> None:
        async for data in socket:
            request = msgspec.json.decode(data)
            requests.append(request)
            if request["type"] == "response.create":
                await answer(Call(socket, request))

    def status(socket: ServerConnection, request: Request) -> Response | None:
        if request.path != "/v1/status":
            return None
        body = msgspec.json.encode(STATUS)
        return Response(HTTPStatus.OK, "OK", Headers({"Content-Length": str(len(body))}), body)

    async with serve(handler, "127.0.0.1", 0, process_request=status) as server:
        yield f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}", requests


def response(status: Any, **fields: Any) -> e.Response:
    return e.Response(id="resp_1", created_at=0, model="demo", status=status, **fields)


async def say_four(call: Call) -> None:
    await call.begin("It is ", "four.")
    output = Stream("stdout", "4\n")
    await call.send(e.CodeOutput(item_id="ci_1", output_index=1, output=output))
    await call.send(e.ResponseCompleted(response=response("completed")))


async def command(*arguments: str, stdin: str = "", **env: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a completed command."""
    with anyio.fail_after(DEADLINE_S):
        done = await anyio.run_process([*COMMAND, *arguments], input=stdin.encode(), check=False, env=os.environ | env)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


async def test_run_prints_prose_and_output_and_exits_with_0() -> None:
    async with serving(say_four) as (url, requests):
        code, out, err = await command("run", "2+2?", "--url", url)
    assert (code, out, err) == (0, "It is four.\n\n4\n", "")
    assert requests[0]["input"] == "2+2?"


async def test_what_is_wished_on_the_command_line_is_asked_of_the_server(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("a,b\n")
    wishes = ("--model", "small", "--instructions", "Be brief.", "--max-turns", "3", "--file", str(table))
    async with serving(say_four) as (url, requests):
        code, _, err = await command("run", "2+2?", "--url", url, *wishes)
        assert (code, err) == (0, "")
        code, _, err = await command("chat", "--url", url, *wishes, stdin="2+2?\nand again?\n")
        assert code == 0
    ran, asked, again = requests
    for request in requests:
        assert (request["model"], request["instructions"], request["max_tool_calls"]) == ("small", "Be brief.", 3)
    assert ran["input"] == asked["input"]
    (message,) = ran["input"]
    assert message["content"] == [
        {"type": "input_text", "text": "2+2?"},
        {
            "type": "input_file",
            "filename": "table.csv",
            "file_data": f"data:application/octet-stream;base64,{b64encode(b'a,b' + bytes([10])).decode()}",
        },
    ]
    assert again["input"] == "and again?"


async def test_a_wish_that_cannot_be_met_is_named_before_anything_is_asked(tmp_path: Path) -> None:
    large = tmp_path / "large.bin"
    large.write_bytes(bytes(6 * 1024 * 1024))
    async with serving(say_four) as (url, requests):
        missing = await command("run", "2+2?", "--url", url, "--file", str(tmp_path / "nothing"))
        too_large = await command("run", "2+2?", "--url", url, "--file", str(large))
        no_turns = await command("run", "2+2?", "--url", url, "--max-turns", "0")
    assert [code for code, _, _ in (missing, too_large, no_turns)] == [2, 1, 2]
    assert "does not exist" in missing[2]
    assert "larger than 5 MB" in too_large[2]
    assert "--max-turns" in no_turns[2]
    assert requests == []


async def test_run_in_this_process_takes_the_same_wishes(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("a,b\n")
    wishes = ("--model", "demo", "--file", str(table), "--max-turns", "1")
    env = {"CODEACT_SANDBOX": "process", "CODEACT_DATA_DIR": str(tmp_path / "data")}
    code, out, err = await command("run", "--local", "What is the 100th Fibonacci number?", *wishes, **env)
    assert code == 0, err
    assert "354224848179261915075" in out


async def test_run_reads_the_task_from_standard_input() -> None:
    async with serving(say_four) as (url, requests):
        code, _, _ = await command("run", "-", stdin="2+2?", CODEACT_URL=url)
    assert code == 0
    assert requests[0]["input"] == "2+2?"


async def test_run_without_a_task_says_so() -> None:
    code, _, err = await command("run", "-", stdin=" \n")
    assert code == 2
    assert "The task is empty." in err


async def test_run_prints_raw_events_as_json_lines() -> None:
    async with serving(say_four) as (url, _):
        code, out, _ = await command("run", "2+2?", "--json", "--url", url)
    kinds = [msgspec.json.decode(line)["type"] for line in out.splitlines()]
    assert code == 0
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"


async def test_run_of_a_failed_response_exits_with_1_and_the_reason() -> None:
    async def fail(call: Call) -> None:
        await call.begin("Let me")
        error = e.ResponseError("model_unreachable", "No model server answers.")
        await call.send(e.ResponseFailed(response=response("failed", error=error)))

    async with serving(fail) as (url, _):
        code, out, err = await command("run", "2+2?", "--url", url)
    assert (code, out, err) == (1, "Let me\n", "Error: No model server answers.\n")


async def test_run_shows_a_servers_error_as_one_line() -> None:
    async def refuse(call: Call) -> None:
        await call.socket.send('{"type": "error", "status": 503, "error": {"message": "Too much to do."}}')

    async with serving(refuse) as (url, _):
        code, out, err = await command("run", "2+2?", "--url", url)
    assert (code, out, err) == (1, "", "Too much to do.\n")


async def test_run_names_an_address_where_nothing_listens() -> None:
    async with serving(say_four) as (url, _):
        pass
    code, _, err = await command("run", "2+2?", "--url", url)
    assert code == 1
    assert url in err
    assert "codeact serve" in err
    assert err.count("\n") == 1


async def test_a_wrong_setting_exits_with_2() -> None:
    code, _, err = await command("run", "2+2?", CODEACT_PORT="many")
    assert code == 2
    assert err.startswith("CODEACT_PORT is not valid")


async def test_a_reader_that_leaves_ends_run_without_a_traceback() -> None:
    async def talk(call: Call) -> None:
        await call.begin()
        while True:
            await call.send(e.OutputTextDelta(item_id="msg_1", output_index=0, delta="word\n"))

    reading, writing = os.pipe()
    with anyio.fail_after(DEADLINE_S):
        async with (
            serving(talk) as (url, _),
            await anyio.open_process([*COMMAND, "run", "talk", "--url", url], stdout=writing) as process,
        ):
            os.close(writing)
            await anyio.wait_readable(reading)
            assert os.read(reading, 4) == b"word"
            os.close(reading)
            assert process.stderr is not None
            errors = b"".join([chunk async for chunk in process.stderr])
            assert await process.wait() == 1
    assert b"Traceback" not in errors


async def test_ctrl_c_stops_the_answer_and_shows_what_there_is() -> None:
    stopped = anyio.Event()

    async def count(call: Call) -> None:
        await call.begin("one")
        assert msgspec.json.decode(await call.socket.recv()) == {
            "type": "response.cancel",
            "response_id": "resp_1",
        }
        stopped.set()
        await call.send(e.OutputTextDelta(item_id="msg_1", output_index=0, delta=" two"))
        await call.send(e.ResponseIncomplete(response=response("cancelled")))

    with anyio.fail_after(DEADLINE_S):
        async with (
            serving(count) as (url, _),
            await anyio.open_process([*COMMAND, "run", "count", "--url", url]) as process,
        ):
            assert process.stdout is not None
            assert await process.stdout.receive() == b"one"
            process.send_signal(signal.SIGINT)
            await stopped.wait()
            out = b"".join([chunk async for chunk in process.stdout])
            assert await process.wait() == 130
    assert out == b" two\n"


async def test_a_second_ctrl_c_leaves_at_once() -> None:
    asked = anyio.Event()

    async def never(call: Call) -> None:
        await call.begin("one")
        await call.socket.recv()
        asked.set()

    with anyio.fail_after(DEADLINE_S):
        async with (
            serving(never) as (url, _),
            await anyio.open_process([*COMMAND, "run", "count", "--url", url]) as process,
        ):
            assert process.stdout is not None
            await process.stdout.receive()
            process.send_signal(signal.SIGINT)
            await asked.wait()
            process.send_signal(signal.SIGINT)
            assert await process.wait() == 130


async def test_chat_goes_on_from_answer_to_answer_until_its_input_ends() -> None:
    async with serving(say_four) as (url, requests):
        code, out, err = await command("chat", "--url", url, stdin="first\n\n/help\nsecond\n/new\nthird\n")
    assert code == 0
    assert out.count("It is four.") == 3
    assert [(request["input"], request.get("previous_response_id")) for request in requests] == [
        ("first", None),
        ("second", "resp_1"),
        ("third", None),
    ]
    assert "model: demo · sandbox: local · database: embedded" in err
    assert "No bwrap." in err
    assert "Plot a sine" in err
    assert "begins a new conversation" in err


async def test_chat_survives_an_error_of_one_answer() -> None:
    async def fail_first(call: Call) -> None:
        if call.request["input"] == "first":
            await call.begin("It")
            await call.socket.close(1011)
        else:
            await say_four(call)

    async with serving(fail_first) as (url, _):
        code, out, err = await command("chat", "--url", url, stdin="first\nsecond\n")
    assert code == 0
    assert "went away before the answer was complete" in err
    assert "It is four." in out


async def test_ctrl_c_at_the_prompt_keeps_the_chat() -> None:
    async with serving(say_four) as (url, _):
        terminal, theirs = pty.openpty()
        terminals = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
        process = await anyio.open_process([*COMMAND, "chat", "--url", url], **terminals)
        os.close(theirs)
        with anyio.fail_after(DEADLINE_S):
            async with process:
                await read_until(terminal, PROMPT.encode())
                process.send_signal(signal.SIGINT)
                os.write(terminal, b"\n")  # wakes a prompt that did not wait for keys yet when the signal came
                os.write(terminal, b"2+2?\n")
                seen = await read_until(terminal, b"It is four.")
                await read_until(terminal, PROMPT.encode(), seen)
                os.write(terminal, b"\x04")
                assert await process.wait() == 0
        os.close(terminal)


async def read_until(terminal: int, words: bytes, seen: bytes = b"") -> bytes:
    """Reads until the terminal has shown the words; returns what it shows after them."""
    while words not in seen:
        await anyio.wait_readable(terminal)
        seen += os.read(terminal, 1000)
    return seen.partition(words)[2]


async def test_the_command_line_starts_without_what_only_commands_need() -> None:
    heavy = ("litellm", "docker", "jupyter_client", "uvicorn", "beanie", "pydantic_settings", "websockets")
    program = f"import sys, codeact.cli.main; print(*set({heavy}) & set(sys.modules))"
    with anyio.fail_after(DEADLINE_S):
        done = await anyio.run_process([sys.executable, "-c", program])
    assert done.stdout.decode() == "\n"


def waiting_answer(call_id: str) -> e.Response:
    block = e.CodeInterpreterCall(id="ci_1", container_id="cntr_1", code="1", status="completed", waits_for=["apr_1"])
    if call_id:
        block.waits_for = [call_id]
        asked: e.Item = e.ApprovalRequest(id=call_id, server_label="shop", name="buy", arguments='{"n": 1}')
    else:
        asked = e.CodeApprovalRequest(id="apr_1", code="print(1)", code_item_id="ci_1", reasons=["code"])
    return response("completed", output=[block, asked])


@pytest.mark.parametrize(
    ("typed", "call_id", "expected"),
    [
        ("y\n", "", {"type": "codeact:approval_response", "approval_request_id": "apr_1", "approve": True}),
        ("what?\na\n", "", {"approve": True, "scope": "conversation"}),
        ("n\nNot today.\n", "", {"approve": False, "reason": "Not today."}),
        ("e\n", "", {"approve": True, "code": "print(2)"}),
        ("y\n", "mcpr_1", {"type": "mcp_approval_response", "approval_request_id": "mcpr_1", "approve": True}),
        ("a\n", "mcpr_1", {"codeact:scope": "conversation"}),
        ("\n", "", None),
    ],
)
async def test_chat_asks_about_what_waits_and_goes_on_with_the_decision(
    typed: str, call_id: str, expected: dict[str, Any] | None, tmp_path: Path
) -> None:
    async def wait_first(call: Call) -> None:
        if call.request["input"] != "first":
            await say_four(call)
            return
        await call.begin()
        await call.send(e.ResponseCompleted(response=waiting_answer(call_id)))

    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\necho 'print(2)' > \"$1\"\n")
    editor.chmod(0o700)
    async with serving(wait_first) as (url, requests):
        code, out, err = await command("chat", "--url", url, stdin=f"first\n{typed}", VISUAL="", EDITOR=str(editor))
    assert code == 0
    assert "waits for your approval" in err
    if expected is None:
        assert "It waits. Another question withdraws it." in err
        assert len(requests) == 1
    else:
        decision = requests[1]["input"][0]
        assert decision | expected == decision
        assert requests[1]["previous_response_id"] == "resp_1"
        assert "It is four." in out
