"""litellm's real path against a scripted server: deltas, usage, timeouts, retries, and every failure by name."""

import inspect
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing

import anyio
import pytest

from codeact import errors
from codeact.models import ChatMessage, Finish, ModelEvent, ReasoningDelta, Sampling, TextDelta, Usage
from codeact.models.litellm import LiteLLMModel, close, preload
from codeact.models.litellm_errors import ERRORS
from tests.model_server import DROP, Gate, ModelServer, Thought, outcome

pytestmark = pytest.mark.anyio

HELLO = [ChatMessage("system", "Be kind."), ChatMessage("user", "Hello")]
USAGE = {
    "prompt_tokens": 1000,
    "completion_tokens": 100,
    "total_tokens": 1100,
    "prompt_tokens_details": {"cached_tokens": 400},
    "completion_tokens_details": {"reasoning_tokens": 30},
}


@pytest.fixture(scope="module")
def one_server() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


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


async def test_deltas_reasoning_finish_and_usage_are_told_apart(server: ModelServer) -> None:
    server.reply(Thought("Hm"), "Hel", "lo", usage=USAGE)
    assert await collect(model_at(server)) == [
        ReasoningDelta("Hm"),
        TextDelta("Hel"),
        TextDelta("lo"),
        Finish("stop"),
        Usage(input_tokens=1000, output_tokens=100, cached_tokens=400, reasoning_tokens=30),
    ]


async def test_the_request_says_what_was_asked_for_and_nothing_else(server: ModelServer) -> None:
    server.reply("a")
    await collect(model_at(server), Sampling(temperature=0.5, max_output_tokens=7))
    body = server.requests[0].body
    assert body == {
        "model": "scripted",
        "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.5,
        "max_tokens": 7,
    }


async def test_the_cost_is_known_where_the_price_is(server: ModelServer) -> None:
    server.reply("a", usage=USAGE)
    usage = (await collect(model_at(server, "openai/gpt-4.1")))[-1]
    assert isinstance(usage, Usage)
    assert usage.cost_usd == pytest.approx((600 * 2 + 400 * 0.5 + 100 * 8) / 1e6)


async def test_usage_that_the_server_does_not_tell_is_an_estimate(server: ModelServer) -> None:
    server.reply("one two three")
    usage = (await collect(model_at(server)))[-1]
    assert isinstance(usage, Usage)
    assert usage.estimated
    assert 0 < usage.output_tokens < 10


async def test_an_answer_cut_by_the_token_limit_says_so(server: ModelServer) -> None:
    server.reply("a", finish="length")
    assert Finish("length") in await collect(model_at(server))


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


# ---- closing -----------------------------------------------------------------------------------------


async def test_leaving_the_stream_closes_the_connection_at_once(server: ModelServer) -> None:
    server.reply("a", Gate())
    async with aclosing(model_at(server).stream(HELLO, Sampling())) as stream:
        assert await anext(stream) == TextDelta("a")
    assert await outcome(server.requests[0].ended) == "disconnected"


@pytest.mark.parametrize("before", [(), ("a",)])
async def test_cancelling_the_consumer_closes_the_connection(server: ModelServer, before: tuple[str, ...]) -> None:
    gate = Gate()
    server.reply(*before, gate)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(collect, model_at(server))
        await outcome(gate.reached)
        tasks.cancel_scope.cancel()
    assert await outcome(server.requests[0].ended) == "disconnected"


async def test_calls_can_run_side_by_side(server: ModelServer) -> None:
    gates = [Gate(), Gate()]
    for gate in gates:
        server.reply("a", gate, "b")
    model = model_at(server)
    async with anyio.create_task_group() as tasks:
        for _ in gates:
            tasks.start_soon(collect, model)
        for gate in gates:
            await outcome(gate.reached)
        for gate in gates:
            gate.open()
    assert [await outcome(request.ended) for request in server.requests] == ["finished", "finished"]


