"""Keys, embed sessions, usage and the audit log on a real mongod."""

from datetime import UTC, datetime, timedelta

import pytest

from codeact.errors import InvalidRequest, NotFound
from codeact.owners import account_of, check_owner, user_of_account
from codeact.store import AuditEntry, Credential, OwnerLimits, Store
from tests.codeact.store.plans import explained, queries_of, stages

pytestmark = pytest.mark.anyio

START = datetime(2026, 1, 1, tzinfo=UTC)
LIMITS = OwnerLimits(tokens_per_day=5)


async def session_of(store: Store, parent_id: str | None, *, lasts_s: float = 60) -> tuple[Credential, str]:
    return await store.access.create_embed_session(
        parent_id=parent_id,
        owner="shop/alice",
        origin="https://shop.example",
        expires_at=datetime.now(UTC) + timedelta(seconds=lasts_s),
        limits=LIMITS,
        account_limits=OwnerLimits(responses_per_minute=7),
    )


async def test_an_embed_session_is_found_by_its_token_until_it_expires(store: Store) -> None:
    made, token = await session_of(store, None)
    found = await store.access.find(token)
    assert found is not None
    assert (found.id, found.kind, found.owner, found.operator) == (made.id, "embed", "shop/alice", False)
    assert (found.origin, found.limits) == ("https://shop.example", LIMITS)
    assert found.account_limits == OwnerLimits(responses_per_minute=7)
    assert await store.access.find((await session_of(store, None, lasts_s=-1))[1]) is None


async def test_an_embed_session_ends_with_the_key_that_made_it(store: Store) -> None:
    key, _ = await store.access.create_key(owner="shop", name="")
    other, _ = await store.access.create_key(owner="shop", name="")
    _, token = await session_of(store, key.id)
    await store.access.revoke_key(other.id)
    assert await store.access.find(token) is not None
    await store.access.revoke_key(key.id)
    assert await store.access.find(token) is None


async def test_an_embed_session_is_ended_by_its_own_key_or_by_none_in_particular(store: Store) -> None:
    key, secret = await store.access.create_key(owner="shop", name="")
    (first, token), (second, _) = await session_of(store, key.id), await session_of(store, key.id)
    for session_id, parent_id in ((first.id, "key_other"), (key.id, None), ("emb_none", None)):
        with pytest.raises(NotFound):
            await store.access.end_embed_session(session_id, parent_id=parent_id)
    assert await store.access.find(token) is not None
    await store.access.end_embed_session(first.id, parent_id=key.id)
    await store.access.end_embed_session(second.id, parent_id=None)
    assert await store.access.find(token) is None
    assert await store.access.find(secret) is not None


async def test_what_a_user_uses_counts_for_the_account_too(store: Store) -> None:
    await store.access.add_tokens("shop/alice", 3, START)
    await store.access.add_tokens("shop/bob/2026", 4, START)
    await store.access.add_tokens("shop", 5, START)
    used = {owner: await store.access.tokens_used(owner, START) for owner in ("shop", "shop/alice", "shop/bob/2026")}
    assert used == {"shop": 12, "shop/alice": 3, "shop/bob/2026": 4}


async def test_sessions_and_responses_of_a_minute_are_counted_apart(store: Store) -> None:
    counts = [await store.access.count_session("anonymous", START) for _ in range(2)]
    assert (counts, await store.access.count_response("anonymous", START)) == ([1, 2], 1)


@pytest.mark.parametrize("name", ["", " ", "a/b", "/", "a\nb", "x" * 129, "anonymous"])
def test_an_owner_whom_another_could_be_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        check_owner(name)
    assert refused.value.param == "owner"


def test_an_account_and_a_user_make_one_name_that_no_other_two_make() -> None:
    pairs = [("a", "b/c"), ("a", "/b/c"), ("a", "b"), ("ab", "c"), ("a", "bc"), ("a", "a/a"), ("a", "/")]
    names = [user_of_account(account, user) for account, user in pairs]
    assert len(set(names)) == len(pairs)
    assert [account_of(name) for name in names] == [account for account, _ in pairs]
    assert account_of("local") == "local"


async def test_the_audit_log_of_some_time_is_read_without_the_rest_of_it(uri: str) -> None:
    entries = [
        AuditEntry(START + timedelta(minutes=number), f"owner {number % 7}", None, "act", str(number), 200, "")
        for number in range(1_000)
    ]
    with queries_of("audit") as queries:
        async with Store.connect(uri) as store:
            await store.access.record(entries)
            hour = {"since": START + timedelta(hours=2), "until": START + timedelta(hours=3)}
            found = await store.access.audit(**hour, limit=100)
    assert [entry.subject for _, entry in found] == [str(number) for number in range(179, 119, -1)]
    plan = await explained(uri, queries.seen[-1])
    assert "COLLSCAN" not in stages(plan)
    assert plan["executionStats"]["totalDocsExamined"] <= 2 * len(found)
