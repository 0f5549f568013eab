"""Chooses how pods are got, by the settings and by what the cluster has."""

from collections.abc import Callable

from sandbox_pool.backends.kubernetes.claim_state import GROUP, VERSION
from sandbox_pool.backends.kubernetes.claimed_pods import ClaimedPods
from sandbox_pool.backends.kubernetes.cluster import Cluster, Right
from sandbox_pool.backends.kubernetes.plain_pods import PlainPods
from sandbox_pool.backends.kubernetes.provisioner import Provisioner
from sandbox_pool.errors import EngineUnavailable
from sandbox_pool.spec import PodOptions

__all__ = ["choose"]


async def choose(cluster: Cluster, options: PodOptions, instance: str, progress: Callable[[str], None]) -> Provisioner:
    """Returns the provisioner of these options. The caller checks its rights.

    `auto` means agent-sandbox if the cluster has the named warm pool and we may see it, else plain pods. Raises
    `EngineUnavailable` if the options demand agent-sandbox and it cannot be used.
    """
    if options.provisioner == "pods" or (options.provisioner == "auto" and options.warm_pool is None):
        return PlainPods(cluster, instance)
    name = options.warm_pool
    if name is None:
        raise EngineUnavailable(
            "CODEACT_KUBERNETES_PROVISIONER=agent-sandbox needs the name of a SandboxWarmPool of the namespace"
            f" {cluster.namespace} in CODEACT_KUBERNETES_WARM_POOL. The chart in helm/codeact creates one."
        )
    missing = await cluster.missing_rights([Right("get", "sandboxwarmpools", GROUP)])
    found = None if missing else await cluster.objects(GROUP, VERSION, "sandboxwarmpools").get(name)
    if found is not None:
        return ClaimedPods(cluster, instance, name)
    why = (
        f"the server's account may not {missing[0]}"
        if missing
        else f"the namespace {cluster.namespace} has no SandboxWarmPool {name}, or the cluster has no agent-sandbox"
        f" with {GROUP}/{VERSION}"
    )
    if options.provisioner == "auto":
        progress(f"Sandboxes are plain pods: {why}.")
        return PlainPods(cluster, instance)
    raise EngineUnavailable(
        f"agent-sandbox cannot be used: {why}. Install agent-sandbox and a warm pool (docs/kubernetes.md), or set"
        " CODEACT_KUBERNETES_PROVISIONER=pods."
    )
