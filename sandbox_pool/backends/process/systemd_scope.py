"""Creates transient systemd scopes, which hold all processes of a sandbox to its limits.

For ordinary users on a systemd machine, where only their service manager may make control groups. See
systemd-run(1), systemd.resource-control(5).
"""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sandbox_pool.spec import Limits

__all__ = ["Scope", "Scopes"]

CALL_S = 10.0
CONTROLLERS = ("memory", "pids", "cpu")
PROBE = 'cat "/sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup)/cgroup.controllers"'


@dataclass(frozen=True, slots=True)
class Scope:
    """A scope whose first process is yet to come. It goes by itself with the last one, unless it failed."""

    unit: str
    properties: tuple[str, ...] = ()

    def wrap(self, command: Sequence[str], environment: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
        """A command line and its environment that makes the scope and becomes this command in it."""
        properties = [f"--property={setting}" for setting in self.properties]
        run = [*_tool("systemd-run"), "--scope", "--quiet", f"--unit={self.unit}", *properties, "--"]
        variables = [f"{name}={value}" for name, value in environment.items()]
        return [*run, "env", "-i", *variables, *command], _environment()

    def join(self, command: Sequence[str], environment: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
        """Unchanged: a scope takes further processes only by a call over D-Bus."""
        return [*command], dict(environment)

    def oom_killed(self) -> bool:
        """Whether the kernel has killed a process of the scope for its memory. Blocks."""
        return "oom-kill" in _call("systemctl", "show", "--property=Result", self.unit).stdout

    def remove(self) -> None:
        """Ends what is in it. Blocks."""
        for arguments in (("kill", "--signal=SIGKILL"), ("stop",), ("reset-failed",)):
            _call("systemctl", *arguments, self.unit)

    def record(self) -> dict[str, str]:
        return {"unit": self.unit}


@dataclass(frozen=True, slots=True)
class Scopes:
    """The service manager of our user; for root, the system's."""

    controllers: frozenset[str]

    @classmethod
    def find(cls) -> "Scopes | None":
        """None where no service manager answers, or it may enforce nothing. Blocks."""
        if shutil.which("systemd-run") is None:
            return None
        # A controller appears only where something asks for it.
        scope = Scope(f"codeact-probe-{os.getpid()}.scope", _properties(Limits()))
        command, environment = scope.wrap(["sh", "-c", PROBE], {"PATH": os.defpath})
        try:
            probe = subprocess.run(  # noqa: S603
                command, env=environment, capture_output=True, text=True, timeout=CALL_S, check=True
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return cls(frozenset(CONTROLLERS).intersection(probe.stdout.split()))

    def create(self, name: str, limits: Limits) -> Scope:
        return Scope(f"codeact-{name}.scope", _properties(limits))

    def sweep(self) -> None:
        """There are none: a scope goes with its last process."""


def _properties(limits: Limits) -> tuple[str, ...]:
    return (
        f"MemoryMax={limits.memory_mb}M",
        "MemorySwapMax=0",
        f"TasksMax={limits.pids}",
        f"CPUQuota={limits.cpus * 100:.0f}%",
    )


def _call(tool: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(  # noqa: S603
        [*_tool(tool), *arguments], env=_environment(), capture_output=True, text=True, timeout=CALL_S, check=False
    )


def _tool(name: str) -> list[str]:
    return [name, "--system" if os.getuid() == 0 else "--user"]


def _environment() -> dict[str, str]:
    """What it takes to find the service manager of our user, which need not be ours."""
    return {"PATH": os.defpath, "XDG_RUNTIME_DIR": f"/run/user/{os.getuid()}"}
