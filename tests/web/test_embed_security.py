"""The embed on pages that may not use it, and the short life of its tokens."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from playwright.sync_api import Request, WebSocket, expect

from tests.model_server import Gate, ModelServer
from tests.ports import free_port
from tests.server.conftest import Running, in_thread
from tests.web.chat import Chat
from tests.web.hosts import Embed, Host, Servers, serving

pytestmark = pytest.mark.browser

REFUSED = ("frame", "403", "ERR_BLOCKED_BY_RESPONSE", "ERR_", "chrome-error")
"""The browser's message about a frame that is not allowed."""


def panel_of(servers: Servers, host: Host) -> str:
    return f"{servers.running.url}/embed.html?origin={host.origin}"


def delete(servers: Servers, session: dict[str, Any]) -> None:
    headers = {"Authorization": "Bearer secret"}
    address = f"{servers.running.url}/v1/embed/sessions/{session['id']}"
    httpx.delete(address, headers=headers, trust_env=False).raise_for_status()


# ---- pages that may not ---------------------------------------------------------------------------------


def test_a_page_that_is_not_listed_gets_nothing_but_words(servers: Servers, enter: Callable[..., Embed]) -> None:
    servers.foreign.shows("data-auto=false")
    token = servers.shop.mint()
    embed = enter(f"{servers.foreign.origin}/free", expected=REFUSED)
    said: list[str] = []
    embed.page.on("request", lambda request: said.append(request.url))
    embed.page.evaluate("token => codeact.init({getToken: () => token})", token)
    embed.launcher.click()
    assert embed.hears("error")[0]["code"] == "unreachable"
    expect(embed.page.locator(".wait")).to_contain_text("cannot be reached")
    embed.page.get_by_role("button", name="Close").last.click()
    expect(embed.launcher).to_be_focused()
    assert not [url for url in said if "/v1/" in url]
    assert embed.heard("ready") == []


def test_the_panel_of_a_listed_page_cannot_be_framed_by_another(servers: Servers, enter: Callable[..., Embed]) -> None:
    servers.foreign.shows("data-auto=false")
    embed = enter(f"{servers.foreign.origin}/free", expected=REFUSED)
    for framed in (servers.foreign, servers.shop):
        embed.page.evaluate(
            """address => new Promise((done) => {
                const frame = document.createElement("iframe");
                frame.onload = done;
                frame.src = address;
                document.body.append(frame);
            })""",
            panel_of(servers, framed),
        )
    assert embed.page.evaluate("[...document.querySelectorAll('iframe')].map((one) => one.contentDocument)") == [
        None,
        None,
    ]
    assert not [frame.url for frame in embed.page.frames if frame.url.startswith(servers.running.url)]


def test_a_stolen_token_is_of_no_use_on_another_listed_page(servers: Servers, enter: Callable[..., Embed]) -> None:
    token = servers.shop.mint()
    servers.other.shows("data-auto=false")
    embed = enter(servers.other.origin)
    asked: list[Request] = []
    embed.page.on("request", lambda request: asked.append(request))
    sockets: list[WebSocket] = []
    embed.page.on("websocket", lambda socket: sockets.append(socket))
    embed.page.evaluate("token => codeact.init({getToken: () => token})", token)
    embed.launcher.click()
    expect(embed.frame.get_by_role("alert")).to_contain_text("made for another page")
    assert embed.hears("error")[0]["code"] == "not_signed_in"
    assert {request.url.removeprefix(servers.running.url) for request in asked if "/v1/" in request.url} == {
        "/v1/embed/session"
    }
    assert sockets == []
    expect(embed.chat.send).to_be_disabled()


def test_a_stolen_token_is_of_no_use_to_the_scripts_of_any_page(servers: Servers, enter: Callable[..., Embed]) -> None:
    token = servers.shop.mint()
    for host in (servers.foreign, servers.shop):
        host.shows("data-auto=false")
        embed = enter(f"{host.origin}/free", expected=("CORS", "Failed to load", "WebSocket"))
        refused = embed.page.evaluate(
            """async ([url, token]) => {
                const headers = {Authorization: `Bearer ${token}`};
                const call = fetch(`${url}/v1/embed/session`, {headers}).then(() => "answered", () => "refused");
                const address = `${url.replace("http", "ws")}/v1/responses`;
                const socket = new WebSocket(address, ["codeact", `codeact-key.${token}`]);
                const closed = new Promise((done) => (socket.onclose = ({code}) => done(code)));
                return [await call, await closed];
            }""",
            [servers.running.url, token],
        )
        assert refused in (["refused", 4403], ["refused", 1006])  # the handshake itself may be refused


