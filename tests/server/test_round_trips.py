"""The sequential database round trips of a question until its client reads `response.created`."""

import json
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx
import pytest
from pymongo import monitoring
from starlette.types import ASGIApp, Receive, Scope, Send

from codeact.store import OwnerLimits, open_store
from tests.model_server import ModelServer
from tests.server import conftest
from tests.server.conftest import Running, in_thread, settings_of

MOST, MOST_WHILE_IDLE, ATTEMPTS = 4, 3, 5
asked_by: ContextVar[str | None] = ContextVar("asked_by", default=None)


@dataclass
class Command:
    what: str
    started: float
    ended: float = 0.0


@dataclass
class Traffic(monitoring.CommandListener):
    """The commands of requests with the header `x-question`, until the event `response.created` is stored."""

    questions: dict[str, dict[int, Command]] = field(default_factory=dict)
    created: dict[str, Command] = field(default_factory=dict)
    clock: int = 0

    def tick(self) -> float:
        self.clock += 1
        return self.clock

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        question, what = asked_by.get(), f"{event.command_name} {event.command.get(event.command_name)}"
        command = Command(what, self.tick())
        if question is None:
            return
        self.questions.setdefault(question, {})[event.request_id] = command
        if "response.created" in str(event.command) and event.command_name == "update":
            self.created.setdefault(question, command)

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        for commands in self.questions.values():
            if event.request_id in commands:
                commands[event.request_id].ended = self.tick()

    def failed(self, event: monitoring.CommandFailedEvent) -> None: ...

    def in_a_row(self, question: str) -> list[str]:
        """The longest chain of commands that each began after the previous one had ended.

        It ends with the event, or with what is queried concurrently with it.
        """
        chain: list[Command] = []
        last = self.created[question].ended
        commands = [each for each in self.questions[question].values() if each.started <= last]
        # The conversation is written beside the event at the latest, so that nothing after it is waited for.
        assert {"insert conversations", "update conversations"} & {each.what for each in commands}
        for command in sorted(commands, key=lambda each: each.ended):
            if not chain or command.started > chain[-1].ended:
                chain.append(command)
        return [command.what for command in chain]


