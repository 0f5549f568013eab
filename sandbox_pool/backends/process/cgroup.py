"""Creates control groups, which hold all processes of a sandbox to its limits. Linux only.

Version 1: groups below our own one in the `memory`, `pids` and `cpu` hierarchies. Version 2: groups below our
own one, if it is ours to divide. Interfaces: the kernel's "Control Group v2" and "cgroup-v1" documents.
"""

import contextlib
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sandbox_pool.spec import Limits

__all__ = ["Cgroup", "Cgroups"]

CONTROLLERS = ("memory", "pids", "cpu")
PERIOD_US = 100_000
SERVER_GROUP = "codeact-server"
JOIN = 'while [ "$1" != -- ]; do echo 0 > "$1" || exit 1; shift; done; shift; exec "$@"'
REMOVE_S, REMOVE_RETRY_S = 5.0, 0.01
PREFIX = "codeact-"
FORGOTTEN_S = 600.0
"""An empty group that is older is nobody's: processes join theirs at once."""


@dataclass(frozen=True, slots=True)
class Cgroup:
    """A `Group`. `directories` by controller, all the same one in version 2."""

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
    """Where groups can be made on this machine: a parent directory by controller."""

    parents: dict[str, Path]

    @property
    def controllers(self) -> frozenset[str]:
        return frozenset(self.parents)

    @classmethod
    def find(cls, process: Path = Path("/proc/self")) -> "Cgroups | None":
        """None where we may make no groups. Blocks.

        In version 2 it moves our own processes into a group below, since a group that has processes cannot
        have limited children; it does so only where the group is ours alone.
        """
        own = _own_directories(process)
        if own.keys().isdisjoint(CONTROLLERS):
            parents = _divide(own[""]) if "" in own else {}
        else:
            parents = {name: own[name] for name in CONTROLLERS if name in own and os.access(own[name], os.W_OK)}
        return cls(parents) if parents else None

    def create(self, name: str, limits: Limits) -> Cgroup:
        """A new, empty group with these limits. Raises `OSError`, leaving nothing."""
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
        """Removes empty groups that were forgotten, as when a killed server's directory was deleted by somebody."""
        for parent in set(self.parents.values()):
            for directory in parent.glob(f"{PREFIX}*"):
                with contextlib.suppress(OSError):  # One with processes cannot be removed.
                    if _forgotten(directory):
                        directory.rmdir()


def _forgotten(directory: Path) -> bool:
    return directory.name != SERVER_GROUP and directory.stat().st_mtime < time.time() - FORGOTTEN_S


def _settings(controller: str, limits: Limits) -> Iterator[tuple[str, str]]:
    """File names and values of both versions, in the order of writing; a group has those of one of them."""
    if controller == "memory":
        memory = str(limits.memory_mb * 1024 * 1024)
        yield "memory.limit_in_bytes", memory
        yield "memory.memsw.limit_in_bytes", memory
        yield "memory.max", memory
        yield "memory.swap.max", "0"
    elif controller == "pids":
        yield "pids.max", str(limits.pids)
    else:
        quota_us = str(int(limits.cpus * PERIOD_US))
        yield "cpu.cfs_period_us", str(PERIOD_US)
        yield "cpu.cfs_quota_us", quota_us
        yield "cpu.max", f"{quota_us} {PERIOD_US}"


def _own_directories(process: Path) -> dict[str, Path]:
    """The directory of our own group by controller; version 2's is under the empty name."""
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
            # In a container the mount may begin at our own group, or anywhere between it and the root.
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
    """Whether the service manager has handed this group over, or no service manager runs."""
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
