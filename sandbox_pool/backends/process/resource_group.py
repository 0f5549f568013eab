"""Chooses how to limit a sandbox's processes on this machine: by a control group, by a systemd scope, or not at all."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from sandbox_pool.backends.process.cgroup import Cgroup, Cgroups
from sandbox_pool.backends.process.systemd_scope import Scope, Scopes
from sandbox_pool.spec import Limits

__all__ = ["Group", "Groups", "find", "restore"]


class Group(Protocol):
    """All processes of one sandbox; they cannot leave the group. `oom_killed` and `remove` block."""

    def wrap(self, command: Sequence[str], environment: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
        """Returns a command line and environment that join the group and then execute the given command."""
        ...

    def join(self, command: Sequence[str], environment: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
        """The same for a further process of a running group. If it cannot join, the command stays outside of it."""
        ...

    def oom_killed(self) -> bool:
        """Whether the system killed a process because the group exceeded its memory limit."""
        ...

    def remove(self) -> None:
        """Kills all processes and removes the group. Idempotent. Raises `OSError` if one does not end in 5 s."""
        ...

    def record(self) -> dict[str, str]:
        """Returns the data with which another server process can `restore` the group."""
        ...


class Groups(Protocol):
    @property
    def controllers(self) -> frozenset[str]:
        """Those of the controllers `memory`, `pids` and `cpu` whose limits are enforced."""
        ...

    def create(self, name: str, limits: Limits) -> Group:
        """Creates a group. Blocks. On failure, removes it and raises `OSError`."""
        ...

    def sweep(self) -> None:
        """Removes unused empty groups of crashed servers. Blocks."""
        ...


def find() -> Groups | None:
    """Returns the best kind of group that works on this machine, or None. Blocks."""
    return Cgroups.find() or Scopes.find()


def restore(record: Mapping[str, str]) -> Group:
    """Returns the group with this record."""
    if "unit" in record:
        return Scope(record["unit"])
    return Cgroup({controller: Path(directory) for controller, directory in record.items()})