class Marked:
    """Marks the commands of a request by its header."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        header = dict(scope.get("headers", ())).get(b"x-question")
        asked_by.set(header.decode() if header is not None else None)
        await self._app(scope, receive, send)


@pytest.fixture(scope="module")
def traffic() -> Iterator[Traffic]:
    listener = Traffic()
    monitoring.register(listener)
    try:
        yield listener
    finally:
        monitoring._LISTENERS.command_listeners.remove(listener)


@pytest.fixture(scope="module")
def server(traffic: Traffic, make_server: Callable[..., Running], model_server: ModelServer) -> Iterator[Running]:
    create = conftest.create_app

    def marked(settings: Any, **more: Any) -> Any:
        app = create(settings, **more)
        app.add_middleware(Marked)
        return app

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conftest, "create_app", marked)
        yield make_server(
            model="openai/scripted",
            model_api_base=model_server.base_url,
            model_api_key="test",
            require_keys=True,
        )


@pytest.fixture(scope="module", params=[None, OwnerLimits(100, 5, 1_000_000)], ids=["unlimited", "limited"])
def http(request: pytest.FixtureRequest, server: Running) -> Iterator[httpx.Client]:
    async def create() -> str:
        async with open_store(settings_of(server.settings.data_dir)) as store:
            return (await store.access.create_key(owner="ann", name="", limits=request.param))[1]

    headers = {"Authorization": f"Bearer {in_thread(anyio.run, create)}"}
    with httpx.Client(base_url=server.url, headers=headers, trust_env=False, timeout=60) as client:
        yield client


Ask = Callable[..., dict[str, Any]]


@pytest.fixture
def ask(http: httpx.Client, traffic: Traffic, model_server: ModelServer) -> Ask:
    def ask(*words: str, make: Callable[[], dict[str, Any]] = dict, most: int = MOST, **body: Any) -> dict[str, Any]:
        """The answer; asserts that its question cost no more than it may. `make` gives what is to be sent each time.

        Concurrent queries may by chance run one after the other, so the best of several attempts counts.
        """
        for _ in range(ATTEMPTS):
            sent = {"input": "go"} | body | make()
            for each in words or ("Fine.",):
                model_server.reply(each)
            question = f"question {len(traffic.questions)}"
            answer = http.post("/v1/responses", json=sent, headers={"x-question": question})
            assert answer.status_code == 200, answer.text
            assert answer.json()["status"] == "completed", answer.text
            chain = traffic.in_a_row(question)
            assert traffic.created[question].what == "update events"
            if len(chain) <= most:
                return dict(answer.json())
        raise AssertionError("\n".join(chain))

    return ask


def test_a_new_conversation(ask: Ask) -> None:
    ask()


def test_a_conversation_of_several_turns(ask: Ask) -> None:
    conversation = ask("I look.\n<execute>\nprint(7)\n</execute>", "Seven.")["conversation"]["id"]
    for _ in range(3):
        ask(conversation=conversation, most=MOST_WHILE_IDLE)


def test_a_conversation_with_items_that_wait(ask: Ask, http: httpx.Client) -> None:
    items = {"items": [{"role": "user", "content": "before"}]}
    conversation = http.post("/v1/conversations", json=items).json()["id"]
    ask(conversation=conversation)


def test_a_previous_response_and_a_branch(ask: Ask) -> None:
    first = ask()["id"]
    ask(previous_response_id=first, most=MOST_WHILE_IDLE)
    ask(previous_response_id=first, most=MOST_WHILE_IDLE)


def test_a_whole_history(ask: Ask) -> None:
    answer = ask("I look.\n<execute>\nprint(7)\n</execute>", "Seven.")
    said = [{"role": "user", "content": "go"}, *answer["output"], {"role": "user", "content": "sure?"}]
    ask(input=[{name: value for name, value in item.items() if ":" not in name} for item in said])


def test_a_history_of_references(ask: Ask) -> None:
    answer = ask("I look.\n<execute>\nprint(7)\n</execute>", "Seven.")
    said = [{"type": "item_reference", "id": item["id"]} for item in answer["output"]]
    assert len(said) == 3
    ask(input=[*said, {"role": "user", "content": "sure?"}])


TOOLS = [{"type": "function", "name": "ask_user", "parameters": {"type": "object", "properties": {}}}]


def called(ask: Ask) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """A response that waits for a function, its call, and a value for the call."""
    answer = ask("<execute>\nprint(ask_user())\n</execute>", tools=TOOLS)
    call = next(item for item in answer["output"] if item["type"] == "function_call")
    return answer, call, {"type": "function_call_output", "call_id": call["call_id"], "output": "yes"}


def test_the_value_of_a_function(ask: Ask) -> None:
    def body() -> dict[str, Any]:
        answer, _, value = called(ask)
        return {"input": [value], "previous_response_id": answer["id"]}

    ask(tools=TOOLS, make=body)


def test_the_value_of_a_function_without_naming_where_it_belongs(ask: Ask) -> None:
    def body() -> dict[str, Any]:
        _, call, value = called(ask)
        given = {name: call[name] for name in ("type", "call_id", "name", "arguments")}
        return {"input": [{"role": "user", "content": "go"}, given, value]}

    ask(tools=TOOLS, make=body)


def test_a_container_that_stands_for_its_conversation(ask: Ask) -> None:
    answer = ask("I look.\n<execute>\nprint(7)\n</execute>", "Seven.")
    container = next(item["container_id"] for item in answer["output"] if item["type"] == "code_interpreter_call")
    ask(tools=[{"type": "code_interpreter", "container": container}])


def test_images_and_files_that_are_kept_already(ask: Ask, http: httpx.Client) -> None:
    png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    parts = [{"type": "input_image", "image_url": f"data:image/png;base64,{png}"}] * 3
    answer = http.post("/v1/conversations", json={"items": [{"role": "user", "content": parts}]}).json()
    items = http.get(f"/v1/conversations/{answer['id']}/items").json()["data"]
    kept = [part for part in items[0]["content"] if part["type"] == "input_image"]
    assert all(part["image_url"].startswith("/v1/blobs/") for part in kept)
    body = {"input": [{"role": "user", "content": kept}], "conversation": answer["id"]}
    assert json.dumps(body).count("/v1/blobs/") == 3
    ask(**body)
