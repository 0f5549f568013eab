"""One conversation in each dialect: the same items, live code and stop; and prompts that only grow."""

import json
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any
from weakref import WeakSet

import httpx
import pytest
from websockets.sync.client import ClientConnection, connect

from benchmarks.prefix_cache import PrefixCache, prompt_of
from codeact.dialect import silent_thinkers
from tests.asking import INCLUDE, frame
from tests.model_server import CallPiece, Gate, Kept, ModelServer, Request, Step, Thought
from tests.server.conftest import Running

DIALECTS = ("tags", "tool_call")
CONFORMING = [
    *(("direct", dialect) for dialect in DIALECTS),
    *(("litellm", dialect) for dialect in DIALECTS),
    *((api, dialect) for api in ("responses", "socket") for dialect in (*DIALECTS, "freeform")),
]
"""Every adapter, with each dialect that it supports."""
ENDS = ("response.completed", "response.incomplete", "response.failed", "error")
Event = dict[str, Any]


@pytest.fixture(autouse=True)
def knows_no_thinkers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clears what other tests have learnt about the model's reasoning, because it then gets no `stop`."""
    monkeypatch.setattr(silent_thinkers, "_REASONERS", WeakSet())


@pytest.fixture(autouse=True)
def _fresh_script(model_server: ModelServer) -> Iterator[None]:
    model_server.reset()
    yield
    model_server.reset()


@pytest.fixture
def socket(conforming: Running) -> Iterator[ClientConnection]:
    with connect(conforming.ws_url, max_size=None) as socket:
        yield socket


class Script:
    """The replies of the model's server in one dialect, for one of our adapters."""

    def __init__(self, server: ModelServer, dialect: str, model: str = "openai/scripted") -> None:
        self.server = server
        self.dialect = dialect
        self.model = model

    @property
    def speaks_responses(self) -> bool:
        return self.model in ("openai/responses", "openai/socket")

    def acts(self, prose: str, *pieces: str | Gate, call_id: str = "call_a", usage: Event | None = None) -> None:
        """A reply with prose and one block, whose code arrives in pieces."""
        if self.dialect == "tags":
            self.server.reply(prose, "\n<execute>\n", *pieces, "\n", "</execute>", usage=usage)
            return
        is_json = self.dialect == "tool_call"
        steps: list[Step] = [prose, CallPiece("", "python", call_id)]
        steps += [CallPiece('{"code": "')] if is_json else []
        for piece in pieces:
            if isinstance(piece, Gate):
                steps.append(piece)
            else:  # One character at a time, so that escapes are cut.
                steps += map(CallPiece, json.dumps(piece)[1:-1] if is_json else piece)
        steps += [CallPiece('"}')] if is_json else []
        self.server.reply(*steps, finish="tool_calls", usage=usage)

    def ask(self, socket: ClientConnection, text: str, **more: Any) -> list[Event]:
        """The events of an answer."""
        self.send(socket, text, **more)
        return rest(socket, [])

    def send(self, socket: ClientConnection, text: str, **more: Any) -> None:
        ask = {"type": "response.create", "input": text, "codeact:dialect": self.dialect, "model": self.model}
        socket.send(frame(ask | more))

    def prompts(self) -> list[list[Event]]:
        """What the model read in each call, in the form of its API."""
        asked = [request.body for request in self.server.requests]
        return [body.get("messages") or [{"text": body["instructions"]}, *body["input"]] for body in asked]


@pytest.fixture(params=CONFORMING, ids="-".join)
def script(request: pytest.FixtureRequest, model_server: ModelServer) -> Script:
    adapter, dialect = request.param
    if adapter == "litellm":
        return Script(model_server, dialect, "deepseek/scripted")
    return Script(model_server, dialect, "openai/scripted" if adapter == "direct" else f"openai/{adapter}")


def ask(socket: ClientConnection, text: str, dialect: str, **more: Any) -> list[Event]:
    socket.send(frame({"type": "response.create", "input": text, "codeact:dialect": dialect, **more}))
    return rest(socket, [])


def rest(socket: ClientConnection, events: list[Event]) -> list[Event]:
    """The events and those that follow, up to the last one."""
    while not events or events[-1]["type"] not in ENDS:
        events.append(json.loads(socket.recv(timeout=60)))
    return events


