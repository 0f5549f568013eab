"""`codeact serve` as a user starts it: a process, its terminal output, its end."""

import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.asking import frame
from tests.model_server import Gate, ModelServer

CODEACT = Path(sys.executable).with_name("codeact")


@contextmanager
def serving(data_dir: Path, *, terminal: int | None = None, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """Runs `codeact serve` on a free port, with only these variables. Ends it with SIGTERM.

    Its output goes to `terminal`, a file descriptor, or else to a pipe.
    """
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(data_dir),
        "CODEACT_DATA_DIR": str(data_dir),
        "CODEACT_PORT": "0",
        "CODEACT_MODEL": "demo",
        "CODEACT_SANDBOX": "process",
    }
    with subprocess.Popen(
        [CODEACT, "serve"],
        env=environment | variables,
        cwd=data_dir,
        text=True,
        stdout=subprocess.PIPE if terminal is None else terminal,
        stderr=subprocess.STDOUT,
    ) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(120)


def read_until(process: subprocess.Popen[str], word: str) -> str:
    assert process.stdout is not None
    text = ""
    for line in process.stdout:
        text += line
        if word in line:
            return text
    raise AssertionError(f"the server ended without saying {word!r}:\n{text}")


def fails(data_dir: Path, **variables: str) -> str:
    """Its output if it does not start. It must end by itself, with exit code 2."""
    with serving(data_dir, **variables) as process:
        said, _ = process.communicate(timeout=120)
        assert process.returncode == 2, said
        assert "Traceback" not in said
        return said


def test_it_says_where_it_listens_and_what_it_found_and_why(data_dir: Path) -> None:
    ours, theirs = pty.openpty()
    with open(ours, errors="replace") as lines, serving(data_dir, terminal=theirs, NO_COLOR="1") as process:
        os.close(theirs)
        said = ""
        while "Ctrl-C" not in said:
            said += lines.readline()
        address = re.search(r"http://localhost:\d+", said)
        assert address is not None
        for words in ("model", "demo", "CODEACT_MODEL", "sandbox", "database", "embedded MongoDB"):
            assert words in said
        # Without the address, the command would look for a server on port 8000. It stands on one line, to be copied.
        assert f'codeact run --url {address[0]} "What is the 100th Fibonacci number?"\n' in said
        assert httpx.get(address[0] + "/readyz", trust_env=False).status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0


LOG_LINE = re.compile(r'((?:^| )[a-z_.]+=(?:"(?:[^"\\\\]|\\\\.)*"|[^ "=]*))+\n')


@pytest.mark.parametrize("form", ["auto", "json"])
def test_in_a_pipe_everything_is_a_line_of_the_log(data_dir: Path, form: str) -> None:
    with serving(data_dir, CODEACT_LOG_FORMAT=form, CODEACT_PUBLIC_URL="http://x.example") as process:
        said = read_until(process, "seconds")
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=60)
        lines = (said + rest).splitlines(keepends=True)
    assert len(lines) >= 5
    if form == "json":
        events = [json.loads(line) for line in lines]
        assert all({"event", "level", "timestamp"} <= event.keys() for event in events)
        assert {event.get("component") for event in events} >= {"model", "sandbox", "database"}
    else:
        assert [line for line in lines if not LOG_LINE.fullmatch(line)] == []
        assert all("event=" in line and "level=" in line and "timestamp=" in line for line in lines)


def test_a_port_in_use_is_named_with_the_way_out(data_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        said = fails(data_dir, CODEACT_PORT=str(port))
    assert f"127.0.0.1:{port} is in use" in said
    assert f"CODEACT_PORT={port + 1}" in said


def test_an_unknown_setting_suggests_the_known_one(data_dir: Path) -> None:
    assert "CODEACT_MODLE is not a setting. Did you mean CODEACT_MODEL?" in fails(data_dir, CODEACT_MODLE="demo")


def test_an_open_address_without_keys_is_refused(tmp_path: Path) -> None:
    assert "CODEACT_API_KEYS" in fails(tmp_path, CODEACT_HOST="0.0.0.0")


def test_a_database_that_refuses_is_named_and_the_server_lives_on(data_dir: Path) -> None:
    with serving(data_dir, CODEACT_MONGODB_URI="mongodb://user:hidden@127.0.0.1:9/") as process:
        said = read_until(process, 'event="not ready"')
        assert "127.0.0.1:9" in said
        assert "hidden" not in said
        address = re.search(r"http://localhost:\d+", said)
        assert address is not None
        assert httpx.get(address[0] + "/healthz", trust_env=False).status_code == 200
        ready = httpx.get(address[0] + "/readyz", trust_env=False)
        assert ready.status_code == 503
        assert "database" in ready.json()["missing"]
        answer = httpx.post(address[0] + "/v1/responses", json={"input": "hello"}, trust_env=False)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "store_unavailable")


def test_with_keys_a_request_without_one_is_refused(data_dir: Path) -> None:
    with serving(data_dir, CODEACT_API_KEYS="secret-1,secret-2") as process:
        address = re.search(r"http://localhost:\d+", read_until(process, "http://"))
        assert address is not None
        url = address[0] + "/v1/models"
        refused = httpx.get(url, trust_env=False)
        assert (refused.status_code, refused.json()["error"]["code"]) == (401, "invalid_api_key")
        for key, status in (("secret-2", 200), ("secret-3", 401)):
            headers = {"Authorization": f"Bearer {key}"}
            assert httpx.get(url, headers=headers, trust_env=False, timeout=60).status_code == status


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_on_a_signal_and_leaves_no_sandbox(tmp_path: Path, number: signal.Signals) -> None:
    with serving(tmp_path) as process:
        read_until(process, "seconds")
        process.send_signal(number)
        assert process.wait(120) == 0
    left = [path for path in (tmp_path / "run").glob("*/*") if path.is_dir()]
    assert left == []


def test_on_sigterm_an_answer_under_way_still_ends_and_a_second_signal_ends_it_at_once(
    tmp_path: Path, model_server: ModelServer
) -> None:
    model = {
        "CODEACT_MODEL": "openai/scripted",
        "CODEACT_MODEL_API_BASE": model_server.base_url,
        "CODEACT_MODEL_API_KEY": "test",
    }
    for signals in (1, 2):
        gate = Gate()
        model_server.reset()
        model_server.reply("Hello", gate, " world")
        with serving(tmp_path, **model) as process:
            address = re.search(r"localhost:\d+", read_until(process, "seconds"))
            assert address is not None
            with connect(f"ws://{address[0]}/v1/responses") as client:
                client.send(frame({"type": "response.create", "input": "go"}))
                created = json.loads(client.recv(timeout=30))
                gate.reached.result(timeout=30)
                process.send_signal(signal.SIGTERM)
                # The conversation is busy (409) until nothing new is taken any more (503).
                more = {"input": "more", "conversation": created["response"]["conversation"]["id"]}
                status = 409
                while status == 409:
                    status = httpx.post(f"http://{address[0]}/v1/responses", json=more, trust_env=False).status_code
                assert status == 503
                if signals == 2:
                    process.send_signal(signal.SIGTERM)
                else:
                    gate.open()
                events = [created]
                with suppress(ConnectionClosed):
                    while True:
                        events.append(json.loads(client.recv(timeout=30)))
            assert process.wait(120) == 0
        assert events[-1]["type"] == ("response.completed" if signals == 1 else "response.failed")
