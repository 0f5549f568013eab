"""Measures how fast the history answers, with a database of 100,000 conversations.

The database is the embedded mongod with 1,000,000 items, 200,000 responses and Zipf-distributed words (every fifth
word is one of the ten most common). Nine of ten conversations belong to the owner whose history is read. Each figure is
the 95th percentile for the first page of 20, over all kinds of queries in turn, each time with other values.

    history_p95_ms    lists and filters: time, status, model, error, image, tag, exception, rating, sums; also combined
    search_p95_ms     one word, two words, a prefix, an excluded word, a word with filters
"""

import random
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import accumulate, islice
from pathlib import Path
from typing import Any

from pymongo import AsyncMongoClient

from codeact.store import HistoryQuery, Store, embedded_mongod
from codeact.store.search.search_fields import VERSION, SearchFields, labels_of
from sandbox_pool.percentile import percentile

__all__ = ["fill", "measure"]

CONVERSATIONS = 100_000
RESPONSES, ITEMS = 2, 10
VOCABULARY = 50_000
DRAWS = 120
BATCH = 1_000
ROUNDS = 40
END = datetime(2026, 6, 1, tzinfo=UTC)
SPAN = timedelta(days=365)
STATUSES = ("completed", "failed", "cancelled", "incomplete", "in_progress")
STATUS_WEIGHTS = (90, 6, 2, 1.9, 0.1)
EXCEPTIONS = [f"Error{number}" for number in range(40)]
MODELS = [f"provider/model-{number}" for number in range(8)]
TAGS = [f"tag{number}" for number in range(200)]


async def measure(sandbox: str) -> dict[str, float]:
    """Makes the database and queries it, in about four minutes on two cores. No sandbox is used."""
    with tempfile.TemporaryDirectory(prefix="codeact-bench-") as directory:
        async with embedded_mongod(Path(directory)) as uri:
            _say("making 100,000 conversations")
            await fill(uri)
            _say("building the indexes")
            async with Store.connect(uri) as store:
                _say("querying")
                return await _ask(store)


# ---- the questions -----------------------------------------------------------------------------------


async def _ask(store: Store) -> dict[str, float]:
    rng = random.Random(1)
    words = _Words(rng)
    figures = {}
    for name, shapes in (("history", _filters(rng)), ("search", _searches(rng, words))):
        times = []
        for query in islice(shapes, 14 * ROUNDS):
            started = time.perf_counter()
            page = await store.history.find(query, owner="local")
            times.append((time.perf_counter() - started) * 1000)
            assert len(page.conversations) <= 20
        figures[f"{name}_p95_ms"] = percentile(sorted(times), 95)
        _say(f"{name}: p50 {sorted(times)[len(times) // 2]:.1f} ms, worst {max(times):.1f} ms")
    return figures


def _filters(rng: random.Random) -> Iterator[HistoryQuery]:
    while True:
        day = END - SPAN * rng.random()
        yield HistoryQuery()
        yield HistoryQuery(since=day - timedelta(days=3), until=day)
        yield HistoryQuery(status=rng.choices(STATUSES, STATUS_WEIGHTS)[0])
        yield HistoryQuery(status="in_progress")
        yield HistoryQuery(model=rng.choice(MODELS))
        yield HistoryQuery(has_error=rng.random() < 0.5)
        yield HistoryQuery(has_image=True, pinned=True)
        yield HistoryQuery(tag=rng.choice(TAGS))
        yield HistoryQuery(exception=rng.choice(EXCEPTIONS), status="completed")
        yield HistoryQuery(rating=rng.choice(("up", "down", "none")))
        yield HistoryQuery(min_tokens=int(rng.expovariate(1 / 5_000)) + 10_000)
        yield HistoryQuery(max_cost_usd=rng.random() / 1000, min_duration_s=60 * rng.random())
        yield HistoryQuery(min_tokens=10**9)
        yield HistoryQuery(model=rng.choice(MODELS), has_error=True, min_tokens=20_000, until=day)


