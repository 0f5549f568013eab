"""Agents beyond one question: shared sandboxes, files, images, stored conversations, other models."""

import base64
import io
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import anyio
import nbformat
import pytest

from codeact import Agent, AsyncAgent, Image, Pool
from codeact import events as e
from codeact.errors import CodeActError, ConfigurationError, InvalidRequest
from codeact.model import Sampling
from codeact.models.scripted import ScriptedModel
from codeact.store import Store
from codeact.store.memory import MemoryStore
from sandbox_pool.spec import Limits
from tests.needs import LONG

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
SHOW = f"""<execute>
from base64 import b64decode
from IPython.display import Image, display
display(Image(b64decode({base64.b64encode(PNG)!r})))
</execute>"""
CODERS = 100 if LONG else 12
"""This many of a hundred agents run code. Each takes a new sandbox."""


def code(source: str) -> str:
    return f"I run it.\n<execute>\n{source}\n</execute>"


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    with Pool(sandbox="process", max_size=4, data_dir=tmp_path_factory.mktemp("pool")) as pool:
        yield pool


# ---- results -----------------------------------------------------------------------------------------


def test_a_result_has_answer_items_usage_timings_and_messages(pool: Pool) -> None:
    with Agent(ScriptedModel([code("print(6 * 7)"), "It is 42."]), pool=pool) as agent:
        result = agent.run("what is it?")
    assert (result.answer, str(result), result.output_text) == ("It is 42.", "It is 42.", "It is 42.")
    assert [type(item) for item in result.items] == [e.Message, e.CodeInterpreterCall, e.Message]
    assert result.usage is not None
    assert result.timings.total_s is not None
    assert result.status == "completed"
    assert result.messages == [
        {"role": "user", "content": "what is it?"},
        {"role": "assistant", "content": "I run it.\n\nIt is 42."},
    ]
    assert result.messages == agent.messages


def test_files_that_code_wrote_come_back_and_given_ones_only_when_changed(pool: Pool, tmp_path: Path) -> None:
    for name in ("same.csv", "changed.csv"):
        (tmp_path / name).write_text("a,b\n")
    wrote = (
        "import os; os.mkdir('out'); open('out/new.txt', 'w').write('new'); open('changed.csv', 'a').write('1,2\\n')"
    )
    model = ScriptedModel([code(wrote), "Done.", "Nothing to do."])
    with Agent(model, pool=pool, files=[tmp_path / "same.csv", tmp_path / "changed.csv"]) as agent:
        files = {file.path: file.data for file in agent.run("write").files}
        assert files == {"changed.csv": b"a,b\n1,2\n", "out/new.txt": b"new"}
        assert agent.run("and now?").files == []


def test_images_go_in_as_bytes_paths_and_pillow_and_come_out_as_bytes_and_pillow(pool: Pool, tmp_path: Path) -> None:
    pillow = pytest.importorskip("PIL.Image")
    (tmp_path / "a.png").write_bytes(PNG)
    model = ScriptedModel([SHOW, "Shown."])
    with Agent(model, pool=pool) as agent:
        result = agent.run(
            "look", images=[PNG, tmp_path / "a.png", pillow.open(io.BytesIO(PNG)), Image(PNG, "image/png")]
        )
    parts = [part for part in model.calls[0][-1].content if isinstance(part, dict) and part["type"] == "image_url"]
    assert len(parts) == 4
    assert all(part["image_url"]["url"].startswith("data:image/png;base64,") for part in parts)
    assert [(image.data, image.media_type) for image in result.images] == [(PNG, "image/png")]
    assert result.images[0].pil().size == (1, 1)


@pytest.mark.parametrize(("image", "reason"), [(b"no image", "PNG, JPEG"), (3, "not int")])
def test_what_is_no_image_is_refused_by_name(pool: Pool, image: Any, reason: str) -> None:
    with Agent(ScriptedModel(["Yes."]), pool=pool) as agent:
        with pytest.raises(InvalidRequest, match=reason):
            agent.run("look", images=[image])
        assert agent.run("hello").answer == "Yes."


