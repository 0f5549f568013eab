"""The pages of the embed: which other pages may frame them, and what the loader is served with."""

import gzip
from pathlib import Path
from typing import Any

import httpx
import pytest

from codeact.server.routes import page
from tests.server.conftest import Running
from tests.server.embed.tokens import OTHER, SHOP, client


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Short files instead of the real ones, whose build needs Node."""
    for name in ("index.html", "embed.html", "embed.js", "frame.html"):
        (tmp_path / name).write_text(f"the {name}")
    (tmp_path / "embed.js.gz").write_bytes(gzip.compress(b"packed"))
    monkeypatch.setattr(page, "STATIC", tmp_path)


def ancestors(answer: httpx.Response) -> list[str]:
    policies = answer.headers.get_list("content-security-policy")
    assert len(policies) == 1
    found = [part.split()[1:] for part in policies[0].split(";") if part.split()[0] == "frame-ancestors"]
    assert len(found) == 1
    return found[0]


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize("origin", [SHOP, OTHER])
def test_the_panel_may_be_framed_by_the_one_page_that_asks_for_it(server: Running, origin: str) -> None:
    with client(server) as browser:
        answer = browser.get("/embed.html", params={"origin": origin})
    assert (answer.status_code, answer.text) == (200, "the embed.html")
    assert ancestors(answer) == [origin]
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-cache"


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize(
    "query",
    [
        {},
        {"origin": ""},
        {"origin": "null"},
        {"origin": "*"},
        {"origin": "https://evil.example"},
        {"origin": f"{SHOP}/"},
        {"origin": f"{SHOP}.evil.example"},
        {"origin": "https://SHOP.example"},
        {"origin": f"{SHOP} https://evil.example"},
        {"origin": f"{SHOP}; script-src *"},
        {"origin": f"{SHOP}\r\nContent-Security-Policy: frame-ancestors *"},
        {"origin": [SHOP, "https://evil.example"]},
        {"origin": "<script>alert(1)</script>"},
    ],
)
def test_for_any_other_page_the_panel_may_be_framed_by_none_and_says_so(server: Running, query: dict[str, Any]) -> None:
    with client(server) as browser:
        answer = browser.get("/embed.html", params=query)
    assert answer.status_code == 403
    assert ancestors(answer) == ["'none'"]
    assert "CODEACT_EMBED_ORIGINS" in answer.text
    assert "evil" not in answer.text + str(answer.headers)
    assert "alert" not in answer.text


@pytest.mark.usefixtures("built")
def test_the_chat_is_framed_by_nobody_and_the_frame_of_outputs_by_ours_and_the_embedding_pages(server: Running) -> None:
    with client(server) as browser:
        assert ancestors(browser.get("/")) == ["'none'"]
        assert ancestors(browser.get("/frame.html")) == ["'self'", SHOP, OTHER]


@pytest.mark.usefixtures("built")
def test_the_loader_is_for_pages_of_any_origin(server: Running, demo: Running) -> None:
    with client(server) as browser:
        answer = browser.get("/embed.js")
    assert (answer.text, answer.headers["content-encoding"]) == ("packed", "gzip")
    assert answer.headers["content-type"].startswith("text/javascript")
    assert answer.headers["cache-control"] == "public, max-age=300"
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    assert answer.headers["x-content-type-options"] == "nosniff"
    with client(demo) as browser:
        for path, status in (("/embed.js", 404), ("/embed.html", 403)):
            off = browser.get(path, params={"origin": SHOP})
            assert off.status_code == status
            assert "CODEACT_EMBED_ORIGINS" in off.text
