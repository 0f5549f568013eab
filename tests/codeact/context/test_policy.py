"""What a model reads of a conversation that is longer than its window, from 2,000 to 128,000 tokens; pure."""

from itertools import pairwise

import pytest

from codeact.context.budget import Budget
from codeact.context.policy import ContextPolicy, DropOldest, MaskOldest
from codeact.context.window import size_chars
from codeact.dialect.base import Dialect, Entry
from codeact.dialect.tags import Tags
from codeact.dialect.tool_call import ToolCalls
from codeact.events import CodeInterpreterCall, InputMessage, Message, OutputText
from codeact.model import ChatMessage
from codeact.models.openai_compatible.window import of_models, of_props
from sandbox_pool.outputs import Error, ExecutionResult

WINDOWS = (2_048, 4_096, 8_192, 32_768, 131_072)
SYSTEM = "Act. " * 200


def question(text: str) -> InputMessage:
    return InputMessage(id=f"in_{text}", role="user", content=[{"type": "input_text", "text": text}])


def block(number: int, chars: int, *, fails: bool = False) -> CodeInterpreterCall:
    error = Error("ValueError", "no", []) if fails else None
    return CodeInterpreterCall(
        id=f"ci_{number}",
        container_id="c",
        code=f"x = {number}  # code {number}\n" + "y = 1\n" * (chars // 20),
        observation=f"Observation: {'error' if fails else 'ok'}, 0.01 s\nstdout:\nresult {number}\n" + "o" * chars,
        result=ExecutionResult(status="error" if fails else "ok", duration_s=0.01, error=error),
    )


def conversation(turns: int, chars: int = 2_000) -> list[Entry]:
    items: list[Entry] = []
    for turn in range(turns):
        items += [question(f"question {turn}"), block(2 * turn, chars), block(2 * turn + 1, chars)]
        items.append(Message(id=f"msg_{turn}", content=[OutputText(f"answer {turn}")]))
    return [*items, question("the last question"), block(1_000, chars, fails=True), block(1_001, 200)]


def fitted(policy: ContextPolicy, items: list[Entry], room_chars: int, dialect: Dialect) -> list[ChatMessage]:
    return policy.fit(
        items, room_chars=room_chars, render=lambda chosen: dialect.messages(chosen, system=SYSTEM, model="m")
    )


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("dialect", [Tags(), ToolCalls()])
@pytest.mark.parametrize("policy", [MaskOldest, DropOldest])
def test_a_prompt_never_exceeds_the_window_less_the_reserve(
    window: int, dialect: Dialect, policy: type[ContextPolicy]
) -> None:
    room_tokens = Budget(window).room_tokens
    assert room_tokens == window - min(window // 4, 4_096)
    room_chars = 3 * room_tokens
    messages = fitted(policy(), conversation(100), room_chars, dialect)
    assert size_chars(messages) <= room_chars
    said = str(messages)
    assert "the last question" in said
    assert "result 1001" in said
    for call, result in pairwise(messages):
        assert result.role != "tool" or call.role in ("assistant", "tool")
    called = {call.id for message in messages for call in message.tool_calls}
    answered = [message.tool_call_id for message in messages if message.role == "tool"]
    assert called == set(answered)


def test_old_output_goes_first_then_old_code_then_whole_messages() -> None:
    items, dialect = conversation(5, 3_000), Tags()
    whole = size_chars(fitted(DropOldest(), items, 10**9, dialect))
    some = str(fitted(MaskOldest(), items, int(whole * 0.9), dialect))
    assert "3,0" in some
    assert "characters of output are left out here" in some
    assert "result 0\n" not in some
    assert "# code 0" in some
    assert "earlier messages" not in some
    less = str(fitted(MaskOldest(), items, int(whole * 0.45), dialect))
    assert "lines of code are left out here" in less
    assert "earlier messages" not in less
    assert "question 0" in less
    least = str(fitted(MaskOldest(), items, int(whole * 0.08), dialect))
    assert "earlier messages of this conversation are left out" in least


def test_the_newest_blocks_and_the_newest_error_stay_whole() -> None:
    items: list[Entry] = [question("go"), block(0, 2_000, fails=True), *(block(at, 2_000) for at in range(1, 8))]
    said = str(fitted(MaskOldest(), items, 13_000, Tags()))
    for kept in (0, 6, 7):
        assert f"result {kept}\\n" in said
    assert "result 1\\n" not in said


def test_what_was_left_out_stays_left_out_so_that_prompts_go_on_growing() -> None:
    policy, dialect, items = MaskOldest(), Tags(), conversation(6, 2_000)
    room = int(size_chars(fitted(DropOldest(), items, 10**9, dialect)) * 0.9)
    before = fitted(policy, items, room, dialect)
    items.append(block(1_002, 300))
    after = fitted(policy, items, room, dialect)
    assert after[: len(before)] == before


def test_what_fits_stays_as_it_is() -> None:
    items = conversation(2)
    assert fitted(MaskOldest(), items, 10**9, Tags()) == Tags().messages(items, system=SYSTEM, model="m")


def test_windows_are_read_from_what_servers_say() -> None:
    vllm = {"data": [{"id": "other", "max_model_len": 1}, {"id": "m", "max_model_len": 32_768}]}
    assert of_models(vllm, "m") == 32_768
    assert of_models({"data": [{"id": "m", "meta": {"n_ctx": 4_096}}]}, "m") == 4_096
    assert of_props({"default_generation_settings": {"n_ctx": 2_048}}) == 2_048
    for odd in (
        None,
        [],
        {},
        {"data": 1},
        {"data": [1, {"id": "m", "max_model_len": "many"}]},
        {"data": [{"id": "m"}]},
    ):
        assert of_models(odd, "m") is None
        assert of_props(odd) is None
