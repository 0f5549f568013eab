"""Detecting that a model repeats itself, in its text and in its code."""

import random

import pytest

from codeact.agent.repetition import BlockHistory, Repetition


def notices(text: str, size: int = 7) -> bool:
    repetition = Repetition()
    return any(repetition.feed(text[at : at + size]) for at in range(0, len(text), size))


@pytest.mark.parametrize("period", [1, 2, 27, 300, 1500, 4000])
@pytest.mark.parametrize("before", ["", "Some words that come first. " * 20])
def test_a_text_that_only_repeats_itself_is_noticed(period: int, before: str) -> None:
    stretch = "".join(random.Random(period).choices("abcdefg \n", k=period))
    assert notices(before + stretch * (30_000 // period))


def test_a_stretch_whose_own_end_repeats_itself_is_noticed() -> None:
    assert notices(("a table\n" + "-" * 100 + "\n") * 300)


def test_ordinary_text_and_numbered_lines_are_not() -> None:
    words = random.Random(1).choices(["the", "model", "answers", "in", "words", "and", "numbers"], k=10_000)
    assert not notices(" ".join(words))
    assert not notices("\n".join(f"{number}. row" for number in range(3_000)))
    assert not notices("-" * 5_000)


def test_the_same_block_counts_by_its_observation() -> None:
    blocks = BlockHistory()
    assert blocks.times("f()", "Observation: ok, 0.01 s\n1") == 1
    assert blocks.times("f()", "Observation: ok, 0.02 s\n2") == 1
    assert blocks.times("f()\n", "Observation: ok, 0.30 s\n1") == 2
