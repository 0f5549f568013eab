"""What all adapters do, with a scripted server: deltas, usage, closing, timeouts, errors by name."""

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import anyio
import pytest

from codeact import errors
from codeact.model import ChatMessage, Finish, Model, ModelEvent, ReasoningDelta, Sampling, TextDelta, Usage
from codeact.models.litellm.client import LiteLLMModel
from codeact.models.litellm.client import close as close_litellm
from codeact.models.openai_compatible.client import DirectModel
from codeact.models.responses_api.client import ResponsesModel
from codeact.models.responses_api.socket_client import ResponsesSocketModel
from codeact.models.shared.joining import joined
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

Adapter = Callable[..., Model]
"""Makes the model `scripted` at an address; options as keyword arguments."""


@asynccontextmanager
async def adapters(kind: str) -> AsyncIterator[Adapter]:
    made: list[DirectModel] = []

    def make(api_base: str, **options: Any) -> Model:
        if kind == "litellm":
            return LiteLLMModel("scripted", api_base=api_base, **options)
        adapter = {"responses": ResponsesModel, "socket": ResponsesSocketModel, "direct": DirectModel}[kind]
        made.append(adapter("scripted", model="scripted", api_base=api_base, **options))
        return made[-1]

    yield make
    for model in made:
        await model.close()
    await close_litellm()


@pytest.fixture(params=["litellm", "direct", "responses", "socket"])
async def adapter(request: pytest.FixtureRequest) -> AsyncIterator[Adapter]:
    async with adapters(request.param) as make:
        yield make


@pytest.fixture(params=["litellm", "direct"])
async def completing(request: pytest.FixtureRequest) -> AsyncIterator[Adapter]:
    """The adapters that speak Chat Completions."""
    async with adapters(request.param) as make:
        yield make


async def collect(model: Model, sampling: Sampling | None = None) -> list[ModelEvent]:
    """The events of one answer, joined as if all of it had come at once."""
    async with aclosing(model.stream(HELLO, sampling or Sampling())) as stream:
        return joined([event async for event in stream])


async def fail(model: Model) -> errors.ModelError:
    with pytest.raises(errors.ModelError) as caught:
        await collect(model)
    return caught.value


async def test_deltas_reasoning_finish_and_usage_are_told_apart(server: ModelServer, adapter: Adapter) -> None:
    server.reply(Thought("Hm"), "Hel", "lo", usage=USAGE)
    assert await collect(adapter(server.base_url)) == [
        ReasoningDelta("Hm"),
        TextDelta("Hello"),
        Finish("stop"),
        Usage(input_tokens=1000, output_tokens=100, cached_tokens=400, reasoning_tokens=30),
    ]


async def test_the_request_says_what_was_asked_for_and_nothing_else(server: ModelServer, completing: Adapter) -> None:
    server.reply("a")
    await collect(completing(server.base_url), Sampling(temperature=0.5, max_output_tokens=7))
    body = server.requests[0].body
    assert body == {
        "model": "scripted",
        "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.5,
        "max_tokens": 7,
    }


async def test_an_answer_cut_by_the_token_limit_says_so(server: ModelServer, adapter: Adapter) -> None:
    server.reply("a", finish="length")
    assert Finish("length") in await collect(adapter(server.base_url))


async def test_leaving_the_stream_closes_the_connection_at_once(server: ModelServer, adapter: Adapter) -> None:
    server.reply("a", Gate())
    async with aclosing(adapter(server.base_url).stream(HELLO, Sampling())) as stream:
        assert await anext(stream) == TextDelta("a")
    assert await outcome(server.requests[0].ended) == "disconnected"


@pytest.mark.parametrize("before", [(), ("a",)])
async def test_cancelling_the_consumer_closes_the_connection(
    server: ModelServer, adapter: Adapter, before: tuple[str, ...]
) -> None:
    gate = Gate()
    server.reply(*before, gate)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(collect, adapter(server.base_url))
        await outcome(gate.reached)
        tasks.cancel_scope.cancel()
    assert await outcome(server.requests[0].ended) == "disconnected"


async def test_calls_can_run_side_by_side(server: ModelServer, adapter: Adapter) -> None:
    gates = [Gate(), Gate()]
    for gate in gates:
        server.reply("a", gate, "b")
    model = adapter(server.base_url)
    async with anyio.create_task_group() as tasks:
        for _ in gates:
            tasks.start_soon(collect, model)
        for gate in gates:
            await outcome(gate.reached)
        for gate in gates:
            gate.open()
    assert [await outcome(request.ended) for request in server.requests] == ["finished", "finished"]


