"""`codeact run` and `codeact chat` with the real server, real kernels and the demo model."""

import os
import signal
import sys
from pathlib import Path

import anyio
import httpx
import pytest

from tests.server.conftest import Running

pytestmark = pytest.mark.anyio

COMMAND = [sys.executable, "-c", "from codeact.cli.main import main; main()"]
DEADLINE_S = 60
FIBONACCI_100 = "354224848179261915075"


async def command(*arguments: str, stdin: str = "", **env: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a completed command."""
    with anyio.fail_after(DEADLINE_S):
        done = await anyio.run_process([*COMMAND, *arguments], input=stdin.encode(), check=False, env=os.environ | env)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


async def test_run_shows_prose_live_output_and_the_answer(demo: Running) -> None:
    code, out, err = await command("run", "What is the 100th Fibonacci number?", "--url", demo.url)
    assert code == 0
    assert out.count(FIBONACCI_100) == 2
    assert "first token" in err


async def test_chat_keeps_the_kernel_between_questions(demo: Running) -> None:
    questions = "What is the 10th Fibonacci number?\nAnd the next one?\n"
    code, out, err = await command("chat", "--url", demo.url, stdin=questions)
    assert code == 0
    assert "11: 89" in out
    assert "model: demo" in err


async def test_ctrl_c_stops_code_that_runs(demo: Running) -> None:
    with anyio.fail_after(DEADLINE_S):
        async with await anyio.open_process([*COMMAND, "run", "Count to 10, live", "--url", demo.url]) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            out = ""
            while "2\n" not in out:
                out += (await process.stdout.receive()).decode()
            process.send_signal(signal.SIGINT)
            err = b"".join([chunk async for chunk in process.stderr])
            assert await process.wait() == 130
    assert err.startswith(b"Stopped.")


async def test_without_a_server_the_agent_runs_in_the_command_itself(tmp_path: Path) -> None:
    code, out, err = await command(
        "run",
        "What is the 100th Fibonacci number?",
        CODEACT_PORT="1",
        CODEACT_MODEL="demo",
        CODEACT_SANDBOX="process",
        CODEACT_DATA_DIR=str(tmp_path),
    )
    assert code == 0
    assert out.count(FIBONACCI_100) == 2
    assert "No server answers at http://127.0.0.1:1" in err


async def test_export_and_import_carry_a_conversation_in_a_file(demo: Running, tmp_path: Path) -> None:
    async with httpx.AsyncClient(base_url=demo.url, timeout=DEADLINE_S, trust_env=False) as http:
        response = (await http.post("/v1/responses", json={"input": "What is the 100th Fibonacci number?"})).json()
        conversation_id = response["conversation"]["id"]
        code, out, _ = await command("export", conversation_id, "--format", "md", "--url", demo.url)
        assert code == 0
        assert FIBONACCI_100 in out
        file = tmp_path / "conversation.json"
        code, _, err = await command(
            "export", conversation_id, "--format", "json", "--output", str(file), "--url", demo.url
        )
        assert (code, err) == (0, "")
        code, out, _ = await command("import", str(file), "--url", demo.url)
        assert code == 0
        imported = (await http.get(f"/v1/conversations/{out.strip()}")).json()
        assert imported["codeact:summary"]["title"] == "What is the 100th Fibonacci number?"
    code, _, err = await command("export", "conv_no", "--url", demo.url)
    assert (code, err) == (1, "There is no conversation 'conv_no'.\n")