WHILE_IT_LOADS = """
import asyncio, sys
from codeact.models import ChatMessage, Sampling
from codeact.models.litellm import LiteLLMModel, preload

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


# ---- timeouts and retries ----------------------------------------------------------------------------


async def test_no_first_token_in_time_names_the_setting(server: ModelServer) -> None:
    server.reply(Gate())
    error = await fail(model_at(server, first_token_timeout_s=0.1, token_timeout_s=10))
    assert isinstance(error, errors.ModelTimeout)
    assert "no first token within 0.1 s (CODEACT_MODEL_FIRST_TOKEN_TIMEOUT_S)" in error.message
    assert await outcome(server.requests[0].ended) == "disconnected"
    assert len(server.requests) == 1


async def test_an_empty_chunk_is_no_first_token(server: ModelServer) -> None:
    server.reply("", Gate())
    error = await fail(model_at(server, first_token_timeout_s=0.1, token_timeout_s=10))
    assert "CODEACT_MODEL_FIRST_TOKEN_TIMEOUT_S" in error.message


async def test_a_pause_between_tokens_names_the_setting(server: ModelServer) -> None:
    server.reply("a", Gate())
    error = await fail(model_at(server, first_token_timeout_s=10, token_timeout_s=0.1))
    assert isinstance(error, errors.ModelTimeout)
    assert "more than 0.1 s between two tokens (CODEACT_MODEL_TOKEN_TIMEOUT_S)" in error.message
    assert await outcome(server.requests[0].ended) == "disconnected"


async def test_the_time_a_consumer_takes_is_not_the_models(server: ModelServer) -> None:
    server.reply("a", "b")
    texts = []
    async with aclosing(model_at(server, token_timeout_s=0.1).stream(HELLO, Sampling())) as stream:
        async for event in stream:
            texts.append(event)
            with anyio.move_on_after(0.15):
                await anyio.sleep_forever()
    assert texts[:2] == [TextDelta("a"), TextDelta("b")]


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
async def test_a_passing_failure_is_tried_again(server: ModelServer, status: int) -> None:
    server.reply(status=status, error={"message": "busy"}, headers={"Retry-After": "0"})
    server.reply("a")
    assert (await collect(model_at(server, retries=1)))[0] == TextDelta("a")


async def test_a_connection_that_breaks_before_the_first_delta_is_tried_again(server: ModelServer) -> None:
    server.reply(DROP)
    server.reply("a")
    assert (await collect(model_at(server, retries=1)))[0] == TextDelta("a")


async def test_retries_end(server: ModelServer) -> None:
    for _ in range(3):
        server.reply(status=503, error={"message": "busy"}, headers={"Retry-After": "0"})
    error = await fail(model_at(server, retries=2))
    assert isinstance(error, errors.ModelUnreachable)
    assert len(server.requests) == 3


async def test_a_wait_longer_than_we_wait_is_an_error_now(server: ModelServer) -> None:
    server.reply(status=429, error={"message": "come back tomorrow"}, headers={"Retry-After": "86400"})
    error = await fail(model_at(server))
    assert isinstance(error, errors.ModelRateLimited)
    assert "come back tomorrow" in error.message


async def test_a_connection_that_breaks_after_a_delta_is_not_tried_again(server: ModelServer) -> None:
    server.reply("a", DROP)
    stream = model_at(server).stream(HELLO, Sampling())
    assert await anext(stream) == TextDelta("a")
    with pytest.raises(errors.ModelUnreachable):
        await anext(stream)
    assert len(server.requests) == 1


# ---- errors ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (400, "odd parameter", errors.ModelRefused),
        (400, "This model's maximum context length is 10 tokens.", errors.ContextTooLong),
        (400, "the request exceeds the available context size", errors.ContextTooLong),
        (401, "bad key", errors.ModelUnauthorized),
        (403, "not for you", errors.ModelUnauthorized),
        (404, "model scripted not found", errors.ModelNotFound),
        (413, "too large", errors.ContextTooLong),
        (418, "teapot", errors.ModelRefused),
        (429, "slow down", errors.ModelRateLimited),
        (500, "boom", errors.ModelRefused),
        (503, "busy", errors.ModelUnreachable),
        (504, "late", errors.ModelTimeout),
    ],
)
async def test_each_status_has_its_error_with_the_servers_words(
    server: ModelServer, status: int, message: str, kind: type[errors.ModelError]
) -> None:
    server.reply(status=status, error={"message": message})
    error = await fail(model_at(server, retries=0))
    assert type(error) is kind
    assert message in error.message
    assert server.base_url in error.message or kind is errors.ContextTooLong
    assert "litellm" not in error.message
    assert "Exception" not in error.message


async def test_a_refused_key_says_which_variable_holds_it(server: ModelServer) -> None:
    server.reply(status=401, error={"message": "bad key"})
    assert "export CODEACT_MODEL_API_KEY=…" in (await fail(model_at(server))).message


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


@pytest.mark.parametrize("name", ["scripted", "ollama_chat/scripted"])
async def test_a_server_that_is_not_there_is_named(server: ModelServer, name: str, free_port: int) -> None:
    address = f"http://127.0.0.1:{free_port}"
    error = await fail(LiteLLMModel(name, api_base=address, retries=0))
    assert isinstance(error, errors.ModelUnreachable)
    assert error.message.startswith(f"No answer from {address} for {name}: ")


async def test_an_address_without_v1_gets_a_hint(server: ModelServer) -> None:
    error = await fail(LiteLLMModel("scripted", api_base=server.base_url.removesuffix("/v1")))
    assert isinstance(error, errors.ModelNotFound)
    assert error.message.endswith("usually ends in /v1.")


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
