"""Statistics of failed code in a period: exceptions and limits, the code that failed, and how often it was fixed.

Counts cover at most the newest 50,000 failures; what needs the items themselves covers the newest 1,000.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from codeact.store.database.operation import Operations, operation
from codeact.store.repositories.periods import Period, id_at, time_of_id

if TYPE_CHECKING:
    from codeact.store.documents.documents import Documents

__all__ = ["CodeFailure", "FailureKind", "FailureStats", "attempts_until_fixed", "shape_of"]

COUNTED = 50_000
EXAMINED = 1_000
RESULT = "item.codeact:result"
KINDS: Mapping[Literal["exception", "limit"], tuple[str, str]] = {
    "exception": ("raised", f"{RESULT}.error.ename"),
    "limit": ("limited", f"{RESULT}.limit"),
}
"""For each kind of failure: its index, and the path of its name, which the index contains."""


@dataclass(frozen=True, slots=True)
class CodeFailure:
    """How many code blocks in one bin raised an exception of this name, or hit the limit of this name."""

    start: datetime
    kind: Literal["exception", "limit"]
    name: str
    times: int


@dataclass(frozen=True, slots=True)
class FailureKind:
    """Similar failures: exceptions of one name whose messages differ only in numbers and quoted names.

    `code` and `message` are those of the newest one, in `conversation_id` (None: deleted).
    """

    name: str
    message: str
    times: int
    last_at: datetime
    code: str
    conversation_id: str | None


class FailureStats:
    """The part of `Store` with statistics of failures. For operators only: owners are not checked."""

    def __init__(self, documents: "Documents", operations: Operations) -> None:
        self._items = documents.items
        self._responses = documents.responses
        self._operations = operations

    @operation
    async def find(self, period: Period) -> list[CodeFailure]:
        """Counts the newest 50,000 failures of each kind by bin, oldest first, over all owners (the indexes do not
        contain owners).
        """
        found = await asyncio.gather(*(self._find(period, kind) for kind in KINDS))
        return sorted((failure for kind in found for failure in kind), key=lambda one: (one.start, one.kind, one.name))

    @operation
    async def failing(self, period: Period) -> list[FailureKind]:
        """Groups the newest 1,000 exceptions by similarity, the most frequent group first."""
        _, path = KINDS["exception"]
        fields = {"item.code": 1, f"{RESULT}.error": 1, "response_id": 1}
        found = await self._newest(period, path, fields)
        alike: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
        for one in found:
            error = one["item"]["codeact:result"]["error"]
            alike.setdefault((error["ename"], shape_of(error["evalue"])), []).append(one)
        conversations = await self._conversations(ones[0]["response_id"] for ones in alike.values())
        failing = [_failure_kind(ones, conversations) for ones in alike.values()]
        return sorted(failing, key=lambda each: (-each.times, each.name))

    @operation
    async def attempts(self, period: Period) -> dict[int | None, int]:
        """Counts how many more attempts failed code needed, within its answer, until it worked; None: it never worked.

        Covers the answers in which the newest 1,000 exceptions were raised.
        """
        _, path = KINDS["exception"]
        found = await self._newest(period, path, {"response_id": 1})
        answers = list({one["response_id"] for one in found})
        code = {"response_id": {"$in": answers}, "item.type": "code_interpreter_call"}
        fields = {"response_id": 1, f"{RESULT}.status": 1}
        blocks = self._collection.find(code, fields, hint="response_order").sort(
            [("response_id", 1), ("output_index", 1)]
        )
        ends: dict[str, list[str]] = {}
        async for block in blocks:
            result = block["item"].get("codeact:result") or {}
            ends.setdefault(block["response_id"], []).append(result.get("status", ""))
        counts: dict[int | None, int] = {}
        for statuses in ends.values():
            for attempts in attempts_until_fixed(statuses):
                counts[attempts] = counts.get(attempts, 0) + 1
        return counts

    # ---- inside --------------------------------------------------------------------------------------

    @property
    def _collection(self) -> Any:
        return self._items.get_pymongo_collection()

    async def _find(self, period: Period, kind: Literal["exception", "limit"]) -> list[CodeFailure]:
        index, path = KINDS[kind]
        cursor = self._collection.find(_within(period, path), {"_id": 1, path: 1}, hint=index).sort("_id", -1)
        found = await cursor.limit(COUNTED).to_list()
        counts = Counter((period.start_of(time_of_id(one["_id"])), _at(one, path)) for one in found)
        return [CodeFailure(start, kind, name, times) for (start, name), times in counts.items()]

    async def _newest(self, period: Period, path: str, fields: Mapping[str, int]) -> list[dict[str, Any]]:
        cursor = self._collection.find(_within(period, path), fields, hint="raised").sort("_id", -1)
        found: list[dict[str, Any]] = await cursor.limit(EXAMINED).to_list()
        return found

    async def _conversations(self, response_ids: Iterable[str]) -> dict[str, str]:
        place = {"_id": {"$in": list(response_ids)}, "deleted": {"$ne": True}}
        found = self._responses.get_pymongo_collection().find(place, {"response.conversation.id": 1})
        answers = {one["_id"]: one["response"].get("conversation") async for one in found}
        return {response_id: place["id"] for response_id, place in answers.items() if place}


def attempts_until_fixed(statuses: Sequence[str]) -> list[int | None]:
    """For each unbroken series of failures in an answer: after how many blocks code worked again; None: never."""
    fixed: list[int | None] = []
    failed_at: int | None = None
    for index, status in enumerate(statuses):
        if status == "ok" and failed_at is not None:
            fixed.append(index - failed_at)
            failed_at = None
        elif status != "ok" and failed_at is None:
            failed_at = index
    return [*fixed, None] if failed_at is not None else fixed


def shape_of(message: str) -> str:
    """The first line of the message, with numbers and quoted names replaced."""
    line = message.strip().partition("\n")[0][:200]
    return re.sub(r"\d+", "0", re.sub(r"'[^']*'|\"[^\"]*\"", "'…'", line))


def _failure_kind(alike: Sequence[Mapping[str, Any]], conversations: Mapping[str, str]) -> FailureKind:
    newest = alike[0]
    error = newest["item"]["codeact:result"]["error"]
    return FailureKind(
        name=error["ename"],
        message=error["evalue"],
        times=len(alike),
        last_at=time_of_id(newest["_id"]),
        code=newest["item"]["code"],
        conversation_id=conversations.get(newest["response_id"]),
    )


def _within(period: Period, path: str) -> dict[str, Any]:
    return {"_id": {"$gte": id_at("ci", period.since), "$lt": id_at("ci", period.until)}, path: {"$gt": ""}}


def _at(document: Mapping[str, Any], path: str) -> str:
    value: Any = document
    for name in path.split("."):
        value = value[name]
    return str(value)
