"""Tracks how many bytes each owner may still store while answers are being written. Pure.

The sums in the database are read when a question is admitted. An answer is added to these sums only when it has ended;
until then this process remembers the bytes that its running answers store, summed per owner.
"""

import math
from collections.abc import Collection, Mapping

__all__ = ["Allowance", "Allowances"]

MOST_ACCOUNTS = 10_000
"""Above this number of remembered accounts, those without a running answer are dropped."""


class _Account:
    """`used_bytes` is the sum in the database. `ahead_bytes` is stored or about to be, but is not in that sum yet."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.used_bytes = 0
        self.ahead_bytes = 0


class Allowance:
    """The bytes that one answer may still store. An allowance without accounts has no limit."""

    def __init__(self, accounts: Collection[tuple[_Account, int]] = ()) -> None:
        self._accounts = accounts
        self._taken_bytes = 0

    def room_bytes(self) -> float:
        """How many more bytes may be stored: infinite without a limit, 0 or negative once a limit is reached."""
        rooms = (limit - account.used_bytes - account.ahead_bytes for account, limit in self._accounts)
        return min(rooms, default=math.inf)

    def take(self, size_bytes: int) -> None:
        """Reserves bytes that are about to be stored."""
        self._taken_bytes += size_bytes
        for account, _ in self._accounts:
            account.ahead_bytes += size_bytes

    def counted(self, size_bytes: int, sums_bytes: Mapping[str, int] | None = None) -> None:
        """Moves bytes from reserved to used: the sum in the database now includes them.

        `sums_bytes` are the accounts' sums in the database, which include what other servers have stored.
        """
        released = min(size_bytes, self._taken_bytes)
        self._taken_bytes -= released
        for account, _ in self._accounts:
            account.used_bytes = (sums_bytes or {}).get(account.name, account.used_bytes + size_bytes)
            account.ahead_bytes -= released

    def close(self) -> None:
        """Releases what was reserved and never counted. Call it when the answer has ended."""
        for account, _ in self._accounts:
            account.ahead_bytes -= self._taken_bytes
        self._taken_bytes = 0


class Allowances:
    """The allowances of all answers of one process."""

    def __init__(self) -> None:
        self._accounts: dict[str, _Account] = {}

    def of(self, limits_bytes: Mapping[str, int], used_bytes: Mapping[str, int]) -> Allowance:
        """Makes the allowance of one answer from each owner's limit and from each owner's sum in the database."""
        if len(self._accounts) > MOST_ACCOUNTS:
            self._accounts = {owner: account for owner, account in self._accounts.items() if account.ahead_bytes}
        accounts = []
        for owner, limit_bytes in limits_bytes.items():
            account = self._accounts.setdefault(owner, _Account(owner))
            account.used_bytes = used_bytes.get(owner, account.used_bytes)
            accounts.append((account, limit_bytes))
        return Allowance(accounts)
