"""The state of kernels: it is stored after answers, and comes back where the conversation goes on."""

import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from codeact import events as e
from tests.asking import INCLUDE
from tests.model_server import ModelServer
from tests.server.conftest import Running, running, settings_of

Ask = Callable[..., dict[str, Any]]
ROOT = Path(__file__).parents[2]
UNPICKLES = re.compile(r"^\s*(import|from) (pickle|cloudpickle|dill|marshal|shelve)\b", re.M)


@pytest.fixture(autouse=True)
def _fresh_script(model_server: ModelServer) -> None:
    model_server.reset()


@pytest.fixture(scope="module")
def scripted(make_server: Callable[..., Running], model_server: ModelServer) -> Running:
    """A server that takes checkpoints, whose model gives the replies of `model_server`."""
    return make_server(
        model="openai/scripted", model_api_base=model_server.base_url, model_api_key="test", checkpoint=True
    )


@pytest.fixture(scope="module")
def client(scripted: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=scripted.url, trust_env=False, timeout=60) as client:
        yield client


@pytest.fixture
def ask(client: httpx.Client, model_server: ModelServer) -> Ask:
    """Asks a question whose answer runs `code`, and returns the response."""

    def ask(code: str | None, *, at: str = "/v1/responses", **more: Any) -> dict[str, Any]:
        if code is not None:
            model_server.reply(f"<execute>\n{code}\n</execute>\n")
        model_server.reply("Done.")
        answer = client.post(at, json={"input": "go", "include": INCLUDE, **more})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    return ask


def printed(response: dict[str, Any]) -> str:
    calls = [item for item in response["output"] if item["type"] == "code_interpreter_call"]
    return "".join(output["logs"] for output in calls[-1]["outputs"])


def notices(response: dict[str, Any]) -> list[str]:
    return [notice["code"] for notice in response["codeact:notices"]]


def stored(server: Running, response: dict[str, Any]) -> None:
    """Waits until no checkpoint of the response's conversation is under way."""
    name = response["conversation"]["id"]
    server.run(partial(server.state.checkpoints.settled, name))


def lose_kernel(server: Running, response: dict[str, Any]) -> None:
    """Releases the conversation's sandbox, as its expiry does."""
    name = response["conversation"]["id"]
    server.run(partial(server.state.workspaces.release, name, "the sandbox was idle for too long"))


def test_variables_and_files_survive_the_loss_of_the_sandbox(
    ask: Ask, scripted: Running, model_server: ModelServer
) -> None:
    code = "import threading\nx = [1, 2]\ny = x\nlock = threading.Lock()\nopen('notes.txt', 'w').write('kept')"
    first = ask(f"{code}\nf = open('notes.txt', 'a')")
    stored(scripted, first)
    lose_kernel(scripted, first)
    again = ask("print(x, y is x, open('notes.txt').read())\nprint('f' in globals())", previous_response_id=first["id"])
    assert printed(again) == "[1, 2] True kept\nFalse\n"
    assert notices(again) == ["kernel_restored"]
    message = again["codeact:notices"][0]["message"]
    assert "idle for too long" in message
    assert "Made again by their code: lock. Not restored: f (" in message
    note = json.dumps(model_server.requests[2].messages)
    assert "Restored variables, functions and imports: x, y" in note
    assert "made again by running their code: lock" in note
    assert "The block that made it:" in note


