"""Reload, lost connections, sleep and restart: an answer continues without a lost or repeated character."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Route, WebSocketRoute, expect

from tests.model_server import Gate, ModelServer
from tests.ports import free_port
from tests.server.conftest import Running
from tests.web.chat import Chat, Line, example, execute

pytestmark = pytest.mark.browser


def all_ended(server: Running, chat: Chat) -> None:
    while server.state.runs.live:
        chat.page.wait_for_timeout(50)  # the end of a run is an event of the server's loop, not of this one


def test_an_answer_goes_on_after_a_lost_connection(
    scripted: Running, script: Callable[..., None], model_server: ModelServer, visit: Callable[..., Chat]
) -> None:
    gate = Gate()
    model_server.reply("One,", gate, " two,", " three.")
    chat = visit(scripted.url)
    line = Line(chat)
    answer = chat.ask("count")
    expect(answer.locator(".prose")).to_have_text("One,")
    line.cut()
    gate.open()
    line.mend()
    chat.ended(answer)
    expect(answer.locator(".prose")).to_have_text("One, two, three.")


def test_an_answer_that_ended_while_the_connection_was_lost_is_shown_whole(
    scripted: Running, script: Callable[..., None], visit: Callable[..., Chat]
) -> None:
    plot = "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()"
    script(execute(f"print('before')\n{plot}\nprint('after')"), "Done.")
    chat = visit(scripted.url)
    line = Line(chat)
    answer = chat.ask("plot")
    expect(answer.locator(".cell")).to_be_visible()
    line.cut()
    all_ended(scripted, chat)
    line.mend()
    chat.ended(answer)
    expect(answer.locator(".prose").last).to_have_text("Done.")
    expect(answer.locator(".stdout").first).to_contain_text("before")
    assert answer.locator("img").evaluate("image => image.decode().then(() => image.naturalWidth)") > 100


def test_a_reload_in_mid_stream_shows_all_of_the_answer_once(
    scripted: Running, script: Callable[..., None], model_server: ModelServer, visit: Callable[..., Chat]
) -> None:
    gate = Gate()
    model_server.reply("Look: <execute>\nprint('ready')\nprint('steady')\n</execute>")
    model_server.reply("One,", gate, " two.")
    chat = visit(scripted.url)
    expect(chat.ask("count").locator(".prose").last).to_have_text("One,")
    chat.page.reload()
    answer = chat.answers
    expect(answer.locator(".prose").last).to_have_text("One,")
    gate.open()
    chat.ended(answer)
    expect(answer.locator(".prose")).to_have_text(["Look:", "One, two."])
    expect(answer.locator(".stdout")).to_have_text("ready\nsteady\n")
    chat.page.reload()
    expect(chat.answers.locator(".prose")).to_have_text(["Look:", "One, two."])
    expect(chat.answers.locator(".stdout")).to_have_text("ready\nsteady\n")
    expect(chat.page.locator(".bubble")).to_have_text("count")


def test_without_a_network_the_page_says_so_and_goes_on_when_it_is_back(
    scripted: Running, script: Callable[..., None], model_server: ModelServer, visit: Callable[..., Chat]
) -> None:
    gate = Gate()
    model_server.reply("One,", gate, " two.")
    chat = visit(scripted.url, expected=("ERR_INTERNET_DISCONNECTED",))
    answer = chat.ask("count")
    expect(answer.locator(".prose")).to_have_text("One,")
    chat.page.context.set_offline(True)
    expect(chat.line).to_contain_text("offline")
    gate.open()
    chat.page.context.set_offline(False)
    chat.ended(answer)
    expect(answer.locator(".prose")).to_have_text("One, two.")
    expect(chat.line).to_be_empty()


def test_a_slow_client_loses_nothing_and_holds_nobody_up(
    scripted: Running, script: Callable[..., None], visit: Callable[..., Chat]
) -> None:
    """At 8 KB/s; the network's own queue is far smaller than the data."""
    numbers = "".join(f"{n:06} {'.' * 93}\n" for n in range(2000))
    script(execute(f"print({numbers!r}, end='')"), "Slow.", execute("print('quick')"), "Quick.")
    slow = visit(scripted.url)
    tools = slow.page.context.new_cdp_session(slow.page)
    tools.send("Network.enable")
    limits = {"offline": False, "latency": 50, "downloadThroughput": 8000, "uploadThroughput": 8000}
    tools.send("Network.emulateNetworkConditions", limits)
    answer = slow.ask("everything")
    expect(answer.locator(".cell")).to_be_visible()
    other = visit(scripted.url)
    expect(other.ended(other.ask("quick")).locator(".prose").last).to_have_text("Quick.")
    expect(answer).to_have_attribute("aria-busy", "true")
    tools.send("Network.emulateNetworkConditions", limits | {"downloadThroughput": -1, "uploadThroughput": -1})
    slow.ended(answer)
    expect(answer.locator(".prose").last).to_have_text("Slow.")
    answer.get_by_role("button", name="Show all").click()
    expect(answer.locator(".chunk")).to_have_count(10)
    assert "".join(answer.locator(".chunk").all_text_contents()) == numbers


