"""How much an answer may still store, given the database's sum and the running answers of this process."""

import math

from codeact.agent.fitting import within
from codeact.store.allowance import MOST_ACCOUNTS, Allowance, Allowances
from sandbox_pool.outputs import DisplayData, Stream


def test_without_a_limit_there_is_room_for_anything() -> None:
    allowance = Allowance()
    allowance.take(10**12)
    assert allowance.room_bytes() == math.inf


def test_answers_of_one_owner_share_what_is_left() -> None:
    allowances = Allowances()
    one, other = allowances.of({"a": 100}, {"a": 10}), allowances.of({"a": 100}, {"a": 10})
    one.take(50)
    assert one.room_bytes() == other.room_bytes() == 40
    other.take(40)
    assert one.room_bytes() == 0
    other.close()
    assert one.room_bytes() == 40


def test_what_the_database_has_counted_is_not_counted_twice() -> None:
    allowances = Allowances()
    one = allowances.of({"a": 100}, {"a": 0})
    one.take(30)
    one.counted(20)
    assert one.room_bytes() == 70
    one.counted(30)
    assert one.room_bytes() == 50
    one.close()
    assert one.room_bytes() == 50


def test_the_account_of_a_user_has_its_own_limit() -> None:
    allowances = Allowances()
    user = allowances.of({"shop/bob": 100, "shop": 30}, {"shop/bob": 0, "shop": 10})
    assert user.room_bytes() == 20


def test_owners_for_whom_nothing_is_under_way_are_forgotten() -> None:
    allowances = Allowances()
    kept = allowances.of({"a": 100}, {"a": 0})
    kept.take(10)
    for number in range(MOST_ACCOUNTS + 10):
        allowances.of({f"b{number}": 1}, {})
    assert len(allowances._accounts) < 20
    assert allowances.of({"a": 100}, {"a": 0}).room_bytes() == 90


def test_of_a_text_that_does_not_fit_the_beginning_is_kept_and_of_anything_else_nothing() -> None:
    text = Stream("stdout", "x" * 1_000)
    assert within(text, 10_000) is text
    shorter = within(text, 500)
    assert isinstance(shorter, Stream)
    assert 300 < len(shorter.text) < 500
    assert isinstance(within(Stream("stdout", "x" * 500 + "\0" * 500), 1_000), Stream)
    assert within(text, 0) is None
    assert within(DisplayData({"text/plain": "x" * 1_000}, {}), 500) is None


def test_what_other_servers_have_stored_counts_as_soon_as_the_sum_is_read() -> None:
    allowance = Allowances().of({"ann": 100}, {"ann": 10})
    allowance.take(20)
    allowance.counted(20, {"ann": 80})
    assert allowance.room_bytes() == 20