def _searches(rng: random.Random, words: "_Words") -> Iterator[HistoryQuery]:
    while True:
        one, other = words.draw(2)
        rare = f"word{rng.randrange(VOCABULARY)}"
        yield HistoryQuery(query=one)
        yield HistoryQuery(query=rare)
        yield HistoryQuery(query=f"{one} {other}")
        yield HistoryQuery(query=f"{rare} {other}")
        yield HistoryQuery(query=f"word{rng.randrange(1, 10)}*")
        yield HistoryQuery(query=f"word{rng.randrange(10, 5000)}* {one}")
        yield HistoryQuery(query=f"{one} -{other}")
        yield HistoryQuery(query=one, has_error=True)
        yield HistoryQuery(query=one, tag=rng.choice(TAGS))
        yield HistoryQuery(query=one, min_tokens=15_000)
        yield HistoryQuery(query=other, model=rng.choice(MODELS), has_image=True)
        yield HistoryQuery(query=rare, status="in_progress")
        yield HistoryQuery(query=one, since=END - SPAN / 12)
        yield HistoryQuery(query="nothing has all of these words")


# ---- the database ------------------------------------------------------------------------------------


class _Words:
    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._words = [f"word{number}" for number in range(VOCABULARY)]
        self._weights = list(accumulate(1 / (number + 1) for number in range(VOCABULARY)))

    def draw(self, count: int) -> list[str]:
        return self._rng.choices(self._words, cum_weights=self._weights, k=count)


async def fill(uri: str, *, end: datetime = END) -> None:
    """Inserts a year of conversations, the last at `end`. Without indexes, which is four times as fast."""
    rng = random.Random(0)
    words = _Words(rng)
    async with AsyncMongoClient(uri) as client:
        database = client.get_database("codeact")
        for start in range(0, CONVERSATIONS, BATCH):
            batch = [_conversation(number, rng, words, end) for number in range(start, start + BATCH)]
            await database["conversations"].insert_many(batch, ordered=False)
            responses = [_response(one, at, rng) for one in batch for at in range(RESPONSES)]
            await database["responses"].insert_many(responses, ordered=False)
            items = [item for response in responses for item in _items(response, rng)]
            for first in range(0, len(items), BATCH):
                await database["items"].insert_many(items[first : first + BATCH], ordered=False)


def _conversation(number: int, rng: random.Random, words: _Words, end: datetime) -> dict[str, Any]:
    active_at = end - SPAN * rng.random()
    owner = "local" if rng.random() < 0.9 else f"owner{number % 50}"
    failed = rng.random() < 0.15
    facets = SearchFields(
        status=rng.choices(STATUSES, STATUS_WEIGHTS)[0],
        responses=RESPONSES,
        models=[rng.choice(MODELS)],
        exceptions=[EXCEPTIONS[min(int(rng.expovariate(0.2)), 39)]] if failed else [],
        has_error=failed,
        has_image=rng.random() < 0.2,
        tokens=int(rng.expovariate(1 / 5_000)),
        cost_usd=rng.expovariate(100),
        duration_s=rng.expovariate(1 / 20),
    )
    pinned = rng.random() < 0.005
    tags = rng.sample(TAGS, k=1) if rng.random() < 0.1 else []
    ratings = [rng.choice(("up", "down"))] if rng.random() < 0.05 else []
    return {
        "_id": f"conv_{int(active_at.timestamp() * 1000):012x}{number:032x}",
        "owner": owner,
        "created_at": active_at,
        "updated_at": active_at,
        "metadata": "{}",
        "last_response_id": f"resp_{number:x}_1",
        "deleted": False,
        "title": f"Question {number}",
        "pinned": pinned,
        "tags": tags,
        "ratings": ratings,
        "facets": facets.model_dump(),
        "labels": labels_of(facets, pinned=pinned, tags=tags, ratings=ratings),
        "words": list(dict.fromkeys(words.draw(DRAWS))),
        "revision": 0,
        "version": VERSION,
    }


