"""Python functions of the host, as the sandbox's code calls them."""

import json
import threading
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

import pytest

from codeact.errors import ConfigurationError
from codeact.host_functions import host_functions
from codeact.tools import FunctionError

pytestmark = pytest.mark.anyio


@dataclass
class Point:
    x: int
    y: int


def move(point: Point, by: int = 1, *, axis: Literal["x", "y"] = "x") -> Point:
    """Moves a point.

    Along one axis.
    """
    assert threading.current_thread() is not threading.main_thread()
    return Point(point.x + by * (axis == "x"), point.y + by * (axis == "y"))


async def today() -> date:
    return date(2026, 1, 2)


def broken(text: str) -> Any:
    if text == "raise":
        raise KeyError("no such thing")
    return object() if text == "object" else "x" * 9_000_000


async def answered(function: Any, **arguments: Any) -> Any:
    (made,) = host_functions([function])
    assert made.answer is not None
    return json.loads(await made.answer(arguments))


async def test_a_function_shows_its_signature_and_gets_its_own_types() -> None:
    (made,) = host_functions([move])
    assert made.signature() == "move(point: Any, by: int = ..., axis: Literal['x', 'y'] = ...)"
    assert made.docstring() == "Moves a point.\n\nAlong one axis."
    assert await answered(move, point={"x": 1, "y": 2}, by=3, axis="y") == {"x": 1, "y": 5}
    assert await answered(today) == "2026-01-02"


async def test_arguments_that_do_not_fit_are_named() -> None:
    with pytest.raises(FunctionError, match=r"move\(\): by: "):
        await answered(move, point={"x": 1, "y": 2}, by="far")
    with pytest.raises(FunctionError, match=r"move\(\): speed: "):
        await answered(move, point={"x": 1, "y": 2}, speed=1)


@pytest.mark.parametrize(
    ("text", "words"),
    [("raise", "KeyError: 'no such thing'"), ("object", "JSON cannot say"), ("long", "over 4,000,000 bytes")],
)
async def test_what_goes_wrong_in_a_function_is_told_in_words(text: str, words: str) -> None:
    with pytest.raises(FunctionError, match=words):
        await answered(broken, text=text)


@pytest.mark.parametrize("function", [lambda *many: None, lambda **named: None, lambda x, /: None])
def test_signatures_without_names_are_refused(function: Any) -> None:
    with pytest.raises(ConfigurationError, match="no argument with a name"):
        host_functions([function])
