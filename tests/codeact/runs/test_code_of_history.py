"""The code of a stored conversation in a history that a client sends back without it."""

from typing import Any

from codeact.events import CodeInterpreterCall, FunctionCall, Input, InputMessage, Item, Message, OutputText
from codeact.runs.code_of_history import with_code


def said(role: Any, text: str) -> InputMessage:
    kind = "output_text" if role == "assistant" else "input_text"
    return InputMessage(id="msg_sent", role=role, content=[{"type": kind, "text": text}])


def answer(text: str) -> Message:
    return Message(id="msg_1", content=[OutputText(text)])


def code(number: int, source: str, observation: str | None, continues: str | None = None) -> CodeInterpreterCall:
    return CodeInterpreterCall(
        id=f"ci_{number}", container_id="cntr_1", code=source, observation=observation, continues=continues
    )


def texts(messages: list[Input]) -> list[tuple[str, str]]:
    return [(message.role, message.content[0]["text"]) for message in messages if isinstance(message, InputMessage)]


CALL = FunctionCall(id="fc_1", call_id="call_1", name="f", arguments='{"x":1}')
STORED: list[Input | Item] = [
    said("user", "go"),
    answer("I look."),
    code(1, "print(f(1))", None),
    CALL,
    code(2, "", "Observation:\n2\n", continues="ci_1"),
    code(3, "y = 3", None),
    answer("It is 2."),
]
SENT: list[Input] = [
    said("user", "go"),
    said("assistant", "I look."),
    said("assistant", 'f({"x":1})'),
    said("developer", "f() returned:\n2"),
    said("assistant", "It is 2."),
    said("user", "And now?"),
]


def test_each_block_comes_before_what_followed_it_with_all_that_the_model_read() -> None:
    assert texts(with_code(SENT, STORED)) == [
        ("user", "go"),
        ("assistant", "I look."),
        ("assistant", "<execute>\nprint(f(1))\n</execute>"),
        ("developer", "Observation:\n2\n"),
        ("assistant", 'f({"x":1})'),
        ("developer", "f() returned:\n2"),
        ("assistant", "<execute>\ny = 3\n</execute>"),
        ("developer", "Observation: (no output)"),
        ("assistant", "It is 2."),
        ("user", "And now?"),
    ]


def test_code_that_the_client_sent_does_not_come_twice() -> None:
    completed = with_code(SENT, STORED)
    assert texts(with_code(completed, STORED)) == texts(completed)


def test_blocks_of_what_the_client_left_out_are_left_out() -> None:
    assert texts(with_code(SENT[-2:], STORED)) == [
        ("assistant", "<execute>\ny = 3\n</execute>"),
        ("developer", "Observation: (no output)"),
        ("assistant", "It is 2."),
        ("user", "And now?"),
    ]
    assert with_code(SENT[-1:], STORED) == SENT[-1:]
    assert with_code(SENT, []) == SENT


def test_code_in_the_text_of_a_chat_does_not_come_twice() -> None:
    text = "I look.\n````python\nprint(f(1))\n````"
    chat: list[Input] = [said("user", "other words"), said("assistant", text), *SENT[2:]]
    assert texts(with_code(chat, STORED)) == [
        *texts(chat)[:4],
        ("assistant", "<execute>\ny = 3\n</execute>"),
        ("developer", "Observation: (no output)"),
        *texts(chat)[4:],
    ]
    unfinished: list[Input] = [said("assistant", "````python\nprint(f(1))"), *SENT[2:]]
    assert ("assistant", "<execute>\nprint(f(1))\n</execute>") in texts(with_code(unfinished, STORED))
