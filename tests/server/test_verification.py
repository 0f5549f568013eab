"""Answers are verified: their code runs again in a fresh sandbox of a real server, and the outputs are compared."""

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import anyio
import httpx
import msgspec
import nbformat
import openai
import pytest
from typer.testing import CliRunner

import codeact
from codeact.cli.main import app
from codeact.errors import NotFound, RequestRefused
from codeact.events import InputMessage
from codeact.events.certificates import MOST_DIFFERENCES, Certificate
from codeact.store import open_store
from codeact.workspaces.workspace import Workspace
from sandbox_pool import SandboxPool
from sandbox_pool.errors import QuotaExceeded
from tests.model_server import Gate, ModelServer
from tests.server.conftest import Running, in_thread
from tests.server.test_approvals import until
from tests.server.test_functions import WEATHER, calls, output, run_code

PIXELS = """
import io, os, time
import numpy as np
from IPython.display import Image, display
from PIL import Image as Pillow
from PIL.PngImagePlugin import PngInfo
def shown(colour):
    info, data = PngInfo(), io.BytesIO()
    info.add_text("made", str(time.time()))
    Pillow.fromarray(np.full((4, 4, 3), colour, np.uint8)).save(data, "PNG", pnginfo=info)
    display(Image(data.getvalue()))
def other():  # Other bytes each time: a clock may show the same when it is asked again.
    return np.frombuffer(os.urandom(48), np.uint8).reshape(4, 4, 3)
"""


@pytest.fixture(autouse=True)
def _fresh_script(model_server: ModelServer) -> None:
    model_server.reset()


