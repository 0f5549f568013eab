"""Identifiers and their order."""

import time

import pytest

from codeact.ids import new_id, new_ids


def test_ids_sort_in_the_order_in_which_they_were_made() -> None:
    made = [new_id("ci") for _ in range(200)]
    # Up to one tick of the clock: 12 digits of milliseconds and 4 of their parts.
    times = [one.removeprefix("ci_")[:16] for one in made]
    assert times == sorted(times)
    assert len(set(times)) > len({time[:12] for time in times})
    assert len({len(one) for one in made}) == 1
    assert len(set(made)) == 200


def test_ids_made_in_one_go_sort_whatever_the_clock_does() -> None:
    next_id = new_ids()
    made = [next_id("msg") for _ in range(200)]
    assert made == sorted(set(made))


def test_an_id_sorts_behind_its_predecessor_although_another_servers_clock_was_ahead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now + 3_600 * 10**9)
    ahead = new_id("resp")
    monkeypatch.setattr(time, "time_ns", lambda: now)
    assert new_id("resp") < ahead
    second = new_id("resp", after=ahead)
    third = new_id("resp", after=second)
    assert ahead < second < third
    assert len(third) == len(ahead)
    for foreign in ("resp_1", "", "x" * 60, "resp_" + "f" * 44):
        assert len(new_id("resp", after=foreign)) == len(ahead)
