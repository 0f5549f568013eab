"""Outputs are passed on in order, in time, and within the limit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox_pool.outputs import (
    ClearOutput,
    DisplayData,
    Error,
    ExecuteResult,
    Output,
    Stream,
    UpdateDisplayData,
    fold,
)
from sandbox_pool.sandbox.coalesce import OVERHEAD_BYTES, WINDOW_S, Coalescer

SHOWN = {"text/plain": "shown"}
PLOT = DisplayData({"image/png": "x"})
LARGE = 1_000_000


def add_text(coalescer: Coalescer, *texts: str, name: str = "stdout") -> None:
    for text in texts:
        coalescer.add(Stream("stderr" if name == "stderr" else "stdout", text), len(text))


def test_nothing_is_due_while_nothing_is_held() -> None:
    assert Coalescer(LARGE).due is None


def test_the_first_output_is_due_at_once_and_later_text_after_a_window() -> None:
    coalescer = Coalescer(LARGE)
    add_text(coalescer, "a")
    assert coalescer.due is not None
    assert coalescer.due <= 100.0
    assert coalescer.take(100.0) == [Stream("stdout", "a")]
    add_text(coalescer, "b", "c")
    assert coalescer.due == 100.0 + WINDOW_S
    assert coalescer.take(100.0 + WINDOW_S) == [Stream("stdout", "bc")]


@pytest.mark.parametrize("output", [PLOT, Error("E", "", []), ExecuteResult({})])
def test_what_is_new_to_see_is_due_at_once_and_takes_along_what_came_before(output: Output) -> None:
    coalescer = Coalescer(LARGE)
    add_text(coalescer, "a")
    coalescer.take(100.0)
    add_text(coalescer, "b")
    coalescer.add(output, 10)
    assert coalescer.due is not None
    assert coalescer.due <= 100.0
    assert coalescer.take(100.0) == [Stream("stdout", "b"), output]


@given(
    st.lists(
        st.one_of(
            st.builds(Stream, st.sampled_from(["stdout", "stderr"]), st.text(min_size=1), st.sampled_from([None, 3])),
            st.builds(DisplayData, st.just(SHOWN), st.just({}), st.sampled_from([None, "a", "b"])),
            st.builds(UpdateDisplayData, st.fixed_dictionaries({"text/plain": st.text()}), st.sampled_from(["a", "b"])),
            st.builds(ClearOutput, st.booleans()),
        )
    ),
    st.sets(st.integers(0, 20)),
)
def test_what_is_left_to_see_is_the_same_whenever_they_are_taken(outputs: list[Output], takes: set[int]) -> None:
    coalescer, taken = Coalescer(10**9), []
    for number, output in enumerate(outputs):
        coalescer.add(output, 100)
        if number in takes:
            taken += coalescer.take(float(number))
    taken += coalescer.take(1000.0)
    assert fold(taken) == fold(outputs)
    assert coalescer.omitted_bytes == 0


def test_text_is_cut_at_the_limit_and_what_follows_is_counted() -> None:
    coalescer = Coalescer(100 + OVERHEAD_BYTES)
    add_text(coalescer, "x" * 60, "y" * 60, "z")
    assert coalescer.take(0.0) == [Stream("stdout", "x" * 60 + "y" * 40)]
    assert coalescer.omitted_bytes == 21


def test_a_cut_never_splits_a_character() -> None:
    coalescer = Coalescer(10 + OVERHEAD_BYTES)
    add_text(coalescer, "€€€€€")
    assert coalescer.take(0.0) == [Stream("stdout", "€€€")]
    assert coalescer.omitted_bytes == 6


def test_past_the_limit_small_outputs_are_dropped_too() -> None:
    coalescer = Coalescer(1000)
    coalescer.add(PLOT, 5000)
    add_text(coalescer, "small")
    assert coalescer.take(0.0) == []
    assert coalescer.omitted_bytes == 5005


def test_one_error_is_kept_past_the_limit() -> None:
    coalescer = Coalescer(0)
    add_text(coalescer, "x")
    error = Error("ValueError", "bad", ["line"])
    coalescer.add(error, 50)
    coalescer.add(error, 50)
    assert coalescer.take(0.0) == [error]
    assert coalescer.omitted_bytes == 51


def test_the_limit_bounds_the_number_of_pieces() -> None:
    coalescer = Coalescer(10 * OVERHEAD_BYTES)
    for _ in range(1000):
        add_text(coalescer, "a")
        add_text(coalescer, "b", name="stderr")
    assert len(coalescer.take(0.0)) < 10


def test_of_the_updates_of_one_window_only_the_last_is_passed_on() -> None:
    coalescer = Coalescer(10_000)
    for number in range(1000):
        coalescer.add(UpdateDisplayData({"text/plain": str(number)}, "bar"), 100)
    assert coalescer.take(0.0) == [UpdateDisplayData({"text/plain": "999"}, "bar")]
    assert coalescer.omitted_bytes == 0


@pytest.mark.parametrize("wait", [True, False])
def test_what_was_cleared_before_anybody_saw_it_is_not_passed_on(wait: bool) -> None:
    coalescer = Coalescer(10_000)
    for number in range(1000):
        coalescer.add(ClearOutput(wait), 20)
        add_text(coalescer, f"step {number}\n" * 10)
    assert coalescer.take(0.0) == [ClearOutput(wait), Stream("stdout", "step 999\n" * 10)]
    assert coalescer.omitted_bytes == 0


def test_an_output_too_large_to_send_leaves_room_for_the_next() -> None:
    coalescer = Coalescer(1000)
    coalescer.omit(5000)
    add_text(coalescer, "after")
    assert coalescer.take(0.0) == [Stream("stdout", "after")]
    assert coalescer.omitted_bytes == 5000
