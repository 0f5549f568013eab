"""What a request asks of its container beside what all containers have."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from codeact.store.run_store import RunStore
from sandbox_pool.spec import Egress, SandboxSpec

__all__ = ["ALL_HAVE", "ContainerOptions"]

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
