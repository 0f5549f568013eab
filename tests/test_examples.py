"""Each example, run as its first line says."""

import importlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import anyio
import httpx
import pytest

from codeact.dialect.segments import CodeEnd, Text
from codeact.model import TextDelta
from sandbox_pool import Backend, Sandbox, SandboxPool, SandboxSpec, Stream
from tests.ports import free_port
from tests.server.conftest import running, settings_of

EXAMPLES = Path(__file__).parent.parent / "examples"
UV = Path(sys.executable).with_name("uv")
FIBONACCI = "354224848179261915075"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running(settings_of(tmp_path_factory.mktemp("examples"))) as server:
        yield server.url


def run(*arguments: str, cwd: Path) -> str:
    environment = {"PATH": os.environ["PATH"], "HOME": str(cwd), "CODEACT_MODEL": "demo", "CODEACT_SANDBOX": "process"}
    return subprocess.run(
        [sys.executable, *arguments], env=environment, cwd=cwd, capture_output=True, text=True, check=True, timeout=120
    ).stdout


def test_the_script_with_an_agent(tmp_path: Path) -> None:
    assert FIBONACCI in run(str(EXAMPLES / "agent_script.py"), cwd=tmp_path)


def test_what_agents_can_do(tmp_path: Path) -> None:
    lines = run(str(EXAMPLES / "agents.py"), cwd=tmp_path).splitlines()
    assert lines[:2] == ["It is 42.", "[('total.txt', b'42')]"]
    assert "not complete after 1 s" in lines[3]
    assert lines[4] == "{'role': 'user', 'content': 'Please add up.'} I see."
    assert lines[5:] == ["0 I see.", "1 I see.", "2 I see."]


def test_what_agents_take(tmp_path: Path) -> None:
    images, sampling, limits, stored, copies, back, many, streamed = run(
        str(EXAMPLES / "agent_options.py"), cwd=tmp_path
    ).splitlines()
    assert images == "I see 2 images."
    assert sampling == "temperature=0.2, at most 500 tokens"
    assert "memory_mb" in limits
    assert (stored, many) == ("Remember me.", "20 answers")
    assert (copies, back) == ("('number',) It is 3. It is 3.", "It is 2.")
    assert streamed == "temperature=None, at most None tokens"


def test_the_websocket_client(url: str, tmp_path: Path) -> None:
    said = run(str(EXAMPLES / "websocket_client.py"), url.replace("http", "ws", 1) + "/v1/responses", cwd=tmp_path)
    assert FIBONACCI in said
    assert said.rstrip().endswith("[completed]")


def test_the_openai_client(url: str, tmp_path: Path) -> None:
    assert FIBONACCI in run(str(EXAMPLES / "openai_client.py"), f"{url}/v1", cwd=tmp_path)


def test_an_agent_in_a_script_writes_nothing_of_its_own_to_stdout(tmp_path: Path) -> None:
    script = "from codeact import Agent\nwith Agent() as agent:\n    print(len(agent.run('Count to 2').output) > 0)\n"
    assert run("-c", script, cwd=tmp_path) == "True\n"


# ---- examples of extensions --------------------------------------------------------------------------


def test_the_model(tmp_path: Path) -> None:
    assert run(str(EXAMPLES / "toy_model.py"), cwd=tmp_path).strip().endswith("The code printed 7.")


