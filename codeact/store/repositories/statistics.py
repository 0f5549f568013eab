"""Statistics of the runs in a period: how many, how long, at which cost, and how many failed.

An index that contains all the fields answers each query, or a number in the docstring bounds it.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from codeact.store.database.operation import Operations, operation
from codeact.store.repositories.percentiles import TIMES, Times
from codeact.store.repositories.periods import Period

if TYPE_CHECKING:
    from codeact.store.documents.documents import Documents

__all__ = ["RunFigures", "Running", "Spending", "Statistics"]

SAMPLED = 50_000
PARTS = 16
"""Into how many parts a bin is divided when its runs are sampled."""
CONCURRENT = 4
USED = {
    "input_tokens": {"$sum": "$response.usage.input_tokens"},
    "cached_tokens": {"$sum": "$response.usage.input_tokens_details.cached_tokens"},
    "output_tokens": {"$sum": "$response.usage.output_tokens"},
    "cost_usd": {"$sum": "$response.usage.codeact:cost_usd"},
}


@dataclass(frozen=True, slots=True)
class RunFigures:
    """Runs with one model and one status that began in one bin: how many, and what they used.

    `error` is the error code of failed runs. `input_tokens` include `cached_tokens`.
    """

    start: datetime
    status: str
    error: str | None
    model: str
    runs: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    cost_usd: float


@dataclass(frozen=True, slots=True)
class Spending:
    """What the runs of one owner with one model used. `input_tokens` include `cached_tokens`."""

    model: str
    owner: str
    runs: int
    failed: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    cost_usd: float


@dataclass(frozen=True, slots=True)
class Running:
    """A run that has not ended."""

    response_id: str
    conversation_id: str | None
    owner: str
    model: str
    created_at: datetime


class Statistics:
    """The part of `Store` with statistics of runs. For operators only: owners are not checked."""

    def __init__(self, documents: "Documents", operations: Operations) -> None:
        self._responses = documents.responses
        self._operations = operations

    @operation
    async def runs(self, period: Period) -> list[RunFigures]:
        """Counts and sums by bin, status, error code and model, oldest bin first."""
        key = {"status": "$response.status", "error": "$response.error.code", "model": "$response.model"}
        return [
            RunFigures(start, **{"error": None, **one.pop("_id")}, **one)
            for start, found in await self._grouped(period, key, {"runs": {"$sum": 1}, **USED})
            for one in found
        ]

    @operation
    async def times(self, period: Period, *, share: float = 1.0) -> Times:
        """The times of this share of the runs, or of about 50,000 runs if that is fewer."""
        runs = await self._collection.count_documents(_within(period, period.since, period.until), hint="statistics")
        share = min(share, SAMPLED / runs) if runs else share
        values = {name: {"$push": f"$response.codeact:ledger.{name}_s"} for name in TIMES}
        bins = await self._grouped(period, None, values, share=share)
        return Times(runs, share, await asyncio.to_thread(_sorted, bins))

    @operation
    async def spent(self, period: Period, *, limit: int = 5_000) -> list[Spending]:
        """Sums by model and owner, highest cost first; at equal cost, most input tokens first."""
        key = {"model": "$response.model", "owner": "$owner"}
        failed = {"$sum": {"$cond": [{"$eq": ["$response.status", "failed"]}, 1, 0]}}
        pipeline = [
            {"$match": _within(period, period.since, period.until)},
            {"$group": {"_id": key, "runs": {"$sum": 1}, "failed": failed, **USED}},
            {"$sort": {"cost_usd": -1, "input_tokens": -1, "_id": 1}},
            {"$limit": limit},
        ]
        found = await self._collection.aggregate(pipeline, hint="statistics", allowDiskUse=True)
        return [Spending(**one.pop("_id"), **one) async for one in found]

    @operation
    async def running(self, *, limit: int = 200) -> list[Running]:
        """Runs in progress on any server, newest first."""
        fields = {"owner": 1, "created_at": 1, "response.model": 1, "response.conversation.id": 1}
        place = {"process": {"$gt": ""}}
        found = self._collection.find(place, fields).sort("_id", -1).limit(limit).hint("unfinished")
        return [
            Running(
                one["_id"],
                (one["response"].get("conversation") or {}).get("id"),
                one["owner"],
                one["response"]["model"],
                one["created_at"],
            )
            async for one in found
        ]

    # ---- inside --------------------------------------------------------------------------------------

    @property
    def _collection(self) -> Any:
        return self._responses.get_pymongo_collection()

    async def _grouped(
        self, period: Period, key: Mapping[str, str] | None, values: Mapping[str, Any], *, share: float = 1.0
    ) -> list[tuple[datetime, list[dict[str, Any]]]]:
        """Groups the runs of each bin, with one query per bin: MongoDB counts several times faster if it need not
        compute a key.
        """
        gate = asyncio.Semaphore(CONCURRENT)

        async def of_bin(start: datetime) -> list[dict[str, Any]]:
            since, until = max(start, period.since), min(start + timedelta(seconds=period.bin_s), period.until)
            parts = [_within(period, *part) for part in _parts(since, until, share)]
            pipeline = [{"$match": {"$or": parts} if len(parts) > 1 else parts[0]}, {"$group": {"_id": key, **values}}]
            async with gate:
                found = await self._collection.aggregate(pipeline, hint="statistics", allowDiskUse=True)
                return list(await found.to_list())

        starts = period.starts()
        # Not a task group: its callers do not expect an ExceptionGroup. Each query ends by its deadline.
        return list(zip(starts, await asyncio.gather(*map(of_bin, starts)), strict=True))


def _within(period: Period, since: datetime, until: datetime) -> dict[str, Any]:
    bounds: dict[str, Any] = {"created_at": {"$gte": since, "$lt": until}}
    return bounds | ({} if period.owner is None else {"owner": period.owner})


def _parts(since: datetime, until: datetime, share: float) -> list[tuple[datetime, datetime]]:
    """Samples this share of a period as equal slices, spread evenly."""
    if share == 1:
        return [(since, until)]
    step = (until - since) / PARTS
    return [(since + step * part, since + step * (part + share)) for part in range(PARTS)]


def _sorted(bins: Sequence[tuple[datetime, list[dict[str, Any]]]]) -> dict[datetime, dict[str, list[float]]]:
    """Sorts the values of each bin and time; runs without that time are skipped."""
    return {
        start: {name: sorted(value for one in found for value in one[name] if value is not None) for name in TIMES}
        for start, found in bins
    }