def test_state_follows_a_conversation_whose_sandbox_another_one_needs_and_whose_server_is_stopped(
    ask: Ask, scripted: Running, data_dir: Path, model_server: ModelServer
) -> None:
    more: dict[str, Any] = {"model_api_base": model_server.base_url, "model_api_key": "test", "checkpoint": True}
    with running(settings_of(data_dir, model="openai/scripted", pool_max=1, **more)) as small:

        def ask_small(code: str, **more: Any) -> dict[str, Any]:
            return ask(code, **more, at=f"{small.url}/v1/responses")

        first = ask_small("x = 1\nopen('a.txt', 'w').write('kept')")
        other = ask_small(
            "x = 2"
        )  # The pool has one sandbox: it comes from the first conversation, once that is saved.
        again = ask_small("x += 10\nprint(x, open('a.txt').read())", previous_response_id=first["id"])
        assert (printed(again), notices(again)) == ("11 kept\n", ["kernel_restored"])
        # The server stops at once: what is being saved is stored before, and another server goes on.
    for response, shows in ((again, "11\n"), (other, "2\n")):
        moved = ask("print(x)", previous_response_id=response["id"])
        assert (printed(moved), notices(moved)) == (shows, ["kernel_restored"])


def test_an_edited_question_finds_the_state_of_its_own_point(ask: Ask, scripted: Running) -> None:
    first = ask("x = 1")
    stored(scripted, first)
    second = ask("x = 2\nopen('later.txt', 'w').write('no')", previous_response_id=first["id"])
    stored(scripted, second)
    edited = ask("import os\nprint(x, os.path.exists('later.txt'))", previous_response_id=first["id"])
    assert printed(edited) == "1 False\n"
    assert notices(edited) == ["kernel_restored"]
    # Both branches go on side by side, each in its own sandbox.
    other = ask("print(x)", previous_response_id=second["id"])
    assert printed(other) == "2\n"
    back = ask("print(x)", previous_response_id=edited["id"])
    assert printed(back) == "1\n"
    containers = {call["container_id"] for one in (second, edited, other, back) for call in calls(one)}
    assert len(containers) == 2


def calls(response: dict[str, Any]) -> list[dict[str, Any]]:
    return [item for item in response["output"] if item["type"] == "code_interpreter_call"]


def test_a_branch_before_any_code_begins_with_an_empty_kernel(ask: Ask, scripted: Running) -> None:
    first = ask(None)
    second = ask("x = 2", previous_response_id=first["id"])
    stored(scripted, second)
    edited = ask("print('x' in globals())", previous_response_id=first["id"])
    assert printed(edited) == "False\n"


def test_a_branch_may_keep_the_kernel_as_it_is(ask: Ask, scripted: Running) -> None:
    first = ask("x = 1")
    second = ask("x = 2", previous_response_id=first["id"])
    stored(scripted, second)
    edited = ask("print(x)", previous_response_id=first["id"], **{"codeact:state": "keep"})
    assert printed(edited) == "2\n"
    assert notices(edited) == []


def test_a_branch_may_keep_a_kernel_that_was_restored(ask: Ask, scripted: Running) -> None:
    first = ask("x = 1")
    second = ask("x = 2", previous_response_id=first["id"])
    stored(scripted, second)
    lose_kernel(scripted, second)
    third = ask("print(x)", previous_response_id=second["id"])
    assert notices(third) == ["kernel_restored"]
    edited = ask("print(x)", previous_response_id=first["id"], **{"codeact:state": "keep"})
    assert printed(edited) == "2\n"
    assert notices(edited) == []


def test_deleting_the_newest_answer_undoes_its_changes(ask: Ask, scripted: Running, client: httpx.Client) -> None:
    first = ask("x = 1")
    second = ask("x = 2", previous_response_id=first["id"])
    stored(scripted, second)
    assert client.delete(f"/v1/responses/{second['id']}").status_code == 200
    undone = ask("print(x)", conversation=first["conversation"]["id"])
    assert printed(undone) == "1\n"


def test_code_after_the_last_checkpoint_is_named(ask: Ask, scripted: Running, model_server: ModelServer) -> None:
    first = ask("x = 1")
    stored(scripted, first)
    workspace = scripted.state.workspaces.get(first["conversation"]["id"], owner="local")
    second = ask("y = 'lost'", previous_response_id=first["id"])
    stored(scripted, second)
    found = scripted.run(partial(newest, scripted, first))
    scripted.run(partial(discard, scripted, found.id))
    assert workspace.living is not None
    lose_kernel(scripted, first)
    again = ask("print(x, 'y' in globals())", previous_response_id=second["id"])
    assert printed(again) == "1 False\n"
    assert "1 block of code ran after it was saved" in again["codeact:notices"][0]["message"]
    assert "y = 'lost'" in json.dumps(model_server.requests[-2].messages)


