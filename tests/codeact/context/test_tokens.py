"""Tokens of prompts: counted by the model's server or estimated, and never more than fit into the window."""

import math
import re
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codeact.context.budget import Budget
from codeact.context.policy import MaskOldest
from codeact.context.prompts import fitted
from codeact.context.tokens import TokenMeter, estimated_tokens
from codeact.context.window import text_of
from codeact.dialect.base import Dialect, Entry
from codeact.dialect.tags import Tags
from codeact.dialect.tool_call import ToolCalls
from codeact.errors import ContextTooLong
from codeact.events import CodeInterpreterCall, InputMessage, Message, OutputText
from codeact.model import ChatMessage, Usage
from codeact.models.scripted import ScriptedModel
from sandbox_pool.outputs import ExecutionResult

pytestmark = pytest.mark.anyio

WINDOWS = (2_048, 4_096, 8_192, 32_768, 131_072)
TEMPLATE_TOKENS = 7
SYSTEM = "You act by writing Python. " * 20
PIECE = re.compile(r" ?[A-Za-z]{1,4}|[^A-Za-z\s]|\n|[^\S\n]+")


def tokens_of(text: str) -> int:
    """A tokenizer that makes estimates fail: one token for each digit, each mark, and each byte beyond ASCII."""
    return sum(len(piece[0].encode()) if piece[0] > "\x7f" else 1 for piece in PIECE.finditer(text))


def prompt_tokens(messages: Sequence[ChatMessage]) -> int:
    return sum(tokens_of(text_of(message)) + TEMPLATE_TOKENS for message in messages)


class CountingModel(ScriptedModel):
    """A model whose server has a tokenizer. `asked` contains the texts that it has counted."""

    def __init__(self) -> None:
        super().__init__([])
        self.asked: list[str] = []

    async def count_tokens(self, text: str) -> int | None:
        self.asked.append(text)
        return tokens_of(text)


