"""What a request asks of its container beside what all containers have."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from codeact.store.run_store import RunStore
from sandbox_pool.checkpoint import Unsaved
from sandbox_pool.spec import Egress, SandboxSpec

__all__ = ["ALL_HAVE", "ContainerLimits", "ContainerOptions", "covers"]

MEGABYTES_OF_A_GIGABYTE = 1024


@dataclass(frozen=True, slots=True)
class ContainerOptions:
    """Each None: what all containers have. `no_network` takes a network away that all have.

    `image` is the digest of an image that the backend is ready for (`SandboxPool.prepare`).
    """

    memory_mb: int | None = None
    no_network: bool = False
    egress: Egress | None = None
    idle_timeout_s: float | None = None
    image: str | None = None

    def __bool__(self) -> bool:
        return self != ContainerOptions()

    def over(self, earlier: "ContainerOptions") -> "ContainerOptions":
        """These options, and those of `earlier` where these say nothing."""
        says_network = self.no_network or self.egress is not None
        return ContainerOptions(
            memory_mb=earlier.memory_mb if self.memory_mb is None else self.memory_mb,
            no_network=self.no_network if says_network else earlier.no_network,
            egress=self.egress if says_network else earlier.egress,
            idle_timeout_s=earlier.idle_timeout_s if self.idle_timeout_s is None else self.idle_timeout_s,
            image=self.image or earlier.image,
        )

    def applied(self, spec: SandboxSpec) -> SandboxSpec:
        """The spec of a sandbox with these options; `spec` itself if they change nothing."""
        if self.memory_mb is not None and self.memory_mb != spec.limits.memory_mb:
            spec = replace(spec, limits=replace(spec.limits, memory_mb=self.memory_mb))
        if (self.no_network and spec.network != "none") or self.egress is not None:
            spec = replace(spec, network="none", allowed_hosts=(), egress=self.egress)
        if self.image is not None:
            spec = replace(spec, image=self.image)
        return spec

    @classmethod
    def of_shown(cls, shown: Mapping[str, Any]) -> "ContainerOptions":
        """The options of which `shown` was made, without the secrets, which are not stored."""
        size, expires = shown.get("memory_limit"), shown.get("expires_after")
        policy: Mapping[str, Any] = shown.get("network_policy") or {}
        kind = policy.get("type")
        return cls(
            memory_mb=int(size.removesuffix("g")) * MEGABYTES_OF_A_GIGABYTE if size is not None else None,
            no_network=kind == "disabled",
            egress=Egress(tuple(policy["allowed_domains"])) if kind == "allowlist" else None,
            idle_timeout_s=expires["minutes"] * 60.0 if expires is not None else None,
        )

    async def with_placeholders(self, store: RunStore, *, owner: str) -> "ContainerOptions":
        """These options, with the placeholders that this owner's secrets of these names and domains always have.

        So what code has made of a placeholder is valid in later sandboxes, too. Raises `StoreError`.
        """
        if self.egress is None or not self.egress.secrets:
            return self
        sealer = await store.sealing.sealer()
        secrets = tuple(
            replace(each, placeholder=sealer.fingerprint("domain_secret", each.domain, each.name, owner=owner))
            for each in self.egress.secrets
        )
        return replace(self, egress=replace(self.egress, secrets=secrets))

    def shown(self) -> dict[str, Any]:
        """The options as the API shows them, without secrets."""
        shown: dict[str, Any] = {}
        if self.memory_mb is not None:
            shown["memory_limit"] = f"{self.memory_mb // MEGABYTES_OF_A_GIGABYTE}g"
        if self.no_network:
            shown["network_policy"] = {"type": "disabled"}
        elif self.egress is not None:
            shown["network_policy"] = {"type": "allowlist", "allowed_domains": list(self.egress.domains)}
        if self.idle_timeout_s is not None:
            minutes = max(1, int(self.idle_timeout_s // 60))
            shown["expires_after"] = {"anchor": "last_active_at", "minutes": minutes}
        return shown


ALL_HAVE = ContainerOptions()


def covers(allowed: Iterable[str], domain: str) -> bool:
    """Whether the hosts of `domain` are all among those of `allowed`; "*" is every host."""
    return any(
        one in ("*", domain) or (one.startswith(".") and (domain.endswith(one) or domain == one[1:])) for one in allowed
    )


@dataclass(frozen=True, slots=True)
class ContainerLimits:
    """The most that the operator allows containers now."""

    memory_mb: float = math.inf
    domains: tuple[str, ...] = ("*",)
    idle_timeout_s: float = math.inf

    def allowed(self, earlier: ContainerOptions) -> tuple[ContainerOptions, list[Unsaved]]:
        """What of an earlier container's options is still allowed; and what is not, with the reason."""
        options, refused = earlier, []

        def refuse(name: str, reason: str) -> None:
            refused.append(Unsaved(name, "option", reason))

        if options.memory_mb is not None and options.memory_mb > self.memory_mb:
            refuse("memory_limit", f"containers have at most {self.memory_mb:g} MB now, not {options.memory_mb}")
            options = replace(options, memory_mb=None)
        if options.egress is not None:
            domains = tuple(domain for domain in options.egress.domains if covers(self.domains, domain))
            for domain in options.egress.domains:
                if domain not in domains:
                    refuse(f"allowed_domains {domain}", "the operator does not allow this host any more")
            egress = replace(options.egress, domains=domains) if domains else None
            options = replace(options, egress=egress, no_network=not domains)
        if options.idle_timeout_s is not None and options.idle_timeout_s > max(60.0, self.idle_timeout_s):
            refuse("expires_after", f"containers expire after {self.idle_timeout_s / 60:g} minutes at most now")
            options = replace(options, idle_timeout_s=None)
        return options, refused
