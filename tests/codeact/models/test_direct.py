"""What only the direct adapter does: names that it accepts, odd servers, and what it imports."""

import sys
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import anyio
import pytest
from anyio.abc import SocketStream

from codeact import errors
from codeact.model import ChatMessage, Finish, ModelEvent, ReasoningDelta, ReasoningKept, Sampling, TextDelta, Usage
from codeact.models.litellm.client import preload
from codeact.models.openai_compatible.client import DirectModel
from codeact.models.providers import PROVIDERS, name_at
from codeact.models.shared.joining import joined

pytestmark = pytest.mark.anyio

HELLO = [ChatMessage("user", "Hello")]


@asynccontextmanager
async def answering(*pieces: bytes) -> AsyncIterator[DirectModel]:
    """A model whose server answers each request with exactly these bytes and disconnects."""

    async def serve(stream: SocketStream) -> None:
        async with stream:
            await stream.receive()
            for piece in (b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n", *pieces):
                await stream.send(piece)

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    model = DirectModel("x", model="x", api_base=f"http://127.0.0.1:{port}/v1", retries=0)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        yield model
        await model.close()
        tasks.cancel_scope.cancel()


async def collect(model: DirectModel) -> list[ModelEvent]:
    async with aclosing(model.stream(HELLO, Sampling())) as stream:
        return joined([event async for event in stream])


@pytest.fixture
def text() -> bytes:
    return 'data: {"choices":[{"delta":{"content":"gr\u00fc\u00df"}}]}\n\n'.encode()


async def test_events_may_be_cut_anywhere_and_hold_what_else_they_like(text: bytes) -> None:
    answer = b": hello\r\nevent: message\r\n" + text + text.replace(b"data: ", b"data:").replace(b"\n", b"\r\n")
    answer += b'data: {"choices":[{"delta":{"reasoning":"hm"},"finish_reason":"tool_calls"}],"odd":[1]}\n\n'
    answer += b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\ndata: [DONE]\n\n'
    expected = [
        TextDelta("grüßgrüß"),
        ReasoningDelta("hm"),
        ReasoningKept({"reasoning": None}),
        Finish("stop"),
    ]
    async with answering(*(answer[at : at + 1] for at in range(len(answer)))) as model:
        assert await collect(model) == [*expected, Usage(input_tokens=3, output_tokens=2)]


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (b"data: nonsense\n\n", errors.ModelUnreachable, "not a chunk of a completion"),
        (b'data: {"choices": "\xff"}\n\n', errors.ModelUnreachable, "not a chunk of a completion"),
        (b"data: " + b"[" * 100_000 + b"\n\n", errors.ModelUnreachable, "not a chunk of a completion"),
        (b"data: [1]\n\n", errors.ModelUnreachable, "not a chunk of a completion"),
        (b"", errors.ModelUnreachable, "ended before the answer did"),
        (b'data: {"error":{"message":"out of memory","code":500}}\n\n', errors.ModelRefused, "out of memory"),
        (b'data: {"error":"the context window is full"}\n\n', errors.ContextTooLong, "context window is full"),
        (b"data: " + b"x" * 17_000_000, errors.ModelUnreachable, "over 16,000,000 bytes"),
    ],
)
async def test_what_is_no_completion_is_told_by_name(answer: bytes, kind: type[errors.ModelError], words: str) -> None:
    async with answering(answer) as model:
        with pytest.raises(kind, match=words):
            await collect(model)


async def test_a_stream_that_ends_too_early_keeps_what_came(text: bytes) -> None:
    async with answering(text) as model:
        stream = model.stream(HELLO, Sampling())
        assert await anext(stream) == TextDelta("grüß")
        with pytest.raises(errors.ModelUnreachable):
            await anext(stream)


async def test_an_address_that_is_none_is_told() -> None:
    model = DirectModel("x", model="x", api_base="ftp://127.0.0.1")
    with pytest.raises(errors.ModelUnreachable, match="ftp"):
        await collect(model)
    await model.close()


@pytest.mark.parametrize(
    ("name", "known_as"),
    [
        ("qwen3", "qwen3"),
        ("openai/qwen3", "qwen3"),
        ("hosted_vllm/meta-llama/Llama-3", "meta-llama/Llama-3"),
        ("meta-llama/Llama-3", "meta-llama/Llama-3"),
        ("ollama_chat/qwen3", None),
        ("anthropic/claude-sonnet-4-5", None),
    ],
)
def test_a_name_says_whether_litellm_is_needed(name: str, known_as: str | None) -> None:
    assert name_at(name) == known_as


def test_every_provider_of_litellm_is_known() -> None:
    litellm = preload().result(60)
    assert {str(getattr(provider, "value", provider)) for provider in litellm.provider_list} <= PROVIDERS


WITHOUT_LITELLM = """
import asyncio, sys
from codeact.models.discovery import find_models
from codeact.settings import Settings
found = asyncio.run(find_models(Settings.load(model="mine", model_api_base="http://127.0.0.1:9/v1"), probes=()))
assert type(found.registry.default).__name__ == "DirectModel"
print("litellm" in sys.modules)
"""


async def test_litellm_is_not_even_loaded() -> None:
    done = await anyio.run_process([sys.executable, "-c", WITHOUT_LITELLM])
    assert done.stdout.decode() == "False\n"
