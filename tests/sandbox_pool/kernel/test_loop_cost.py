"""The time that a sandbox costs the event loop is charged to it, and wasted time is counted."""

import pytest

from sandbox_pool.kernel.loop_cost import BURST_S, FORGED, FORGIVEN, SHARE, LoopBudget


def test_what_is_within_the_burst_waits_for_nothing() -> None:
    budget = LoopBudget(10.0, 0.0)
    assert budget.pay(BURST_S, 0.0) == 0.0


def test_whoever_takes_all_that_is_there_gets_its_share_in_the_long_run() -> None:
    budget = LoopBudget(10.0, 0.0)
    now = spent = 0.0
    while now < 100.0:
        spent += 0.002
        now += 0.002 + budget.pay(0.002, now)
    assert spent == pytest.approx(100.0 * SHARE + BURST_S, rel=0.02)


def test_waste_is_forgiven_slowly_and_forged_messages_count_for_more() -> None:
    budget = LoopBudget(1.0, 0.0)
    assert not budget.waste(0.9, 0.0, forged=False)
    assert not budget.waste(0.5, 0.5 / FORGIVEN, forged=False)
    assert budget.waste(0.2, 0.5 / FORGIVEN, forged=False)
    assert LoopBudget(1.0, 0.0).waste(1.01 / FORGED, 0.0, forged=True)