def question(text: str, *, image: bool = False) -> InputMessage:
    parts = [{"type": "input_text", "text": text}]
    if image:
        parts.append({"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "auto"})
    return InputMessage(id=f"in_{hash(text)}", role="user", content=parts)


def block(number: int, code: str, shown: str) -> CodeInterpreterCall:
    return CodeInterpreterCall(
        id=f"ci_{number}",
        container_id="c",
        code=code,
        observation=f"Observation: ok, 0.01 s\nstdout:\n{shown}",
        result=ExecutionResult(status="ok", duration_s=0.01),
    )


KINDS = (
    *("8", "12,", "漢字", "🦜🏳️‍🌈", "\u0301a", "<|im_end|>", "aGVsbG8", "word ", "a b ", "]}){", "\n", "    ", "ﷺ"),
    *("x = df['a'].mean()\n", "The quick brown fox jumps over the lazy dog. "),
)
kinds = st.lists(st.sampled_from(KINDS), max_size=4)
texts = st.builds(lambda chosen, times: "".join(chosen) * times, kinds, st.integers(1, 400))
turns = st.lists(st.tuples(texts, texts, texts), min_size=1, max_size=12)


def conversation(spoken: Sequence[tuple[str, str, str]]) -> list[Entry]:
    items: list[Entry] = []
    for number, (asked, code, shown) in enumerate(spoken):
        items += [question(f"Q{number} {asked}"), block(number, f"# {number}\n{code}", shown)]
        items.append(Message(id=f"msg_{number}", content=[OutputText(f"answer {number}")]))
    return [*items, question("the last question")]


async def fit(items: Sequence[Entry], room_tokens: int, meter: TokenMeter, dialect: Dialect) -> list[ChatMessage]:
    return await fitted(
        items,
        room_tokens=room_tokens,
        render=lambda chosen: dialect.messages(chosen, system=SYSTEM, model="m"),
        policy=MaskOldest(),
        meter=meter,
    )


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("counts", [True, False], ids=["the server counts", "nobody counts"])
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(spoken=turns)
async def test_no_prompt_exceeds_the_window_less_the_reserve(
    window: int, counts: bool, spoken: list[tuple[str, str, str]]
) -> None:
    room_tokens = Budget(window).room_tokens
    assert room_tokens is not None
    for dialect in (Tags(), ToolCalls()):
        meter = TokenMeter(CountingModel() if counts else ScriptedModel([]))
        messages = await fit(conversation(spoken), room_tokens, meter, dialect)
        assert prompt_tokens(messages) <= room_tokens
        assert str(messages[-1].content).endswith("the last question")


async def test_a_conversation_that_grows_costs_one_request_for_what_is_new() -> None:
    model, items = CountingModel(), conversation([("a", "b " * 400, "c " * 1_000)])
    meter, dialect = TokenMeter(model), Tags()
    for turn in range(5):
        await fit(items, 4_000, meter, dialect)
        items += [block(10 + turn, "x = 1", "d " * 100), question(f"again {turn}")]
    assert len(model.asked) == 5
    assert all(len(text) < 1_000 for text in model.asked[1:])
    await fit(items[:-2], 4_000, meter, dialect)
    assert len(model.asked) == 5


async def test_what_surely_fits_asks_nobody() -> None:
    model = CountingModel()
    await fit(conversation([("a", "b", "c")]), 100_000, TokenMeter(model), Tags())
    assert model.asked == []


async def test_the_usage_of_an_answer_corrects_the_estimate_of_the_next_prompt() -> None:
    meter = TokenMeter(ScriptedModel([]))
    before = [ChatMessage("system", SYSTEM), ChatMessage("user", "word " * 1_000)]
    estimate = await meter.count(before, room_tokens=10_000)
    await meter.observe(before, Usage(input_tokens=1_200))
    assert await meter.count(before, room_tokens=10_000) == 1_200 < estimate
    after = [*before, ChatMessage("assistant", "8" * 500)]
    assert 1_700 <= await meter.count(after, room_tokens=10_000) <= 1_720
    other = [ChatMessage("user", "word " * 1_000)]
    assert await meter.count(other, room_tokens=10_000) < estimate
    await meter.observe(before, Usage(input_tokens=9_000, estimated=True))
    assert await meter.count(before, room_tokens=10_000) == 1_200


async def test_what_a_template_adds_is_learned_from_the_usage_beside_a_tokenizer() -> None:
    model = CountingModel()
    meter, messages = TokenMeter(model), [ChatMessage("user", "word " * 1_000)]
    counted = await meter.count(messages, room_tokens=2_000)
    await meter.observe(messages, Usage(input_tokens=counted + 150))
    assert await meter.count(messages, room_tokens=2_000) == counted + 150


async def test_instructions_that_are_longer_than_the_window_are_named_as_the_cause() -> None:
    with pytest.raises(ContextTooLong, match="The instructions and the question alone"):
        await fitted(
            [question("go")],
            room_tokens=500,
            render=lambda chosen: Tags().messages(chosen, system="Act. " * 2_000, model="m"),
            policy=MaskOldest(),
            meter=TokenMeter(CountingModel()),
        )


async def test_a_long_question_with_an_image_is_cut_as_well() -> None:
    items: list[Entry] = [question("word " * 50_000 + "end", image=True)]
    for room in (3_000, 1_000):
        messages = await fit(items, room, TokenMeter(CountingModel()), ToolCalls())
        assert prompt_tokens(messages) <= room
        assert str(messages[-1].content).count("image_url") == (2 if room == 3_000 else 0)


def test_a_small_window_makes_observations_short() -> None:
    assert Budget(None).observation_chars(12_000) == 12_000
    assert [Budget(window).observation_chars(12_000) for window in WINDOWS] == [800, 1_536, 3_072, 12_000, 12_000]


def test_an_estimate_takes_time_in_proportion() -> None:
    for kind in KINDS:
        assert math.isclose(estimated_tokens(kind * 2_000), 2 * estimated_tokens(kind * 1_000), rel_tol=0.05)
