"""How fast the history answers: a database of 100,000 conversations is made, one flat dict of figures leaves.

The database is the embedded mongod with 1,000,000 items, 200,000 responses and Zipf-distributed words (each fifth
word one of the ten most common); nine of ten conversations belong to the owner who asks. Each figure is the 95th
percentile of the first page of 20, over all shapes in turn, every time with other values.

    history_p95_ms    lists and filters: time, status, model, error, image, tag, exception, rating, sums; also combined
    search_p95_ms     one word, two words, a beginning, an excluded word, a word with filters
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
from codeact.store.facets import VERSION, Facets, labels_of

__all__ = ["measure"]

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
    """Makes the database and asks it, in about four minutes on two cores. No sandbox is used."""
    with tempfile.TemporaryDirectory(prefix="codeact-bench-") as directory:
        async with embedded_mongod(Path(directory)) as uri:
            _say("making 100,000 conversations")
            await _fill(uri)
            _say("building the indexes")
            async with Store.connect(uri) as store:
                _say("asking")
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
        figures[f"{name}_p95_ms"] = sorted(times)[int(0.95 * len(times))]
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


async def _fill(uri: str) -> None:
    """Inserts before there are indexes: four times as fast."""
    rng = random.Random(0)
    words = _Words(rng)
    async with AsyncMongoClient(uri) as client:
        database = client.get_database("codeact")
        for start in range(0, CONVERSATIONS, BATCH):
            batch = [_conversation(number, rng, words) for number in range(start, start + BATCH)]
            await database["conversations"].insert_many(batch, ordered=False)
            responses = [_response(one, at) for one in batch for at in range(RESPONSES)]
            await database["responses"].insert_many(responses, ordered=False)
            items = [_item(response, at) for response in responses for at in range(ITEMS // RESPONSES)]
            for first in range(0, len(items), BATCH):
                await database["items"].insert_many(items[first : first + BATCH], ordered=False)


def _conversation(number: int, rng: random.Random, words: _Words) -> dict[str, Any]:
    active_at = END - SPAN * rng.random()
    owner = "local" if rng.random() < 0.9 else f"owner{number % 50}"
    failed = rng.random() < 0.15
    facets = Facets(
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


def _response(conversation: dict[str, Any], at: int) -> dict[str, Any]:
    response_id = conversation["last_response_id"][:-1] + str(at)
    reference = {"id": conversation["_id"]}
    return {
        "_id": response_id,
        "owner": conversation["owner"],
        "created_at": conversation["created_at"],
        "root_id": response_id[:-1] + "0",
        "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Plot it."}]}],
        "response": {"id": response_id, "model": "demo", "conversation": reference, "previous_response_id": None},
    }


def _item(response: dict[str, Any], at: int) -> dict[str, Any]:
    text = "It is as the plot shows: the curve rises, then falls, and ends where it began."
    item = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}
    return {"_id": f"{response['_id']}_{at}", "response_id": response["_id"], "output_index": at, "item": item}


def _say(line: str) -> None:
    print(f"{time.strftime('%X')}  {line}", file=sys.stderr)
