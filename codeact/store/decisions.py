"""Decisions about what waits for approval: their form, and the errors for those that come too late."""

from dataclasses import dataclass
from datetime import UTC, datetime

from codeact.errors import ApprovalDecided, NotFound
from codeact.store.records import ApprovalRecord

__all__ = ["Decision", "no_approval", "too_late"]


@dataclass(frozen=True, slots=True)
class Decision:
    """`by` is who decides, `response_id` the response that contains the decision."""

    approve: bool
    by: str
    response_id: str
    edited: bool = False
    reason: str | None = None

    @property
    def status(self) -> str:
        return "approved" if self.approve else "rejected"


def no_approval(approval_id: str) -> NotFound:
    return NotFound(f"Nothing waits for approval under the id '{approval_id}'.", param="input")


def too_late(approval: ApprovalRecord) -> ApprovalDecided:
    """The error for a decision about something that no longer waits; it says who has decided, and when."""
    if approval.has_expired:
        return ApprovalDecided(
            f"'{approval.id}' expired at {_time(approval.expires_at)}; nothing was run.", param="input"
        )
    if approval.status == "withdrawn":
        return ApprovalDecided(f"'{approval.id}' no longer waits: the conversation went on without it.", param="input")
    when, who = _time(approval.decided_at or 0.0), approval.decided_by
    return ApprovalDecided(f"'{approval.id}' was already {approval.status}, by {who} at {when}.", param="input")


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
