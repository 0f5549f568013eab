"""Visitors of an embedding page without a name, and crowds of them."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.server.conftest import Running
from tests.server.embed.tokens import FIBONACCI, OTHER, SESSIONS, SHOP, client, make, token_of


@pytest.fixture(scope="module")
def anonymous(make_server: Callable[..., Running], tmp_path_factory: pytest.TempPathFactory) -> Running:
    """A server with its own database, because visitors are counted together."""
    return make_server(
        data_dir=tmp_path_factory.mktemp("data"),
        api_keys="key-a",
        embed_origins=SHOP,
        embed_anonymous=True,
        embed_anonymous_sessions_per_minute=20,
        embed_anonymous_responses_per_minute=3,
        embed_anonymous_tokens_per_day=10,
        embed_anonymous_tokens_per_day_in_all=1_000_000,
    )


def visit(server: Running, **headers: str) -> httpx.Response:
    own = {"Origin": server.url, "Sec-Fetch-Site": "same-origin"}
    with client(server, None, **own | headers) as browser:
        return browser.post(SESSIONS, json={"origin": SHOP})


def test_anonymous_use_is_off_unless_switched_on(server: Running, demo: Running) -> None:
    assert visit(server).status_code == 401
    assert (visit(demo).status_code, visit(demo).json()["error"]["param"]) == (400, "user")


def test_each_visitor_is_an_owner_whom_nobody_can_guess(anonymous: Running) -> None:
    one, two = visit(anonymous).json(), visit(anonymous).json()
    assert (one["anonymous"], two["anonymous"]) == (True, True)
    assert one["owner"].startswith("anonymous/")
    assert len({one["owner"], two["owner"]}) == 2
    assert len(one["owner"]) >= 30
    with client(anonymous, one["token"]) as first, client(anonymous, two["token"]) as second:
        made = first.post("/v1/responses", json={"input": FIBONACCI}).json()
        assert first.get(f"/v1/responses/{made['id']}").status_code == 200
        assert second.get(f"/v1/responses/{made['id']}").status_code == 404
        assert first.get("/v1/embed/session").json()["anonymous"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": SHOP},
        {"Origin": "null"},
        {"Origin": ""},
    ],
)
def test_a_visitors_token_is_made_from_our_own_frame_only(anonymous: Running, headers: dict[str, str]) -> None:
    refused = visit(anonymous, **headers)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "forbidden_origin")


def test_a_visitor_chooses_neither_name_nor_limits(anonymous: Running) -> None:
    with client(anonymous, None, Origin=anonymous.url) as browser:
        for body, status, param in (
            ({"user": "alice"}, 401, None),
            ({"limits": {}}, 400, "limits"),
            ({"expires_in_s": 3600}, 400, "expires_in_s"),
            ({"origin": OTHER}, 400, "origin"),
        ):
            refused = browser.post(SESSIONS, json={"origin": SHOP} | body)
            assert (refused.status_code, refused.json()["error"]["param"]) == (status, param)


def test_a_key_beside_anonymous_use_still_needs_a_user_and_takes_one(anonymous: Running) -> None:
    assert make(anonymous, "key-a").json()["anonymous"] is False
    assert make(anonymous, "key-a", user=None).json()["error"]["param"] == "user"


def test_a_visitor_has_the_quota_of_the_settings(anonymous: Running) -> None:
    with client(anonymous, visit(anonymous).json()["token"]) as visitor:
        assert visitor.post("/v1/responses", json={"input": FIBONACCI}).status_code == 200
        refused = visitor.post("/v1/responses", json={"input": FIBONACCI})
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "insufficient_quota")


def test_visitors_together_have_a_quota_too(make_server: Callable[..., Running], tmp_path: Path) -> None:
    small = make_server(
        data_dir=tmp_path,
        embed_origins=SHOP,
        embed_anonymous=True,
        embed_anonymous_sessions_per_minute=2,
        embed_anonymous_responses_per_minute=100,
        embed_anonymous_tokens_per_day=1000,
        embed_anonymous_tokens_per_day_in_all=10,
    )
    made = [visit(small) for _ in range(5)]
    tokens = [each.json()["token"] for each in made if each.status_code == 201]
    assert 2 <= len(tokens) <= 4  # the clock may begin another minute between them
    refused = next(each for each in made if each.status_code == 429)
    assert 1 <= int(refused.headers["retry-after"]) <= 61
    assert "CODEACT_EMBED_ANONYMOUS_SESSIONS_PER_MINUTE" in refused.json()["error"]["message"]
    with client(small, tokens[0]) as one, client(small, tokens[1]) as two:
        assert one.post("/v1/responses", json={"input": FIBONACCI}).status_code == 200
        assert two.post("/v1/responses", json={"input": FIBONACCI}).json()["error"]["code"] == "insufficient_quota"


# ---- hovering crowds -----------------------------------------------------------------------------------


def warm_up(server: Running, token: str) -> dict[str, Any]:
    with client(server, token) as panel:
        warmed = panel.post("/v1/responses", json={"generate": False, "input": []})
    assert warmed.status_code == 200, warmed.text
    assert warmed.json()["status"] == "completed"
    return dict(warmed.json())


def test_a_storm_of_warm_ups_leaves_the_pool_to_those_who_ask(make_server: Callable[..., Running]) -> None:
    calm = make_server(api_keys="key-a", embed_origins=SHOP, pool_min=1, pool_max=4)
    tokens = [token_of(calm, user=f"visitor {number}") for number in range(10)]
    with ThreadPoolExecutor(10) as threads:
        warmed = list(threads.map(lambda token: warm_up(calm, token), tokens * 2))
    assert calm.state.pool.started is not None
    assert calm.state.pool.started.value.stats().leased == 1
    with client(calm, "key-a") as owner:
        assert owner.post("/v1/responses", json={"input": FIBONACCI}).json()["status"] == "completed"
    with client(calm, tokens[-1]) as panel:  # a question gets its sandbox, whether it was warmed up for or not
        asked = {"input": FIBONACCI, "conversation": warmed[-1]["conversation"]["id"]}
        assert panel.post("/v1/responses", json=asked).json()["status"] == "completed"