async def newest(server: Running, response: dict[str, Any], owner: str = "local") -> Any:
    store = await server.state.store.get()
    return await store.checkpoints.newest(response["conversation"]["id"], owner=owner)


async def discard(server: Running, checkpoint_id: str) -> None:
    store = await server.state.store.get()
    await store.checkpoints.discard(checkpoint_id)


def test_a_fork_goes_on_with_the_state_and_leaves_the_original_alone(
    ask: Ask, scripted: Running, client: httpx.Client
) -> None:
    first = ask("x = [1]")
    second = ask("x.append(2)", previous_response_id=first["id"])
    stored(scripted, second)
    forked = client.post(
        f"/v1/conversations/{first['conversation']['id']}/fork", json={"response_id": second["id"]}
    ).json()
    assert forked["id"] != first["conversation"]["id"]
    copied = ask("x.append(3)\nprint(x)", conversation=forked["id"])
    assert printed(copied) == "[1, 2, 3]\n"
    original = ask("print(x)", conversation=first["conversation"]["id"])
    assert printed(original) == "[1, 2]\n"


def test_a_shared_conversation_is_continued_from_a_copy_without_its_state(
    ask: Ask, scripted: Running, client: httpx.Client, model_server: ModelServer
) -> None:
    first = ask("secret = 41\nprint('shown')")
    stored(scripted, first)
    name = first["conversation"]["id"]
    token = client.post(f"/v1/conversations/{name}/share", json={}).json()["token"]
    opened = client.post("/v1/conversations/open", json={"share": token})
    assert opened.status_code == 200, opened.text
    assert opened.json()["id"] != name
    again = ask("print('secret' in globals())", conversation=opened.json()["id"])
    assert printed(again) == "False\n"
    assert notices(again) == ["kernel_replaced"]
    assert "shown" in json.dumps(model_server.requests[2].messages)
    assert client.post("/v1/conversations/open", json={"share": "no"}).status_code == 404


def test_the_saved_state_of_a_container_is_listed_and_can_be_brought_back(
    ask: Ask, scripted: Running, client: httpx.Client
) -> None:
    first = ask("x = 1\nf = open('a.txt', 'w')")
    container = calls(first)[0]["container_id"]
    state = client.get(f"/v1/containers/{container}/state").json()
    assert state["response_id"] == first["id"]
    assert state["current"] is True
    names = {name["name"]: name for name in state["names"]}
    assert (names["x"]["saved"], names["x"]["type"]) == (True, "int")
    assert (names["f"]["saved"], bool(names["f"]["reason"])) == (False, True)
    assert [file["path"] for file in state["files"]] == ["a.txt"]
    listed = client.get(f"/v1/conversations/{first['conversation']['id']}/checkpoints").json()["data"]
    assert [(each["object"], each["response_id"]) for each in listed] == [("codeact:checkpoint", first["id"])]
    lose_kernel(scripted, first)
    restored = client.post(f"/v1/containers/{container}/restore", json={}).json()
    assert restored["status"] == "running"
    assert restored["id"] != container
    again = ask("print(x)", previous_response_id=first["id"])
    assert printed(again) == "1\n"
    assert calls(again)[0]["container_id"] == restored["id"]
    assert notices(again) == []
    assert client.post(f"/v1/containers/{container}/restore", json={"checkpoint_id": "ckpt_no"}).status_code == 400


@pytest.fixture(scope="module")
def sized(make_server: Callable[..., Running], model_server: ModelServer) -> Running:
    """A server that takes checkpoints, and allows containers of other sizes and with hosts of their own."""
    return make_server(
        model="openai/scripted",
        model_api_base=model_server.base_url,
        model_api_key="test",
        checkpoint=True,
        memory_mb_max=4096,
        egress_domains="example.com",
    )


