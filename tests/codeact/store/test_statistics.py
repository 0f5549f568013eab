"""Statistics of a period and its failures, from a real mongod; indexes alone answer the queries."""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from codeact import events as e
from codeact.store import HistoryQuery, Store
from codeact.store.repositories.failure_stats import attempts_until_fixed, shape_of
from codeact.store.repositories.percentiles import Times, percentiles_of
from codeact.store.repositories.periods import MOST_BINS, Period, id_at, time_of_id
from sandbox_pool import outputs as o
from tests.codeact.store.conversations import add_answer, code, message

pytestmark = pytest.mark.anyio

FAILED = e.ResponseError("model_error", "It failed.")


def hour(owner: str | None = None) -> Period:
    now = datetime.now(UTC)
    return Period(now - timedelta(hours=1), now + timedelta(minutes=1), owner)


def raised(name: str, text: str) -> o.Error:
    return o.Error(name, text, [])


@pytest.fixture
async def filled(store: Store) -> Store:
    """Three answers: one whose code failed twice and then worked, one that failed, and one of another owner."""
    await add_answer(
        store,
        None,
        "sum it",
        code("a", raised("KeyError", "'x1'")),
        code("b", raised("KeyError", "'y22'")),
        code("c"),
        message("done"),
        model="m1",
    )
    await add_answer(store, None, "again", model="m2", status="failed", error=FAILED, tokens=30)
    await add_answer(store, None, "mine", code("d", raised("ValueError", "3 is too many")), owner="bob", model="m1")
    return store


async def test_runs_are_counted_by_status_and_error(filled: Store) -> None:
    found = Counter[tuple[str, str | None]]()
    for one in await filled.statistics.runs(hour()):
        found[one.status, one.error] += one.runs
    assert found == {("completed", None): 2, ("failed", "model_error"): 1}
    assert sum(one.runs for one in await filled.statistics.runs(hour("bob"))) == 1


async def test_runs_are_summed_by_model(filled: Store) -> None:
    found = await filled.statistics.runs(hour())
    assert sum(one.cost_usd for one in found if one.model == "m1") == 1.0
    assert [(one.runs, one.cost_usd) for one in found if one.model == "m2"] == [(1, 0.5)]


async def test_what_was_spent_is_summed_by_model_and_owner_the_most_first(filled: Store) -> None:
    await add_answer(filled, None, "dear", owner="bob", model="m1", cost_usd=7)
    found = await filled.statistics.spent(hour())
    assert {(one.model, one.owner): (one.runs, one.failed, one.cost_usd) for one in found} == {
        ("m1", "bob"): (2, 0, 7.5),
        ("m1", "ann"): (1, 0, 0.5),
        ("m2", "ann"): (1, 1, 0.5),
    }
    assert [one.owner for one in await filled.statistics.spent(hour(), limit=1)] == ["bob"]


async def test_percentiles_are_of_the_whole_period_and_of_each_bin(filled: Store) -> None:
    found = percentiles_of(await filled.statistics.times(hour()))
    [whole] = [one for one in found if one.start is None]
    assert (whole.time, whole.runs, whole.seconds[50]) == ("total", 3, 2.0)
    assert sum(one.runs for one in found if one.start is not None) == 3


