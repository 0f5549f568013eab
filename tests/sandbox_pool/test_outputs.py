"""Folding live outputs into the outputs of a notebook."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeact.observations.plaintext import as_terminal
from sandbox_pool.outputs import (
    ClearOutput,
    DisplayData,
    Error,
    ExecuteResult,
    Stream,
    UpdateDisplayData,
    fold,
    without_overdrawn,
)


def test_neighbouring_text_of_one_stream_becomes_one_output() -> None:
    folded = fold([Stream("stdout", "a"), Stream("stdout", "b"), Stream("stderr", "c"), Stream("stdout", "d")])
    assert folded == [Stream("stdout", "ab"), Stream("stderr", "c"), Stream("stdout", "d")]


def test_an_update_replaces_every_display_of_its_id_where_it_stands() -> None:
    folded = fold(
        [
            DisplayData({"text/plain": "1"}, {}, "a"),
            DisplayData({"text/plain": "2"}, {}, "b"),
            Stream("stdout", "x"),
            DisplayData({"text/plain": "3"}, {}, "a"),
            UpdateDisplayData({"text/plain": "new"}, "a"),
        ]
    )
    assert folded == [
        DisplayData({"text/plain": "new"}, {}, "a"),
        DisplayData({"text/plain": "2"}, {}, "b"),
        Stream("stdout", "x"),
        DisplayData({"text/plain": "new"}, {}, "a"),
    ]


def test_clearing_removes_what_came_before() -> None:
    assert fold([Stream("stdout", "a"), ClearOutput(), Stream("stdout", "b")]) == [Stream("stdout", "b")]


def test_a_waiting_clear_waits_for_the_next_output() -> None:
    assert fold([Stream("stdout", "a"), ClearOutput(wait=True)]) == [Stream("stdout", "a")]
    assert fold([Stream("stdout", "a"), ClearOutput(wait=True), Stream("stdout", "b")]) == [Stream("stdout", "b")]


def test_outputs_encode_to_what_a_notebook_file_holds() -> None:
    outputs = [
        Stream("stdout", "text"),
        DisplayData({"text/plain": "x"}),
        ExecuteResult({"text/plain": "1"}, {}, 3),
        Error("ValueError", "bad", ["line"]),
    ]
    assert json.loads(msgspec.json.encode(outputs)) == [
        {"output_type": "stream", "name": "stdout", "text": "text"},
        {"output_type": "display_data", "data": {"text/plain": "x"}},
        {"output_type": "execute_result", "data": {"text/plain": "1"}, "execution_count": 3},
        {"output_type": "error", "ename": "ValueError", "evalue": "bad", "traceback": ["line"]},
    ]


@pytest.mark.parametrize(
    ("drawn", "left"),
    [
        ("  1%\r 50%\r100%\n", "100%\n"),
        ("0%|   |\r50%|█  |\r100%|███|", "100%|███|"),
        ("longer\rab", "longer\rab"),
        ("a\r\nb\r\n", "a\r\nb\r\n"),
        ("a\r", "a\r"),
        ("\x1b[31mred\r\x1b[0mother", "\x1b[31mred\r\x1b[0mother"),
        ("日本\rabc", "日本\rabc"),
        ("1\n2\r3", "1\n3"),
    ],
)
def test_of_a_progress_bar_only_what_is_left_to_see_is_kept(drawn: str, left: str) -> None:
    assert fold([Stream("stderr", text) for text in drawn]) == [Stream("stderr", left)]


def seen(text: str) -> list[str]:
    return [line.rstrip(" ") for line in as_terminal(text).split("\n")]


@given(st.text(alphabet=st.sampled_from("ab é日\n\r\b\x1b[K0m█"), max_size=60))
def test_what_is_kept_looks_the_same_in_a_terminal(text: str) -> None:
    assert seen(without_overdrawn(text)) == seen(text)


def test_the_text_of_another_execution_stays_apart() -> None:
    folded = fold([Stream("stdout", "mine\n"), Stream("stdout", "late\n", 1), Stream("stdout", "mine again\n")])
    assert folded == [Stream("stdout", "mine\n"), Stream("stdout", "late\n"), Stream("stdout", "mine again\n")]
