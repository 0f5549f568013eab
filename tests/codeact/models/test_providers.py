"""Claude and Gemini through litellm, with servers that stream and refuse in the providers' documented formats."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

import pytest

from codeact import events as e
from codeact.dialect.tags import Tags
from codeact.dialect.tool_call import ToolCalls
from codeact.model import (
    ChatMessage,
    Finish,
    ModelEvent,
    PastCall,
    ReasoningDelta,
    ReasoningKept,
    Sampling,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from codeact.models.litellm.cache_marks import takes_cache_marks, with_cache_marks
from codeact.models.litellm.client import LiteLLMModel, close
from tests.model_server import CallPiece, Kept, ModelServer, Thought

pytestmark = pytest.mark.anyio

HELLO = [ChatMessage("system", "Be kind."), ChatMessage("user", "6*7?")]
CODE = json.dumps({"code": 'print(6 * 7)  # "grüß" 😀'})
USAGE = {"prompt_tokens": 1000, "completion_tokens": 20, "prompt_tokens_details": {"cached_tokens": 900}}
SIGNATURE = "c2lnbmF0dXJl" * 100


@pytest.fixture(scope="module", autouse=True)
async def connections() -> AsyncIterator[None]:
    """One event loop for all tests, because litellm has separate connections for each loop."""
    yield
    await close()


@pytest.fixture
def claude(server: ModelServer) -> LiteLLMModel:
    return LiteLLMModel(
        "anthropic/claude-sonnet-4-5", api_base=f"http://127.0.0.1:{server.port}", api_key="k", retries=0
    )


@pytest.fixture
def gemini(server: ModelServer) -> LiteLLMModel:
    base = f"http://127.0.0.1:{server.port}/v1beta/models/gemini-3-pro-preview"
    return LiteLLMModel("gemini/gemini-3-pro-preview", api_base=base, api_key="k", retries=0)


async def collect(model: LiteLLMModel, messages: Sequence[ChatMessage], **sampling: Any) -> list[ModelEvent]:
    asked = Sampling(tools=ToolCalls.tools, **sampling)
    async with aclosing(model.stream(messages, asked)) as stream:
        return [event async for event in stream]


def kept_in(events: Sequence[ModelEvent]) -> dict[str, Any]:
    """The fields of one reply that the model expects back."""
    found: dict[str, Any] = {}
    for event in events:
        if isinstance(event, ReasoningKept):
            found |= event.fields
    return found


def went_on(events: Sequence[ModelEvent], text: str) -> list[ChatMessage]:
    """The conversation after a reply with a call."""
    call = next(event for event in events if isinstance(event, ToolCall))
    past = PastCall(call.call_id, call.name, call.arguments)
    return [
        *HELLO,
        ChatMessage("assistant", text, (past,), reasoning=kept_in(events)),
        ChatMessage("tool", "Observation: 42", tool_call_id=call.call_id),
    ]


# ---- Claude ------------------------------------------------------------------------------------------


async def test_claudes_thoughts_text_and_call_stream_as_they_are_written(
    server: ModelServer, claude: LiteLLMModel
) -> None:
    pieces = [CallPiece(letter) for letter in CODE]
    server.reply(
        Thought("h"),
        Thought("m"),
        Kept({"signature": SIGNATURE}),
        "I run ",
        "it.",
        CallPiece("", "python", "toolu_1"),
        *pieces,
        usage=USAGE,
    )
    events = await collect(claude, HELLO, reasoning_effort="low")
    assert [event.text for event in events if isinstance(event, ReasoningDelta)] == ["h", "m"]
    assert [event.text for event in events if isinstance(event, TextDelta)] == ["I run ", "it."]
    arguments = [event.arguments for event in events if isinstance(event, ToolCallDelta) and event.arguments]
    assert arguments == list(CODE)
    assert [event for event in events if isinstance(event, ToolCall)] == [ToolCall("python", CODE, "toolu_1")]
    assert Finish("stop") in events
    usage = events[-1]
    assert isinstance(usage, Usage)
    assert (usage.input_tokens, usage.cached_tokens, usage.output_tokens) == (1000, 900, 20)
    assert not usage.estimated
    assert kept_in(events)["thinking_blocks"] == [{"type": "thinking", "thinking": "hm", "signature": SIGNATURE}]


@pytest.mark.parametrize("form", ["signed", "redacted"])
async def test_claude_gets_its_thoughts_back_with_their_signature(
    server: ModelServer, claude: LiteLLMModel, form: str
) -> None:
    thought = (Kept({"data": "sealed"}),) if form == "redacted" else (Thought("hm"), Kept({"signature": SIGNATURE}))
    server.reply(*thought, "I run it.", CallPiece(CODE, "python", "toolu_1"))
    server.reply("42.")
    events = await collect(claude, HELLO, reasoning_effort="low")
    answer = await collect(claude, went_on(events, "I run it."), reasoning_effort="low")
    assert TextDelta("42.") in answer
    said, result = server.requests[1].body["messages"][1:]
    first, text, call = said["content"]
    assert first == (
        {"type": "redacted_thinking", "data": "sealed"}
        if form == "redacted"
        else {"type": "thinking", "thinking": "hm", "signature": SIGNATURE}
    )
    assert (text["text"], call["input"]) == ("I run it.", json.loads(CODE))
    assert result["content"][0]["tool_use_id"] == "toolu_1"


async def test_claudes_prompts_are_marked_for_its_cache(server: ModelServer, claude: LiteLLMModel) -> None:
    server.reply(CallPiece(CODE, "python", "toolu_1"))
    server.reply("42.")
    events = await collect(claude, HELLO)
    await collect(claude, went_on(events, ""))
    first, second = (request.body for request in server.requests)
    for body in (first, second):
        assert body["system"][-1]["cache_control"] == {"type": "ephemeral"}
        assert body["messages"][-1]["content"][-1]["cache_control"] == {"type": "ephemeral"}
    assert second["messages"][0]["content"][-1]["cache_control"] == {"type": "ephemeral"}


async def test_claude_stops_at_the_end_of_a_block_between_tags(server: ModelServer, claude: LiteLLMModel) -> None:
    server.reply("<execute>\n6*7\n")
    async with aclosing(claude.stream(HELLO, Sampling(stop=Tags().stop))) as stream:
        events = [event async for event in stream]
    assert server.requests[0].body["stop_sequences"] == ["</execute>"]
    assert events[0] == TextDelta("<execute>\n6*7\n")


def test_marks_are_few_and_for_claude_alone() -> None:
    rows = [{"role": role, "content": role} for role in ("system", *("user", "assistant") * 5, "user")]
    marked = [place for place, row in enumerate(with_cache_marks(rows)) if "cache_control" in json.dumps(row)]
    assert marked == [0, 9, 11]
    assert with_cache_marks([{"role": "user", "content": ""}]) == [{"role": "user", "content": ""}]
    assert takes_cache_marks("bedrock", "bedrock/us.anthropic.claude-sonnet-4-5")
    assert not takes_cache_marks("gemini", "gemini/gemini-3-pro")
    assert not takes_cache_marks("openrouter", "openrouter/openai/gpt-5")


# ---- Gemini ------------------------------------------------------------------------------------------


async def test_geminis_thoughts_and_call_are_read_and_its_signature_goes_back(
    server: ModelServer, gemini: LiteLLMModel
) -> None:
    server.reply(Thought("hm"), "I run it.", Kept({"signature": SIGNATURE}), CallPiece(CODE, "python"), usage=USAGE)
    server.reply("42.")
    events = await collect(gemini, HELLO, reasoning_effort="low")
    assert [event.text for event in events if isinstance(event, ReasoningDelta)] == ["hm"]
    assert [event.text for event in events if isinstance(event, TextDelta)] == ["I run it."]
    call = next(event for event in events if isinstance(event, ToolCall))
    assert json.loads(call.arguments) == json.loads(CODE)
    usage = events[-1]
    assert isinstance(usage, Usage)
    assert (usage.input_tokens, usage.cached_tokens, usage.output_tokens) == (1000, 900, 20)
    answer = await collect(gemini, went_on(events, "I run it."), reasoning_effort="low")
    assert TextDelta("42.") in answer
    told = server.requests[1].body["contents"]
    parts = [part for content in told for part in content["parts"]]
    [called] = [part for part in parts if "function_call" in part or "functionCall" in part]
    assert (called.get("thoughtSignature") or called["thought_signature"]) == SIGNATURE


async def test_the_signature_of_geminis_text_goes_back(server: ModelServer, gemini: LiteLLMModel) -> None:
    server.reply(Kept({"signature": SIGNATURE}), "Hello.")
    server.reply("Yes.")
    events = await collect(gemini, HELLO)
    said = ChatMessage("assistant", "Hello.", reasoning=kept_in(events))
    await collect(gemini, [*HELLO, said, ChatMessage("user", "sure?")])
    assert SIGNATURE in json.dumps(server.requests[1].body["contents"])


# ---- the conversation as it is stored ----------------------------------------------------------------


def test_a_call_with_a_long_id_is_told_again_by_that_id() -> None:
    call_id = f"call_1__thought__{SIGNATURE}"
    block = e.CodeInterpreterCall(id="ci_1", container_id="c", code="6*7", observation="Observation: 42")
    block.written = e.Written(model="gemini/x", call_id=call_id)
    said, result = ToolCalls().messages([block], system="s", model="gemini/x")[1:]
    assert (said.tool_calls[0].id, result.tool_call_id) == (call_id, call_id)
    other = ToolCalls().messages([block], system="s", model="openai/y")[1]
    assert other.tool_calls[0].id == "call_ci_1"
