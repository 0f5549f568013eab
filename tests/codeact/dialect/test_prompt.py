"""A stored conversation as the model reads it."""

from datetime import date

from codeact.dialect.base import Aside
from codeact.dialect.history import rendered as chat_messages
from codeact.dialect.history import uses_tags
from codeact.dialect.parser import Parser
from codeact.dialect.prompt import last_turn, system_prompt
from codeact.dialect.segments import CodeEnd
from codeact.environment import Environment
from codeact.events import CodeInterpreterCall, InputMessage, Item, Message, OutputText, Reasoning, ReasoningTextPart
from codeact.model import ChatMessage
from sandbox_pool.spec import Limits

TODAY = date(2026, 3, 1)


def said(text: str, role: str = "user") -> InputMessage:
    return InputMessage(id="in", role=role, content=[{"type": "input_text", "text": text}])  # type: ignore[arg-type]


def prose(text: str) -> Message:
    return Message(id="msg", content=[OutputText(text)])


def ran(code: str, observation: str | None, *, tagged: bool = True) -> CodeInterpreterCall:
    return CodeInterpreterCall(id="ci", container_id="c", code=code, observation=observation, tagged=tagged)


def read(*items: InputMessage | Item) -> list[tuple[str, object]]:
    messages = chat_messages(items, system="S")
    assert (messages[0].role, len(messages) > 1) == ("system", len(items) > 0)
    return [(message.role, message.content) for message in messages[1:]]


def test_prose_and_code_of_one_turn_are_one_message_and_the_observation_is_the_users() -> None:
    assert read(said("2+2?"), prose("I add."), ran("2+2", "Observation: ok\nvalue:\n4"), prose("It is 4.")) == [
        ("user", "2+2?"),
        ("assistant", "I add.\n<execute>\n2+2\n</execute>"),
        ("user", "Observation: ok\nvalue:\n4"),
        ("assistant", "It is 4."),
    ]


def test_code_is_shown_as_the_model_wrote_it() -> None:
    items = [said("?"), ran("1", "Observation: ok", tagged=False), ran("'```'", "Observation: ok", tagged=False)]
    messages = chat_messages(items, system=system_prompt(Environment(), today=TODAY))
    assert [m.content for m in messages if m.role == "assistant"] == [
        "```python\n1\n```",
        "````python\n'```'\n````",
    ]
    assert not uses_tags(messages)
    assert uses_tags(chat_messages([*items, ran("2", "Observation: ok")], system="S"))


def test_the_code_of_a_message_parses_back() -> None:
    for tagged in (True, False):
        (_, (_, content), _) = read(said("?"), ran("x = '''\n```\n'''", "Observation: ok", tagged=tagged))
        assert isinstance(content, str)
        parser = Parser()
        segments = parser.feed(content) + parser.finish()
        assert segments[-1] == CodeEnd("x = '''\n```\n'''")


def test_reasoning_is_left_out() -> None:
    assert read(said("?"), Reasoning(id="rs", content=[ReasoningTextPart("hm")]), prose("Yes."))[-1] == (
        "assistant",
        "Yes.",
    )


def test_roles_alternate() -> None:
    items = [said("a"), said("b"), prose("c"), said("d", "assistant"), ran("1", "Observation: ok"), said("e")]
    assert read(*items) == [
        ("user", "a\n\nb"),
        ("assistant", "c\n\nd\n<execute>\n1\n</execute>"),
        ("user", "Observation: ok\n\nThe user says:\n\ne"),
    ]


def test_code_that_did_not_run_is_said_and_a_block_without_code_left_out() -> None:
    assert read(said("?"), ran("1", None)) == [
        ("user", "?"),
        ("assistant", "<execute>\n1\n</execute>"),
        ("user", "Observation: this block was not run"),
    ]
    assert read(said("?"), ran("", None)) == [("user", "?")]


def test_system_messages_come_first_and_later_ones_are_notes_in_their_place() -> None:
    items = [said("Be brief.", "developer"), said("a"), prose("b"), said("Kernel lost.", "developer"), said("c")]
    messages = chat_messages(items, system="S")
    assert messages == [
        ChatMessage("system", "S\n\nBe brief."),
        ChatMessage("user", "a"),
        ChatMessage("assistant", "b"),
        ChatMessage("user", "Note from the system: Kernel lost.\n\nThe user says:\n\nc"),
    ]


def test_images_become_content_parts() -> None:
    image = {"type": "input_image", "image_url": "data:image/png;base64,AA=="}
    text = {"type": "input_text", "text": "What is it?"}
    message = InputMessage(id="in", role="user", content=[text, image])
    mapped = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "auto"}}
    assert read(message) == [("user", [{"type": "text", "text": "What is it?"}, mapped])]
    assert read(said("Look."), message) == [
        ("user", [{"type": "text", "text": "Look."}, {"type": "text", "text": "What is it?"}, mapped])
    ]


def test_a_part_of_another_kind_is_named() -> None:
    message = InputMessage(id="in", role="user", content=[{"type": "input_file", "file_id": "f"}])
    assert read(message) == [("user", "[input_file that you cannot see]")]


def test_words_of_the_user_are_added_to_the_users_last_message() -> None:
    messages = chat_messages([said("?"), ran("1", "Observation: ok"), Aside(last_turn(3))], system="S")
    assert messages[-1].content == f"Observation: ok\n\n{last_turn(3)}"
    messages = chat_messages([said("?"), prose("a"), Aside("b", reply="c")], system="S")
    assert messages[-2:] == [ChatMessage("assistant", "a\n\nc"), ChatMessage("user", "b")]


def test_the_system_prompt_holds_the_environment_and_ends_with_the_instructions() -> None:
    environment = Environment(Limits(execution_timeout_s=2.5))
    prompt = system_prompt(environment, today=TODAY, instructions="Speak Latin.")
    for rule in environment.rules(TODAY):
        assert f"\n- {rule}\n" in prompt
    assert prompt.endswith("\nInstructions\nSpeak Latin.\n")
    assert len(system_prompt(Environment(), today=TODAY)) < 2700


def test_the_example_in_the_system_prompt_is_in_the_format_that_is_parsed() -> None:
    example = system_prompt(Environment(), today=TODAY).partition("Example\n")[2]
    parser = Parser()
    assert CodeEnd("sum(int(digit) for digit in str(2**100))") in parser.feed(example)
    assert sum(int(digit) for digit in str(2**100)) == 115
