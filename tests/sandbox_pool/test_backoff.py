"""Pauses between failed attempts."""

from sandbox_pool.backoff import Backoff


def test_each_pause_is_twice_as_long_up_to_the_limit() -> None:
    backoff = Backoff(0.5, 3.0)
    assert [backoff.next_s() for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_an_attempt_that_succeeds_begins_anew() -> None:
    backoff = Backoff(0.5, 3.0)
    backoff.next_s()
    backoff.reset()
    assert backoff.next_s() == 0.5


def test_chance_takes_no_more_than_its_part() -> None:
    for _ in range(100):
        assert 0.8 <= Backoff(1.0, 10.0, jitter=0.2).next_s() <= 1.0


def test_ten_thousand_failures_are_no_overflow() -> None:
    backoff = Backoff(0.1, 30.0)
    assert max(backoff.next_s() for _ in range(10_000)) == 30.0
