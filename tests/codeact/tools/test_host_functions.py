"""Python functions of the host, as the sandbox's code calls them."""

import math
import threading
from dataclasses import dataclass
from datetime import date
from enum import Enum
from functools import partial
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from codeact.errors import ConfigurationError
from codeact.tools.function import FunctionError
from codeact.tools.host_functions import Tool, host_functions
from codeact.tools.toolbox import Toolbox
from codeact.tools.values import decoded

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
    return decoded(await made.answer(arguments))


async def test_a_function_shows_its_signature_and_gets_its_own_types() -> None:
    (made,) = host_functions([move])
    assert made.signature() == "move(point: Point, by: int = 1, *, axis: Literal['x', 'y'] = 'x') -> Point"
    assert made.docstring() == "Moves a point.\n\nAlong one axis."
    assert await answered(move, point={"x": 1, "y": 2}, by=3, axis="y") == {"x": 1, "y": 5}
    assert await answered(today) == date(2026, 1, 2)


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


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Order(BaseModel):
    at: date
    points: list[Point]
    note: str | None = None
    parts: list["Order"] = []


def order(order: Order, colours: set[Colour], size: tuple[int, str], *, most: Annotated[int, Field(ge=1)] = 3) -> Order:
    return order if most else Order(at=order.at, points=[])


def total(first: int, /, *rest: int, times: float = 1.0, **named: int) -> float:
    return (first + sum(rest) + sum(named.values())) * times


class Counter:
    """Counts."""

    def __init__(self, by: int) -> None:
        self.by, self.count = by, 0

    def __call__(self, times: int = 1) -> int:
        self.count += self.by * times
        return self.count


def titles(*functions: Any) -> str:
    return Toolbox(host_functions(functions)).described()


@pytest.mark.parametrize(
    ("function", "title"),
    [
        (total, "total(first: int, /, *rest: int, times: float = 1.0, **named: int) -> float"),
        (Tool(lambda x, y=None: x, "either", "Gives x."), "either(x: Any, y: Any = None)\n    Gives x."),
        (Counter(2), "Counter(times: int = 1) -> int\n    Counts."),
        (Tool(Counter(2).__call__, "count"), "count(times: int = 1) -> int"),
        (partial(total, 1), "total(*rest: int, times: float = 1.0, **named: int) -> float"),
        (Point, "Point(x: int, y: int) -> Point2"),
        (math.sqrt, "sqrt(x: Any, /)"),
        (max, "max(*args: Any, **kwargs: Any)"),
    ],
)
def test_every_callable_has_the_signature_that_python_shows(function: Any, title: str) -> None:
    assert title in titles(function)


def test_types_are_written_out() -> None:
    told = titles(order)
    assert (
        "Order = TypedDict('Order', {'at': date, 'points': list[Point], 'note': NotRequired[str | None],"
        " 'parts': NotRequired[list[Order]]})" in told
    )
    assert "Point = TypedDict('Point', {'x': int, 'y': int})" in told
    assert (
        "order(order: Order, colours: set[Literal['red', 'blue']], size: tuple[int, str], *, most: int = 3) -> Order"
        in told
    )


async def test_every_kind_of_argument_arrives() -> None:
    assert await answered(total, first=1, rest=[2, 3], times=2.0, named={"a": 4}) == 20.0
    assert await answered(total, first=1) == 1.0
    assert await answered(Tool(lambda a, *more: [a, *more], "many"), a=1, more=[2]) == [1, 2]
    assert await answered(max, args=[[1, 3, 2]]) == 3
    assert await answered(math.sqrt, x=9.0) == 3.0
    assert await answered(Counter(2), times=3) == 6
    assert await answered(Point, x=1, y=2) == {"x": 1, "y": 2}
    given = {"at": date(2026, 1, 2), "points": [{"x": 1, "y": 2}]}
    value = await answered(order, order=given, colours={"red"}, size=(1, "m"))
    assert value == given | {"note": None, "parts": []}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "first: it is required"),
        ({"first": 1, "rest": ["a"]}, r"rest\.0: "),
        ({"first": 1, "named": {"b": "x"}}, r"named\.b: "),
    ],
)
async def test_what_is_missing_or_wrong_is_named(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(FunctionError, match=words):
        await answered(total, **arguments)


def untyped(x: "Nowhere") -> None:  # type: ignore[name-defined]  # noqa: F821
    """Has an annotation that nobody can read."""


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda x: x, "is no name in Python"),
        (Tool(move, "print"), "would hide Python's own"),
        (Tool(move, "a b"), "is no name in Python"),
        (untyped, "cannot be read"),
        (Tool, "no JSON schema"),
    ],
)
def test_what_cannot_be_offered_is_refused_by_name(function: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        host_functions([function])