def test_a_panel_that_is_opened_by_itself_does_nothing(servers: Servers, enter: Callable[..., Embed]) -> None:
    token = servers.shop.mint()
    servers.foreign.shows("data-auto=false")
    embed = enter(f"{servers.foreign.origin}/free", own=True)
    asked: list[str] = []
    embed.page.context.on("request", lambda request: asked.append(request.url))
    with embed.page.expect_popup() as popup:
        embed.page.evaluate("address => { window.panel = window.open(address) }", panel_of(servers, servers.shop))
    panel = popup.value
    expect(panel.locator("body")).to_contain_text("made to be shown in a frame")
    embed.page.evaluate(
        """([token, origin]) => {
            const look = {codeact: 1, type: "configure", title: "", anonymous: true};
            for (const message of [look, {codeact: 1, type: "token", token}, {codeact: 1, type: "send", text: "hi"}]) {
                panel.postMessage(message, "*");
            }
        }""",
        [token, servers.running.url],
    )
    panel.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    panel.goto(panel_of(servers, servers.shop))
    expect(panel.locator("body")).to_contain_text("made to be shown in a frame")
    assert not [url for url in asked if "/v1/" in url]


def test_messages_of_other_windows_are_passed_over(
    servers: Servers, script: Callable[..., None], model_server: ModelServer, enter: Callable[..., Embed]
) -> None:
    """A foreign frame in the host page sends messages to the panel and to the page's script."""
    script("Asked by the page.")
    servers.foreign.shows("data-auto=false")
    servers.shop.shows(body=f'<iframe id="evil" src="{servers.foreign.origin}/free"></iframe>')
    embed = enter(f"{servers.shop.origin}/free")
    chat = embed.opened()
    embed.hears("ready")
    evil = next(frame for frame in embed.page.frames if frame.url.startswith(servers.foreign.origin))
    evil.evaluate(
        """() => {
            const send = {codeact: 1, type: "send", text: "evil"};
            for (let at = 0; at < parent.frames.length; at++) parent.frames[at].postMessage(send, "*");
            parent.postMessage({codeact: 1, type: "emit", name: "message", detail: {text: "evil"}}, "*");
            parent.postMessage({codeact: 1, type: "close"}, "*");
            parent.postMessage({codeact: 1, type: "token.needed"}, "*");
        }"""
    )
    minted = len(servers.shop.minted)
    chat.ended(chat.ask("hello"))
    assert [message["text"] for message in embed.hears("message")] == ["Asked by the page."]
    assert len(model_server.requests) == 1
    assert embed.heard("close") == []
    assert len(servers.shop.minted) == minted


def test_the_token_is_in_no_address_and_in_no_storage_of_the_page(
    servers: Servers, script: Callable[..., None], enter: Callable[..., Embed]
) -> None:
    script("Hello.")
    addresses: list[str] = []
    embed = enter(servers.shop.shows(), own=True)
    embed.page.context.on(
        "request", lambda request: addresses.append(f"{request.url} {request.headers.get('referer')}")
    )
    embed.page.on("websocket", lambda socket: addresses.append(socket.url))
    chat = embed.opened()
    chat.ended(chat.ask("hello"))
    token = servers.shop.minted[-1]["token"]
    addresses += [frame.url for frame in embed.page.frames]
    held = embed.page.evaluate(
        "() => JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href, history.state,"
        " document.documentElement.outerHTML, document.querySelector('codeact-embed').shadowRoot.innerHTML])"
    )
    assert any("/v1/responses" in address for address in addresses)
    assert token not in held + " ".join(addresses)
    assert embed.page.context.cookies() == []


def test_the_launcher_s_root_is_closed_to_the_page(servers: Servers, visit: Callable[..., Chat]) -> None:
    page = visit(servers.shop.shows()).page
    assert page.evaluate("document.querySelector('codeact-embed').shadowRoot") is None
    assert page.evaluate("document.querySelectorAll('iframe, .launcher').length") == 0


# ---- the token's life -----------------------------------------------------------------------------------


def test_a_token_is_renewed_before_it_ends_and_the_answer_under_way_goes_on(
    servers: Servers, script: Callable[..., None], model_server: ModelServer, enter: Callable[..., Embed]
) -> None:
    model_server.reply("One,", gate := Gate(), " two.")
    embed = enter(servers.shop.shows(), own=True)
    embed.page.clock.install()
    embed.page.reload()
    sockets: list[WebSocket] = []
    embed.page.on("websocket", lambda socket: sockets.append(socket))
    frames: list[str] = []
    embed.page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: frames.append(str(frame))))
    answer = embed.opened().ask("count")
    expect(answer.locator(".prose")).to_have_text("One,")
    minted = len(servers.shop.minted)
    embed.page.clock.fast_forward(545_000)
    while not any("codeact:session.refreshed" in frame for frame in frames):
        embed.page.wait_for_timeout(50)
    assert len(servers.shop.minted) == minted + 1
    gate.open()
    embed.chat.ended(answer)
    expect(answer.locator(".prose")).to_have_text("One, two.")
    assert len(sockets) == 1


