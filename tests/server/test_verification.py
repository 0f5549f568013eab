"""Answers are verified: their code runs again in a fresh sandbox of a real server, and the outputs are compared."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from tests.model_server import ModelServer
from tests.server.conftest import Running
from tests.server.test_functions import WEATHER, calls, output, run_code

PIXELS = """
import io, time
import numpy as np
from IPython.display import Image, display
from PIL import Image as Pillow
from PIL.PngImagePlugin import PngInfo
def shown(colour):
    info, data = PngInfo(), io.BytesIO()
    info.add_text("made", str(time.time()))
    Pillow.fromarray(np.full((4, 4, 3), colour, np.uint8)).save(data, "PNG", pnginfo=info)
    display(Image(data.getvalue()))
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
    plot = "import matplotlib.pyplot as plt\nplt.plot([1, 3, 2])\nplt.show()"
    same = answered(client, model_server, f"{PIXELS}\nshown(7)", plot)
    assert verified(scripted, same.id)["result"] == "equal"
    other = answered(client, model_server, f"{PIXELS}\nshown(7)\nshown(time.time_ns() % 200)")
    (difference,) = verified(scripted, other.id)["differences"]
    assert (difference["kind"], difference["output"]) == ("picture", 2)
    assert "at 0,0" in difference["found"]


def test_a_call_gets_the_recorded_value_and_the_client_is_not_asked(
    client: openai.OpenAI, model_server: ModelServer, scripted: Running
) -> None:
    run_code(model_server, "print('asking')\nprint(get_weather('Bern'))\ntry:\n    get_weather(1j)\nexcept TypeError:\n    print('no')")
    first = client.responses.create(model="codeact", input="go", tools=[WEATHER])
    values = [output(calls(first)[0], '"sunny"')]
    second = client.responses.create(model="codeact", input=values, tools=[WEATHER], previous_response_id=first.id)
    found = verified(scripted, second.id)
    assert (found["result"], found["calls"], found["differences"]) == ("equal", 1, [])
    assert refused(scripted, first.id) == (409, "block_unfinished")


def test_what_cannot_be_verified_is_refused_by_name(
    client: openai.OpenAI, model_server: ModelServer, scripted: Running
) -> None:
    model_server.reply("No code.")
    prose = client.responses.create(model="codeact", input="go")
    assert refused(scripted, prose.id) == (409, "nothing_to_verify")
    assert refused(scripted, "resp_x") == (404, "not_found")


def test_progress_comes_as_events(client: openai.OpenAI, model_server: ModelServer, scripted: Running) -> None:
    response = answered(client, model_server, "x = 1", "print(x)")
    with httpx.stream(
        "POST", f"{scripted.url}/v1/responses/{response.id}/codeact:verify", params={"stream": "true"}, timeout=120
    ) as stream:
        events = [json.loads(line[6:]) for line in stream.iter_lines() if line.startswith("data: {")]
    assert [event["type"].rpartition(".")[2] for event in events] == ["in_progress", "in_progress", "completed"]
    assert events[0] | {"type": ""} == {"type": "", "block": 1, "blocks": 2}
    assert events[-1]["certificate"]["result"] == "equal"
