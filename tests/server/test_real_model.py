"""A real llama.cpp server with real weights, if `TEST_REAL_MODEL=http://127.0.0.1:8080/v1` names one.

Small weights solve no tasks; the tests check that their server is understood. It needs `--slots`.
"""

import os
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import anyio
import httpx
import pytest

from codeact.model import ChatMessage, Sampling, TextDelta, Usage
from codeact.models.discovery import DEFAULT_PROBES, find_models
from codeact.models.openai_compatible.client import DirectModel
from codeact.models.responses_api.client import ResponsesModel
from codeact.models.responses_api.socket_client import ResponsesSocketModel
from codeact.settings import Settings
from tests.server.conftest import Running

BASE = os.environ.get("TEST_REAL_MODEL", "")
MODEL = "smollm2-135m"
HOST = BASE.removesuffix("/v1")
EXPECTED = (None, "model_said_nothing", "model_unreadable", "model_repeats")
LIMIT_S = 280
"""A shared processor reads about 40 tokens per second."""
ADAPTERS = [DirectModel, ResponsesModel, ResponsesSocketModel]
"""The server refuses the last one's upgrade, so it is asked over HTTP."""
HELLO = [ChatMessage("user", "Say hello.")]

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not BASE, reason="TEST_REAL_MODEL names no llama.cpp server"),
]


async def test_its_window_is_found_out() -> None:
    model = DirectModel(MODEL, model=MODEL, api_base=BASE)
    async with httpx.AsyncClient(trust_env=False, timeout=LIMIT_S) as client:
        props = (await client.get(f"{HOST}/props")).json()
    try:
        assert await model.window_tokens() == props["default_generation_settings"]["n_ctx"]
    finally:
        await model.close()


@pytest.mark.parametrize("adapter", ADAPTERS)
async def test_an_answer_streams_and_its_usage_is_the_servers(adapter: type[DirectModel]) -> None:
    model = adapter(MODEL, model=MODEL, api_base=BASE)
    try:
        async with aclosing(model.stream(HELLO, Sampling(temperature=0, max_output_tokens=8))) as stream:
            events = [event async for event in stream]
    finally:
        await model.close()
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Say hello."}], "temperature": 0, "max_tokens": 8}
    async with httpx.AsyncClient(trust_env=False, timeout=LIMIT_S) as client:
        whole = (await client.post(f"{BASE}/chat/completions", json=body)).json()
    usage = next(event for event in events if isinstance(event, Usage))
    assert "".join(event.text for event in events if isinstance(event, TextDelta)).strip()
    assert usage.input_tokens == whole["usage"]["prompt_tokens"]
    assert usage.output_tokens == whole["usage"]["completion_tokens"]
    assert not usage.estimated


@pytest.mark.parametrize("adapter", [DirectModel, ResponsesModel])
async def test_leaving_frees_its_slot(adapter: type[DirectModel]) -> None:
    model = adapter(MODEL, model=MODEL, api_base=BASE)
    async with aclosing(model.stream([ChatMessage("user", "Count to a thousand.")], Sampling())) as stream:
        await anext(stream)
    await model.close()
    async with httpx.AsyncClient(trust_env=False, timeout=LIMIT_S) as client:
        with anyio.fail_after(60):
            while any(slot["is_processing"] for slot in (await client.get(f"{HOST}/slots")).json()):
                await anyio.lowlevel.checkpoint()


async def test_it_is_found_on_its_machine() -> None:
    probe = replace(next(probe for probe in DEFAULT_PROBES if probe.server == "llama.cpp"), base_url=HOST)
    found = await find_models(Settings.load(), probes=[probe], environ={}, waits=True)
    try:
        assert [model.name for model in found.registry.models] == [MODEL]
    finally:
        await found.close()


@pytest.mark.parametrize(("options", "dialect"), [("", "tags"), ("", "tool_call"), (";api=responses", "tags")])
def test_it_acts_in_a_dialect(make_server: Callable[..., Running], options: str, dialect: str) -> None:
    """Weights this small seldom write code; what they write must not cause an internal error."""
    server = make_server(models=f"{MODEL}{options}", model=None, model_api_base=BASE, max_turns=1)
    answer = _ask(server, "Print 1 + 1.", max_output_tokens=24, **{"codeact:dialect": dialect})
    assert (answer["error"] or {}).get("code") in EXPECTED
    assert answer["usage"]["input_tokens"] > 100


def test_a_conversation_that_outgrows_its_window_goes_on(make_server: Callable[..., Running]) -> None:
    server = make_server(model=MODEL, model_api_base=BASE, max_turns=1)
    previous, compactions = None, 0
    for number in range(3):
        # Each question fits the window of 2,048 tokens, and no two of them do.
        question = f"{number} " + "word " * 700
        answer = _ask(server, question, truncation="auto", max_output_tokens=8, previous_response_id=previous)
        code = (answer["error"] or {}).get("code")
        assert code in EXPECTED
        previous = answer["id"] if code is None else previous
        made = sum(item["type"] == "compaction" for item in answer["output"])
        # A compaction asks the model, too.
        assert 700 < answer["usage"]["input_tokens"] <= 2_048 * (1 + made)
        compactions += made
    assert compactions


def _ask(server: Running, question: str, **fields: Any) -> dict[str, Any]:
    with httpx.Client(base_url=server.url, trust_env=False, timeout=LIMIT_S) as client:
        answer = client.post("/v1/responses", json={"input": question, **fields})
    found: dict[str, Any] = answer.raise_for_status().json()
    return found