def test_the_dialect(tmp_path: Path) -> None:
    said = run(str(EXAMPLES / "toy_dialect.py"), cwd=tmp_path)
    assert "It printed 41 and 42." in said
    assert said.rstrip().endswith("for n in (1, 2):\n    print(n + 40)")


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_the_dialect_reads_pieces_of_any_size_alike(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    reader = importlib.import_module("toy_dialect").LinesReader()
    reply = "I count.\n>>> for n in (1, 2):\n>>>     print(n)\nNow I wait."
    found = [each for at in range(0, len(reply), size) for each in reader.feed(TextDelta(reply[at : at + size]))]
    found += reader.finish(stopped=True)
    assert found[-1] == CodeEnd("for n in (1, 2):\n    print(n)")
    assert "".join(each.text for each in found if isinstance(each, Text)) == "I count."
    assert (reader.done, reader.rest) == (True, "Now I wait.")


@pytest.fixture(scope="module")
def with_toy_backend(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment in which the example's package is installed, with its entry point."""
    target = tmp_path_factory.mktemp("toy")
    command = [UV, "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target", target]
    subprocess.run([*command, "--python", sys.executable, EXAMPLES / "backend"], check=True, capture_output=True)
    return target


def test_the_backend_is_chosen_by_its_name(with_toy_backend: Path, tmp_path: Path) -> None:
    """An agent whose code runs in the backend's sandboxes."""
    script = (
        "from codeact import Agent\nwith Agent('demo', sandbox='toy') as a: print(a.run('Fibonacci 100').output_text)"
    )
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(with_toy_backend)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert FIBONACCI in done.stdout, done.stderr


def test_the_demo_of_the_embed_shows_the_page_once_the_server_is_there_and_tells_its_key(tmp_path: Path) -> None:
    port, host_port = str(free_port()), str(free_port())
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "CODEACT_SANDBOX": "process",
        "CODEACT_POOL_MIN": "0",
    }
    environment |= {"CODEACT_PORT": port, "HOST_PORT": host_port, "CODEACT_DATA_DIR": str(tmp_path)}
    demo = subprocess.Popen(
        [sys.executable, EXAMPLES / "embed" / "demo.py"], env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert demo.stdout is not None
        key, page = "", ""
        while not (key and page):
            line = demo.stdout.readline()
            assert line, "the demo has ended"
            key = key or (re.findall(r"asks for a key: (\S+)", line) or [""])[0]
            page = page or (re.findall(r"embeds the chat: (\S+)", line) or [""])[0]
        assert page == f"http://localhost:{host_port}"
        with httpx.Client(trust_env=False, base_url=f"http://localhost:{port}") as server:
            assert server.get("/embed.js").status_code == 200
            assert server.get("/v1/models").status_code == 401
            assert server.get("/v1/models", headers={"Authorization": f"Bearer {key}"}).status_code == 200
    finally:
        demo.terminate()
        demo.wait(60)
        if demo.stdout is not None:
            demo.stdout.close()


@pytest.mark.anyio
async def test_the_backend_does_what_a_pool_asks_of_one(
    with_toy_backend: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(with_toy_backend)
    module = importlib.import_module("toy_backend")
    backend: Backend = module.ToyBackend(tmp_path)
    async with SandboxPool(SandboxSpec(preload=()), backend=backend, min_size=1, max_size=2) as pool:
        async with pool.acquire() as sandbox:
            await sandbox.run("import os; open('a', 'w').write('kept')")
            assert await printed(sandbox, "open('a').read()") == "kept"
            await sandbox.write_file("b.txt", b"sent")
            async with sandbox.read_file("b.txt") as file:
                assert b"".join([piece async for piece in file]) == b"sent"
            workspace = anyio.Path(await printed(sandbox, "os.getcwd()"))
            assert await workspace.exists()
            _, result = await sandbox.run("os._exit(3)")
            assert (result.status, "exit code 3" in (result.detail or "")) == ("died", True)
        await pool.until(lambda stats: stats.removing == 0)
        assert not await workspace.exists()


async def printed(sandbox: Sandbox, expression: str) -> str:
    outputs, result = await sandbox.run(f"print({expression})")
    assert result.status == "ok"
    return "".join(output.text for output in outputs if isinstance(output, Stream)).removesuffix("\n")


def test_the_pages_show_what_the_examples_have() -> None:
    """Each Python block on the pages about extensions is part of an example, word for word."""
    examples = [path.read_text() for path in EXAMPLES.rglob("*.py")]
    docs = EXAMPLES.parent / "docs"
    for page in [docs / "agents.md", *docs.glob("write-a-*.md")]:
        blocks = re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)
        assert blocks
        for block in blocks:
            assert any(block in example for example in examples), block
