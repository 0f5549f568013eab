"""The builder turns segments and outputs into items, and into events in the right order."""

from typing import Any

import pytest

from codeact import events as e
from codeact.agent.response_builder import ResponseBuilder
from codeact.dialect.segments import CodeEnd, CodeText, Text, Thinking
from codeact.model import Usage
from sandbox_pool.calls import Call
from sandbox_pool.outputs import DisplayData, Error, ExecutionResult, Stream

pytestmark = pytest.mark.anyio


class Recorder:
    """A builder and the events that it emitted, each as it was at that moment."""

    def __init__(self) -> None:
        self.frames: list[dict[str, object]] = []
        self.response = e.Response(id="resp_1", created_at=0.0, model="test")
        self.builder = ResponseBuilder(self.response, self._emit, started=0.0)

    async def _emit(self, event: e.Event) -> None:
        self.frames.append(e.to_builtins(event))

    @property
    def types(self) -> list[str]:
        return [str(frame["type"]).removeprefix("response.") for frame in self.frames]


async def test_prose_opens_an_item_a_part_and_closes_both() -> None:
    recorder = Recorder()
    await recorder.builder.segment(Text("Hel"))
    await recorder.builder.segment(Text("lo"))
    await recorder.builder.end("completed", Usage())
    assert recorder.types == [
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert recorder.response.output_text == "Hello"
    assert recorder.frames[0]["item"]["content"] == []  # type: ignore[index]


async def test_code_goes_through_every_state_in_order() -> None:
    recorder = Recorder()
    builder = recorder.builder
    await builder.code_start("cntr_1", tagged=True)
    await builder.segment(CodeText("print(1)"))
    await builder.segment(CodeEnd("print(1)"))
    await builder.code.interpreting("cntr_1")
    await builder.code.output(Stream("stdout", "1\n"))
    await builder.code.executed(ExecutionResult(status="ok", duration_s=0.1), "Observation: 1")
    assert recorder.types == [
        "output_item.added",
        "code_interpreter_call.in_progress",
        "code_interpreter_call_code.delta",
        "code_interpreter_call_code.done",
        "code_interpreter_call.interpreting",
        "codeact:code_interpreter_call.output",
        "code_interpreter_call.completed",
        "output_item.done",
    ]
    call = recorder.response.output[0]
    assert isinstance(call, e.CodeInterpreterCall)
    assert (call.code, call.status, call.outputs) == ("print(1)", "completed", [e.LogsOutput("1\n")])
    assert call.observation == "Observation: 1"


async def test_one_kind_of_text_closes_the_other() -> None:
    recorder = Recorder()
    await recorder.builder.segment(Thinking("hm"))
    await recorder.builder.segment(Text("answer"))
    await recorder.builder.end("completed", Usage())
    assert [type(item).__name__ for item in recorder.response.output] == ["Reasoning", "Message"]
    assert [item.status for item in recorder.response.output] == ["completed", "completed"]


async def test_what_was_cut_off_is_kept_and_marked_incomplete() -> None:
    recorder = Recorder()
    await recorder.builder.code_start("cntr_1", tagged=True)
    await recorder.builder.segment(CodeText("while True"))
    await recorder.builder.code.output(Stream("stdout", "partial"))
    await recorder.builder.end("cancelled", Usage())
    call = recorder.response.output[0]
    assert isinstance(call, e.CodeInterpreterCall)
    assert (call.status, call.code, call.outputs) == ("incomplete", "while True", [e.LogsOutput("partial")])
    assert recorder.types[-1] == "incomplete"
    assert recorder.response.status == "cancelled"


async def test_pictures_and_tracebacks_get_the_standards_shapes() -> None:
    recorder = Recorder()
    builder = recorder.builder
    await builder.code_start("cntr_1", tagged=True)
    await builder.code.output(Stream("stdout", "\x1b[31mred\x1b[0m"))
    await builder.code.output(DisplayData({"image/png": "AAAA\n", "text/plain": "<Figure>"}))
    await builder.code.output(DisplayData({"image/svg+xml": "<svg/>"}))
    await builder.code.output(DisplayData({"image/png": 5, "text/plain": "hostile"}))
    await builder.code.output(Error("ValueError", "bad", ["\x1b[0;31mTraceback\x1b[0m", "ValueError: bad"]))
    await builder.code.executed(ExecutionResult(status="error", duration_s=0.1), "")
    call = recorder.response.output[0]
    assert isinstance(call, e.CodeInterpreterCall)
    assert call.outputs == [
        e.LogsOutput("red"),
        e.ImageOutput("data:image/png;base64,AAAA"),
        e.ImageOutput("data:image/svg+xml;base64,PHN2Zy8+"),
        e.LogsOutput("hostile\nTraceback\nValueError: bad"),
    ]


async def test_usage_is_summed_in_the_standards_fields() -> None:
    recorder = Recorder()
    usage = Usage(input_tokens=10, output_tokens=2, cached_tokens=4) + Usage(
        input_tokens=1, cost_usd=0.5, estimated=True
    )
    await recorder.builder.end("completed", usage)
    counted = recorder.response.usage
    assert counted is not None
    assert (counted.input_tokens, counted.output_tokens, counted.total_tokens) == (11, 2, 13)
    assert (counted.input_tokens_details.cached_tokens, counted.cost_usd, counted.estimated) == (4, 0.5, True)


# ---- reasoning beside what is open ---------------------------------------------------------------------


async def test_the_error_of_a_call_is_an_object() -> None:
    recorder = Recorder()
    item = await recorder.builder.calls.outside(Call("call_1", "crm.find", "{}"), server="crm", name="find")
    await recorder.builder.calls.answer(item, error="no such customer")
    assert recorder.types[-2:] == ["mcp_call.failed", "output_item.done"]
    done: Any = recorder.frames[-1]["item"]
    content = [{"type": "text", "text": "no such customer"}]
    assert done["error"] == {"type": "mcp_tool_execution_error", "content": content}


async def test_reasoning_while_code_or_prose_is_open_stands_beside_it() -> None:
    recorder = Recorder()
    builder = recorder.builder
    await builder.segment(Text("Hel"))
    await builder.reasoning("hm")
    await builder.segment(Text("lo"))
    await builder.code_start("cntr_1", tagged=True)
    await builder.segment(CodeText("print("))
    await builder.reasoning("hm, ")
    await builder.reasoning("hm")
    await builder.segment(CodeText("1)"))
    await builder.segment(CodeEnd("print(1)"))
    await builder.code.interpreting("cntr_1")
    await builder.code.executed(ExecutionResult(status="ok", duration_s=0.1), "Observation: 1")
    await builder.end("completed", Usage())
    message, first, call, second = recorder.response.output
    assert isinstance(message, e.Message)
    assert isinstance(first, e.Reasoning)
    assert isinstance(second, e.Reasoning)
    assert isinstance(call, e.CodeInterpreterCall)
    assert (message.content[0].text, call.code) == ("Hello\n\n", "print(1)")
    assert (first.content[0].text, second.content[0].text) == ("hm", "hm, hm")
    assert {item.status for item in recorder.response.output} == {"completed"}
    added = [frame["item"]["id"] for frame in recorder.frames if frame["type"] == "response.output_item.added"]  # type: ignore[index]
    done = [frame["item"]["id"] for frame in recorder.frames if frame["type"] == "response.output_item.done"]  # type: ignore[index]
    assert sorted(added) == sorted(done)


async def test_a_message_that_turns_out_to_be_a_thought_is_done_as_reasoning() -> None:
    recorder = Recorder()
    await recorder.builder.segment(Text("Hm."))
    await recorder.builder.thought_aloud(0)
    await recorder.builder.segment(Text("It is 42."))
    await recorder.builder.end("completed", Usage())
    assert [type(item) for item in recorder.response.output] == [e.Reasoning, e.Message]
    assert recorder.response.output_text == "It is 42."


async def test_a_compaction_that_another_process_left_open_ends_and_stands_for_nothing() -> None:
    before, after = Recorder(), Recorder()
    await before.builder.compactions.begin()
    assert before.types == ["output_item.added", "compaction.compacting"]
    after.response.output = before.response.output
    after.builder.resume({item.id for item in after.response.output}, [])
    await after.builder.end("failed", None, error=e.ResponseError("server_restarted", "Ask again."))
    assert after.types == ["output_item.done", "failed"]
    assert after.frames[0]["item"]["codeact:text"] == ""  # type: ignore[index]
