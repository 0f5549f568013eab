"""`codeact chat` and `codeact list` with a real server: a conversation is listed, and continued later."""

import contextlib
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.server.conftest import Running

COMMAND = [sys.executable, "-c", "from codeact.cli.main import main; main()"]
KEY = "of the terminal"


def command(server: Running, *arguments: str, stdin: str = "") -> tuple[str, str]:
    """stdout and stderr of a command that ends with 0."""
    environment = os.environ | {"CODEACT_URL": server.url, "CODEACT_API_KEYS": KEY}
    done = subprocess.run(
        [*COMMAND, *arguments], input=stdin, env=environment, capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def test_a_conversation_is_listed_and_continued(make_server: Callable[..., Running]) -> None:
    server = make_server(api_keys=(KEY,))
    said = "What is the 100th Fibonacci number?\n/foo\n/etc/passwd is what?\n/id\n/help\n"
    out, err = command(server, "chat", stdin=said)
    assert "354224848179261915075" in out
    assert "/foo is not a command." in err
    assert "/etc/passwd is not" not in err
    conversation = re.search(r"codeact chat --conversation (conv_\w+)", err)
    assert conversation is not None
    assert err.count(conversation[1]) >= 3  # asked for, and told at the end with the way back
    listed = json.loads(command(server, "list", "--json")[0])
    assert [one["id"] for one in listed] == [conversation[1]]
    table, _ = command(server, "list", "fibonacci")
    assert conversation[1] in table
    assert "What is the 100th Fibonacci number?" in table
    for arguments in (("--continue",), ("--conversation", conversation[1])):
        _, err = command(server, "chat", *arguments, stdin="Hello\n")
        assert f"Continuing {conversation[1]}." in err
        assert f"This was {conversation[1]}." in err
    assert len(json.loads(command(server, "list", "--json")[0])) == 1


def test_run_on_a_terminal_saves_a_picture_and_draws_it(demo: Running, tmp_path: Path) -> None:
    shown, theirs = pty.openpty()
    environment = os.environ | {"CODEACT_URL": demo.url, "CODEACT_DATA_DIR": str(tmp_path), "TERM": "foot", "TMUX": ""}
    running = subprocess.Popen([*COMMAND, "run", "Plot a sine wave"], env=environment, stdout=theirs, stderr=theirs)
    os.close(theirs)
    said = b""
    with contextlib.suppress(OSError):  # as a terminal says that nobody writes to it any more
        while piece := os.read(shown, 65_536):
            said += piece
    os.close(shown)
    assert running.wait(60) == 0, said
    (picture,) = (tmp_path / "pictures").iterdir()
    assert picture.name.encode() in said.replace(b"\r\n", b"")
    assert b'\x1bPq"1;1;' in said


@pytest.mark.parametrize(
    ("shell", "variables"),
    [
        ("bash", {"COMP_WORDS": "codeact ke", "COMP_CWORD": "1"}),
        ("zsh", {"_TYPER_COMPLETE_ARGS": "codeact ke"}),
        ("fish", {"_TYPER_COMPLETE_ARGS": "codeact ke", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}),
    ],
)
def test_shells_complete_commands(shell: str, variables: dict[str, str]) -> None:
    environment = os.environ | {"_CODEACT_COMPLETE": f"complete_{shell}"} | variables
    command = [sys.executable, "-c", "from codeact.cli.main import app; app(prog_name='codeact')"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert "keys" in done.stdout
    assert "serve" not in done.stdout
