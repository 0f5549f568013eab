"""Creates control groups, which enforce the limits of a sandbox on all its processes. Linux only.

With version 1, the groups are children of the server's own group in the `memory`, `pids` and `cpu` hierarchies. With
version 2, they are children of the server's own group, if the server may manage it. Source: the Linux documents
"Control Group v2" and "cgroup-v1".
"""

import contextlib
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sandbox_pool.backends.shared.priority import CPU_PERIOD_US, CPU_SHARES, CPU_WEIGHT, cpu_quota_us
from sandbox_pool.spec import Limits

__all__ = ["Cgroup", "Cgroups"]

CONTROLLERS = ("memory", "pids", "cpu")
SERVER_GROUP = "codeact-server"
JOIN = 'while [ "$1" != -- ]; do echo 0 > "$1" || exit 1; shift; done; shift; exec "$@"'
REMOVE_S, REMOVE_RETRY_S = 5.0, 0.01
PREFIX = "codeact-"
FORGOTTEN_S = 600.0
"""An empty group older than this is unused, since processes join a new group at once."""


@dataclass(frozen=True, slots=True)
class Cgroup:
    """A `Group`. `directories` maps controllers to directories; with version 2, all are the same."""

    directories: dict[str, Path]

    def wrap(self, command: Sequence[str], environment: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
        members = [str(directory / "cgroup.procs") for directory in self._unique()]
        return ["/bin/sh", "-c", JOIN, "sh", *members, "--", *command], dict(environment)

    def join(self, command: Sequence[str], environment: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
        return self.wrap(command, environment)

    def oom_killed(self) -> bool:
        memory = self.directories.get("memory")
        if memory is None:
            return False
        for name in ("memory.events", "memory.oom_control"):
            with contextlib.suppress(OSError):
                counters = dict(line.split() for line in (memory / name).read_text().splitlines())
                return counters.get("oom_kill", "0") != "0"
        return False

    def remove(self) -> None:
        latest = time.monotonic() + REMOVE_S
        for directory in self._unique():
            while True:
                try:
                    directory.rmdir()
                    break
                except FileNotFoundError:
                    break
                except OSError:
                    if time.monotonic() > latest:
                        raise
                    _kill(directory)
                    time.sleep(REMOVE_RETRY_S)

    def record(self) -> dict[str, str]:
        return {controller: str(directory) for controller, directory in self.directories.items()}

    def _unique(self) -> list[Path]:
        return list(dict.fromkeys(self.directories.values()))


@dataclass(frozen=True, slots=True)
class Cgroups:
    """Creates groups. `parents` maps controllers to the directories in which groups can be created."""

    parents: dict[str, Path]

    @property
    def controllers(self) -> frozenset[str]:
        return frozenset(self.parents)

    @classmethod
    def find(cls, process: Path = Path("/proc/self")) -> "Cgroups | None":
        """Finds where this process may create groups; returns None if nowhere. Blocks.

        With version 2, it moves the server's own processes into a child group, since a group with processes cannot
        have children with limits. It does so only if the group belongs to the server alone.
        """
        own = _own_directories(process)
        if own.keys().isdisjoint(CONTROLLERS):
            parents = _divide(own[""]) if "" in own else {}
        else:
            parents = {name: own[name] for name in CONTROLLERS if name in own and os.access(own[name], os.W_OK)}
        return cls(parents) if parents else None

    def create(self, name: str, limits: Limits) -> Cgroup:
        """Creates an empty group with these limits. On failure, removes it and raises `OSError`."""
        group = Cgroup({controller: parent / f"{PREFIX}{name}" for controller, parent in self.parents.items()})
        try:
            for directory in group._unique():
                directory.mkdir()
            for controller, directory in group.directories.items():
                for file, value in _settings(controller, limits):
                    if (directory / file).exists():
                        (directory / file).write_text(value)
        except OSError:
            group.remove()
            raise
        return group

    def sweep(self) -> None:
        """Removes old empty groups, such as those of a crashed server whose state directory was deleted."""
        for parent in set(self.parents.values()):
            for directory in parent.glob(f"{PREFIX}*"):
                with contextlib.suppress(OSError):  # A group that has processes cannot be removed.
                    if _forgotten(directory):
                        directory.rmdir()


def _forgotten(directory: Path) -> bool:
    return directory.name != SERVER_GROUP and directory.stat().st_mtime < time.time() - FORGOTTEN_S


def _settings(controller: str, limits: Limits) -> Iterator[tuple[str, str]]:
    """Yields the files to write and their values, in order, for both versions. A group has the files of one."""
    if controller == "memory":
        memory = str(limits.memory_mb * 1024 * 1024)
        yield "memory.limit_in_bytes", memory
        yield "memory.memsw.limit_in_bytes", memory
        yield "memory.max", memory
        yield "memory.swap.max", "0"
    elif controller == "pids":
        yield "pids.max", str(limits.pids)
    else:
        quota_us = str(cpu_quota_us(limits.cpus))
        yield "cpu.cfs_period_us", str(CPU_PERIOD_US)
        yield "cpu.cfs_quota_us", quota_us
        yield "cpu.max", f"{quota_us} {CPU_PERIOD_US}"
        yield "cpu.shares", str(CPU_SHARES)
        yield "cpu.weight", str(CPU_WEIGHT)


def _own_directories(process: Path) -> dict[str, Path]:
    """Returns the directory of the server's own group by controller; that of version 2 has the key ""."""
    paths: dict[str, str] = {}
    try:
        for line in (process / "cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            paths.update(dict.fromkeys(controllers.split(","), path))
        mounts = (process / "mountinfo").read_text().splitlines()
    except OSError:
        return {}
    own: dict[str, Path] = {}
    for mount in mounts:
        fields, _, rest = mount.partition(" - ")
        root, point = fields.split()[3:5]
        kind, _, options = rest.split(" ", 2)
        names = {"cgroup": set(options.split(",")), "cgroup2": {""}}.get(kind, set())
        for name in names & paths.keys():
            # In a container, the mounted directory may be our own group, or any of its ancestors.
            inside = os.path.relpath(paths[name], root)
            directory = Path(point) if inside.startswith("..") else Path(point, inside)
            if directory.is_dir():
                own[name] = directory
    return own


def _divide(own: Path) -> dict[str, Path]:
    parent = own.parent if own.name == SERVER_GROUP else own
    if not _is_ours(parent):
        return {}
    controllers = [name for name in CONTROLLERS if name in _words(parent / "cgroup.controllers")]
    try:
        server = parent / SERVER_GROUP
        server.mkdir(exist_ok=True)
        for pid in _pids(parent):
            (server / "cgroup.procs").write_text(str(pid))
        (parent / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in controllers))
    except OSError:
        return {}
    return dict.fromkeys(controllers, parent)


def _is_ours(group: Path) -> bool:
    """Whether the service manager has delegated this group to us, or no service manager runs."""
    for attribute in ("user.delegate", "trusted.delegate"):
        with contextlib.suppress(OSError):
            if os.getxattr(group, attribute) == b"1":
                return True
    return not os.path.isdir("/run/systemd/system")


def _kill(directory: Path) -> None:
    try:
        (directory / "cgroup.kill").write_text("1")
    except OSError:  # Version 1, or Linux before 5.14.
        for pid in _pids(directory):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _words(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except OSError:
        return []


def _pids(directory: Path) -> list[int]:
    return [int(word) for word in _words(directory / "cgroup.procs")]
