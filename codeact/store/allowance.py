"""Tracks how many bytes each owner may still store while answers are written. Pure.

The database's sums are read when a question is admitted. Until an answer has ended and is counted there, this
process remembers what it is about to store, for all answers of an owner together.
"""

import math
from collections.abc import Collection, Mapping

__all__ = ["Allowance", "Allowances"]

MOST_ACCOUNTS = 10_000
"""Remembered; beyond it, those for whom nothing is under way are forgotten."""


class _Account:
    """`used_bytes` as the database has it; `ahead_bytes` are stored, or about to be, and not counted there yet."""

    def __init__(self) -> None:
        self.used_bytes = 0
        self.ahead_bytes = 0


class Allowance:
    """The allowance of one answer. Without accounts there is no limit."""

    def __init__(self, accounts: Collection[tuple[_Account, int]] = ()) -> None:
        self._accounts = accounts
        self._taken_bytes = 0

    def room_bytes(self) -> float:
        """How much more may be stored; infinite without a limit, 0 or less once a limit is reached."""
        rooms = (limit - account.used_bytes - account.ahead_bytes for account, limit in self._accounts)
        return min(rooms, default=math.inf)

    def take(self, size_bytes: int) -> None:
        """Notes what is about to be stored."""
        self._taken_bytes += size_bytes
        for account, _ in self._accounts:
            account.ahead_bytes += size_bytes

    def counted(self, size_bytes: int) -> None:
        """Notes that the database's sum has so much of it now."""
        given_back = min(size_bytes, self._taken_bytes)
        self._taken_bytes -= given_back
        for account, _ in self._accounts:
            account.used_bytes += size_bytes
            account.ahead_bytes -= given_back

    def close(self) -> None:
        """Gives back what was noted and not counted: the answer has ended."""
        for account, _ in self._accounts:
            account.ahead_bytes -= self._taken_bytes
        self._taken_bytes = 0


class Allowances:
    """The allowances of all answers of one process."""

    def __init__(self) -> None:
        self._accounts: dict[str, _Account] = {}

    def of(self, limits_bytes: Mapping[str, int], used_bytes: Mapping[str, int]) -> Allowance:
        """For one answer, by owner: what may be stored, and what the database says is."""
        if len(self._accounts) > MOST_ACCOUNTS:
            self._accounts = {owner: account for owner, account in self._accounts.items() if account.ahead_bytes}
        accounts = []
        for owner, limit_bytes in limits_bytes.items():
            account = self._accounts.setdefault(owner, _Account())
            account.used_bytes = used_bytes.get(owner, account.used_bytes)
            accounts.append((account, limit_bytes))
        return Allowance(accounts)
