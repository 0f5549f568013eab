"""Figures of a period and what went wrong in it, from a real mongod; and that indexes alone answer."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from codeact import events as e
from codeact.store import HistoryQuery, Store
from codeact.store.mishaps import attempts_until_fixed, shape_of
from codeact.store.periods import MOST_BINS, Period, id_at, time_of_id
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
    """Three answers: one whose code failed twice and then worked, one that failed, one of another owner."""
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
    found = {(one.status, one.error): one.runs for one in await filled.statistics.runs(hour())}
    assert found == {("completed", None): 2, ("failed", "model_error"): 1}
    assert sum(one.runs for one in await filled.statistics.runs(hour("bob"))) == 1


async def test_costs_are_summed_by_model_and_owner(filled: Store) -> None:
    found = {(one.model, one.owner): one for one in await filled.statistics.costs(hour())}
    assert set(found) == {("m1", "ann"), ("m2", "ann"), ("m1", "bob")}
    assert (found["m2", "ann"].failed, found["m2", "ann"].cost_usd) == (1, 0.5)


async def test_percentiles_are_of_the_whole_period_and_of_each_bin(filled: Store) -> None:
    found = await filled.statistics.spreads(hour())
    [whole] = [one for one in found if one.start is None]
    assert (whole.time, whole.runs, whole.seconds[50]) == ("total", 3, 2.0)
    assert sum(one.runs for one in found if one.start is not None) == 3


async def test_a_part_of_the_runs_stands_for_many(filled: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codeact.store.statistics.SAMPLED", 1)
    found = await filled.statistics.spreads(hour())
    assert all(one.runs <= 3 and one.seconds[99] == 2.0 for one in found)


async def test_a_run_is_running_until_it_ends(store: Store) -> None:
    conversation = await store.create_conversation(owner="ann")
    response = e.Response(id="resp_1", created_at=1.0, model="m", conversation=e.ConversationRef(conversation.id))
    await store.begin_response(response, [], owner="ann")
    [running] = await store.statistics.running()
    assert (running.response_id, running.conversation_id, running.owner) == ("resp_1", conversation.id, "ann")


async def test_exceptions_are_found_with_their_code_and_conversation(filled: Store) -> None:
    assert [one.name for one in await filled.mishaps.find(hour())] == ["ValueError", "KeyError", "KeyError"]
    first, second = await filled.mishaps.failing(hour())
    assert (first.name, first.times, first.code) == ("KeyError", 2, "b")
    assert (second.name, second.message) == ("ValueError", "3 is too many")
    assert second.conversation_id is not None


async def test_limits_that_were_hit_are_found(store: Store) -> None:
    call = code("while True: pass")
    call.result = o.ExecutionResult(status="timeout", duration_s=1.0, limit="execution_timeout_s")
    await add_answer(store, None, "wait", call)
    assert [(one.kind, one.name) for one in await store.mishaps.find(hour())] == [("limit", "execution_timeout_s")]


async def test_attempts_until_code_worked_are_counted(filled: Store) -> None:
    assert await filled.mishaps.attempts(hour()) == {2: 1, None: 1}


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
    """What statistics and lists of mishaps ask is in their indexes; nothing else is scanned either."""
    database = filled.statistics._collection.database
    await database.command("profile", 2)
    try:
        await filled.statistics.runs(hour())
        await filled.statistics.spreads(hour("ann"))
        await filled.statistics.costs(hour())
        await filled.mishaps.find(hour())
        covered = await plans(database)
        await filled.statistics.running()
        await filled.mishaps.failing(hour())
        await filled.mishaps.attempts(hour())
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
