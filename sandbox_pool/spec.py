"""The settings of a sandbox and its limits. Every backend reads them."""

import json
import re
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["HOST", "DomainSecret", "Egress", "Limits", "PodOptions", "SandboxSpec"]

HOST = re.compile(r"\.?[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*")
"""A name in `allowed_hosts`. A name that begins with a dot includes its subdomains."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one sandbox. When one is hit, `ExecutionResult.limit` or an error names its field.

    `lifetime_s` counts from when a user got the sandbox, whether or not code runs. `workspace_inodes` counts files and
    directories, including those in /tmp and /dev/shm. `file_mb` bounds each file that is uploaded or downloaded.
    `calls` and `call_bytes` bound the calls that one block of code makes to functions outside of the sandbox, and
    the size of their arguments and values. `attention_s` bounds the CPU time that the server spends on unwanted
    messages of the sandbox: output over its limit, and malformed or forged messages.
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
        """Returns a sentence for the user who hit this limit, or "" where the error message is clear enough."""
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
class PodOptions:
    """What only Kubernetes sandboxes have. See docs/kubernetes.md.

    `namespace` None: that of the KUBECONFIG's context, or of the server's own pod. `owner` is the name and the uid of
    the pod with which sandboxes go. `node_selector` holds pairs of a label and its value; `tolerations` is a JSON list,
    as in a pod. `pending_timeout_s` is how long a sandbox may wait for room on a node.
    `provisioner` creates `pods`, or claims those of an `agent-sandbox` SandboxWarmPool of the namespace, whose name is
    `warm_pool`; `auto` claims if the cluster has that warm pool.
    """

    namespace: str | None = None
    owner: tuple[str, str] | None = None
    node_selector: tuple[tuple[str, str], ...] = ()
    tolerations: str = "[]"
    pull_secrets: tuple[str, ...] = ()
    priority_class: str | None = None
    pending_timeout_s: float = 30.0
    provisioner: Literal["auto", "pods", "agent-sandbox"] = "auto"
    warm_pool: str | None = None

    def __post_init__(self) -> None:
        _ = self.parsed_tolerations

    @property
    def parsed_tolerations(self) -> tuple[dict[str, Any], ...]:
        try:
            found = json.loads(self.tolerations)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
            raise ValueError(
                'tolerations are a JSON list of objects, such as [{"key": "sandbox", "operator": "Exists"}]'
            )
        return tuple(found)


@dataclass(frozen=True, slots=True)
class DomainSecret:
    """A secret that code uses without knowing it.

    The code finds a placeholder in the environment variable `name`. The egress proxy replaces the placeholder by
    `value` in the headers of requests over HTTPS to `domain`, and nowhere else. `placeholder` is that of an earlier
    sandbox, whose variables may come back with it; None: a new one.
    """

    domain: str
    name: str
    value: str = field(repr=False)
    placeholder: str | None = None


@dataclass(frozen=True, slots=True)
class Egress:
    """The hosts that one sandbox may reach, over HTTP and HTTPS and through a proxy of its own.

    `domains` are names of hosts; a name that begins with a dot includes its subdomains.
    """

    domains: tuple[str, ...]
    secrets: tuple[DomainSecret, ...] = ()

    def __post_init__(self) -> None:
        for host in (*self.domains, *(secret.domain for secret in self.secrets)):
            if not HOST.fullmatch(host):
                raise ValueError(f"{host!r} is not the name of a host, nor '.' and the name of a domain")


@dataclass(frozen=True, slots=True)
class SandboxSpec:
    """The settings of a sandbox. Sandboxes of equal specs are interchangeable.

    `image` is for backends that use images; None means the one built from `docker/sandbox.Dockerfile`.
    `python` is for the process backend; None means the interpreter that runs this process.
    `network` allows no connections (`none`), connections to the `allowed_hosts` through a proxy (`internal`), or all
    connections (`open`). See docs/sandboxes.md.
    `egress` lets a sandbox without network reach some hosts through a proxy of its own, and with `egress_private` also
    where their addresses are not on the public internet.
    `runtime` names a runtime of the Docker engine, such as gVisor's `runsc`; None means the engine's default.
    For Kubernetes sandboxes `runtime` is the name of a RuntimeClass, and `pods` holds further options.
    `transport` is how the server reaches a Docker sandbox's kernel: by sockets in a shared directory (`directory`), or
    through the engine's own connection (`engine`); `auto` uses the directory where that is possible.
    `preload` names the modules to import before a sandbox counts as warm; missing modules are ignored.
    """

    image: str | None = None
    python: str | None = None
    limits: Limits = field(default_factory=Limits)
    network: Literal["none", "internal", "open"] = "none"
    allowed_hosts: tuple[str, ...] = ()
    egress: Egress | None = None
    egress_private: bool = False
    runtime: str | None = None
    transport: Literal["auto", "directory", "engine"] = "auto"
    preload: tuple[str, ...] = ("numpy", "pandas")
    pods: PodOptions = field(default_factory=PodOptions)

    def __post_init__(self) -> None:
        for host in self.allowed_hosts:
            if not HOST.fullmatch(host):
                raise ValueError(f"{host!r} is not the name of a host, nor '.' and the name of a domain")
        if self.network == "internal" and not self.allowed_hosts:
            raise ValueError("an internal network takes the names of the hosts that are allowed")
        if self.egress is not None and self.network != "none":
            raise ValueError("a sandbox with hosts of its own has no other network")
