"""A compaction in the chat page, in a real Chromium."""

from collections.abc import Callable

import httpx
import pytest
from playwright.sync_api import expect

from tests.model_server import ModelServer
from tests.server.conftest import Running, in_thread
from tests.server.test_compaction import ask, at, grown
from tests.web.chat import Chat

pytestmark = pytest.mark.browser


def test_the_page_shows_where_a_conversation_was_compacted_and_what_is_still_known(
    make_server: Callable[..., Running], model_server: ModelServer, visit: Callable[..., Chat]
) -> None:
    model_server.reset()
    server = in_thread(lambda: make_server(**at(model_server), pool_min=0))
    with httpx.Client(base_url=server.url, trust_env=False, timeout=60) as client:
        *_, last = grown(client, model_server)
        model_server.reply("The user wants parts of a story told.")
        model_server.reply("Part 5 follows.")
        ask(client, input="Go on with the story.", truncation="auto", previous_response_id=last["id"])
    chat = visit(f"{server.url}/c/{last['conversation']['id']}")
    expect(chat.answers.last).to_contain_text("Part 5 follows.")
    summary = chat.answers.last.locator("details").first
    expect(summary.get_by_text("limit_of_orders")).to_be_hidden()
    summary.locator("summary").first.click()
    expect(summary).to_contain_text("limit_of_orders")
