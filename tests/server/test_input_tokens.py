"""`POST /v1/responses/input_tokens`: counts what the model would read, by the official client."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from openai import NotFoundError, OpenAI

from tests.model_server import ModelServer
from tests.server.conftest import Running


@pytest.fixture
def client(scripted: Running) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{scripted.url}/v1", api_key="none", http_client=httpx.Client(trust_env=False)) as client:
        yield client


def test_everything_that_the_model_reads_counts(client: OpenAI, model_server: ModelServer) -> None:
    def count(**more: Any) -> int:
        return client.responses.input_tokens.count(**more).input_tokens

    plain = count(input="hello")
    assert plain > 100  # our own instructions count
    words = "word " * 1_000
    assert plain + 800 < count(input=f"hello {words}") < plain + 3_000
    assert plain + 800 < count(input="hello", instructions=words) < plain + 3_000
    tool: Any = {"type": "function", "name": "look", "description": words[:900], "parameters": {}, "strict": False}
    assert count(input="hello", tools=[tool]) > plain + 100
    model_server.reset()
    model_server.reply(words)
    first = client.responses.create(input="say much")
    assert count(input="hello", previous_response_id=first.id) > plain + 800
    assert len(model_server.requests) == 1
    with pytest.raises(NotFoundError):
        count(input="hello", previous_response_id="resp_no")
