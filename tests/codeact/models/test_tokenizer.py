"""The context windows and tokenizers of servers: llama.cpp, vLLM and Ollama, as far as their APIs report them."""

from collections.abc import Iterator
from typing import Any

import pytest

from codeact.model import ChatMessage, Sampling
from codeact.models.litellm.client import LiteLLMModel
from codeact.models.openai_compatible.client import DirectModel
from codeact.models.shared.ollama import of_ps, of_show
from tests.model_server import ModelServer

pytestmark = pytest.mark.anyio

SHOWN = {"parameters": 'stop "<|end|>"\nnum_ctx    16384\n', "model_info": {"llama.context_length": 131_072}}


@pytest.fixture(scope="module")
def model_server() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


async def counted(server: ModelServer, text: str, times: int = 1) -> int | None:
    model = DirectModel("scripted", model="scripted", api_base=server.base_url)
    try:
        for _ in range(times):
            tokens = await model.count_tokens(text)
        return tokens
    finally:
        await model.close()


async def test_llama_cpp_counts(model_server: ModelServer) -> None:
    model_server.reset()
    model_server.routes["/tokenize"] = lambda body: (200, {"tokens": [ord(letter) for letter in body["content"]]})
    assert await counted(model_server, "hello") == 5
    assert await counted(model_server, "") == 0
    assert await counted(model_server, "x" * 1_000_000) == 1_000_000


async def test_vllm_counts(model_server: ModelServer) -> None:
    model_server.reset()

    def tokenize(body: Any) -> tuple[int, Any]:
        if "prompt" not in body:
            return 400, {"object": "error", "message": "prompt: Field required"}
        assert body["model"] == "scripted"
        return 200, {"count": len(body["prompt"].split()), "max_model_len": 4_096, "tokens": [1, 2]}

    model_server.routes["/tokenize"] = tokenize
    assert await counted(model_server, "two words") == 2


async def test_a_server_without_a_tokenizer_is_asked_once_in_each_form(model_server: ModelServer) -> None:
    model_server.reset()
    asked: list[Any] = []

    def tokenize(body: Any) -> tuple[int, Any]:
        asked.append(body)
        return 404, {}

    model_server.routes["/tokenize"] = tokenize
    assert await counted(model_server, "hello", times=3) is None
    assert len(asked) == 2


@pytest.mark.parametrize("answer", [{"tokens": "many"}, {"tokens": [[1]]}, {"count": -1}, {"count": "x"}, [], "no"])
async def test_an_odd_answer_counts_as_none(model_server: ModelServer, answer: Any) -> None:
    model_server.reset()
    model_server.routes["/tokenize"] = lambda body: (200, answer)
    assert await counted(model_server, "hello") is None


@pytest.mark.parametrize(
    ("shown", "running", "window"),
    [
        (SHOWN, {"models": []}, 16_384),
        (SHOWN, {"models": [{"name": "scripted:latest", "context_length": 32_768}]}, 32_768),
        ({"model_info": {"qwen3.context_length": 40_960}}, {"models": []}, 4_096),
        ({"model_info": {"tiny.context_length": 2_048}}, {}, 2_048),
    ],
)
async def test_the_window_of_an_ollama_is_what_it_lets_the_model_read(
    model_server: ModelServer, shown: Any, running: Any, window: int
) -> None:
    model_server.reset()
    model_server.routes["/api/show"] = lambda body: (200, shown if body == {"model": "scripted"} else {})
    model_server.routes["/api/ps"] = lambda body: (200, running)
    model = DirectModel("scripted", model="scripted", api_base=model_server.base_url)
    try:
        assert await model.window_tokens() == window
    finally:
        await model.close()


@pytest.mark.parametrize(("configured", "sent"), [(None, 16_384), (9_000, 9_000)])
async def test_num_ctx_goes_to_an_ollama_with_each_request(
    model_server: ModelServer, configured: int | None, sent: int
) -> None:
    model_server.reset()
    bodies: list[Any] = []

    def chat(body: Any) -> tuple[int, Any]:
        bodies.append(body)
        return 200, {
            "model": "scripted",
            "message": {"role": "assistant", "content": "Hi."},
            "done": True,
            "done_reason": "stop",
        }

    model_server.routes["/api/show"] = lambda body: (200, SHOWN)
    model_server.routes["/api/chat"] = chat
    base = model_server.base_url.removesuffix("/v1")
    model = LiteLLMModel("ollama_chat/scripted", api_base=base, window_tokens=configured)
    assert await model.window_tokens() == sent
    async for _ in model.stream([ChatMessage("user", "Hello")], Sampling()):
        pass
    assert [body["options"]["num_ctx"] for body in bodies] == [sent]


def test_odd_answers_of_an_ollama_say_nothing() -> None:
    for odd in (None, [], "", {}, {"parameters": 1, "model_info": []}, {"model_info": {"a.context_length": "x"}}):
        assert of_show(odd) == (None, None)
        assert of_ps(odd, "m") is None
    assert of_ps({"models": [1, {"name": "m", "context_length": True}]}, "m") is None