def test_an_answer_that_takes_too_long_ends_by_name_and_the_agent_goes_on(pool: Pool) -> None:
    endless = code("import time\nwhile True:\n    time.sleep(0.05)")
    with Agent(ScriptedModel([endless, "Free."]), pool=pool) as agent:
        with pytest.raises(CodeActError, match="The answer was not complete") as caught:
            agent.run("go on", timeout=5)  # The model has been asked by then.
        assert caught.value.code == "timeout"
        assert agent.run("and now?", timeout=60).answer == "Free."


# ---- shared sandboxes --------------------------------------------------------------------------------


def test_an_agent_with_a_pool_takes_no_settings_of_sandboxes(pool: Pool) -> None:
    with pytest.raises(TypeError, match="The sandboxes are the pool's: give it memory_mb"):
        Agent(ScriptedModel([]), pool=pool, memory_mb=512)
    with pytest.raises(TypeError, match="A pool does not take 'max_turns': that is a setting of an agent"):
        Pool(max_turns=3)
    with pytest.raises(RuntimeError, match="must be entered first"), Agent(ScriptedModel([]), pool=Pool()):
        pass


def test_limits_are_those_of_the_sandbox(tmp_path: Path) -> None:
    agent = AsyncAgent(ScriptedModel([]), limits=Limits(memory_mb=177, lifetime_s=9), data_dir=tmp_path)
    assert agent._settings.sandbox_spec.limits.memory_mb == 177
    assert agent._settings.sandbox_spec.limits.lifetime_s == 9
    agent = AsyncAgent(ScriptedModel([]), sampling=Sampling(temperature=0.5), top_p=0.1)
    assert (agent._sampling.temperature, agent._sampling.top_p) == (0.5, 0.1)


@pytest.mark.anyio
@pytest.mark.long
async def test_a_hundred_agents_share_a_few_sandboxes(tmp_path: Path) -> None:
    """Each answers with the output of its own code. There are never more sandboxes than the pool allows."""
    most = 0

    async def ask(number: int) -> None:
        nonlocal most
        runs_code = number < CODERS
        model = ScriptedModel([*([code(f"print({number} * 2)")] if runs_code else []), f"Done {number}."])
        async with AsyncAgent(model, pool=pool) as agent:
            result = await agent.run("go")
            most = max(most, pool.sandboxes.stats().leased)
        assert result.answer == f"Done {number}."
        printed = [item.outputs for item in result.items if isinstance(item, e.CodeInterpreterCall)]
        assert printed == ([[e.LogsOutput(f"{number * 2}\n")]] if runs_code else [])

    async with Pool(sandbox="process", max_size=20, min_size=0, data_dir=tmp_path, acquire_timeout_s=300) as pool:
        async with anyio.create_task_group() as tasks:
            for number in range(100):
                tasks.start_soon(ask, number)
        assert 0 < most <= 20
        assert pool.sandboxes.stats().leased == 0


# ---- conversations -----------------------------------------------------------------------------------


def test_a_conversation_is_saved_and_loaded_with_its_images(pool: Pool, tmp_path: Path) -> None:
    place = tmp_path / "talk.json"
    with Agent(ScriptedModel([SHOW, "Shown."]), pool=pool) as agent:
        said = agent.run("show it").messages
        agent.save(place)
    assert json.loads(place.read_text())["object"] == "codeact:conversation"
    model = ScriptedModel(["I remember."])
    with Agent.load(place, model, pool=pool) as agent:
        assert agent.messages == said
        assert agent.run("what was it?").answer == "I remember."
        agent.to_notebook(tmp_path / "talk.ipynb")
    prompt = str(model.calls[0])
    assert "show it" in prompt
    assert "variables, imports and files are gone" in prompt
    notebook = nbformat.read(tmp_path / "talk.ipynb", as_version=4)
    nbformat.validate(notebook)
    (cell,) = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert base64.b64decode(cell.outputs[0].data["image/png"]) == PNG


