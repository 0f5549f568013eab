"""Chooses how this machine can limit a sandbox's processes: by a control group, a systemd scope or not at all."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from sandbox_pool.backends.process.cgroup import Cgroup, Cgroups
from sandbox_pool.backends.process.systemd_scope import Scope, Scopes
from sandbox_pool.spec import Limits

__all__ = ["Group", "Groups", "find", "restore"]


class Group(Protocol):
    """The processes of one sandbox, whatever they do to hide. Blocks, but for `wrap`, `join` and `record`."""

    def wrap(self, command: Sequence[str], environment: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
        """A command line and its environment that joins the group and becomes this command, as one process."""
        ...

    def join(self, command: Sequence[str], environment: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
        """The same for a further process, once the group has one. Where that cannot be, it stays outside."""
        ...

    def oom_killed(self) -> bool:
        """Whether a process was killed because the group had used up its memory."""
        ...

    def remove(self) -> None:
        """Ends every process in it, and it. Idempotent. Raises `OSError` where a process does not end in 5 s."""
        ...

    def record(self) -> dict[str, str]:
        """What another server process needs to `restore` it."""
        ...


class Groups(Protocol):
    @property
    def controllers(self) -> frozenset[str]:
        """The controllers among `memory`, `pids` and `cpu` whose limits are enforced."""
        ...

    def create(self, name: str, limits: Limits) -> Group:
        """Raises `OSError`, leaving nothing. Blocks."""
        ...

    def sweep(self) -> None:
        """Removes groups of which nothing but themselves is left. Blocks."""
        ...


def find() -> Groups | None:
    """The best there is here. Blocks."""
    return Cgroups.find() or Scopes.find()


def restore(record: Mapping[str, str]) -> Group:
    """The group that was recorded so."""
    if "unit" in record:
        return Scope(record["unit"])
    return Cgroup({controller: Path(directory) for controller, directory in record.items()})