@pytest.fixture
def client(scripted: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{scripted.url}/v1", api_key="none", timeout=120, max_retries=0) as client:
        yield client


def answered(client: openai.OpenAI, model_server: ModelServer, *codes: str, **more: Any) -> Any:
    """One answer with these blocks of code."""
    for code in codes:
        model_server.reply(f"<execute>\n{code}\n</execute>\n")
    model_server.reply("Done.")
    return client.responses.create(model="codeact", **{"input": "go", **more})


def verified(server: Running, response_id: str, **query: Any) -> Any:
    got = httpx.post(f"{server.url}/v1/responses/{response_id}/codeact:verify", params=query, timeout=120)
    assert got.status_code == 200, got.text
    return got.json()


def refused(server: Running, response_id: str) -> tuple[int, str]:
    got = httpx.post(f"{server.url}/v1/responses/{response_id}/codeact:verify", timeout=120)
    return got.status_code, got.json()["error"]["code"]


def test_an_answer_that_depends_on_an_earlier_one_is_equal_on_another_server(
    client: openai.OpenAI, model_server: ModelServer, demo: Running
) -> None:
    first = answered(client, model_server, "import random\nrandom.seed(7)\nlimit = 1000")
    second = answered(
        client,
        model_server,
        "print(random.randrange(limit), {'a', 'b', 'c'})\nopen('x.txt', 'w').write('1')",
        "print(object())\n1 / 0",
        previous_response_id=first.id,
    )
    assert first.model_extra["codeact:environment"]["seeds"] == ["random.seed(7)"]
    environment = second.model_extra["codeact:environment"]
    assert environment["packages"]["numpy"]
    found = verified(demo, second.id)
    assert (found["result"], found["differences"]) == ("equal", [])
    assert (found["blocks"], found["earlier_blocks"], found["outputs"]) == (2, 1, 4)
    assert found["environment"] == environment
    assert found["replayed"]["packages"] == environment["packages"]
    again = httpx.get(f"{demo.url}/v1/responses/{second.id}/codeact:verify").json()
    assert again == found


def test_a_random_answer_differs_and_says_where(
    client: openai.OpenAI, model_server: ModelServer, scripted: Running
) -> None:
    response = answered(client, model_server, "import random", "print('a')\nprint('drawn:', random.random())\n1")
    found = verified(scripted, response.id)
    assert found["result"] == "differs"
    (difference,) = found["differences"]
    block = [item for item in response.output if item.type == "code_interpreter_call"][1]
    assert (difference["block"], difference["output"], difference["kind"]) == (2, 1, "text")
    assert difference["item_id"] == block.id
    assert difference["expected"] != difference["found"]
    assert all("drawn: 0." in difference[side] for side in ("expected", "found"))


def test_pictures_are_compared_by_their_pixels(
    client: openai.OpenAI, model_server: ModelServer, scripted: Running
) -> None:
    same = f"{PIXELS}\nshown(7)\nimport matplotlib.pyplot as plt\nplt.plot([1, 3, 2])\nplt.show()"
    response = answered(client, model_server, same, "shown(7)\nshown(other())")
    differences = verified(scripted, response.id)["differences"]
    assert [(one["kind"], one["block"], one["output"]) for one in differences] == [("picture", 2, 2)], differences
    assert "at 0,0" in differences[0]["found"]


def test_frames_and_deep_greys_of_pictures_are_compared(
    client: openai.OpenAI, model_server: ModelServer, scripted: Running
) -> None:
    moving = """
def moving(*colours):
    data, frames = io.BytesIO(), [Pillow.fromarray(np.full((4, 4, 3), colour, np.uint8)) for colour in colours]
    frames[0].save(data, "GIF", save_all=True, append_images=frames[1:])
    display(Image(data.getvalue()))
def deep(grey):
    data = io.BytesIO()
    Pillow.fromarray(np.full((4, 4), grey, np.uint16)).save(data, "PNG")
    display(Image(data.getvalue()))
"""
    codes = "moving((9, 9, 9), other())", "deep(20_000 + other()[:, :, 0].astype(int))"
    response = answered(client, model_server, PIXELS + moving, *codes)
    differences = verified(scripted, response.id)["differences"]
    assert [(one["kind"], one["block"]) for one in differences] == [("picture", 2), ("picture", 3)], differences
    assert differences[0]["found"].endswith("of frame 1")


def test_what_earlier_answers_do_hides_nothing_of_the_answer(
    client: openai.OpenAI, model_server: ModelServer, scripted: Running
) -> None:
    noisy = ["import time\nprint(time.time_ns())"] * MOST_DIFFERENCES
    first = answered(client, model_server, *noisy)
    second = answered(client, model_server, "print(time.time_ns())", previous_response_id=first.id)
    found = verified(scripted, second.id)
    assert found["result"] == "differs"
    assert [one.get("earlier", False) for one in found["differences"]] == [True] * (MOST_DIFFERENCES - 1) + [False]


def test_an_earlier_block_that_ends_the_sandbox_this_time_makes_nothing_equal(
    client: openai.OpenAI, model_server: ModelServer, scripted: Running
) -> None:
    first = answered(client, model_server, "x = 1")
    second = answered(client, model_server, "print(6 * 7)", previous_response_id=first.id)
    (block,) = [item for item in first.output if item.type == "code_interpreter_call"]

    in_thread(anyio.run, with_code, scripted, block.id, "import os\nos._exit(1)")
    found = verified(scripted, second.id)
    assert found["result"] == "differs"
    assert [("did not run" in one["found"], one.get("earlier", False)) for one in found["differences"]] == [
        (False, True),
        (True, False),
    ]


def test_a_call_gets_the_recorded_value_and_the_client_is_not_asked(
    client: openai.OpenAI, model_server: ModelServer, scripted: Running
) -> None:
    code = "print('asking')\nprint(get_weather('Bern'))\ntry:\n    get_weather(1j)\nexcept TypeError:\n    print('no')"
    run_code(model_server, code)
    first = client.responses.create(model="codeact", input="go", tools=[WEATHER])
    values = [output(calls(first)[0], '"sunny"')]
    second = client.responses.create(model="codeact", input=values, tools=[WEATHER], previous_response_id=first.id)
    found = verified(scripted, second.id)
    assert (found["result"], found["calls"], found["differences"]) == ("equal", 1, [])
    assert refused(scripted, first.id) == (409, "block_unfinished")


def test_what_cannot_be_verified_is_refused_by_name(
    client: openai.OpenAI, model_server: ModelServer, scripted: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SandboxPool, "prepare", None)  # Where sandboxes have no image, no backend is asked for one.
    model_server.reply("No code.")
    prose = client.responses.create(model="codeact", input="go")
    assert refused(scripted, prose.id) == (409, "nothing_to_verify")
    assert refused(scripted, "resp_x") == (404, "not_found")
    big = [{"role": "user", "content": [{"type": "input_file", "filename": "a.txt", "file_data": "aGk="}]}]
    read = answered(client, model_server, "print(open('a.txt').read())", input=big)
    assert verified(scripted, read.id)["result"] == "equal"
    for change, code in (
        ({"response.codeact:environment.packages.numpy": "0.1"}, "packages_changed"),
        ({"response.codeact:environment.image": f"sha256:{'0' * 64}"}, "image_gone"),
    ):
        in_thread(anyio.run, recorded_otherwise, scripted, read.id, change)
        assert refused(scripted, read.id) == (409, code)
    in_thread(anyio.run, recorded_otherwise, scripted, read.id, {"response.codeact:environment": None})
    in_thread(anyio.run, without_files, scripted, read.id)
    assert refused(scripted, read.id) == (409, "file_deleted")
    warm = client.responses.create(model="codeact", input=[], extra_body={"generate": False})
    in_thread(anyio.run, recorded_otherwise, scripted, warm.id, {"response.status": "cancelled"})
    after = answered(client, model_server, "print(1)", previous_response_id=warm.id)
    assert verified(scripted, after.id)["result"] == "equal"
    go_on = answered(client, model_server, "print(1)", previous_response_id=read.id)
    client.responses.delete(read.id)
    assert refused(scripted, go_on.id) == (409, "earlier_answer_deleted")


async def with_code(server: Running, block_id: str, code: str) -> None:
    """Changes the stored code of a block."""
    async with open_store(server.settings) as store:
        items = store._documents.items.get_pymongo_collection()
        await items.update_one({"_id": block_id}, {"$set": {"item.code": code}})


async def recorded_otherwise(server: Running, response_id: str, change: dict[str, Any]) -> None:
    async with open_store(server.settings) as store:
        responses = store._documents.responses.get_pymongo_collection()
        await responses.update_one({"_id": response_id}, {"$set": change})


async def without_files(server: Running, response_id: str) -> None:
    """Removes the content of the files that the user sent with this question."""
    async with open_store(server.settings) as store:
        stored = await store.get_response(response_id, owner="local")
        for part in (part for item in stored.input if isinstance(item, InputMessage) for part in item.content):
            await store._documents.blobs.find({"sha256": part["file_id"]}).delete()


def test_a_block_that_was_stopped_has_no_end_to_compare_with(
    client: openai.OpenAI, model_server: ModelServer, scripted: Running
) -> None:
    model_server.reply("<execute>\nprint('begun', flush=True)\nimport time\ntime.sleep(600)\n</execute>\n")
    with client.responses.create(model="codeact", input="go", stream=True) as stream:
        for event in stream:
            if event.type == "response.code_interpreter_call.interpreting":
                break
            if event.type == "response.created":
                response_id = event.response.id
        assert refused(scripted, response_id) == (409, "response_in_progress")
        client.responses.cancel(response_id)
    assert refused(scripted, response_id) == (409, "block_unfinished")


def test_a_client_that_leaves_ends_the_verification(
    client: openai.OpenAI, model_server: ModelServer, scripted: Running
) -> None:
    """The code does not end in the verification, so nothing but the client's leaving ends that."""
    response = answered(client, model_server, "import time", "print(1)")
    blocks = [item for item in response.output if item.type == "code_interpreter_call"]
    in_thread(anyio.run, with_code, scripted, blocks[1].id, "time.sleep(1000)")
    workspaces = scripted.state.workspaces._workspaces
    others = {*workspaces}

    def sandboxes() -> list[bool]:
        """Of verifications: whether each is alive."""
        mine = [name for name in [*workspaces] if name.startswith("verify_") and name not in others]
        found = [workspace for name in mine if (workspace := workspaces.get(name)) is not None]
        return [workspace.living is not None for workspace in found]

    with httpx.stream(
        "POST", f"{scripted.url}/v1/responses/{response.id}/codeact:verify", params={"stream": "true"}, timeout=120
    ) as stream:
        lines = stream.iter_lines()  # While this is referred to, the stream stays open.
        next(line for line in lines if '"block":2' in line)
        assert sandboxes() == [True]
    until(lambda: sandboxes() == [])
    assert httpx.get(f"{scripted.url}/v1/responses/{response.id}/codeact:verify").status_code == 404


def test_the_certificate_goes_along_with_a_share_a_notebook_and_the_command_line(
    client: openai.OpenAI, model_server: ModelServer, scripted: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEACT_URL", scripted.url)
    random = answered(client, model_server, "import random\nprint(random.random())")
    done = in_thread(CliRunner().invoke, app, ["verify", random.id])
    assert (done.exit_code, "Differs: block 1, output 1" in done.output) == (1, True), done.output
    same = answered(client, model_server, "print(6 * 7)", previous_response_id=random.id)
    done = in_thread(CliRunner().invoke, app, ["verify", same.id])
    assert (done.exit_code, "Equal: 1 outputs of 1 blocks" in done.output) == (0, True), done.output
    conversation = f"{scripted.url}/v1/conversations/{same.conversation.id}"
    share = httpx.post(f"{conversation}/share", json={}).json()
    first, second = httpx.get(f"{scripted.url}{share['url']}").json()["responses"]
    assert (first["certificate"]["result"], second["certificate"]["result"]) == ("differs", "equal")
    assert first["certificate"]["differences"] == [{"block": 1, "output": 1, "kind": "text"}]
    book = nbformat.reads(httpx.get(f"{conversation}/export").text, as_version=4)
    nbformat.validate(book)
    assert [one["result"] for one in book.metadata["codeact"]["certificates"]] == ["differs", "equal"]
    (differs,) = [cell.source for cell in book.cells if "Run again at" in cell.source]
    assert differs.endswith("first in block 1.*")
    httpx.delete(conversation)
    assert httpx.get(f"{scripted.url}{share['url']}").status_code == 404


def test_an_answer_that_is_deleted_meanwhile_leaves_no_certificate(
    client: openai.OpenAI, model_server: ModelServer, scripted: Running
) -> None:
    response = answered(client, model_server, "print(1)")
    found = msgspec.convert(verified(scripted, response.id), Certificate)
    client.responses.delete(response.id)

    async def store_late() -> None:
        async with open_store(scripted.settings) as store:
            await store.certificates.put(found, conversation_id=response.conversation.id, owner="local")

    with pytest.raises(NotFound, match=response.id):
        in_thread(anyio.run, store_late)
    assert httpx.get(f"{scripted.url}/v1/responses/{response.id}/codeact:verify").status_code == 404


def test_an_error_of_the_sandboxes_comes_as_an_event(
    client: openai.OpenAI, model_server: ModelServer, scripted: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    response = answered(client, model_server, "print(1)")

    async def refusing(self: Workspace) -> None:
        raise QuotaExceeded("You have as many sandboxes as you may have.")

    monkeypatch.setattr(Workspace, "sandbox", refusing)
    with pytest.raises(RequestRefused, match="as many sandboxes") as refusal:
        in_thread(anyio.run, partial(codeact.verify, response.id, url=scripted.url))
    assert refusal.value.code == QuotaExceeded.code
    with pytest.raises(RequestRefused, match="resp_x") as refusal:
        in_thread(anyio.run, partial(codeact.verify, "resp_x", url=scripted.url))
    assert refusal.value.code == "not_found"


def test_progress_comes_as_events(client: openai.OpenAI, model_server: ModelServer, scripted: Running) -> None:
    response = answered(client, model_server, "x = 1", "print(x)")
    with httpx.stream(
        "POST", f"{scripted.url}/v1/responses/{response.id}/codeact:verify", params={"stream": "true"}, timeout=120
    ) as stream:
        events = [json.loads(line[6:]) for line in stream.iter_lines() if line.startswith("data: {")]
    assert [event["type"].rpartition(".")[2] for event in events] == ["in_progress", "in_progress", "completed"]
    assert events[0] | {"type": ""} == {"type": "", "block": 1, "blocks": 2}
    assert events[-1]["certificate"]["result"] == "equal"


EAGER = {"codeact:eager": True}


def in_two_pieces(
    client: openai.OpenAI, model_server: ModelServer, first: str, rest: str, then: str = "", **more: Any
) -> Any:
    """The answer of a model that writes the rest of a block when its first statements run, or when it cannot wait."""
    gate = Gate()
    model_server.reply(first, gate, rest)
    if then:
        model_server.reply(then)
    runs = more.get("extra_body", {}).get("codeact:eager", True)
    until_event = "response.code_interpreter_call.interpreting" if runs else "response.code_interpreter_call_code.delta"
    with client.responses.create(**{"model": "codeact", "input": "go", **more}, stream=True) as events:
        for event in events:
            if event.type == until_event:
                gate.open()
    return event.response


def test_statements_that_ran_before_a_late_syntax_error_run_again(
    client: openai.OpenAI, model_server: ModelServer, scripted: Running
) -> None:
    model_server.reply("<execute>\nx = 40\nprint('early')\n", "y = = 2\n", Gate())
    model_server.reply("<execute>\nprint(x + 2)\n</execute>")
    model_server.reply("Done.")
    response = client.responses.create(model="codeact", input="go", extra_body=EAGER)
    first, second = (item for item in response.output if item.type == "code_interpreter_call")
    assert [each.logs for each in second.outputs] == ["42\n"]
    assert "early" in first.outputs[0].logs
    found = verified(scripted, response.id)
    assert (found["result"], found["differences"]) == ("equal", [])


def test_an_error_before_statements_that_were_written_already_is_the_same(
    client: openai.OpenAI, model_server: ModelServer, scripted: Running
) -> None:
    for eager in (False, True):  # As the request says, and else the model's option.
        more: Any = {} if eager else {"extra_body": {"codeact:eager": False}}
        block = "<execute>\nx = 1\n", "1 / 0\nprint('never')\n</execute>"
        response = in_two_pieces(client, model_server, *block, then="Done.", model="openai/other", **more)
        (item,) = (item for item in response.output if item.type == "code_interpreter_call")
        assert item.model_extra["codeact:eager"] is eager
    found = verified(scripted, response.id)
    assert (found["result"], found["differences"]) == ("equal", [])


def test_statements_that_were_approved_later_run_apart_from_those_before_them(
    client: openai.OpenAI, model_server: ModelServer, scripted: Running
) -> None:
    block = "<execute>\nopen('x', 'w').close()\n40 + 2\n", "import os\nos.remove('x')\n43\n</execute>"
    rules = EAGER | {"codeact:approval": "deletes"}
    asked = in_two_pieces(client, model_server, *block, extra_body=rules)
    (request,) = (item for item in asked.output if item.type == "codeact:approval_request")
    decision: Any = {"type": "codeact:approval_response", "approval_request_id": request.id, "approve": True}
    model_server.reply("Done.")
    response = client.responses.create(model="codeact", input=[decision], previous_response_id=asked.id)
    values = [
        item.outputs[0].logs for item in (*asked.output, *response.output) if item.type == "code_interpreter_call"
    ]
    assert values == ["42", "43"]
    found = verified(scripted, response.id)
    assert (found["result"], found["differences"]) == ("equal", [])


def test_a_rest_that_could_not_wait_for_approval_does_not_run_in_the_verification(
    client: openai.OpenAI, model_server: ModelServer, scripted: Running
) -> None:
    """A call waits for the client already, so the block ends before the rest."""
    more: Any = {"tools": [WEATHER], "extra_body": EAGER | {"codeact:approval": "deletes"}}
    more["include"] = ["code_interpreter_call.outputs"]
    gate = Gate()
    model_server.reply(
        "<execute>\nprint('asks', flush=True)\nsky = get_weather('Bern')\n",
        gate,
        "import os\nos.remove('x')\n</execute>",
    )
    with client.responses.create(model="codeact", input="go", stream=True, **more) as events:
        for event in events:
            if event.type == "response.output_item.added" and event.item.type == "function_call":
                gate.open()
        asked = event.response
    (block,) = (item for item in asked.output if item.type == "code_interpreter_call")
    assert "os.remove" not in block.model_extra["codeact:ran"]
    model_server.reply("Done.")
    values = [output(calls(asked)[0], '"sunny"')]
    response = client.responses.create(model="codeact", input=values, previous_response_id=asked.id, **more)
    found = verified(scripted, response.id)
    assert (found["result"], found["calls"], found["differences"]) == ("equal", 1, [])
