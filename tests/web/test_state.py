"""The state of the kernel in the browser: it comes back after idle time and a kill, and goes with branches and undo."""

import threading
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect

from tests.model_server import ModelServer
from tests.server.processes import ServerProcess, serving
from tests.web.chat import Chat, execute

pytestmark = pytest.mark.xdist_group("kill")

Script = Callable[..., None]
PAUSE = threading.Event()
"""Is never set: a server tells a stranger neither that a checkpoint is stored nor that a sandbox is gone."""


def answers_of(server: ServerProcess, chat: Chat) -> list[dict[str, object]]:
    name = chat.page.url.rpartition("/")[2]
    return [each["response"] for each in server.get(f"/v1/conversations/{name}/responses").json()["data"]]


def saved(server: ServerProcess, chat: Chat) -> None:
    """Waits until the state after the latest answer is stored."""
    name, latest = chat.page.url.rpartition("/")[2], answers_of(server, chat)[-1]["id"]
    while latest not in [
        each["response_id"] for each in server.get(f"/v1/conversations/{name}/checkpoints").json()["data"]
    ]:
        PAUSE.wait(0.1)


def expired(server: ServerProcess) -> None:
    """Waits until no sandbox runs."""
    while any(each["status"] == "running" for each in server.get("/v1/containers").json()["data"]):
        PAUSE.wait(0.1)


def runs(chat: Chat, script: Script, question: str, code: str, shows: str, notice: str | None = None) -> None:
    """Asks a question whose answer runs `code`, and expects its output, and a notice."""
    script(execute(code), "Done.")
    answer = chat.ended(chat.ask(question))
    expect(answer.locator(".cell")).to_contain_text(shows)
    if notice is not None:
        expect(answer.locator(".notice")).to_contain_text(notice)


def test_variables_and_files_outlive_idle_time_and_a_kill_and_follow_branches_and_undo(
    tmp_path: Path, model_server: ModelServer, visit: Callable[..., Chat], script: Script
) -> None:
    base = {"model": "openai/scripted", "model_api_base": model_server.base_url, "model_api_key": "test"}
    base["checkpoint"] = True
    look = "print('x', x, open('a.txt').read())"
    with serving(tmp_path, idle_timeout_s=2.0, **base) as server:
        server.get("/readyz")
        chat = visit(server.url, expected=("WebSocket", "ERR_CONNECTION_REFUSED", "Failed to load"))
        runs(chat, script, "one", "x = 1\nopen('a.txt', 'w').write('first')\nprint('set')", "set")
        saved(server, chat)
        expired(server)
        runs(chat, script, "is it there?", look, "x 1 first", notice="State of this point")
        saved(server, chat)  # A file that the next block changes before then is named as not saved.
        runs(chat, script, "two", "x = 2\nopen('a.txt', 'w').write('second')\nprint('changed')", "changed")
        saved(server, chat)
        server.kill()
    with serving(tmp_path, **base) as server:
        server.get("/readyz")
        chat.page.goto(f"{server.url}/c/{chat.page.url.rpartition('/')[2]}")
        runs(chat, script, "and now?", look, "x 2 second", notice="State of this point")
        # A branch: the question that set x to 2 is asked in another way.
        script(execute(look), "Done.")
        chat.page.locator(".bubble").nth(2).hover()
        chat.page.get_by_role("button", name="Edit", exact=True).nth(2).click()
        chat.page.get_by_label("Edit your question").fill("instead")
        chat.page.keyboard.press("Enter")
        expect(chat.answers).to_have_count(3)
        answer = chat.ended(chat.answers.last)
        expect(answer.locator(".cell")).to_contain_text("x 1 first")
        expect(answer.locator(".notice")).to_contain_text("State of this point")
        # The old behaviour is one click away: the kernel does not go back.
        script(execute("print('x', x)"), "Done.")
        answer.get_by_role("button", name="Ask with the kernel as it is").click()
        answer = chat.ended(chat.answers.last)
        expect(answer.locator(".cell")).to_contain_text("x 1")
        expect(answer.locator(".notice")).to_have_count(0)
        saved(server, chat)
        # Undo: the newest answer is deleted, and what it did to the kernel with it.
        runs(chat, script, "three", "x = 3\nopen('a.txt', 'w').write('third')\nprint('x', x)", "x 3")
        saved(server, chat)
        newest = answers_of(server, chat)[-1]["id"]
        httpx.delete(f"{server.url}/v1/responses/{newest}", trust_env=False, timeout=60).raise_for_status()
        chat.page.reload()
        runs(chat, script, "after the undo?", look, "x 1 first", notice="State of this point")