def test_a_file_that_holds_no_conversation_is_refused(pool: Pool, tmp_path: Path) -> None:
    (tmp_path / "odd.json").write_text("{}")
    with pytest.raises(InvalidRequest, match="no conversation that can be imported"):
        Agent.load(tmp_path / "odd.json", ScriptedModel([]), pool=pool).__enter__()
    with pytest.raises(FileNotFoundError):
        Agent.load(tmp_path / "nothing.json")


@pytest.mark.anyio
async def test_agents_go_on_with_a_conversation_of_a_store_that_they_share(tmp_path: Path) -> None:
    store = MemoryStore()
    async with Pool(sandbox="process", max_size=2, data_dir=tmp_path) as pool:
        async with AsyncAgent(ScriptedModel(["One."]), pool=pool, store=store) as first:
            await first.run("first question")
        model = ScriptedModel(["Two."])
        async with AsyncAgent(model, pool=pool, store=store, conversation=first.conversation) as second:
            assert (await second.run("second question")).answer == "Two."
    assert "first question" in str(model.calls[0])


@pytest.mark.anyio
async def test_a_conversation_in_a_database_is_there_for_servers(store: Store, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("given")
    model = ScriptedModel([code("print(open('a.txt').read())"), "Read.", "Still there."])
    arguments: dict[str, Any] = {"sandbox": "process", "data_dir": tmp_path, "store": store}
    async with AsyncAgent(model, files=[tmp_path / "a.txt"], **arguments) as agent:
        result = await agent.run("read it")
        await agent.save(tmp_path / "talk.json")
    assert isinstance(call := result.items[1], e.CodeInterpreterCall)
    assert call.outputs == [e.LogsOutput("given\n")]
    stored = await store.get_response(result.response.id, owner="local")
    assert stored.response.output_text == result.output_text
    assert await store.leases.all() == []
    async with AsyncAgent(model, conversation=agent.conversation, **arguments) as agent:
        assert agent.messages == result.messages
        assert (await agent.run("and now?")).answer == "Still there."
    async with AsyncAgent.load(tmp_path / "talk.json", model, **arguments) as agent:
        assert agent.messages == result.messages


# ---- functions as models -----------------------------------------------------------------------------


def whole(messages: list[dict[str, Any]]) -> str:
    return f"{len(messages)} messages, the last from the {messages[-1]['role']}."


def pieces(messages: list[dict[str, Any]], temperature: float | None = None) -> Iterator[str]:
    yield from ("It ", "", f"is {temperature}.")


async def asynchronous(messages: list[dict[str, Any]]) -> AsyncIterator[str]:
    yield "Async."


async def awaited(messages: list[dict[str, Any]]) -> dict[str, str]:
    return {"role": "assistant", "content": "Awaited."}


def pipeline(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"generated_text": [*messages, {"role": "assistant", "content": "Generated."}]}]


class Replies:
    """Replies in the form of agent libraries."""

    def __call__(self, messages: list[dict[str, Any]], stop: list[str]) -> Any:
        self.content = f"{len(stop)} stops."
        return self


@pytest.mark.parametrize(
    ("function", "answer"),
    [
        (whole, "2 messages, the last from the user."),
        (pieces, "It is 0.5."),
        (asynchronous, "Async."),
        (awaited, "Awaited."),
        (pipeline, "Generated."),
        (Replies(), "1 stops."),
    ],
)
def test_a_function_is_a_model(pool: Pool, function: Any, answer: str) -> None:
    with Agent(function, pool=pool, temperature=0.5) as agent:
        assert agent.run("hello").answer == answer


def test_a_function_that_fails_or_gives_no_text_is_told_by_name(pool: Pool) -> None:
    def broken(messages: object) -> str:
        raise KeyError("weights")

    for function, reason in ((broken, "broken failed: KeyError"), (lambda messages: 3, "must be text")):
        with Agent(function, pool=pool) as agent, pytest.raises(CodeActError, match=reason):
            agent.run("hello")
    with pytest.raises(ConfigurationError, match="model=3 is no model"):
        Agent(3)  # type: ignore[arg-type]
