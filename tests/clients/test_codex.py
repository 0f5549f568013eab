"""The real Codex from npm, with the configuration of docs/codex.md, against a real server and a real kernel."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.matrix import proved
from tests.clients.test_clients import node_of_the_clients
from tests.model_server import ModelServer
from tests.server.conftest import Running, running, settings_of

pytestmark = pytest.mark.xdist_group("codex")

ROOT = Path(__file__).parent.parent.parent
CODEX = Path(__file__).parent / "codex" / "node_modules" / "@openai" / "codex"
GUIDE = (ROOT / "docs" / "codex.md").read_text("utf-8")
PATCH = "*** Begin Patch\n*** Add File: note.txt\n+written by Codex\n*** End Patch\n"
TOOLS = f"""I use my tools.
<execute>
import re
ran = exec_command(cmd='echo from-$((6 * 7))')
print(ran)
begun = exec_command(cmd='read line; echo got $line', tty=True, yield_time_ms=300)
session = int(re.search(r'session ID (\\d+)', begun)[1])
print(write_stdin(session_id=session, chars='typed\\n', yield_time_ms=3000))
try:
    apply_patch('*** Begin Patch\\nnonsense\\n*** End Patch\\n')
except ValueError as error:
    print('refused:', error)
print(apply_patch({PATCH!r}))
print(mcp__my_tools.greet(name='Ann'))
</execute>
"""


@pytest.fixture(scope="module")
def model() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture(scope="module")
def server(model: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    settings = settings_of(
        tmp_path_factory.mktemp("codex"), model="openai/scripted", model_api_base=model.base_url, model_api_key="test"
    )
    with running(settings) as server:
        yield server


@pytest.fixture
def home(server: Running, tmp_path: Path) -> Path:
    """A home of Codex with the two files of the guide, whose addresses are those of the test, and one MCP server."""
    home = tmp_path / "home"
    home.mkdir()
    config, catalog = re.findall(r"```(?:toml|json)\n(.*?)```", GUIDE, re.DOTALL)
    assert "/home/me/.codex/codeact.json" in config
    assert "http://localhost:8000/v1" in config
    config = config.replace("/home/me/.codex/codeact.json", str(home / "codeact.json"))
    config = config.replace("http://localhost:8000", server.url)
    tools = {"command": sys.executable, "args": [str(ROOT / "tests" / "mcp_server.py")], "required": True}
    config += "\n[mcp_servers.my-tools]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in tools.items())
    (home / "config.toml").write_text(config)
    (home / "codeact.json").write_text(catalog)
    return home


def codex(home: Path, *arguments: str) -> str:
    """What Codex says at the end, in the project folder beside its home."""
    if not CODEX.exists():
        pytest.skip("Codex is not installed; `make test-clients` does it where npm has it")
    project = home.parent / "project"
    project.mkdir(exist_ok=True)
    done = subprocess.run(
        [node_of_the_clients(), CODEX / "bin" / "codex.js", "exec", *arguments],
        cwd=project,
        env={"CODEX_HOME": str(home), "HOME": str(home), "PATH": "/usr/bin:/bin"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout.strip()


def test_its_tools_are_functions_and_the_variables_last(home: Path, server: Running, model: ModelServer) -> None:
    model.reset()
    for reply in (TOOLS, "All done.", "<execute>\nprint('still', len(ran) > 9, session > 0)\n</execute>\n", "Second."):
        model.reply(reply)
    free = ("--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox")
    assert codex(home, *free, "Go.") == "All done."
    assert (home.parent / "project" / "note.txt").read_text() == "written by Codex\n"
    seen = model.requests[1].messages[-1]["content"]
    for words in ("from-42", "got typed", "refused: apply_patch() takes a text in its format", "Success.", "Hello Ann"):
        assert words in seen
    told = model.requests[0].messages[0]["content"]
    assert "mcp__my_tools.greet(name: str)" in told
    assert "apply_patch(input: str)" in told
    assert codex(home, "resume", "--last", *free, "Again.") == "Second."
    assert "still True True" in model.requests[3].messages[-1]["content"]


def test_what_codex_does_not_approve_is_an_answer_for_the_code(home: Path, model: ModelServer) -> None:
    model.reset()
    model.reply(f"I write.\n<execute>\nprint(apply_patch({PATCH!r}))\n</execute>\n")
    model.reply("I may not.")
    assert codex(home, "--skip-git-repo-check", "--sandbox", "read-only", "Go.") == "I may not."
    assert not (home.parent / "project" / "note.txt").exists()
    assert "patch rejected" in model.requests[1].messages[-1]["content"]
    version = json.loads((CODEX / "package.json").read_text())["version"]
    ran = ["conversation", "`exec_command`", "`write_stdin`", "`apply_patch`", "an MCP tool", "an approval refused"]
    proved("Codex, `@openai/codex`, by [its guide](codex.md)", version, ran, lacks="`web_search`: switch it off")