async def test_no_first_token_in_time_names_the_setting(server: ModelServer, adapter: Adapter) -> None:
    server.reply(Gate())
    error = await fail(adapter(server.base_url, first_token_timeout_s=1.0, token_timeout_s=600))
    assert isinstance(error, errors.ModelTimeout)
    assert "no first token within 1 s (CODEACT_MODEL_FIRST_TOKEN_TIMEOUT_S)" in error.message
    assert await outcome(server.requests[0].ended) == "disconnected"
    assert len(server.requests) == 1


async def test_an_empty_chunk_is_no_first_token(server: ModelServer, adapter: Adapter) -> None:
    server.reply("", Gate())
    error = await fail(adapter(server.base_url, first_token_timeout_s=1.0, token_timeout_s=600))
    assert "CODEACT_MODEL_FIRST_TOKEN_TIMEOUT_S" in error.message


async def test_a_pause_between_tokens_names_the_setting(server: ModelServer, adapter: Adapter) -> None:
    server.reply("a", Gate())
    error = await fail(adapter(server.base_url, first_token_timeout_s=1000, token_timeout_s=0.1))
    assert isinstance(error, errors.ModelTimeout)
    assert "more than 0.1 s between two tokens (CODEACT_MODEL_TOKEN_TIMEOUT_S)" in error.message
    assert await outcome(server.requests[0].ended) == "disconnected"


async def test_the_time_a_consumer_takes_is_not_the_models(server: ModelServer, adapter: Adapter) -> None:
    gate = Gate()
    server.reply("a", gate, "b")
    texts = []
    async with aclosing(adapter(server.base_url, token_timeout_s=0.5).stream(HELLO, Sampling())) as stream:
        async for event in stream:
            texts.append(event)
            gate.open()
            await outcome(server.requests[0].ended)  # The rest has been sent, so that the model is never late.
            with anyio.move_on_after(0.6):
                await anyio.sleep_forever()
    assert joined(texts)[0] == TextDelta("ab")


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 520, 529])
async def test_a_passing_failure_is_tried_again(server: ModelServer, adapter: Adapter, status: int) -> None:
    server.reply(status=status, error={"message": "busy"}, headers={"Retry-After": "0"})
    server.reply("a")
    assert (await collect(adapter(server.base_url, retries=1)))[0] == TextDelta("a")


async def test_a_connection_that_breaks_before_the_first_delta_is_tried_again(
    server: ModelServer, adapter: Adapter
) -> None:
    server.reply(DROP)
    server.reply("a")
    assert (await collect(adapter(server.base_url, retries=1)))[0] == TextDelta("a")


async def test_retries_end(server: ModelServer, adapter: Adapter) -> None:
    for _ in range(3):
        server.reply(status=503, error={"message": "busy"}, headers={"Retry-After": "0"})
    error = await fail(adapter(server.base_url, retries=2))
    assert isinstance(error, errors.ModelUnreachable)
    assert len(server.requests) == 3


async def test_a_wait_longer_than_we_wait_is_an_error_now(server: ModelServer, adapter: Adapter) -> None:
    server.reply(status=429, error={"message": "come back tomorrow"}, headers={"Retry-After": "86400"})
    error = await fail(adapter(server.base_url))
    assert isinstance(error, errors.ModelRateLimited)
    assert "come back tomorrow" in error.message


@pytest.mark.parametrize("name", ["context_length_exceeded", "exceed_context_size_error"])
@pytest.mark.parametrize("key", ["code", "type"])
async def test_too_long_is_known_by_code_and_type_before_words(
    server: ModelServer, adapter: Adapter, key: str, name: str
) -> None:
    server.reply(status=400, error={"message": "No.", key: name})
    assert isinstance(await fail(adapter(server.base_url)), errors.ContextTooLong)


async def test_a_used_up_quota_is_not_asked_again(server: ModelServer, adapter: Adapter) -> None:
    server.reply(status=429, error={"message": "You exceeded your current quota.", "code": "insufficient_quota"})
    error = await fail(adapter(server.base_url))
    assert isinstance(error, errors.ModelQuotaExceeded)
    assert "exceeded your current quota" in error.detail
    assert len(server.requests) == 1


async def test_a_server_without_a_system_role_gets_its_text_from_the_user(
    server: ModelServer, completing: Adapter
) -> None:
    server.reply(status=400, error={"message": "System role not supported"})
    server.reply("a")
    server.reply("b")
    model = completing(server.base_url, retries=0)
    await collect(model)
    await collect(model)
    assert [request.messages[0]["role"] for request in server.requests] == ["system", "user", "user"]
    assert server.requests[1].messages == [{"role": "user", "content": "Be kind.\n\nHello"}]


