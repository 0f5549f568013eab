"""Code that is streamed inside a call's JSON arguments, wherever they are cut."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeact.dialect.json_code import JsonCode


def read(*pieces: str) -> tuple[str, str | None]:
    reader = JsonCode()
    return "".join(map(reader.feed, pieces)), reader.finish()


CODE = 'print("grüß 😀 \\n", {"a": [1]})\n\tx = \'\\u00e9\'\r\n/* \x07'


@pytest.mark.parametrize("ascii_only", [True, False])
def test_code_comes_out_the_same_at_every_split_point(ascii_only: bool) -> None:
    arguments = json.dumps(
        {"note": 'a "quoted" {thing}', "n": [1, {"code": "no"}], "code": CODE}, ensure_ascii=ascii_only
    )
    assert read(arguments) == (CODE, None)
    assert read(*arguments) == (CODE, None)
    for at in range(len(arguments) + 1):
        assert read(arguments[:at], arguments[at:]) == (CODE, None)


@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(1, 7), st.booleans())
def test_any_code_comes_out_as_json_has_it(code: str, size: int, ascii_only: bool) -> None:
    arguments = json.dumps({"code": code}, ensure_ascii=ascii_only)
    assert read(*(arguments[at : at + size] for at in range(0, len(arguments), size))) == (code, None)


def test_code_leaves_before_its_arguments_are_whole() -> None:
    reader = JsonCode()
    assert [reader.feed(piece) for piece in ('{"co', 'de": "pri', "nt(\\", "n1)\\ud83d", "\\ude00", '"')] == [
        "",
        "pri",
        "nt(",
        "\n1)",
        "😀",
        "",
    ]
    assert reader.ended


def test_half_a_surrogate_pair_is_replaced() -> None:
    assert read('{"code": "a\\ud83d', 'b\\ude00\\ud83d\\ud83d\\ude00"}') == ("a\ufffdb\ufffd\ufffd😀", None)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ("print(1)", "print(1)"),
        ('"print(1)"', "print(1)"),
        ('{}{"code": "1"}', "1"),
        ('{"source": "1"}', "1"),
        ('{"code": "line\nline"}', "line\nline"),
        ('{"language": "python", "timeout": 5, "x": null, "code": "1"}}', "1"),
    ],
)
def test_other_forms_whose_meaning_is_certain_are_code(arguments: str, code: str) -> None:
    assert read(*arguments) == (code, None)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ("", "no JSON object"),
        ("{}", "no JSON object"),
        ('{"other": "x"}', "no JSON object"),
        ('{"code": null}', "no JSON object"),
        ('{"code": "print(1', "ended inside the string"),
        ('{"code": "a\\x41"}', "no escape"),
        ('{"code": "a\\u00g1"}', "four hexadecimal digits"),
        ("{code: 1}", "a name in double quotes"),
        ('{"code" "x"}', "a colon"),
        ('{"a": 1 "code": "x"}', "a comma"),
    ],
)
def test_malformed_arguments_say_what_is_wrong(arguments: str, reason: str) -> None:
    for pieces in ((arguments,), tuple(arguments)):
        error = read(*pieces)[1]
        assert error is not None
        assert reason in error