def test_a_container_that_comes_back_has_its_size_its_hosts_and_its_placeholders(
    sized: Running, model_server: ModelServer
) -> None:
    policy = {
        "type": "allowlist",
        "allowed_domains": ["example.com"],
        "domain_secrets": [{"domain": "example.com", "name": "TOKEN", "value": "secret"}],
    }
    tool = {"type": "code_interpreter", "container": {"type": "auto", "memory_limit": "4g", "network_policy": policy}}
    with httpx.Client(base_url=sized.url, trust_env=False, timeout=60) as client:

        def asked(code: str, **more: Any) -> dict[str, Any]:
            model_server.reply(f"<execute>\n{code}\n</execute>\n")
            model_server.reply("Done.")
            answer = client.post("/v1/responses", json={"input": "go", **more})
            assert answer.status_code == 200, answer.text
            stored(sized, answer.json())
            return dict(answer.json())

        first = asked("import os\nkept = os.environ['TOKEN']\nprint(kept)", tools=[tool])
        assert printed(first).startswith("codeact-secret-")
        lose_kernel(sized, first)
        # What a request names again: the secret, whose placeholder is the same. What it does not name: the size.
        again = {"type": "code_interpreter", "container": {"type": "auto", "network_policy": policy}}
        second = asked("print(kept == os.environ['TOKEN'])", tools=[again], previous_response_id=first["id"])
        assert printed(second) == "True\n"
        shown = client.get(f"/v1/containers/{calls(second)[0]['container_id']}").json()
        assert (shown["memory_limit"], shown["network_policy"]["type"]) == ("4g", "allowlist")
        lose_kernel(sized, first)
        container = calls(second)[0]["container_id"]
        restored = client.post(f"/v1/containers/{container}/restore", json={}).json()
        assert restored["memory_limit"] == "4g"
        assert restored["network_policy"] == {"type": "allowlist", "allowed_domains": ["example.com"]}


def test_a_checkpoint_is_an_item_of_the_conversation_and_its_return_an_event_for_who_asks(
    ask: Ask, scripted: Running, client: httpx.Client, model_server: ModelServer
) -> None:
    first = ask("import time\nx = 1\nf = open('a.txt', 'w')")
    stored(scripted, first)
    lose_kernel(scripted, first)
    model_server.reply("<execute>\nprint(x)\n</execute>\n")
    model_server.reply("Done.")
    body = {"input": "go", "previous_response_id": first["id"], "stream": True}
    answer = client.post("/v1/responses", json=body | {"include": INCLUDE})
    events = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    [restored] = [event for event in events if event["type"] == "codeact:checkpoint.restored"]
    parsed = e.decode_event(json.dumps(restored))
    assert isinstance(parsed, e.CheckpointRestored)
    assert (parsed.checkpoint.response_id, [each.name for each in parsed.not_restored]) == (first["id"], ["f"])
    assert events[-1]["type"] == "response.completed"
    second = events[-1]["response"]
    assert calls(second)[0]["container_id"] == parsed.container_id
    # It is stored with its number, and never reaches who has not asked for it.
    path = f"/v1/responses/{second['id']}?stream=true"
    number = restored["sequence_number"]
    again = client.get(f"{path}&starting_after={number - 1}&include=codeact:events").text
    assert json.loads(again.partition("data: ")[2].partition("\n")[0]) == restored
    assert "codeact:checkpoint" not in client.get(path).text
    # The checkpoint itself is an item of the conversation, after those of its response.
    stored(scripted, second)
    path = f"/v1/conversations/{first['conversation']['id']}/items?order=asc"
    items = client.get(f"{path}&include=codeact:events").json()["data"]
    own = [number for number, item in enumerate(items) if item["type"] == "codeact:checkpoint"]
    assert [items[number]["response_id"] for number in own] == [first["id"], second["id"]]
    assert (own[1], items[own[0]]["not_saved"]) == (len(items) - 1, 1)
    assert client.get(path).json()["data"] == [item for item in items if item["type"] != "codeact:checkpoint"]
    for order, expected in (("asc", items), ("desc", items[::-1])):
        paged: list[dict[str, Any]] = []
        for _ in items:
            after = f"&after={paged[-1]['id']}" if paged else ""
            page = client.get(f"{path.replace('asc', order)}&include=codeact:events&limit=1{after}").json()
            paged += page["data"]
        assert (paged, page["has_more"]) == (expected, False)


