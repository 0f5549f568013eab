"""Log probabilities: each message has those of its own tokens, whatever else the reply has around it."""

from dataclasses import replace
from itertools import pairwise

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeact import events as e
from codeact.agent.options import AgentOptions
from codeact.model import Finish, ReasoningDelta, Sampling, TextDelta, TokenLogprob, TokenLogprobs
from codeact.models.scripted import Step
from tests.codeact.agent.test_replies import answering
from tests.server.conftest import in_thread

pytestmark = pytest.mark.anyio

ASKED = AgentOptions(sampling=Sampling(logprobs=0))
STOP = Finish("stop")
REPLIES = [
    "It is 42.",
    "<think>It is 4, it is 42.</think>\n\nIt is 42, naïve 🙂 user.",
    "I compute.\n\n<execute>\nprint('I compute.')\n</execute>",
    "A `<execute>` in a span, </execute> closed, and\n\n```text\n<execute>\n```\n end. ",
    "First\n```python\nprint(1)\n```\nthen more of it.",
    "  \n Two\n\n\nlines < 3 and `",
]


def token(text: bytes) -> TokenLogprob:
    return TokenLogprob(text.decode(errors="replace"), -0.5, list(text), [])


def cut(whole: bytes, at: set[int]) -> list[bytes]:
    places = sorted({0, len(whole), *(place % len(whole) for place in at)})
    return [whole[start:end] for start, end in pairwise(places)]


def streamed(pieces: list[bytes]) -> list[Step]:
    """Each token, and the text that it completes: half a character is sent with its other half."""
    steps: list[Step] = []
    held = b""
    for piece in pieces:
        steps.append(TokenLogprobs([token(piece)]))
        held += piece
        text = held.decode(errors="ignore")
        held = held[len(text.encode()) :]
        if text:
            steps.append(TextDelta(text))
    return steps


async def messages(steps: list[Step], options: AgentOptions = ASKED) -> tuple[list[e.OutputText], list[e.Event]]:
    async with answering([*steps, STOP], options=options) as answer:
        await answer.completions.think(last=False)
        await answer.builder.close_item()
        found = [item for item in answer.response.output if isinstance(item, e.Message)]
        return [message.content[0] for message in found], answer.events


def written(part: e.OutputText) -> bytes:
    return b"".join(bytes(token.bytes) for token in part.logprobs)


@settings(deadline=None, max_examples=120)
@given(st.sampled_from(REPLIES), st.sets(st.integers(0, 200), max_size=40))
def test_the_tokens_of_the_messages_hold_their_text(reply: str, at: set[int]) -> None:
    steps = streamed(cut(reply.encode(), at))
    parts, events = in_thread(anyio.run, messages, steps)
    assert parts
    # Each token has something of the text. It may also cover what was removed, and a bit of the next message.
    tokens = iter(b"".join(map(written, parts)))
    assert all(byte in tokens for part in parts for byte in part.text.strip().encode())  # In this order.
    assert all(len(part.logprobs) <= len(part.text.encode()) for part in parts)
    deltas = [token for event in events if isinstance(event, e.OutputTextDelta) for token in event.logprobs]
    assert deltas == [token for part in parts for token in part.logprobs]
    done = [event.logprobs for event in events if isinstance(event, e.OutputTextDone)]
    assert done == [part.logprobs for part in parts]


@pytest.mark.parametrize("reply", REPLIES)
async def test_single_characters_as_tokens_are_exactly_the_text(reply: str) -> None:
    steps = streamed([character.encode() for character in reply])
    for part in (await messages(steps))[0]:
        assert written(part).decode() == part.text.rstrip("\n") or written(part).decode() == part.text


async def test_tokens_that_are_not_in_the_text_are_left_out_and_the_others_stay() -> None:
    steps: list[Step] = [
        ReasoningDelta("I think"),
        TokenLogprobs([token(b"<|channel|>"), token(b"We"), token(b" muse"), token(b"I"), token(b" know"), token(b"")]),
        TextDelta("I know"),
        TextDelta(" it, unseen,"),
        TokenLogprobs([token(b"<|x|>"), token(b" all"), token(b"."), token(b"<|end|>")]),
        TextDelta(" all."),
    ]
    (part,), _ = await messages(steps)
    assert [one.token for one in part.logprobs] == ["I", " know", " all", "."]


async def test_a_server_that_sends_none_is_named_in_a_notice() -> None:
    _, events = await messages([TextDelta("It is 42.")])
    (notice,) = [event.notice for event in events if isinstance(event, e.NoticeEvent)]
    assert notice.code == "parameter_dropped"
    assert "no log probabilities" in notice.message


async def test_an_answer_in_a_format_has_the_tokens_of_its_json() -> None:
    options = replace(ASKED, answer_format=e.JsonObjectFormat())
    steps = streamed([b"```", b"json\n", b'{"a":', b" 1", b"}", b"\n", b"```"])
    async with answering([*steps, STOP], options=options) as answer:
        answer.builder.hold_text()
        await answer.completions.think(last=False)
        await answer.builder.end("completed", None)
    (message,) = [item for item in answer.response.output if isinstance(item, e.Message)]
    assert [one.token for one in message.content[0].logprobs] == ['{"a":', " 1", "}"]


async def test_a_response_has_a_bounded_number_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codeact.agent.response_builder.MOST_LOGPROBS", 3)
    (part,), events = await messages(streamed([b"one ", b"two ", b"three ", b"four ", b"five"]))
    assert [one.token for one in part.logprobs] == ["one ", "two ", "three "]
    assert [event.notice.code for event in events if isinstance(event, e.NoticeEvent)] == ["logprobs_cut"]
