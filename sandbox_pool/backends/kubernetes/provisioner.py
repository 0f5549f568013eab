"""The protocol of the two ways to get pods: to create them, or to claim them from the cluster's own warm pool."""

from collections.abc import Callable
from typing import Any, Protocol

from sandbox_pool.backends.base import Death, Notice
from sandbox_pool.backends.kubernetes.cluster import Right
from sandbox_pool.backends.kubernetes.manifest import INSTANCE, OURS, SANDBOX
from sandbox_pool.spec import Limits, SandboxSpec

__all__ = ["Provisioner", "sandboxes_of", "selector"]


class Provisioner(Protocol):
    """Gets and releases the pods of one server. `rights` are those that the server's account needs in the namespace.

    `keeps_warm` says whether the cluster keeps warm pods itself. `summary` and `missing` are for `Isolation`.
    """

    rights: tuple[Right, ...]
    keeps_warm: bool
    summary: str
    missing: tuple[str, ...]

    async def obtain(self, sandbox_id: str, spec: SandboxSpec) -> tuple[str, str]:
        """Returns the name and the address of a running pod. Raises `SandboxError`; `release` then cleans up."""
        ...

    async def reason(self, sandbox_id: str, limits: Limits, *, timeout_s: float) -> Death | None:
        """Returns why the pod has ended, as far as the cluster knows it after `timeout_s` at most."""
        ...

    async def release(self, sandbox_id: str, *, ended: bool) -> None:
        """Removes the pod; `ended` says that all its processes have ended. Idempotent. Raises `SandboxError`."""
        ...

    async def abandoned(self) -> list[str]:
        """Returns the ids of sandboxes whose server is gone."""
        ...

    def tell(self, notice: Callable[[Notice], None]) -> None:
        """Sets the function that is called when a sandbox's pod has ended."""
        ...

    async def follow(self) -> None:
        """Follows the cluster's events until it is cancelled. `obtain` and `reason` wait for them."""
        ...


def selector(*, of: str | None = None, not_of: str | None = None, sandbox_id: str | None = None) -> str:
    """Returns a label selector for objects of sandboxes: of this server, of others, or of one sandbox."""
    terms = [f"{OURS}=codeact", f"{SANDBOX}={sandbox_id}" if sandbox_id is not None else SANDBOX]
    if of is not None:
        terms.append(f"{INSTANCE}={of}")
    if not_of is not None:
        terms.append(f"{INSTANCE}!={not_of}")
    return ",".join(terms)


def sandboxes_of(found: list[dict[str, Any]], is_abandoned: Callable[[dict[str, Any]], bool]) -> list[str]:
    """Returns the ids of the sandboxes whose objects are abandoned, sorted."""
    return sorted(each["metadata"]["labels"][SANDBOX] for each in found if is_abandoned(each))