def test_after_a_token_was_ended_another_one_is_asked_for_and_the_question_arrives(
    servers: Servers, script: Callable[..., None], model_server: ModelServer, enter: Callable[..., Embed]
) -> None:
    script("First.", "Second.")
    embed = enter(servers.shop.shows())
    chat = embed.opened()
    chat.ended(chat.ask("one"))
    minted = len(servers.shop.minted)
    delete(servers, servers.shop.minted[-1])
    chat.ended(chat.ask("two"))
    expect(chat.answers.locator(".prose")).to_have_text(["First.", "Second."])
    assert len(servers.shop.minted) == minted + 1
    assert len(model_server.requests) == 2


def test_a_backend_that_gives_no_token_is_told_and_asked_again(
    servers: Servers, script: Callable[..., None], enter: Callable[..., Embed]
) -> None:
    script("Now.")
    servers.shop.key = "wrong"
    embed = enter(servers.shop.shows(), expected=("500", "Failed to load"))
    embed.launcher.click()
    trouble = embed.frame.get_by_role("alert")
    expect(trouble).to_contain_text("could not be signed in")
    assert [error["code"] for error in embed.hears("error", 2)] == ["token_failed", "not_signed_in"]
    servers.shop.key = "secret"
    embed.frame.get_by_role("button", name="Try again").click()
    expect(trouble).to_have_count(0)
    embed.chat.ended(embed.chat.ask("hello"))


def test_when_another_user_signs_in_the_panel_begins_anew(
    servers: Servers, script: Callable[..., None], enter: Callable[..., Embed]
) -> None:
    script("For one only.")
    embed = enter(servers.shop.shows())
    chat = embed.opened()
    chat.ended(chat.ask("hello"))
    servers.shop.user += " and another"
    delete(servers, servers.shop.minted[-1])
    chat.box.fill("who am I?")
    embed.page.keyboard.press("Enter")
    expect(chat.answers).to_have_count(0)
    expect(chat.box).to_have_value("")


# ---- visitors without a name ----------------------------------------------------------------------------


def test_without_leave_of_the_server_there_are_no_visitors_without_a_name(
    servers: Servers, enter: Callable[..., Embed]
) -> None:
    embed = enter(servers.shop.shows("data-anonymous"), expected=("401",))
    embed.launcher.click()
    expect(embed.frame.get_by_role("alert")).to_be_visible()
    assert embed.hears("error")[0]["code"] == "not_signed_in"
    expect(embed.chat.send).to_be_disabled()


def test_a_visitor_without_a_name_comes_back_to_the_same_conversation(
    make_server: Callable[..., Running],
    model_server: ModelServer,
    script: Callable[..., None],
    enter: Callable[..., Embed],
) -> None:
    host = Host(free_port(), name="127.0.0.1")  # of the server's site: others' frames may keep nothing here
    quotas = {
        "embed_anonymous_sessions_per_minute": 60,
        "embed_anonymous_responses_per_minute": 20,
        "embed_anonymous_tokens_per_day": 100_000,
        "embed_anonymous_tokens_per_day_in_all": 1_000_000,
    }
    server = in_thread(
        lambda: make_server(
            model="openai/scripted",
            model_api_base=model_server.base_url,
            model_api_key="test",
            api_keys=("secret",),
            embed_origins=(host.origin,),
            embed_anonymous=True,
            pool_min=0,
            **quotas,
        )
    )
    host.codeact = server.url
    script("Hello, whoever you are.", "Hello again.")
    with serving(host.app(), host.port):
        embed = enter(host.shows("data-anonymous"), own=True)
        sessions: list[str] = []
        embed.page.on("request", lambda request: "embed/sessions" in request.url and sessions.append(request.url))
        chat = embed.opened()
        chat.ended(chat.ask("hello"))
        embed.page.reload()
        chat = embed.opened()
        expect(chat.answers.locator(".prose")).to_have_text(["Hello, whoever you are."])
        chat.ended(chat.ask("again"))
        assert len(sessions) == 1
        assert host.minted == []
        stranger = enter(host.origin)
        expect(stranger.opened().answers).to_have_count(0)
        assert json.loads(stranger.page.evaluate("JSON.stringify({...localStorage})")) == {}
