"""A model with a known context window: prompts never exceed it, whatever the code printed."""

from collections.abc import Callable

import httpx

from codeact.context.tokens import estimated_tokens
from tests.model_server import ModelServer
from tests.server.conftest import Running


def test_a_long_conversation_goes_on_within_a_small_window(
    make_server: Callable[..., Running], model_server: ModelServer
) -> None:
    model_server.reset()
    server = make_server(model="openai/small;window=4096", model_api_base=model_server.base_url)
    with httpx.Client(base_url=server.url, trust_env=False, timeout=60) as client:
        body = {"input": "print much", "truncation": "auto"}
        answers = []
        for turn in range(4):
            model_server.reply(f"I print.\n<execute>\nprint('word {turn} ' * 600)\n</execute>")
            model_server.reply(f"Answer {turn}.")
            answers.append(client.post("/v1/responses", json=body).raise_for_status().json())
            body |= {"previous_response_id": answers[-1]["id"]}
    assert [answer["status"] for answer in answers] == ["completed"] * 4
    for request in model_server.requests:
        assert sum(estimated_tokens(message["content"]) for message in request.messages) <= 4_096 - 1_024
    assert "characters of output are left out here" in str(model_server.requests[-1].messages)
    assert [notice["code"] for notice in answers[-1]["codeact:notices"]] == ["context_truncated"]
    assert [notice["code"] for notice in answers[0]["codeact:notices"]] == []
