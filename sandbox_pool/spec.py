"""Describes what a sandbox is made of: immutable settings that every backend reads."""

import re
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["HOST", "Limits", "SandboxSpec"]

HOST = re.compile(r"\.?[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*")
"""A name in `allowed_hosts`. With a dot before it, it stands for what is below it too."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one sandbox may use. Each field's name is the name under which hitting it is reported.

    `lifetime_s` counts from when somebody got the sandbox, whatever it does. `workspace_inodes` counts files and
    directories, in /tmp and /dev/shm too. `file_mb` is of one file that goes in or out. `calls` and `call_bytes` are of
    one block of code: its calls of functions outside of the sandbox, and their arguments and values.
    `attention_s` is how much of the server's own time messages may cost that nobody wants: output over its limit,
    and what is malformed or forged.
    """

    execution_timeout_s: float = 60.0
    memory_mb: int = 1024
    cpus: float = 1.0
    pids: int = 256
    workspace_mb: int = 512
    workspace_inodes: int = 65_536
    tmp_mb: int = 256
    shm_mb: int = 64
    output_bytes: int = 10_000_000
    lifetime_s: float = 86_400.0
    file_mb: int = 512
    listed_files: int = 10_000
    calls: int = 1_000
    call_bytes: int = 32_000_000
    attention_s: float = 10.0

    def explain(self, name: str) -> str:
        """A sentence on having hit this limit; nothing where the limit's own message says all."""
        sentences = {
            "workspace_mb": f"The workspace is full: it holds {self.workspace_mb} MB.",
            "workspace_inodes": f"There is room for {self.workspace_inodes:,} files and directories, and no more.",
            "tmp_mb": f"/tmp is full: it holds {self.tmp_mb} MB.",  # noqa: S108
            "shm_mb": f"/dev/shm is full: it holds {self.shm_mb} MB.",  # noqa: S108
            "memory_mb": f"The code asked for more than can be had of its {self.memory_mb} MB of memory.",
            "pids": f"There are {self.pids} processes and threads, and no more can be started.",
        }
        return sentences.get(name, "")


@dataclass(frozen=True, slots=True)
class SandboxSpec:
    """One kind of sandbox; two equal specs give interchangeable sandboxes.

    `image` is for backends that have images; None means the one built from `docker/sandbox.Dockerfile`.
    `python` is for the process backend; None means the interpreter that runs us.
    `network`: nothing; the `allowed_hosts`, through a proxy; or everything. See docs/sandboxes.md.
    `runtime` names one of the Docker engine's, such as gVisor's `runsc`; None means its default.
    `transport` is how a Docker sandbox's kernel is reached: by sockets in a shared directory, or through the
    engine's own connection; `auto` takes the first where it can.
    `preload` names modules imported before a sandbox counts as warm; one that is missing is passed over.
    """

    image: str | None = None
    python: str | None = None
    limits: Limits = field(default_factory=Limits)
    network: Literal["none", "internal", "open"] = "none"
    allowed_hosts: tuple[str, ...] = ()
    runtime: str | None = None
    transport: Literal["auto", "directory", "engine"] = "auto"
    preload: tuple[str, ...] = ("numpy", "pandas")

    def __post_init__(self) -> None:
        for host in self.allowed_hosts:
            if not HOST.fullmatch(host):
                raise ValueError(f"{host!r} is not the name of a host, nor '.' and the name of a domain")
        if self.network == "internal" and not self.allowed_hosts:
            raise ValueError("an internal network takes the names of the hosts that are allowed")