def test_after_a_sleep_the_answer_goes_on_where_it_was(
    scripted: Running, script: Callable[..., None], model_server: ModelServer, visit: Callable[..., Chat]
) -> None:
    """The page is frozen like a background tab; meanwhile its connection dies silently."""
    gate = Gate()
    model_server.reply("One,", gate, " two.")
    chat = visit(scripted.url, own=True)
    line = Line(chat)
    answer = chat.ask("count")
    expect(answer.locator(".prose")).to_have_text("One,")
    chat.page.clock.install()
    hide(chat, hidden=True)
    line.deaf = True
    tools = chat.page.context.new_cdp_session(chat.page)
    tools.send("Page.setWebLifecycleState", {"state": "frozen"})
    gate.open()
    all_ended(scripted, chat)
    tools.send("Page.setWebLifecycleState", {"state": "active"})
    chat.page.clock.fast_forward("30:00")
    line.deaf = False
    hide(chat, hidden=False)
    chat.ended(answer)
    expect(answer.locator(".prose")).to_have_text("One, two.")
    assert line.opened == 2


def hide(chat: Chat, *, hidden: bool) -> None:
    """Tells the page that its tab is hidden or shown, like a browser."""
    chat.page.evaluate(
        """hidden => {
            Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
            document.dispatchEvent(new Event("visibilitychange"));
        }""",
        hidden,
    )


def test_what_was_said_meanwhile_is_answered_after_a_reload(
    scripted: Running, script: Callable[..., None], model_server: ModelServer, visit: Callable[..., Chat]
) -> None:
    gate, second = Gate(), Gate()
    model_server.reply("First,", gate, " this.")
    model_server.reply("And now", second, " that.")
    chat = visit(scripted.url)
    expect(chat.ask("begin").locator(".prose")).to_have_text("First,")
    chat.box.fill("now that")
    chat.page.keyboard.press("Enter")
    expect(chat.page.locator(".waits .bubble")).to_have_text("now that")
    chat.page.reload()
    expect(chat.answers.locator(".prose")).to_have_text("First,")
    gate.open()
    expect(chat.answers.last.locator(".prose")).to_have_text("And now")
    second.open()
    chat.ended(chat.answers.last)
    expect(chat.answers.locator(".prose")).to_have_text(["First, this.", "And now that."])
    expect(chat.page.locator(".bubble")).to_have_text(["begin", "now that"])
    expect(chat.stop).to_have_count(0)


def test_what_could_not_be_taken_in_any_more_comes_back_to_the_box(
    scripted: Running, script: Callable[..., None], model_server: ModelServer, visit: Callable[..., Chat]
) -> None:
    gate = Gate()
    model_server.reply("First,", gate, " this.")
    chat = visit(scripted.url)
    answer = chat.ask("begin")
    expect(answer.locator(".prose")).to_have_text("First,")
    chat.box.fill("now that")
    chat.page.keyboard.press("Enter")
    expect(chat.page.locator(".waits .bubble")).to_have_text("now that")
    chat.page.keyboard.press("Escape")
    chat.ended(answer)
    expect(chat.page.locator(".waits")).to_have_count(0)
    expect(chat.box).to_have_value("now that")


