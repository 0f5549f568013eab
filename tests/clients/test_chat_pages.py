"""Chat pages of others: the real Open WebUI, and the package of LibreChat that asks models.

They are large, so `make test-chat-pages` installs them, and no other target. Without them these tests are skipped.
"""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.clients.matrix import proved
from tests.clients.test_clients import CODE, PROSE, ROOT, ran
from tests.clients.test_clients import node_of_the_clients as node
from tests.model_server import ModelServer
from tests.ports import free_port
from tests.server.conftest import Running, running, settings_of

pytestmark = pytest.mark.xdist_group("chat_pages")

OPEN_WEBUI = ROOT / ".venv-open-webui" / "bin"
LIBRECHAT = Path(__file__).parent / "librechat"
MISSING = "{} is not installed; `make test-chat-pages` does it"
STARTS_WITHIN_S = 500.0


@pytest.fixture(scope="module")
def model() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture(scope="module")
def server(model: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    settings = settings_of(
        tmp_path_factory.mktemp("pages"), model="openai/scripted", model_api_base=model.base_url, model_api_key="test"
    )
    with running(settings) as server:
        yield server


@pytest.fixture
def open_webui(server: Running, tmp_path: Path) -> Iterator[httpx.Client]:
    """Open WebUI beside our server, with a base URL and nothing else that concerns us; nothing of it goes out."""
    if not OPEN_WEBUI.exists():
        pytest.skip(MISSING.format("Open WebUI"))
    port = free_port()
    about_us = {"OPENAI_API_BASE_URL": f"{server.url}/v1", "OPENAI_API_KEY": "none"}
    rest = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "DATA_DIR": str(tmp_path / "data"),
        "WEBUI_AUTH": "False",
        "WEBUI_SECRET_KEY": "secret",
        "ENABLE_OLLAMA_API": "False",
        "OFFLINE_MODE": "True",
        "HF_HUB_OFFLINE": "1",
        "ANONYMIZED_TELEMETRY": "false",
        "SCARF_NO_ANALYTICS": "true",
        # Texts of files go to the model whole: an index of them needs a model of its own.
        "RAG_EMBEDDING_ENGINE": "openai",
        "BYPASS_EMBEDDING_AND_RETRIEVAL": "True",
    }
    (tmp_path / "data").mkdir()
    log = tmp_path / "log"
    with log.open("wb") as written:
        process = subprocess.Popen(
            [OPEN_WEBUI / "open-webui", "serve", "--host", "127.0.0.1", "--port", str(port)],
            cwd=tmp_path,
            env=about_us | rest,
            stdout=written,
            stderr=subprocess.STDOUT,
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=120) as client:
            _wait_until_it_answers(client, process, log)
            signed_in = client.post("/api/v1/auths/signin", json={"email": "", "password": ""}).raise_for_status()
            client.headers["authorization"] = f"Bearer {signed_in.json()['token']}"
            yield client
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_it_answers(client: httpx.Client, process: "subprocess.Popen[bytes]", log: Path) -> None:
    ends_at = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < ends_at:
        assert process.poll() is None, log.read_text("utf-8", "replace")[-4000:]
        try:
            if client.get("/health").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(1)  # It tells nobody that it has started.
    pytest.fail(log.read_text("utf-8", "replace")[-4000:])


def asked(client: httpx.Client, text: str, **more: Any) -> str:
    """The text of an answer, streamed as its page gets it."""
    body = {"model": "codeact", "stream": True, "messages": [{"role": "user", "content": text}], **more}
    pieces = []
    with client.stream("POST", "/api/chat/completions", json=body) as answer:
        assert answer.status_code == 200, answer.read()
        for line in answer.iter_lines():
            if line.startswith("data: {"):
                choices = json.loads(line[6:]).get("choices") or [{}]
                pieces.append(choices[0].get("delta", {}).get("content") or "")
    assert len(pieces) > 1
    return "".join(pieces)


def test_open_webui(open_webui: httpx.Client, server: Running, model: ModelServer) -> None:
    model.reset()
    # With a file, the page asks first what to search for.
    for reply in (CODE, PROSE, '{"queries": ["colour"]}', "The file says blue.", '{"title": "Six times seven"}'):
        model.reply(reply)
    listed = {one["id"] for one in open_webui.get("/api/models").raise_for_status().json()["data"]}
    assert {"codeact", "openai/scripted"} <= listed
    answer = asked(open_webui, "6*7?")
    assert "42" in answer
    assert answer.endswith(PROSE)
    sent = {"file": ("colour.txt", b"The colour is blue.", "text/plain")}
    at_once = {"process_in_background": "false"}
    file = open_webui.post("/api/v1/files/", files=sent, params=at_once).raise_for_status().json()
    attached = [{"type": "file", "id": file["id"], "name": "colour.txt", "file": file}]
    assert "blue" in asked(open_webui, "What colour?", files=attached)
    assert "The colour is blue." in str(model.requests[-1].messages)
    assert len(_conversations(server)) == 2
    body = {
        "model": "codeact",
        "messages": [{"role": "user", "content": "6*7?"}, {"role": "assistant", "content": "42"}],
    }
    title = open_webui.post("/api/v1/tasks/title/completions", json=body).raise_for_status().json()
    assert title["choices"][0]["message"]["content"] == '{"title": "Six times seven"}'
    assert len(_conversations(server)) == 2  # Neither what to search for nor a title is one.
    version = open_webui.get("/api/version").json()["version"]
    proved("Open WebUI, its server", version, ["models", "streamed chat with code", "a file as text", "titles"])


def _conversations(server: Running) -> list[Any]:
    listed: list[Any] = httpx.get(f"{server.url}/v1/conversations", trust_env=False).raise_for_status().json()["data"]
    return listed


def test_librechat(server: Running, model: ModelServer) -> None:
    if not (LIBRECHAT / "node_modules" / ".installed").exists():
        pytest.skip(MISSING.format("LibreChat's package"))
    model.reset()
    for reply in (CODE, PROSE, "Six times seven"):
        model.reply(reply)
    before = len(_conversations(server))
    got = ran(node(), LIBRECHAT / "chat.mjs", f"{server.url}/v1", cwd=LIBRECHAT)
    assert "42" in got["text"]
    assert got["text"].endswith(PROSE)
    assert got["pieces"] > 1
    assert got["title"] == "Six times seven"
    assert len(_conversations(server)) == before + 1
    proved("LibreChat, its package `@librechat/agents`", got["version"], ["streamed chat with code", "titles"])
