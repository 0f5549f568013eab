"""Values that a sandbox and functions outside of it exchange: they arrive unchanged or are refused by name."""

import datetime as dt
import enum
import json
import math
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import BaseModel

from codeact.tools.function import Function, FunctionError
from codeact.tools.values import NotJson, decoded, encoded


class Colour(enum.StrEnum):
    RED = "red"


@dataclass
class Point:
    x: int
    y: tuple[int, ...]


class Model(BaseModel):
    when: dt.date


SAME = [
    *(None, True, 7, -(2**70), 1.5, "text \U0001f600", [1, [2]], {"a": {"b": None}}),
    *(
        (1, (2, "x")),
        {1, 2},
        frozenset({"a"}),
        {1: "int", (2, 3): "tuple", None: 0},
        {"$codeact": "tuple", "value": [1]},
    ),
    *(b"\x00\xff", dt.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=dt.UTC), dt.date(2026, 1, 2), dt.time(1, 2)),
    *(dt.timedelta(days=-1, microseconds=3), Decimal("0.10"), math.inf, [{"deep": (1, {2: b"x"})}]),
]


def sent(value: Any) -> Any:
    return decoded(json.dumps(encoded(value)))


@pytest.mark.parametrize("value", SAME, ids=repr)
def test_a_value_arrives_as_what_it_is(value: Any) -> None:
    arrived = sent(value)
    assert arrived == value
    assert type(arrived) is type(value)


def test_scalars_of_numpy_and_times_of_pandas_arrive_as_pythons() -> None:
    assert [sent(value) for value in (np.int64(3), np.float32(0.5), np.bool_(True), np.str_("a"))] == [
        3,
        0.5,
        True,
        "a",
    ]
    assert sent(pd.Timestamp(2026, 1, 2)) == dt.datetime(2026, 1, 2)  # noqa: DTZ001
    assert math.isnan(sent(math.nan))


def test_models_dataclasses_and_members_become_what_they_hold() -> None:
    assert sent(Point(1, (2,))) == {"x": 1, "y": (2,)}
    assert sent(Model(when=dt.date(2026, 1, 2))) == {"when": dt.date(2026, 1, 2)}
    assert sent(Colour.RED) == "red"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (pd.DataFrame({"a": [1]}), "to_dict"),
        (pd.Series([1]), "tolist"),
        (np.arange(3), "tolist"),
        (np.datetime64("2026-01-02T03:04:05.000000007"), "astype"),
        (pd.Timestamp("2026-01-02T03:04:05.000000007"), "nanoseconds"),
        (pd.NaT, "None"),
        (object(), "JSON cannot say"),
        ("half \ud800", "halves"),
    ],
)
def test_what_cannot_be_sent_is_refused_with_what_to_do(value: Any, words: str) -> None:
    with pytest.raises(NotJson, match=words):
        encoded({"nested": [value]})


def test_who_knows_json_only_gets_no_value_as_something_else() -> None:
    client = Function("f", "", {})
    assert client.arguments(json.dumps(encoded({"a": (1, 2)}))) == {"a": [1, 2]}
    for value, words in (({1: 2}, "keys"), (b"x", "base64"), (math.nan, "finite"), (dt.date(2026, 1, 2), "a date")):
        with pytest.raises(FunctionError, match=words):
            client.arguments(json.dumps(encoded({"a": value})))


@pytest.mark.parametrize("text", ['{"$codeact": "date", "value": "no"}', '{"$codeact": "Decimal", "value": "x"}'])
def test_a_forged_value_is_an_error_in_words(text: str) -> None:
    async def answer(given: dict[str, Any]) -> str:
        return ""

    with pytest.raises(FunctionError):
        Function("f", "", {}, answer=answer).arguments(f'{{"a": {text}}}')


@pytest.mark.parametrize("kind", ["set", "frozenset", "dict"])
def test_values_that_are_made_to_have_the_same_hash_are_refused(kind: str) -> None:
    alike = [number * (2**61 - 1) for number in range(40_000)]
    forged = {"$codeact": kind, "value": [[number, 0] for number in alike] if kind == "dict" else alike}
    with pytest.raises(ValueError, match="the same hash"):
        decoded(json.dumps(forged))
    ordinary = {-1, -2, 0, 0.5, 2**61 - 1, True, None, "text", (1, 2), frozenset([1])}
    assert decoded(json.dumps(encoded(ordinary))) == ordinary
