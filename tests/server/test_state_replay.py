"""What a checkpoint cannot save is made again: its blocks run again, with the recorded results of calls."""

import json
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import anyio
import httpx
import pytest

from codeact.verification.errors import NotVerifiable
from codeact.verification.rebuilding import Rebuild
from sandbox_pool import Sandbox
from sandbox_pool.checkpoint import Manifest, StateLimits
from tests.asking import INCLUDE
from tests.model_server import ModelServer
from tests.server.conftest import Running
from tests.server.test_functions import SHOWS_CODE, WEATHER
from tests.server.test_state import lose_kernel, notices, printed, stored

Ask = Callable[..., dict[str, Any]]
BEGUN = """
rows = [1, 2, 3]
def doubled():
    for row in rows:
        yield row * 2
it = doubled()
print(next(it), open('seen.txt', 'a').write('once'))
"""


@pytest.fixture(autouse=True)
def _fresh_script(model_server: ModelServer) -> None:
    model_server.reset()


@pytest.fixture(scope="module")
def scripted(make_server: Callable[..., Running], model_server: ModelServer) -> Running:
    """A server whose blocks of code may have taken as long as a busy machine makes them take."""
    return make_server(
        model="openai/scripted",
        model_api_base=model_server.base_url,
        model_api_key="test",
        checkpoint=True,
        checkpoint_replay_s=200,
    )


@pytest.fixture(scope="module")
def client(scripted: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=scripted.url, trust_env=False, timeout=120) as client:
        yield client


@pytest.fixture
def ask(client: httpx.Client, model_server: ModelServer) -> Ask:
    def ask(code: str, *, done: bool = True, **more: Any) -> dict[str, Any]:
        if code:
            model_server.reply(f"<execute>\n{code}\n</execute>\n")
        if done:
            model_server.reply("Done.")
        answer = client.post("/v1/responses", json={"input": "go", "include": INCLUDE, **more})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    return ask


def lost(server: Running, response: dict[str, Any]) -> dict[str, Any]:
    """Ends the response's kernel, once its state is stored."""
    stored(server, response)
    lose_kernel(server, response)
    return {"previous_response_id": response["id"]}


def message(response: dict[str, Any]) -> str:
    return " ".join(notice["message"] for notice in response["codeact:notices"])


def test_a_generator_goes_on_where_it_was_and_shares_what_it_shared(
    ask: Ask, scripted: Running, model_server: ModelServer
) -> None:
    first = ask(f"import random\n{BEGUN}drawn = (random.random() for _ in rows)\nfound = [next(drawn)]")
    second = ask("rows.append(4)\nprint(next(it))", previous_response_id=first["id"])
    third = ask(
        "rows.append(5)\nprint(list(it), open('seen.txt').read(), len([*found, *drawn]))", **lost(scripted, second)
    )
    assert printed(third) == "[6, 8, 10] once 5\n"
    assert notices(third) == ["kernel_restored"]
    assert "made again by running 2 recorded blocks of code again" in message(third)
    assert "it (" in message(third)
    assert "If that fails" in json.dumps(model_server.requests[-2].messages)


def test_a_call_gets_its_recorded_result_and_is_not_made_again(
    ask: Ask, scripted: Running, model_server: ModelServer
) -> None:
    code = "found = get_weather(city='Oslo')\nit = iter([found, 'end'])\nlazy = (each for each in it)\nnext(lazy)"
    waits = ask(code, done=False, tools=[WEATHER])
    (call,) = [item for item in waits["output"] if item["type"] == "function_call"]
    value = {"type": "function_call_output", "call_id": call["call_id"], "output": '"cold"'}
    first = ask("", input=[value], previous_response_id=waits["id"], tools=[WEATHER])
    again = ask("print(found, list(lazy))", tools=[WEATHER], include=SHOWS_CODE, **lost(scripted, first))
    assert printed(again) == "cold ['end']\n"
    assert [item["type"] for item in again["output"] if item["type"] == "function_call"] == []


@pytest.mark.parametrize("code", ["print(int(repr(K())[-12:-1], 16))", "seen = repr(K())"], ids=["output", "value"])
def test_code_that_does_something_else_when_it_runs_again_leaves_the_saved_state(
    ask: Ask, scripted: Running, code: str
) -> None:
    # An object has another address in another kernel; nothing in the text says that it is one.
    first = ask(f"class K:\n    pass\n{BEGUN}\nseen = 1\n{code}")
    again = ask("print(type(seen).__name__, 'it' in globals(), open('seen.txt').read())", **lost(scripted, first))
    assert printed(again) == f"{'str' if 'seen' in code else 'int'} False once\n"
    assert notices(again) == ["kernel_restored", "kernel_replaced"]
    assert "its code ran again without success" in message(again)


def test_code_that_may_do_something_else_does_not_run_again(ask: Ask, scripted: Running) -> None:
    again = ask("print(rows, 'it' in globals())", **lost(scripted, ask(f"import time\n{BEGUN}")))
    assert printed(again) == "[1, 2, 3] False\n"
    assert "Not restored: it (" in message(again)


def test_a_sandbox_that_ends_while_its_code_runs_again_costs_only_what_was_not_saved(
    ask: Ask, scripted: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = lost(scripted, ask(BEGUN))
    run_block = Rebuild._run_block

    async def killed(self: Rebuild, block: Any, sandbox: Sandbox) -> None:
        await sandbox.close()
        await run_block(self, block, sandbox)

    monkeypatch.setattr(Rebuild, "_run_block", killed)
    again = ask("print(rows, 'it' in globals(), open('seen.txt').read())", **asked)
    assert printed(again) == "[1, 2, 3] False once\n"
    assert notices(again) == ["kernel_restored", "kernel_replaced"]


def test_a_stop_while_code_runs_again_leaves_the_state_for_the_next_question(
    ask: Ask, scripted: Running, client: httpx.Client, model_server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = lost(scripted, ask(BEGUN))
    begun = anyio.Event()

    async def endless(self: Rebuild, block: Any, sandbox: Sandbox) -> None:
        begun.set()
        await anyio.sleep_forever()

    with monkeypatch.context() as patch:
        patch.setattr(Rebuild, "_run_block", endless)
        model_server.reply("<execute>\nprint(1)\n</execute>\n")
        stopped = client.post("/v1/responses", json={"input": "go", "background": True, **asked}).json()
        scripted.run(begun.wait)
        assert client.post(f"/v1/responses/{stopped['id']}/cancel").json()["status"] == "cancelled"
    again = ask("print(list(it), open('seen.txt').read())", **asked)
    assert printed(again) == "[4, 6] once\n"


@pytest.mark.anyio
async def test_code_that_takes_too_long_again_is_given_up() -> None:
    class Endless(Rebuild):
        async def _run(self, sandbox: Sandbox) -> None:
            await anyio.sleep_forever()

    store: Any = SimpleNamespace(get_blob=print)
    rebuild = Endless([], [], Manifest(1, "3", 0), store, owner="", limits=StateLimits(), most_s=0.001)
    with pytest.raises(NotVerifiable, match="took longer"):
        await rebuild.run(store)
