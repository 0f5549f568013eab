"""What waits for approval or for a value, in the memory of this process; see `codeact.store.repositories.approvals`."""

import time
from collections.abc import Collection
from dataclasses import replace
from typing import Any

from codeact.store.decisions import Decision, no_approval, too_late
from codeact.store.records import ApprovalRecord

__all__ = ["MemoryApprovals"]


class MemoryApprovals:
    """Has the methods of `Approvals` that runs use."""

    def __init__(self) -> None:
        self._all: dict[str, ApprovalRecord] = {}

    async def add(self, *approvals: ApprovalRecord) -> None:
        self._all |= {approval.id: approval for approval in approvals}

    async def get(self, approval_id: str, *, owner: str) -> ApprovalRecord:
        found = self._all.get(approval_id)
        if found is None or found.owner != owner:
            raise no_approval(approval_id)
        return found

    async def decide(self, approval_id: str, decision: Decision, *, owner: str) -> ApprovalRecord:
        found = await self.get(approval_id, owner=owner)
        if found.status != "waiting" or found.has_expired:
            raise too_late(found)
        status: Any = decision.status
        found = self._all[approval_id] = replace(
            found,
            status=status,
            edited=decision.edited,
            reason=decision.reason,
            decided_at=time.time(),
            decided_by=decision.by,
            decision_id=decision.response_id,
        )
        return found

    async def take_back(self, decision_id: str, *, owner: str) -> None:
        for found in [each for each in self._all.values() if each.decision_id == decision_id and each.owner == owner]:
            self._all[found.id] = replace(
                found, status="waiting", edited=False, reason=None, decided_at=None, decided_by=None, decision_id=None
            )

    async def withdraw(self, approval_ids: Collection[str], *, owner: str) -> None:
        for found in self._waiting(approval_ids, owner):
            self._all[found.id] = replace(found, status="withdrawn", decided_at=time.time())

    async def move(self, approval_ids: Collection[str], response_id: str, *, owner: str) -> None:
        for found in self._waiting(approval_ids, owner):
            self._all[found.id] = replace(found, response_id=response_id)

    async def answer(
        self, call_ids: Collection[str], given: Collection[str], *, owner: str, conversation_id: str, response_id: str
    ) -> None:
        functions = [each for each in self._all.values() if each.kind == "function" and each.call_id in call_ids]
        for found in self._waiting([each.id for each in functions], owner):
            if found.conversation_id == conversation_id and found.call_id in given:
                self._all[found.id] = replace(found, status="answered", decided_at=time.time(), decision_id=response_id)
            elif found.conversation_id == conversation_id:
                self._all[found.id] = replace(found, status="withdrawn", decided_at=time.time())

    def _waiting(self, approval_ids: Collection[str], owner: str) -> list[ApprovalRecord]:
        found = [self._all[each] for each in approval_ids if each in self._all]
        return [each for each in found if each.owner == owner and each.status == "waiting"]
