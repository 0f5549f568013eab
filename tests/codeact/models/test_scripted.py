"""The scripted model does what its script says."""

from contextlib import aclosing

import anyio
import pytest

from codeact.errors import ModelRefused, ModelTimeout
from codeact.model import ChatMessage, Finish, ModelEvent, ReasoningDelta, Sampling, TextDelta, Usage
from codeact.models.scripted import ScriptedModel

pytestmark = pytest.mark.anyio

HELLO = [ChatMessage("user", "Hello")]


async def collect(model: ScriptedModel) -> list[ModelEvent]:
    async with aclosing(model.stream(HELLO, Sampling())) as stream:
        return [event async for event in stream]


async def test_texts_are_streamed_word_by_word_in_turn() -> None:
    model = ScriptedModel(["Two words\n", "second"])
    usage = Usage(input_tokens=1, output_tokens=2, cost_usd=0.0, estimated=True)
    assert await collect(model) == [TextDelta("Two"), TextDelta(" words"), TextDelta("\n"), Finish("stop"), usage]
    assert (await collect(model))[0] == TextDelta("second")
    assert model.calls == [HELLO, HELLO]
    with pytest.raises(ModelRefused):
        await collect(model)


async def test_steps_are_taken_as_they_are() -> None:
    steps = [ReasoningDelta("Hm"), TextDelta("a"), Usage(output_tokens=1)]
    assert await collect(ScriptedModel([steps])) == steps


async def test_an_event_holds_the_stream_until_it_is_set() -> None:
    gate = anyio.Event()
    async with aclosing(ScriptedModel([[TextDelta("a"), gate, TextDelta("b")]]).stream(HELLO, Sampling())) as stream:
        assert await anext(stream) == TextDelta("a")
        with anyio.move_on_after(0.05) as waited:
            await anext(stream)
        assert waited.cancelled_caught

    released = ScriptedModel([[gate, TextDelta("b")]])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(collect, released)
        gate.set()


async def test_an_error_is_raised_in_its_place() -> None:
    stream = ScriptedModel([[TextDelta("a"), ModelTimeout("too slow")]]).stream(HELLO, Sampling())
    assert await anext(stream) == TextDelta("a")
    with pytest.raises(ModelTimeout):
        await anext(stream)


async def test_a_function_can_be_the_script() -> None:
    model = ScriptedModel(lambda messages: f"You said {messages[-1].content}", name="echo")
    assert [event.text for event in await collect(model) if isinstance(event, TextDelta)] == ["You", " said", " Hello"]
    assert model.name == "echo"


async def test_the_estimate_goes_by_length() -> None:
    assert await ScriptedModel([]).estimate(HELLO, "x" * 40) == Usage(
        input_tokens=1, output_tokens=10, cost_usd=0.0, estimated=True
    )
