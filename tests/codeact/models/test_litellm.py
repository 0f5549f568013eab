"""What only litellm does: prices, providers, keys in the environment. `test_adapters.py` tests what all adapters do."""

import inspect
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing

import anyio
import pytest

from codeact import errors
from codeact.model import ChatMessage, ModelEvent, Sampling, TextDelta, Usage
from codeact.models.litellm.client import LiteLLMModel, close, preload
from codeact.models.litellm.errors import ERRORS
from tests.model_server import ModelServer

pytestmark = pytest.mark.anyio

HELLO = [ChatMessage("system", "Be kind."), ChatMessage("user", "Hello")]
USAGE = {
    "prompt_tokens": 1000,
    "completion_tokens": 100,
    "total_tokens": 1100,
    "prompt_tokens_details": {"cached_tokens": 400},
    "completion_tokens_details": {"reasoning_tokens": 30},
}


@pytest.fixture
async def server(one_server: ModelServer) -> AsyncIterator[ModelServer]:
    one_server.reset()
    yield one_server
    await close()


def model_at(server: ModelServer, name: str = "scripted", **options: object) -> LiteLLMModel:
    return LiteLLMModel(name, api_base=server.base_url, **options)  # type: ignore[arg-type]


async def collect(model: LiteLLMModel, sampling: Sampling | None = None) -> list[ModelEvent]:
    async with aclosing(model.stream(HELLO, sampling or Sampling())) as stream:
        return [event async for event in stream]


async def fail(model: LiteLLMModel) -> errors.ModelError:
    with pytest.raises(errors.ModelError) as caught:
        await collect(model)
    return caught.value


# ---- what a call yields ------------------------------------------------------------------------------


async def test_the_cost_is_known_where_the_price_is(server: ModelServer) -> None:
    server.reply("a", usage=USAGE)
    usage = (await collect(model_at(server, "openai/gpt-4.1")))[-1]
    assert isinstance(usage, Usage)
    assert usage.cost_usd == pytest.approx((600 * 2 + 400 * 0.5 + 100 * 8) / 1e6)


async def test_usage_that_the_server_does_not_tell_is_nobodys_guess(server: ModelServer) -> None:
    server.reply("one two three")
    assert not [event for event in await collect(model_at(server)) if isinstance(event, Usage)]


@pytest.mark.parametrize("name", ["scripted", "hosted_vllm/scripted"])
async def test_a_model_that_repeats_itself_is_not_stopped_by_litellm(server: ModelServer, name: str) -> None:
    server.reply(*["again "] * 150)
    texts = [event.text for event in await collect(model_at(server, name)) if isinstance(event, TextDelta)]
    assert "".join(texts) == "again " * 150


async def test_a_name_with_a_foreign_slash_is_a_name_at_the_api_base(server: ModelServer) -> None:
    server.reply("a")
    await collect(model_at(server, "meta-llama/Llama-3"))
    assert server.requests[0].body["model"] == "meta-llama/Llama-3"


async def test_a_key_in_the_environment_is_not_sent_to_another_server(
    server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    server.reply("a")
    server.reply("a")
    await collect(model_at(server))
    await collect(model_at(server, api_key="mine"))
    assert [request.headers["authorization"] for request in server.requests] == ["Bearer none", "Bearer mine"]


async def test_an_estimate_counts_tokens(server: ModelServer) -> None:
    usage = await LiteLLMModel("openai/gpt-4.1").estimate(HELLO, "one two three")
    assert usage.estimated
    assert 5 < usage.input_tokens < 30
    assert usage.output_tokens == 3
    assert usage.cost_usd is not None
    unknown = await LiteLLMModel("nosuchmodel").estimate(HELLO, "x" * 40)
    assert (unknown.output_tokens, unknown.cost_usd, unknown.estimated) == (10, None, True)


# ---- loading -----------------------------------------------------------------------------------------


WHILE_IT_LOADS = """
import asyncio, sys
from codeact.model import ChatMessage, Sampling
from codeact.models.litellm.client import LiteLLMModel, preload

async def main():
    assert "litellm" not in sys.modules
    stream = LiteLLMModel("nosuchmodel").stream([ChatMessage("user", "Hello")], Sampling())
    try:
        await asyncio.wait_for(anext(stream), 0.01)
    except TimeoutError:
        assert not preload().done()
        print((await asyncio.wrap_future(preload())).__name__)

asyncio.run(main())
"""


async def test_leaving_while_litellm_is_being_imported_does_not_spoil_it() -> None:
    done = await anyio.run_process([sys.executable, "-c", WHILE_IT_LOADS])
    assert done.stdout.decode() == "litellm\n"


# ---- errors ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "variable"),
    [("openai/gpt-4.1", "OPENAI_API_KEY"), ("anthropic/claude-x", "ANTHROPIC_API_KEY"), ("gemini/x", "GEMINI_API_KEY")],
)
async def test_a_missing_key_is_named_without_retries(
    server: ModelServer, monkeypatch: pytest.MonkeyPatch, name: str, variable: str
) -> None:
    for key in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY"):
        monkeypatch.delenv(key, raising=False)
    error = await fail(LiteLLMModel(name))
    assert isinstance(error, errors.ModelUnauthorized)
    assert error.message.startswith(f"{name} needs a key, and none is set: export ")
    assert f"export {variable}=…" in error.message
    assert "export CODEACT_MODEL_API_KEY=…" in error.message


@pytest.mark.parametrize("name", ["nosuchmodel", "nosuch/model"])
async def test_a_name_without_a_provider_gets_the_form_that_is_expected(server: ModelServer, name: str) -> None:
    error = await fail(LiteLLMModel(name))
    assert isinstance(error, errors.ModelNotFound)
    assert f"'{name}' does not name a model provider" in error.message
    assert "provider/model, for example openai/gpt-4.1" in error.message


def test_every_exception_of_litellm_is_in_the_table() -> None:
    litellm = preload().result(60)
    exceptions = {
        name
        for name, value in vars(litellm.exceptions).items()
        if inspect.isclass(value)
        and issubclass(value, BaseException)
        and value.__module__ == litellm.exceptions.__name__
    }
    assert exceptions == set(ERRORS)
    assert list(ERRORS) == sorted(ERRORS, key=str.casefold)
