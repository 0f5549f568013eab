"""Live outputs enter, the outputs of a notebook leave."""

import json

import msgspec

from sandbox_pool.outputs import (
    ClearOutput,
    DisplayData,
    Error,
    ExecuteResult,
    Stream,
    UpdateDisplayData,
    fold,
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
