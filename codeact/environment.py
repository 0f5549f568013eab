"""Describes the sandbox to the model: network, packages, files and limits."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Literal, Self

from sandbox_pool.backends.base import Isolation
from sandbox_pool.spec import Limits, SandboxSpec

__all__ = ["Environment"]

SHOWN_HOSTS = 30
"""More allowed hosts than this are counted instead of listed, so that the prompt stays short."""


@dataclass(frozen=True, slots=True)
class Environment:
    """The facts about one kind of sandbox.

    `network` is what the code can really reach: a plain local process uses the host's network, whatever the setting
    says. `secrets` are names of environment variables with placeholders of secrets, each with the host for which it is.
    `packages` are the names of installed distributions worth mentioning; empty if they are unknown. `isolated` is
    False for a plain local process.
    """

    limits: Limits = field(default_factory=Limits)
    network: Literal["none", "internal", "open"] = "none"
    allowed_hosts: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    isolated: bool = True
    secrets: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, spec: SandboxSpec, isolation: Isolation | None = None, packages: Sequence[str] = ()) -> Self:
        """The environment that `spec` describes. `isolation` is that of the backend; None while no backend is ready."""
        isolated = isolation is None or isolation.isolated
        network = spec.network if isolated else "open"
        if spec.egress is None:
            return cls(spec.limits, network, spec.allowed_hosts, tuple(packages), isolated)
        secrets = tuple((secret.name, secret.domain) for secret in spec.egress.secrets)
        return cls(spec.limits, "internal", spec.egress.domains, tuple(packages), isolated, secrets)

    def rules(self, today: date) -> list[str]:
        """The rules of the system prompt: one or two sentences about each fact."""
        return [self._network(), self._packages(), self._files(), self._resources(), f"Today is {today:%A, %Y-%m-%d}."]

    def _network(self) -> str:
        match self.network:
            case "none":
                return (
                    "There is no network: downloads and `!pip install` fail. Use what is installed, or write it"
                    " yourself."
                )
            case "internal":
                return (
                    f"The network reaches {self.hosts()} over HTTP and HTTPS, and nothing else: any other address"
                    " fails, and so does `!pip install` unless its index is among them."
                    + "".join(
                        f" The environment variable {name} has a placeholder: in headers of HTTPS requests to"
                        f" {domain.removeprefix('.')} it is replaced by a secret that you cannot see."
                        for name, domain in self.secrets
                    )
                )
            case "open":
                return "There is a network: downloads and `!pip install` can work."

    def hosts(self) -> str:
        shown = [f"{host[1:]} with its subdomains" if host[0] == "." else host for host in self.allowed_hosts]
        if len(shown) > SHOWN_HOSTS:
            shown[SHOWN_HOSTS:] = [f"{len(shown) - SHOWN_HOSTS} more hosts"]
        return ", ".join(shown)

    def _packages(self) -> str:
        if self.packages:
            return f"Installed beside the standard library: {', '.join(self.packages)}."
        return "Which packages are installed is not known: import what you need and see."

    def _files(self) -> str:
        if not self.isolated:
            return "Files are written to a directory of this conversation's own, the working directory."
        return (
            f"Write files to the working directory ({self.limits.workspace_mb} MB) or /tmp ({self.limits.tmp_mb} MB);"
            " everything else is read-only."
        )

    def _resources(self) -> str:
        limits = self.limits
        return (
            f"A block may run {limits.execution_timeout_s:g} s and use {limits.memory_mb} MB of memory, files in /tmp"
            f" and the working directory included, and {limits.cpus:g} CPU. Split longer work into blocks and print"
            " progress."
        )