def test_nobody_reaches_the_state_of_another_owner(
    make_server: Callable[..., Running], model_server: ModelServer
) -> None:
    server = make_server(
        model="openai/scripted",
        model_api_base=model_server.base_url,
        model_api_key="test",
        api_keys="mine,theirs",
        checkpoint=True,
    )
    mine, theirs = ({"Authorization": f"Bearer {key}"} for key in ("mine", "theirs"))
    with httpx.Client(base_url=server.url, trust_env=False, timeout=60) as client:
        model_server.reply("<execute>\nx = 1\n</execute>\n")
        model_server.reply("Done.")
        answer = client.post("/v1/responses", json={"input": "go"}, headers=mine).json()
        stored(server, answer)
        name, container = answer["conversation"]["id"], calls(answer)[0]["container_id"]
        for method, path in [
            ("GET", f"/v1/containers/{container}/state"),
            ("POST", f"/v1/containers/{container}/restore"),
            ("GET", f"/v1/conversations/{name}/checkpoints"),
            ("POST", f"/v1/conversations/{name}/fork"),
        ]:
            body = {"json": {}} if method == "POST" else {}
            assert client.request(method, path, headers=theirs, **body).status_code == 404, path
            assert client.request(method, path, **body).status_code == 401, path
        # A checkpoint that another owner's workspace is given is refused.
        found = server.run(partial(newest, server, answer, owner=server_owner(server, answer)))
        workspace = server.state.workspaces.get("conv_of_others", owner="others")

        async def restored() -> str | None:
            await workspace.go_to(found.response_id, server.state.checkpoints.restoring(found, workspace))
            await workspace.sandbox()
            await workspace.release("the test has ended")
            return workspace.restore_failure

        assert "There is no checkpoint" in (server.run(restored) or "")


def server_owner(server: Running, response: dict[str, Any]) -> str:
    return server.state.workspaces.get(response["conversation"]["id"], owner="").owner


def test_the_server_never_reads_a_pickle() -> None:
    for folder in ("codeact", "server", "sandbox_pool"):
        for path in (ROOT / folder).rglob("*.py"):
            if "guest" not in path.parts:
                assert UNPICKLES.search(path.read_text()) is None, path


def test_checkpoints_count_against_the_owner_and_the_oldest_go(
    ask: Ask, scripted: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scripted.state.checkpoints, "_keep", 2)
    before = scripted.run(partial(used, scripted))
    answer = ask("import os\ndata = os.urandom(1_000_000)")
    stored(scripted, answer)
    assert scripted.run(partial(used, scripted)) - before > 1_000_000
    for number in range(3):
        answer = ask(f"n = {number}", previous_response_id=answer["id"])
        stored(scripted, answer)
    assert scripted.run(partial(used, scripted)) - before < 1_500_000  # what has not changed is stored once
    kept = scripted.run(partial(all_of, scripted, answer))
    assert len(kept) == 2
    assert kept[-1].response_id == answer["id"]


async def used(server: Running) -> int:
    return await (await server.state.store.get()).stored.used("local")


async def all_of(server: Running, response: dict[str, Any]) -> list[Any]:
    store = await server.state.store.get()
    return list(await store.checkpoints.keys_of(response["conversation"]["id"], owner="local"))
