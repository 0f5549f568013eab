"""Which model is found, with real servers on loopback."""

import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio
import pytest
from anyio.abc import SocketStream

from codeact.errors import ModelUnauthorized
from codeact.model import ChatMessage, Sampling, TextDelta
from codeact.models import discovery
from codeact.models.demo.model import DemoModel
from codeact.models.discovery import DEFAULT_PROBES, Probe, find_models, search
from codeact.models.litellm.client import LiteLLMModel
from codeact.settings import Settings
from tests.model_server import ModelServer

pytestmark = pytest.mark.anyio

OLLAMA, LLAMA_CPP, LM_STUDIO, VLLM = DEFAULT_PROBES


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Hides the developer's environment and `.env`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CODEACT_MODEL", raising=False)
    monkeypatch.delenv("CODEACT_MODELS", raising=False)


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer(models=("nomic-embed-text", "qwen3:8b", "other")) as server:
        yield server


IMPATIENT_S = discovery.PROBE_TIMEOUT_S


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server of a test may be late on a busy machine."""
    monkeypatch.setattr(discovery, "PROBE_TIMEOUT_S", 30.0)
    monkeypatch.setattr(discovery, "SLOW_WAIT_S", 30.0)


def at(probe: Probe, server: ModelServer) -> Probe:
    return replace(probe, base_url=f"http://127.0.0.1:{server.port}")


async def test_the_demo_is_taken_when_it_is_named() -> None:
    found = await find_models(Settings.load(model="demo"), probes=())
    assert isinstance(found.registry.default, DemoModel)
    assert (found.why, found.hint) == ("CODEACT_MODEL names it", None)


async def test_a_configured_name_is_taken_without_asking_anybody(server: ModelServer) -> None:
    found = await find_models(Settings.load(model="openai/gpt-4.1"), probes=[at(OLLAMA, server)])
    assert isinstance(found.registry.default, LiteLLMModel)
    assert found.registry.default.name == "openai/gpt-4.1"


async def test_the_settings_reach_the_model(server: ModelServer) -> None:
    server.reply("a")
    settings = Settings.load(model="mine", model_api_base=server.base_url, model_api_key="secret")
    found = await find_models(settings, probes=())
    async with aclosing(found.registry.default.stream([ChatMessage("user", "?")], Sampling())) as stream:
        assert await anext(stream) == TextDelta("a")
    await found.close()
    assert server.requests[0].headers["authorization"] == "Bearer secret"
    assert server.requests[0].body["model"] == "mine"


@pytest.mark.parametrize("probe", [OLLAMA, LLAMA_CPP, LM_STUDIO])
async def test_a_server_on_loopback_is_found_with_all_of_its_chat_models(server: ModelServer, probe: Probe) -> None:
    found = await find_models(Settings.load(), probes=[at(probe, server)])
    assert found.registry.names == ["qwen3:8b", "other"]
    assert found.why == f"{probe.server} answers at http://127.0.0.1:{server.port}"
    assert found.hint == "CODEACT_MODEL=… names another one"


async def test_several_models_are_configured_in_their_order_with_the_default_first() -> None:
    found = await find_models(Settings.load(models="openai/gpt-4.1, demo,openai/gpt-4.1"), probes=())
    assert (found.registry.names, found.why) == (["openai/gpt-4.1", "demo"], "CODEACT_MODELS names them")
    found = await find_models(Settings.load(model="demo", models="openai/gpt-4.1,demo"), probes=())
    assert found.registry.names == ["demo", "openai/gpt-4.1"]


async def test_address_and_key_are_for_the_models_of_the_defaults_provider(
    server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    server.reply("a")
    settings = Settings.load(
        models="mine,anthropic/claude-sonnet-4-5,theirs", model_api_base=server.base_url, model_api_key="secret"
    )
    found = await find_models(settings, probes=())
    registry = found.registry
    async with aclosing(registry.get("theirs").stream([ChatMessage("user", "?")], Sampling())) as stream:
        assert await anext(stream) == TextDelta("a")
    assert server.requests[0].headers["authorization"] == "Bearer secret"
    assert server.requests[0].body["model"] == "theirs"
    claude = registry.get("anthropic/claude-sonnet-4-5")
    with pytest.raises(ModelUnauthorized, match="ANTHROPIC_API_KEY"):
        async with aclosing(claude.stream([ChatMessage("user", "?")], Sampling())) as stream:
            await anext(stream)
    assert len(server.requests) == 1
    await found.close()


async def test_a_server_that_was_found_answers_and_gets_no_key(
    server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "theirs")
    server.reply("a")
    found = await find_models(Settings.load(model_api_key="mine"), probes=[at(LLAMA_CPP, server)])
    async with aclosing(found.registry.default.stream([ChatMessage("user", "?")], Sampling())) as stream:
        assert await anext(stream) == TextDelta("a")
    await found.close()
    assert server.requests[0].headers["authorization"] == "Bearer none"


async def test_vllm_is_known_by_its_name_and_our_own_server_passed_over() -> None:
    for owner, is_found in [("vllm", True), ("codeact", False), ("tests", False)]:
        with ModelServer(owned_by=owner) as server:
            found = await find_models(Settings.load(), probes=[at(VLLM, server)])
            assert (found.registry.default.name == "scripted") is is_found
    with ModelServer(owned_by="codeact") as server:
        found = await find_models(Settings.load(), probes=[at(LLAMA_CPP, server)])
        assert isinstance(found.registry.default, DemoModel)


async def test_the_models_of_all_servers_are_served_those_of_the_first_probe_first(
    server: ModelServer, free_port: int
) -> None:
    nobody = replace(OLLAMA, base_url=f"http://127.0.0.1:{free_port}")
    with ModelServer(models=("third", "other")) as second:
        found = await find_models(Settings.load(), probes=[nobody, at(LM_STUDIO, server), at(LLAMA_CPP, second)])
    assert found.registry.names == ["qwen3:8b", "other", "third"]
    assert found.why.startswith(f"LM Studio answers at http://127.0.0.1:{server.port}, llama.cpp answers")


async def test_servers_that_hang_or_talk_nonsense_are_passed_over_in_time(
    server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "PROBE_TIMEOUT_S", IMPATIENT_S)
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        silent = replace(OLLAMA, base_url=f"http://127.0.0.1:{hanging.getsockname()[1]}")
        nonsense = [replace(at(OLLAMA, server), path=path) for path in ("/v1/models", "/nothing/here")]
        begun = time.monotonic()
        found = await find_models(Settings.load(), probes=[silent, replace(silent, server="b"), *nonsense])
        assert time.monotonic() - begun < 30
    assert isinstance(found.registry.default, DemoModel)


async def test_without_any_server_it_is_the_demo_with_the_line_that_adds_a_model() -> None:
    found = await find_models(Settings.load(), probes=(), environ={})
    assert isinstance(found.registry.default, DemoModel)
    assert found.why == "no CODEACT_MODEL is set, and no model server answers on this machine"
    assert found.hint is not None
    assert found.hint.startswith("CODEACT_MODEL=… adds a model")


async def test_a_key_in_the_environment_is_mentioned_and_not_used() -> None:
    found = await find_models(Settings.load(), probes=(), environ={"ANTHROPIC_API_KEY": "secret"})
    assert isinstance(found.registry.default, DemoModel)
    assert found.hint is not None
    assert found.hint.startswith("CODEACT_MODEL=anthropic/")
    assert "ANTHROPIC_API_KEY" in found.hint
    assert "secret" not in found.hint


async def test_an_address_without_a_name_asks_for_the_name() -> None:
    settings = Settings.load(model_api_base="http://127.0.0.1:9/v1")
    assert (await find_models(settings, probes=(), environ={})).hint == (
        "CODEACT_MODEL=… names the model to ask for at http://127.0.0.1:9/v1"
    )


async def test_while_the_demo_serves_the_search_goes_on_and_adds_what_came(server: ModelServer, free_port: int) -> None:
    absent = replace(LLAMA_CPP, base_url=f"http://127.0.0.1:{free_port}")
    found = await find_models(Settings.load(), probes=[absent], environ={})
    assert found.is_stopgap
    later = await search(Settings.load(), found, probes=[absent, at(LLAMA_CPP, server)], pause_s=0.01)
    assert later.registry is found.registry
    assert found.registry.names == ["qwen3:8b", "other", "demo"]
    assert not isinstance(found.registry.default, DemoModel)
    assert later.why.startswith("llama.cpp answers at")
    await found.close()


@asynccontextmanager
async def loading(times: int) -> AsyncIterator[str]:
    """A server that answers 503 this many times before it lists a model, each time after half a second."""
    asked = 0

    async def serve(stream: SocketStream) -> None:
        nonlocal asked
        async with stream:
            await stream.receive()
            asked += 1
            with anyio.move_on_after(0.0 if times else 0.5):
                await anyio.sleep_forever()
            body = b'{"data": [{"id": "late"}]}' if asked > times else b'{"error": {"message": "Loading model"}}'
            status = b"200 OK" if asked > times else b"503 Service Unavailable"
            await stream.send(
                b"HTTP/1.1 %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (status, len(body)) + body
            )

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        yield f"http://127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}"
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("times", [0, 2])
async def test_a_script_waits_for_a_server_that_loads_its_model_or_is_slow(
    times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "PROBE_TIMEOUT_S", IMPATIENT_S)
    async with loading(times) as address:
        found = await find_models(Settings.load(), probes=[replace(LLAMA_CPP, base_url=address)], waits=True)
        assert found.registry.names == ["late"]
