"""What remains of a conversation that is longer than the model's window; pure."""

import pytest

from codeact.context.window import IMAGE_CHARS, IMAGE_LEFT_OUT, fit, size_chars
from codeact.model import ChatMessage

SYSTEM = ChatMessage("system", "Act.")


def conversation(turns: int, chars: int = 100) -> list[ChatMessage]:
    messages = [SYSTEM]
    for turn in range(turns):
        messages.append(ChatMessage("user", f"question {turn} ".ljust(chars, "q")))
        messages.append(ChatMessage("assistant", f"answer {turn} ".ljust(chars, "a")))
    return [*messages, ChatMessage("user", "the last question")]


def roles(messages: list[ChatMessage]) -> list[str]:
    return [message.role for message in messages]


def test_what_fits_stays_as_it_is() -> None:
    messages = conversation(3)
    assert fit(messages, room_chars=size_chars(messages)) == messages


@pytest.mark.parametrize("room_chars", [60, 250, 400, 777, 1500])
def test_the_oldest_go_and_roles_still_take_turns(room_chars: int) -> None:
    fitted = fit(conversation(10), room_chars=room_chars)
    assert fitted[0] == SYSTEM
    assert fitted[-1].role == "user"
    assert str(fitted[-1].content).endswith("the last question")
    assert roles(fitted)[1:] == ["user", "assistant"] * (len(fitted) // 2 - 1) + ["user"]
    assert "earlier messages of this conversation are left out" in str(fitted[1].content)
    assert "question 0" not in str(fitted)


def test_the_question_stays_before_the_observations_that_followed_it() -> None:
    observed = []
    for turn in range(5):
        observed += [ChatMessage("assistant", f"code {turn}"), ChatMessage("user", f"Observation: {turn} " + "o" * 500)]
    fitted = fit([*conversation(5), *observed], room_chars=1200)
    assert "the last question" in str(fitted[1].content)
    assert str(fitted[-1].content).startswith("Observation: 4")
    assert "Observation: 0" not in str(fitted)


def test_a_message_that_is_too_long_by_itself_loses_its_middle() -> None:
    fitted = fit([SYSTEM, ChatMessage("user", "begin" + "x" * 10_000 + "end")], room_chars=1000)
    assert size_chars(fitted) <= 1000
    text = str(fitted[1].content)
    assert text.startswith("begin")
    assert text.endswith("end")
    assert "characters cut" in text


def test_an_image_counts_and_stays_with_its_message() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    last = ChatMessage("user", [{"type": "text", "text": "look"}, image])
    fitted = fit([*conversation(50)[:-1], last], room_chars=5000)
    assert image in fitted[-1].content
    assert size_chars(fitted) <= 5100


def test_of_very_many_images_the_oldest_go_and_as_many_as_fit_stay() -> None:
    image = {"type": "image_url", "image_url": {"url": "blob:x"}}
    question = {"type": "text", "text": "What is this?"}
    (message,) = fit([ChatMessage("user", [question, *[image] * 5_000])], room_chars=10 * IMAGE_CHARS + 100)
    assert message.content == [question, {"type": "text", "text": IMAGE_LEFT_OUT}, *[image] * 10]


def test_asking_for_less_and_less_always_gives_less_until_nothing_can_go() -> None:
    messages = conversation(20, 1000)
    sizes = [size_chars(fit(messages, room_chars=room)) for room in (20_000, 10_000, 5_000, 2_000, 1_000)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < 1_500