async def test_a_part_of_the_runs_stands_for_many(filled: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codeact.store.repositories.statistics.SAMPLED", 1)
    times = await filled.statistics.times(hour())
    assert (times.runs, times.share) == (3, 1 / 3)
    assert all(one.runs <= 3 and one.seconds[99] == 2.0 for one in percentiles_of(times))


def test_percentiles_are_by_nearest_rank() -> None:
    start = datetime(2026, 6, 1, tzinfo=UTC)
    values = {"first_token": [float(n) for n in range(1, 101)], "first_output": [], "total": [7.0]}
    found = {(one.start, one.time): one for one in percentiles_of(Times(100, 1.0, {start: values}))}
    assert set(found) == {(start, "first_token"), (None, "first_token"), (start, "total"), (None, "total")}
    assert found[None, "first_token"].seconds == {50: 50.0, 95: 95.0, 99: 99.0}
    assert found[None, "total"].seconds == {50: 7.0, 95: 7.0, 99: 7.0}


async def test_a_run_is_running_until_it_ends(store: Store) -> None:
    conversation = await store.create_conversation(owner="ann")
    response = e.Response(id="resp_1", created_at=1.0, model="m", conversation=e.ConversationRef(conversation.id))
    await store.begin_response(response, [], owner="ann")
    [running] = await store.statistics.running()
    assert (running.response_id, running.conversation_id, running.owner) == ("resp_1", conversation.id, "ann")


async def test_exceptions_are_found_with_their_code_and_conversation(filled: Store) -> None:
    found = Counter[str]()
    for one in await filled.failure_stats.find(hour()):
        found[one.name] += one.times
    assert found == {"ValueError": 1, "KeyError": 2}
    first, second = await filled.failure_stats.failing(hour())
    assert (first.name, first.times, first.code) == ("KeyError", 2, "b")
    assert (second.name, second.message) == ("ValueError", "3 is too many")
    assert second.conversation_id is not None


async def test_limits_that_were_hit_are_found(store: Store) -> None:
    call = code("while True: pass")
    call.result = o.ExecutionResult(status="timeout", duration_s=1.0, limit="execution_timeout_s")
    await add_answer(store, None, "wait", call)
    assert [(one.kind, one.name) for one in await store.failure_stats.find(hour())] == [
        ("limit", "execution_timeout_s")
    ]


async def test_attempts_until_code_worked_are_counted(filled: Store) -> None:
    assert await filled.failure_stats.attempts(hour()) == {2: 1, None: 1}


@pytest.mark.parametrize(
    ("statuses", "attempts"),
    [
        ([], []),
        (["ok"], []),
        (["error", "ok", "error", "timeout", "ok"], [1, 2]),
        (["ok", "error"], [None]),
    ],
)
def test_a_series_of_failures_counts_once(statuses: list[str], attempts: list[int | None]) -> None:
    assert attempts_until_fixed(statuses) == attempts


def test_messages_are_alike_but_for_numbers_and_quoted_names() -> None:
    assert shape_of("no 'a' in 12\nmore") == shape_of('no "b" in 3')


@pytest.mark.parametrize("days", [0.04, 1, 7, 30, 365])
def test_a_period_has_a_bounded_number_of_bins(days: float) -> None:
    now = datetime(2026, 6, 1, 12, 34, 56, tzinfo=UTC)
    period = Period(now - timedelta(days=days), now)
    starts = period.starts()
    assert starts[0] <= period.since < starts[1]
    assert starts[-1] < now
    assert 24 <= len(starts) <= MOST_BINS + 1


def test_a_period_is_cut_between_bins_and_nothing_is_lost() -> None:
    now = datetime(2026, 6, 1, 12, 34, 56, tzinfo=UTC)
    for days in (0.04, 1, 7, 30, 365):
        period = Period(now - timedelta(days=days), now, "ann").from_whole_bin()
        old, new = period.cut(now - timedelta(days=1))
        assert old.starts() + new.starts() == period.starts()
        assert (old.since, old.until, new.until) == (period.since, new.since, period.until)
        assert now - new.since >= min(timedelta(days=1), now - period.since)


def test_ids_tell_their_time() -> None:
    time = datetime(2026, 6, 1, 12, 34, 56, 789000, tzinfo=UTC)
    assert time_of_id(id_at("ci", time) + "0" * 32) == time


async def test_the_largest_come_first_and_a_rare_filter_leads(filled: Store) -> None:
    everyone = await filled.history.largest(HistoryQuery(), "tokens", owner=None)
    assert [one.facets.tokens for one in everyone] == [30, 10, 10]
    [failed] = await filled.history.largest(HistoryQuery(status="failed"), "cost", owner="ann")
    assert failed.title == "again"
    assert len(await filled.history.largest(HistoryQuery(), "duration", owner=None, skip=2)) == 1


async def test_no_question_is_answered_by_reading_documents_or_a_whole_collection(filled: Store) -> None:
    """Indexes contain all fields that statistics and failure lists need, so no collection is scanned."""
    database = filled.statistics._collection.database
    await database.command("profile", 2)
    try:
        await filled.statistics.runs(hour())
        await filled.statistics.times(hour("ann"))
        await filled.statistics.spent(hour())
        await filled.failure_stats.find(hour())
        covered = await plans(database)
        await filled.statistics.running()
        await filled.failure_stats.failing(hour())
        await filled.failure_stats.attempts(hour())
        others = await plans(database)
    finally:
        await database.command("profile", 0)
    assert covered
    assert all(plan["docsExamined"] == 0 for plan in covered), covered
    assert all("COLLSCAN" not in plan["planSummary"] for plan in others), others


async def plans(database: Any) -> list[dict[str, Any]]:
    wanted = {
        "op": {"$in": ["query", "command"]},
        "planSummary": {"$exists": True},
        "ns": {"$not": {"$regex": "profile"}},
    }
    found = await database["system.profile"].find(wanted).to_list()
    return json.loads(json.dumps(found, default=str))  # type: ignore[no-any-return]