def until(socket: ClientConnection, code: str) -> list[Event]:
    """The events until this code has appeared."""
    events: list[Event] = []
    while code not in "".join(code_deltas(events)):
        events.append(json.loads(socket.recv(timeout=60)))
    return events


def output(events: Sequence[Event]) -> list[Event]:
    items: list[Event] = events[-1]["response"]["output"]
    return items


def blocks(events: Sequence[Event]) -> list[Event]:
    return [item for item in output(events) if item["type"] == "code_interpreter_call"]


def code_deltas(events: Sequence[Event]) -> list[str]:
    return [event["delta"] for event in events if event["type"] == "response.code_interpreter_call_code.delta"]


CODE = 'text = "grüß 😀 \\"quoted\\" \\\\"\nprint(len(text), "</b>", {"a": 1})'


def test_the_same_conversation_gives_the_same_items_and_outputs(
    socket: ClientConnection, conforming: Running, script: Script
) -> None:
    script.acts("I count.", CODE[:20], CODE[20:41], CODE[41:])
    script.server.reply("It is ", "17.")
    events = script.ask(socket, "how long?")
    prose, code, answer = output(events)
    assert [item["type"] for item in (prose, code, answer)] == ["message", "code_interpreter_call", "message"]
    assert prose["content"][0]["text"] == "I count.\n\n"
    assert (prose["phase"], answer["phase"]) == ("commentary", "final_answer")
    assert (code["code"], code["status"]) == (CODE, "completed")
    assert "".join(code_deltas(events)) == CODE
    assert code["outputs"] == [{"type": "logs", "logs": "17 </b> {'a': 1}\n"}]
    assert code["codeact:observation"].startswith("Observation: ok")
    assert answer["content"][0]["text"] == "It is 17."
    kinds = [event["type"].removeprefix("response.") for event in events if "interpreter" in event["type"]]
    assert [kind for kind in dict.fromkeys(kinds) if "delta" not in kind] == [
        "code_interpreter_call.in_progress",
        "code_interpreter_call_code.done",
        "code_interpreter_call.interpreting",
        "codeact:code_interpreter_call.output",
        "code_interpreter_call.completed",
    ]
    half = events[len(events) // 2]["sequence_number"]
    url = f"{conforming.url}/v1/responses/{events[-1]['response']['id']}"
    query = {"stream": "true", "include": INCLUDE, "starting_after": half}
    resumed = [
        line for line in httpx.get(url, params=query, trust_env=False).text.splitlines() if line.startswith("data: {")
    ]
    assert [json.loads(line[6:])["sequence_number"] for line in resumed] == [
        event["sequence_number"] for event in events[len(events) // 2 + 1 :]
    ]


def test_code_is_seen_as_it_is_written(socket: ClientConnection, script: Script) -> None:
    gate = Gate()
    script.acts("", "x = 1\n", gate, "x + 1")
    script.server.reply("2.")
    script.send(socket, "go")
    events = until(socket, "x = 1")
    gate.open()
    rest(socket, events)
    assert "".join(code_deltas(events)) == "x = 1\nx + 1"
    assert blocks(events)[0]["codeact:observation"].endswith("value:\n2")


def test_a_stop_while_code_is_written_closes_the_models_stream_and_keeps_what_came(
    socket: ClientConnection, script: Script
) -> None:
    never = Gate()
    script.acts("I begin.", "print(1)\n", never, "print(2)")
    script.send(socket, "go")
    events = until(socket, "print(1)")
    socket.send(json.dumps({"type": "response.cancel", "response_id": events[0]["response"]["id"]}))
    rest(socket, events)
    assert events[-1]["response"]["status"] == "cancelled"
    assert [(item["code"], item["status"]) for item in blocks(events)] == [("print(1)", "incomplete")]
    assert script.server.requests[0].ended.result(timeout=60) == "disconnected"


def test_prompts_only_grow_within_an_answer_and_across_turns(socket: ClientConnection, script: Script) -> None:
    script.acts("  I compute it.", "6 * 7")
    script.acts("\n\nOnce more.\n", "7 * 7", call_id="call_b")
    script.server.reply(" It is 42 and 49.\n")
    first = script.ask(socket, "6*7 and 7*7?")
    script.acts("Again.", "8 * 8\n", call_id="call_c")
    script.server.reply("64.")
    script.ask(socket, "8*8?", previous_response_id=first[-1]["response"]["id"])
    prompts = script.prompts()
    assert len(prompts) == 5
    for earlier, later in pairwise(prompts):
        assert later[: len(earlier)] == earlier
    first_prompt, *others = (prompt_of(request.body) for request in script.server.requests)
    cache = PrefixCache()
    cache.read(first_prompt)
    for prompt in others:
        cache.read(prompt)
    assert cache.cached / (cache.total - len(first_prompt)) > 0.9
    said = [message["content"] for message in prompts[-1] if message.get("role") == "assistant"]
    if script.dialect == "tags":
        assert said[0] == "  I compute it.\n<execute>\n6 * 7\n</execute>"
        assert said[2] == " It is 42 and 49.\n"
        return
    assert said[:3] == ["  I compute it.", "\n\nOnce more.\n", " It is 42 and 49.\n"]
    if script.speaks_responses:
        calls = [
            item
            for item in prompts[-1]
            if item.get("type", "").endswith("tool_call" if script.dialect == "freeform" else "function_call")
        ]
        assert [call["call_id"] for call in calls] == ["call_a", "call_b", "call_c"]
        written = {"freeform": "8 * 8\n", "tool_call": '{"code": "8 * 8\\n"}'}[script.dialect]
        assert written in (calls[2].get("input"), calls[2].get("arguments"))
    else:
        calls = [message["tool_calls"][0] for message in prompts[-1] if message.get("tool_calls")]
        assert [call["id"] for call in calls] == ["call_a", "call_b", "call_c"]
        assert calls[2]["function"] == {"name": "python", "arguments": '{"code": "8 * 8\\n"}'}


def test_reasoning_goes_back_between_blocks_and_turns_in_the_form_of_its_api(
    socket: ClientConnection, script: Script
) -> None:
    """What a server sent of its model's reasoning is in each later prompt, once for each time it was sent."""
    responses = script.speaks_responses

    def thinks(number: int) -> Kept:
        return Kept(
            {"encrypted_content": f"sealed-{number}"} if responses else {"reasoning_content": f"sealed-{number}"}
        )

    block = ("<execute>\n6 * 7\n</execute>",)
    if script.dialect == "tool_call":
        block = (CallPiece('{"code":"6 * 7"}', "python", "call_a"),)
    elif script.dialect == "freeform":
        block = (CallPiece("6 * 7", "python", "call_a"),)
    script.server.reply(thinks(1), *block)
    script.server.reply(thinks(2), "42.")
    first = script.ask(socket, "6*7?")
    script.server.reply("Yes.")
    script.ask(socket, "sure?", previous_response_id=first[-1]["response"]["id"])
    told = [json.dumps(prompt) for prompt in script.prompts()]
    assert [[prompt.count(f"sealed-{number}") for number in (1, 2)] for prompt in told] == [[0, 0], [1, 0], [1, 1]]


def test_a_conversation_goes_on_in_another_dialect(socket: ClientConnection, model_server: ModelServer) -> None:
    Script(model_server, "tags").acts("I add.", "y = 5")
    model_server.reply("Done.")
    first = ask(socket, "set y", "tags")
    Script(model_server, "tool_call").acts("I look.", "y")
    model_server.reply("5.")
    second = ask(socket, "what is y?", "tool_call", previous_response_id=first[-1]["response"]["id"])
    assert blocks(second)[0]["codeact:observation"].endswith("value:\n5")
    messages = model_server.requests[2].messages
    assert messages[2]["tool_calls"][0]["function"]["arguments"] == '{"code":"y = 5"}'
    assert messages[3]["role"] == "tool"
    third = ask_with(socket, model_server, second, "thanks")
    assert [m["role"] for m in third.messages][-5:] == ["user", "assistant", "user", "assistant", "user"]
    assert "<execute>\ny\n</execute>" in third.messages[-4]["content"]


def ask_with(socket: ClientConnection, server: ModelServer, after: Sequence[Event], text: str) -> Request:
    server.reply("You are welcome.")
    ask(socket, text, "tags", previous_response_id=after[-1]["response"]["id"])
    return server.requests[-1]


def test_a_stop_is_sent_with_tags_and_tools_with_calls(socket: ClientConnection, script: Script) -> None:
    script.server.reply("Hello.")
    script.ask(socket, "hi")
    body = script.server.requests[0].body
    if script.dialect == "tags":
        assert body.get("stop") == (None if script.speaks_responses else ["</execute>"])
        assert "tools" not in body
    else:
        assert "stop" not in body
        assert [(tool.get("function") or tool)["name"] for tool in body["tools"]] == ["python"]
        assert "<execute>" not in json.dumps(script.prompts()[0][0])


def test_a_server_that_honours_the_stop_gives_its_own_usage(
    socket: ClientConnection, model_server: ModelServer
) -> None:
    model_server.reply("I add.\n<execute>\nprint(6*7)\n", usage={"prompt_tokens": 70, "completion_tokens": 9})
    model_server.reply("42.", usage={"prompt_tokens": 100, "completion_tokens": 3})
    response = ask(socket, "6*7?", "tags")[-1]["response"]
    assert (response["usage"]["input_tokens"], response["usage"]["output_tokens"]) == (170, 12)
    assert not response["usage"]["codeact:estimated"]
    said = model_server.requests[1].messages[-2]["content"]
    assert said == "I add.\n<execute>\nprint(6*7)\n</execute>"


def test_usage_of_calls_is_the_providers_own(socket: ClientConnection, model_server: ModelServer) -> None:
    usage = {"prompt_tokens": 50, "completion_tokens": 20, "prompt_tokens_details": {"cached_tokens": 32}}
    Script(model_server, "tool_call").acts("I add.", "1 + 1", usage=usage)
    model_server.reply("2.", usage={"prompt_tokens": 90, "completion_tokens": 2})
    response = ask(socket, "1+1?", "tool_call")[-1]["response"]
    assert response["usage"]["input_tokens_details"]["cached_tokens"] == 32
    assert (response["usage"]["output_tokens"], response["usage"]["codeact:estimated"]) == (22, False)


def test_several_calls_of_one_reply_run_in_order(socket: ClientConnection, model_server: ModelServer) -> None:
    model_server.reply(
        CallPiece('{"code": "a = 1"}', "python", "call_1", 0),
        CallPiece('{"code": ', "python", "call_2", 1),
        CallPiece('"a + 1"}', index=1),
        CallPiece('{"code": "a + 2"}', "python", "call_3", 2),
        finish="tool_calls",
    )
    model_server.reply("2 and 3.")
    events = ask(socket, "go", "tool_call")
    assert [item["code"] for item in blocks(events)] == ["a = 1", "a + 1", "a + 2"]
    assert blocks(events)[2]["codeact:observation"].endswith("value:\n3")
    assert len(model_server.requests) == 2
    said, *results = model_server.requests[1].messages[-4:]
    assert [call["id"] for call in said["tool_calls"]] == ["call_1", "call_2", "call_3"]
    assert [result["tool_call_id"] for result in results] == ["call_1", "call_2", "call_3"]


@pytest.mark.parametrize("arguments", ['{"code": "print(1', "{code: 1}", '{"code": "\\x41"}', '{"what": "x"}'])
def test_malformed_arguments_are_one_observation(
    socket: ClientConnection, model_server: ModelServer, arguments: str
) -> None:
    model_server.reply(CallPiece(arguments, "python", "call_1"), finish="tool_calls")
    model_server.reply("I give up.")
    events = ask(socket, "go", "tool_call")
    assert [item["status"] for item in blocks(events)] == ["incomplete"]
    assert "JSON" in blocks(events)[0]["codeact:observation"]
    assert events[-1]["response"]["status"] == "completed"
    call, result = model_server.requests[1].messages[-2:]
    json.loads(call["tool_calls"][0]["function"]["arguments"])
    assert (result["role"], result["content"]) == ("tool", blocks(events)[0]["codeact:observation"])


@pytest.mark.parametrize("sees", [True, False])
def test_displayed_images_reach_a_model_that_sees(
    make_server: Callable[..., Running], model_server: ModelServer, sees: bool
) -> None:
    plot = "from PIL import Image\nimport io\nfrom IPython.display import Image as Shown\nb = io.BytesIO()\n"
    plot += "Image.new('RGB', (8, 4), 'red').save(b, 'PNG')\nShown(b.getvalue())"
    # A warm sandbox has told the packages before the first question, so that all prompts have the same beginning.
    server = make_server(model="openai/seeing", model_api_base=model_server.base_url, model_images=sees, pool_min=1)
    with connect(server.ws_url, max_size=None) as socket:
        Script(model_server, "tool_call").acts("I draw.", plot)
        model_server.reply("A red box.")
        first = ask(socket, "draw", "tool_call")
        model_server.reply("Yes.")
        ask(socket, "red?", "tool_call", previous_response_id=first[-1]["response"]["id"])
    for request in model_server.requests[1:]:
        result = next(message for message in request.messages if message["role"] == "tool")
        if sees:
            text, image = result["content"]
            assert "image/png, 8x4" in text["text"]
            assert image["image_url"]["url"].startswith("data:image/png;base64,iVBOR")
        else:
            assert isinstance(result["content"], str)
    assert model_server.requests[2].messages[:4] == model_server.requests[1].messages[:4]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_reasoning_goes_back_to_its_model_and_to_no_other(
    socket: ClientConnection, model_server: ModelServer, dialect: str
) -> None:
    details = [
        {"type": "reasoning.text", "text": "hm", "index": 0},
        {"type": "reasoning.text", "signature": "s", "index": 0},
    ]
    if dialect == "tags":
        model_server.reply(Thought("I think"), Thought(" of 42."), "I add.\n<execute>\n6*7\n</execute>")
    else:
        call = CallPiece('{"code":"6*7"}', "python", "call_1")
        model_server.reply(Thought("I think"), Thought(" of 42."), "I add.", call, finish="tool_calls")
    model_server.reply(*(Kept({"reasoning": "hm", "reasoning_details": [part]}) for part in details), "42.")
    first = ask(socket, "6*7?", dialect)
    assert model_server.requests[1].messages[2]["reasoning_content"] == "I think of 42."
    after = {"previous_response_id": first[-1]["response"]["id"]}
    model_server.reply("Yes.")
    ask(socket, "sure?", dialect, **after)
    answer = next(m for m in reversed(model_server.requests[2].messages) if m["role"] == "assistant")
    assert answer["reasoning_details"] == [{"type": "reasoning.text", "text": "hm", "index": 0, "signature": "s"}]
    assert (
        model_server.requests[2].messages[: len(model_server.requests[1].messages)] == model_server.requests[1].messages
    )
    model_server.reply("I am another.")
    other = ask(socket, "and you?", dialect, model="openai/other", **after)
    assert "reasoning" not in json.dumps(model_server.requests[3].messages)
    assert [notice["code"] for notice in other[-1]["response"]["codeact:notices"]] == ["reasoning_left_out"]


def test_a_dialect_that_a_model_cannot_speak_is_refused_by_name(demo: Running) -> None:
    body = {"input": "hi", "codeact:dialect": "freeform"}
    answer = httpx.post(f"{demo.url}/v1/responses", json=body | {"codeact:dialect": "gestures"}, trust_env=False)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "codeact:dialect"


def test_a_server_that_takes_no_tools_is_spoken_to_in_tags(
    make_server: Callable[..., Running], model_server: ModelServer
) -> None:
    server = make_server(model="openai/gpt-4.1", model_api_base=model_server.base_url)
    words = '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'
    model_server.reply(status=400, error={"message": words})
    model_server.reply("<execute>\n6 * 7\n</execute>")
    model_server.reply("42.")
    answer = httpx.post(f"{server.url}/v1/responses", json={"input": "6*7?"}, timeout=60, trust_env=False).json()
    assert [item["type"] for item in answer["output"]] == ["code_interpreter_call", "message"]
    assert "tools" in model_server.requests[0].body
    assert "tools" not in model_server.requests[1].body
    assert "<execute>" in model_server.requests[1].messages[0]["content"]