def _response(conversation: dict[str, Any], at: int, rng: random.Random) -> dict[str, Any]:
    facets = conversation["facets"]
    response_id = conversation["last_response_id"][:-1] + str(at)
    last = at == RESPONSES - 1
    status = facets["status"] if last else "completed"
    failed = status == "failed"
    total = facets["tokens"] // RESPONSES
    wait_s, token_s = rng.expovariate(50), rng.lognormvariate(-0.5, 0.6)
    ledger = {
        "sandbox_wait_s": wait_s,
        "first_token_s": token_s,
        "code_detected_s": token_s + 0.8,
        "first_output_s": token_s + 0.8 + rng.lognormvariate(-2, 1),
        "total_s": token_s + rng.expovariate(1 / 10) if status != "in_progress" else None,
    }
    usage = {
        "input_tokens": total * 3 // 4,
        "input_tokens_details": {"cached_tokens": total // 3, "cache_write_tokens": 0},
        "output_tokens": total - total * 3 // 4,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": total,
        "codeact:cost_usd": facets["cost_usd"] / RESPONSES,
    }
    response = {
        "id": response_id,
        "created_at": conversation["created_at"].timestamp(),
        "model": facets["models"][0],
        "conversation": {"id": conversation["_id"]},
        "previous_response_id": f"{response_id[:-1]}{at - 1}" if at else None,
        "status": status,
        "error": {"code": rng.choice(("model_error", "server_restarted")), "message": "It failed."} if failed else None,
        "metadata": "{}",
        "tools": "[]",
        "usage": usage,
        "codeact:ledger": ledger,
    }
    question = {"type": "message", "id": f"msg_{response_id}", "role": "user"}
    return {
        "_id": response_id,
        "owner": conversation["owner"],
        "created_at": conversation["created_at"],
        "root_id": response_id[:-1] + "0",
        "input": [{**question, "content": [{"type": "input_text", "text": "Plot it."}]}],
        "response": response,
        "exceptions": facets["exceptions"] if last else [],
    }


def _items(response: dict[str, Any], rng: random.Random) -> Iterator[dict[str, Any]]:
    """Prose and code in turn. If the first block raises an exception, the following ones are its corrections."""
    exceptions = response.pop("exceptions")
    begun_ms = int(response["created_at"].timestamp() * 1000)
    for index in range(ITEMS // RESPONSES):
        is_code = index % 2 == 1
        item_id = f"{'ci' if is_code else 'msg'}_{begun_ms + 700 * index:012x}{rng.getrandbits(128):032x}"
        raised = exceptions[0] if is_code and index == 1 and exceptions else None
        item = _code(item_id, raised, rng) if is_code else _prose(item_id)
        yield {"_id": item_id, "response_id": response["_id"], "output_index": index, "item": item}


def _prose(item_id: str) -> dict[str, Any]:
    text = "It is as the plot shows: the curve rises, then falls, and ends where it began."
    content = [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}]
    return {"type": "message", "id": item_id, "role": "assistant", "status": "completed", "content": content}


def _code(item_id: str, raised: str | None, rng: random.Random) -> dict[str, Any]:
    error = {"output_type": "error", "ename": raised, "evalue": "it did not work", "traceback": []}
    result: dict[str, Any] = {"status": "error" if raised else "ok", "duration_s": rng.expovariate(2)}
    return {
        "type": "code_interpreter_call",
        "id": item_id,
        "container_id": "cntr_1",
        "code": f"value = compute({rng.randrange(20)})\nprint(value)",
        "status": "completed",
        "codeact:notebook_outputs": [error] if raised else [],
        "codeact:result": {**result, "error": error, "error_kind": "runtime"} if raised else result,
        "codeact:observation": "seen",
    }


def _say(line: str) -> None:
    print(f"{time.strftime('%X')}  {line}", file=sys.stderr)