async def test_a_server_that_does_not_know_stream_options_is_asked_without(
    server: ModelServer, completing: Adapter
) -> None:
    server.reply(status=400, error={"message": "Unrecognized request argument supplied: stream_options"})
    server.reply("a")
    await collect(completing(server.base_url, retries=0))
    assert ["stream_options" in request.body for request in server.requests] == [True, False]


async def test_a_server_that_wants_the_other_name_of_the_token_limit_gets_it(
    server: ModelServer, completing: Adapter
) -> None:
    words = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    server.reply(status=400, error={"message": words, "param": "max_tokens", "code": "unsupported_parameter"})
    server.reply("a")
    server.reply("b")
    model = completing(server.base_url, retries=0)
    for _ in range(2):
        await collect(model, Sampling(max_output_tokens=7))
    limits = [
        {name: request.body[name] for name in request.body if name.startswith("max_")} for request in server.requests
    ]
    assert limits == [{"max_tokens": 7}, {"max_completion_tokens": 7}, {"max_completion_tokens": 7}]


@pytest.mark.parametrize(
    "page", ["<!DOCTYPE html><html><head><title>Sign in</title></head></html>", "\n  <html><title>Sign in</title>"]
)
async def test_a_web_page_in_place_of_a_completion_is_told_by_its_title(
    server: ModelServer, adapter: Adapter, page: str
) -> None:
    server.reply(page=page)
    error = await fail(adapter(server.base_url))
    assert isinstance(error, errors.ModelUnreachable)
    assert "A web page (Sign in) arrived instead of a completion" in error.detail
    assert len(server.requests) == 1


async def test_a_server_that_loads_its_model_is_waited_for(server: ModelServer, adapter: Adapter) -> None:
    for _ in range(2):
        server.reply(status=503, error={"message": "Loading model"}, headers={"Retry-After": "0"})
    server.reply("a")
    assert (await collect(adapter(server.base_url, retries=0)))[0] == TextDelta("a")


@pytest.mark.parametrize(
    ("finish", "reason"), [("max_tokens", "length"), ("model_length", "length"), ("error", "error")]
)
async def test_the_end_of_an_answer_has_many_words(
    server: ModelServer, completing: Adapter, finish: str, reason: str
) -> None:
    server.reply("a", finish=finish)
    assert Finish(reason) in await collect(completing(server.base_url))  # type: ignore[arg-type]


async def test_a_broken_stream_is_no_wrong_address(server: ModelServer, adapter: Adapter) -> None:
    server.reply("a", DROP)
    error = await fail(adapter(server.base_url))
    assert isinstance(error, errors.ModelStreamBroken)
    assert "broke before the answer was complete" in error.message
    assert "CODEACT_MODEL_API_BASE" not in error.message


async def test_a_connection_that_breaks_after_a_delta_is_not_tried_again(server: ModelServer, adapter: Adapter) -> None:
    server.reply("a", DROP)
    stream = adapter(server.base_url).stream(HELLO, Sampling())
    assert await anext(stream) == TextDelta("a")
    with pytest.raises(errors.ModelUnreachable):
        await anext(stream)
    assert len(server.requests) == 1


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
    server: ModelServer, adapter: Adapter, status: int, message: str, kind: type[errors.ModelError]
) -> None:
    server.reply(status=status, error={"message": message})
    error = await fail(adapter(server.base_url, retries=0))
    assert type(error) is kind
    assert message in error.message
    assert server.base_url in error.message or kind is errors.ContextTooLong
    assert "litellm" not in error.message
    assert "Exception" not in error.message


async def test_a_refused_key_says_which_variable_holds_it(server: ModelServer, adapter: Adapter) -> None:
    server.reply(status=401, error={"message": "bad key"})
    assert "export CODEACT_MODEL_API_KEY=…" in (await fail(adapter(server.base_url))).message


async def test_a_server_that_is_not_there_is_named(adapter: Adapter, free_port: int) -> None:
    address = f"http://127.0.0.1:{free_port}"
    error = await fail(adapter(address, retries=0))
    assert isinstance(error, errors.ModelUnreachable)
    assert error.message.startswith(f"No answer from {address} for scripted: ")


async def test_an_address_without_v1_gets_a_hint(server: ModelServer, adapter: Adapter) -> None:
    error = await fail(adapter(server.base_url.removesuffix("/v1")))
    assert isinstance(error, errors.ModelNotFound)
    assert error.message.endswith("usually ends in /v1.")
