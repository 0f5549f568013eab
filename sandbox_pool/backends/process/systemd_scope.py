"""Creates transient systemd scopes, which enforce the limits of a sandbox on all its processes.

They are for ordinary users on a systemd machine, where only the user's service manager may create control groups. See
systemd-run(1), systemd.resource-control(5).
"""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sandbox_pool.backends.shared.priority import CPU_PERIOD_US, CPU_WEIGHT
from sandbox_pool.spec import Limits

__all__ = ["Scope", "Scopes"]

CALL_S = 10.0
CONTROLLERS = ("memory", "pids", "cpu")
PROBE = 'cat "/sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup)/cgroup.controllers"'


@dataclass(frozen=True, slots=True)
class Scope:
    """A scope. Its first process creates it, and systemd removes it after its last one, unless it failed."""

    unit: str
    properties: tuple[str, ...] = ()

    def wrap(self, command: Sequence[str], environment: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
        """Returns a command line and environment that create the scope and execute the given command in it."""
        properties = [f"--property={setting}" for setting in self.properties]
        run = [*_tool("systemd-run"), "--scope", "--quiet", f"--unit={self.unit}", *properties, "--"]
        variables = [f"{name}={value}" for name, value in environment.items()]
        return [*run, "env", "-i", *variables, *command], _environment()

    def join(self, command: Sequence[str], environment: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
        """Returns the command unchanged: adding a process to an existing scope would need D-Bus."""
        return [*command], dict(environment)

    def oom_killed(self) -> bool:
        """Whether the system killed a process of the scope because it exceeded its memory limit. Blocks."""
        return "oom-kill" in _call("systemctl", "show", "--property=Result", self.unit).stdout

    def remove(self) -> None:
        """Kills all processes of the scope. Blocks."""
        for arguments in (("kill", "--signal=SIGKILL"), ("stop",), ("reset-failed",)):
            _call("systemctl", *arguments, self.unit)

    def record(self) -> dict[str, str]:
        return {"unit": self.unit}


@dataclass(frozen=True, slots=True)
class Scopes:
    """Creates scopes in the service manager of the server's user; for root, in the system's."""

    controllers: frozenset[str]

    @classmethod
    def find(cls) -> "Scopes | None":
        """Returns None if no service manager answers. Blocks."""
        if shutil.which("systemd-run") is None:
            return None
        # systemd enables a controller only for units that have a limit of it.
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
        """Does nothing: systemd removes a scope after its last process."""


def _properties(limits: Limits) -> tuple[str, ...]:
    return (
        f"MemoryMax={limits.memory_mb}M",
        "MemorySwapMax=0",
        f"TasksMax={limits.pids}",
        f"CPUQuota={limits.cpus * 100:.0f}%",
        f"CPUQuotaPeriodSec={CPU_PERIOD_US}us",
        f"CPUWeight={CPU_WEIGHT}",
    )


def _call(tool: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(  # noqa: S603
        [*_tool(tool), *arguments], env=_environment(), capture_output=True, text=True, timeout=CALL_S, check=False
    )


def _tool(name: str) -> list[str]:
    return [name, "--system" if os.getuid() == 0 else "--user"]


def _environment() -> dict[str, str]:
    """Returns the variables with which systemd's tools find the user's service manager."""
    return {"PATH": os.defpath, "XDG_RUNTIME_DIR": f"/run/user/{os.getuid()}"}
