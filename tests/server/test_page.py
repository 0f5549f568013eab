"""The chat page's files as the server sends them."""

import gzip
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from codeact.server.routes import page
from tests.server.conftest import Running


def get(server: Running, path: str) -> httpx.Response:
    return httpx.get(server.url + path, trust_env=False)


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A short page instead of the real one, whose build needs Node."""
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<p>the page</p>")
    (tmp_path / ".built").write_text("digest")
    (tmp_path / "frame.html").write_text("<script>let it = 1;</script>")
    (tmp_path / "assets" / "index-1.js").write_text("plain")
    monkeypatch.setattr(page, "STATIC", tmp_path)
    return tmp_path


def test_the_page_is_given_out_for_every_address_that_it_makes(demo: Running, built: Path) -> None:
    for path in ("/", "/c/conv_1"):
        answer = get(demo, path)
        assert answer.text == "<p>the page</p>"
        assert answer.headers["content-type"].startswith("text/html")
        assert answer.headers["cache-control"] == "no-cache"


def test_the_policy_allows_nothing_inline_and_nothing_foreign(demo: Running, built: Path) -> None:
    policy = get(demo, "/").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert "require-trusted-types-for 'script'" in policy


def test_the_frame_of_html_outputs_runs_one_script_without_our_origin_or_the_network(
    demo: Running, built: Path
) -> None:
    policy = get(demo, "/frame.html").headers["content-security-policy"]
    assert policy.startswith("sandbox allow-scripts; default-src 'none'; script-src 'sha256-")
    assert "allow-same-origin" not in policy
    assert "connect-src" not in policy


def test_assets_are_kept_for_good_and_come_compressed_to_who_can_read_that(demo: Running, built: Path) -> None:
    (built / "assets" / "index-1.js.gz").write_bytes(gzip.compress(b"packed"))
    answer = get(demo, "/assets/index-1.js")
    assert answer.text == "packed"
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers["content-type"].startswith("text/javascript")
    plain = httpx.get(demo.url + "/assets/index-1.js", headers={"Accept-Encoding": "identity"}, trust_env=False)
    assert plain.text == "plain"


@pytest.mark.parametrize("path", ["/assets/none.js", "/assets/..%2f.built", "/assets/.hidden", "/assets/"])
def test_nothing_else_is_given_out(demo: Running, built: Path, path: str) -> None:
    assert get(demo, path).status_code == 404


def test_a_page_that_is_not_built_says_how_to_build_it(
    demo: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "STATIC", tmp_path / "none")
    answer = get(demo, "/")
    assert answer.status_code == 503
    assert "make page" in answer.text
    assert get(demo, "/frame.html").status_code == 404


def test_a_conversations_turns_are_listed_with_what_was_asked(
    demo: Running, make_conversation: Callable[[Running], str]
) -> None:
    conversation_id = make_conversation(demo)
    turns = get(demo, f"/v1/conversations/{conversation_id}/responses").json()["data"]
    assert [turn["input"][-1]["content"][0]["text"] for turn in turns] == ["What is 1 + 1?", "What is 2 + 2?"]
    assert turns[1]["response"]["previous_response_id"] == turns[0]["response"]["id"]
    assert [item["type"] for item in turns[0]["response"]["output"]].count("code_interpreter_call") == 1


@pytest.fixture
def make_conversation() -> Callable[[Running], str]:
    def make(server: Running) -> str:
        with httpx.Client(base_url=server.url, trust_env=False, timeout=60) as client:
            first = client.post("/v1/responses", json={"input": "What is 1 + 1?"}).json()
            client.post("/v1/responses", json={"input": "What is 2 + 2?", "previous_response_id": first["id"]})
            return str(first["conversation"]["id"])

    return make