def test_a_question_that_was_lost_on_its_way_is_asked_once(
    scripted: Running, script: Callable[..., None], model_server: ModelServer, visit: Callable[..., Chat]
) -> None:
    script("Only once.")
    chat = visit(scripted.url)
    asked: list[str] = []
    lost: list[str] = []

    def swallow(route: WebSocketRoute) -> None:
        """Breaks the connection once, when the server has received the question and before the page knows."""
        server = route.connect_to_server()

        def to_server(message: str | bytes) -> None:
            if '"metadata"' in str(message):
                asked.append(str(message))
            server.send(message)

        def to_page(message: str | bytes) -> None:
            if asked and not lost:
                lost.append(str(message))
                route.close(code=1012)
            else:
                route.send(message)

        route.on_message(to_server)
        server.on_message(to_page)

    chat.page.route_web_socket("**/v1/responses", swallow)
    chat.page.reload()
    answer = chat.ended(chat.ask("hello"))
    expect(answer.locator(".prose")).to_have_text("Only once.")
    assert "response.created" in lost[0]
    assert len(asked) == 1
    assert len(model_server.requests) == 1


@contextmanager
def process(port: int, data_dir: Path, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
    """Runs `codeact serve` as a separate process, which can be killed, with these environment variables."""
    command = [
        str(Path(sys.executable).with_name("codeact")),
        "serve",
        "--port",
        str(port),
        "--data-dir",
        str(data_dir),
    ]
    options = ["--model", "demo", "--sandbox", "process", "--pool-min", "1"]
    with (data_dir / "log").open("ab") as log:
        server = subprocess.Popen(
            [*command, *options], stdout=log, stderr=log, env=os.environ | {"NO_COLOR": "1"} | settings
        )
    try:
        yield server
    finally:
        server.terminate()
        server.wait(90)


def ready(chat_url: str, chat: Chat) -> None:
    for _ in range(600):
        try:
            if httpx.get(f"{chat_url}/readyz", trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            pass
        chat.page.wait_for_timeout(100)  # another process has no event that this one could wait for
    raise AssertionError("the server is not ready")


def test_after_a_killed_server_the_page_goes_on_with_what_was_acknowledged(
    visit: Callable[..., Chat], tmp_path: Path
) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    expected = ("ERR_CONNECTION_REFUSED", "WebSocket", "ERR_", "Failed to load")
    with process(port, tmp_path) as server:
        chat = visit("about:blank", expected=expected)
        ready(url, chat)
        chat.page.goto(url)
        chat.page.get_by_role("button", name=example("fibonacci"), exact=True).click()
        chat.ended(chat.answers)
        counting = chat.ask("Count to 100, live")
        expect(counting.locator(".stdout")).to_contain_text("3")
        server.kill()
        server.wait(90)
        expect(chat.line).to_contain_text("Reconnecting")
    with process(port, tmp_path):
        ready(url, chat)
        chat.ended(counting)
        expect(counting.get_by_role("alert")).to_contain_text("server stopped")
        expect(counting.locator(".stdout")).to_contain_text("3")
        expect(chat.line).to_be_empty()
        expect(chat.answers.first.locator(".stdout")).to_contain_text("354224848179261915075")
        answer = chat.ended(chat.ask("What is 6 * 7?"))
        expect(answer.locator(".prose").last).to_contain_text("42")
        expect(answer.locator(".notice")).to_contain_text("State of this point")


def test_a_large_file_goes_on_where_the_line_broke(
    scripted: Running, script: Callable[..., None], visit: Callable[..., Chat], tmp_path: Path
) -> None:
    script(execute("print(len(open('large.bin', 'rb').read()))"), "Read.")
    large = tmp_path / "large.bin"
    large.write_bytes(bytes(9_900_000))
    chat = visit(scripted.url, expected=("ERR_CONNECTION_RESET",))
    parts: list[str] = []

    def second_breaks(route: Route) -> None:
        parts.append(route.request.url)
        if len(parts) == 2:
            route.abort("connectionreset")
        else:
            route.continue_()

    chat.page.route("**/v1/uploads/*/parts", second_breaks)
    chat.page.locator("input[type=file]").set_input_files(large)
    answer = chat.ended(chat.ask("how long is it?"))
    expect(answer.locator(".stdout")).to_have_text("9900000\n")
    assert len(parts) == 4, "three parts, one of them twice"
