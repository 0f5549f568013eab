"""Reads the API's refusals: what an answer of this status, with these words, means for sandboxes. Pure."""

import re

from sandbox_pool.errors import AtCapacity, EngineUnavailable, SandboxError

__all__ = ["bounded", "meaning"]

RETRY_AFTER_S = 5.0
TEXT_CHARS = 1_000
QUOTA = re.compile(r"exceeded quota: ([^,]+), requested: (.*), used: (.*), limited: (.*)")
AMOUNT = re.compile(r"([\w./-]+)=(\d+(?:\.\d+)?)([a-zA-Z]*)")
UNITS = {"": 1.0, "m": 0.001, "k": 1e3, "M": 1e6, "G": 1e9, "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40}
RIGHTS = (
    "Give the server's account the rights of helm/codeact/templates/rbac.yaml: create, list, watch and delete pods, and"
    " create and get pods/exec"
)


def meaning(status: int, message: str, refused: type[SandboxError], retry_after: str = "") -> SandboxError:
    """What an answer of this status and with these words means."""
    message = bounded(message)
    if quota := QUOTA.search(message):
        return _quota(message, quota)
    if "admission webhook" in message or "failed calling webhook" in message:
        return EngineUnavailable(
            f"An admission webhook of the cluster keeps sandboxes from being made: {message}. Exempt the pods with the"
            " label app.kubernetes.io/managed-by=codeact from it, or mend the webhook."
        )
    if "violates PodSecurity" in message:
        return EngineUnavailable(f"The namespace's Pod Security level refuses the pod: {message}.")
    if status == 401:
        return EngineUnavailable(
            f"The cluster does not know who we are: {message}. The KUBECONFIG's token or certificate may have expired."
        )
    if status == 403:
        remedy = f" {RIGHTS}." if "cannot" in message and "resource" in message else ""
        return EngineUnavailable(f"The cluster does not allow it: {message}.{remedy}")
    if status == 404 and "namespaces" in message:
        return EngineUnavailable(
            f"The cluster says: {message}. Create it, or name another in CODEACT_KUBERNETES_NAMESPACE."
        )
    if status == 422:
        return EngineUnavailable(f"The cluster says that the pod is not valid: {message}.")
    if status == 429:
        return AtCapacity(
            f"The cluster asks us to wait: {message}.",
            retry_after_s=float(retry_after) if retry_after.isdigit() else RETRY_AFTER_S,
        )
    if status >= 500:
        return EngineUnavailable(f"The cluster's API failed ({status}): {message}.")
    return refused(f"The cluster refused ({status}): {message}.")


def _quota(message: str, quota: "re.Match[str]") -> SandboxError:
    name, requested, _, limited = quota.groups()
    wanted, most = _amounts(requested), _amounts(limited)
    too_small = [what for what, amount in wanted.items() if amount > most.get(what, amount)]
    if too_small:
        return EngineUnavailable(
            f"The quota {name} of the namespace has no room for a single sandbox ({', '.join(sorted(too_small))}):"
            f" {message}. Raise it, or lower the limits of sandboxes."
        )
    return AtCapacity(
        f"The quota {name} of the namespace is used up: {message}. Raise it, or lower CODEACT_POOL_MAX.",
        retry_after_s=RETRY_AFTER_S,
    )


def _amounts(text: str) -> dict[str, float]:
    return {name: float(number) * UNITS.get(unit, 1.0) for name, number, unit in AMOUNT.findall(text)}


def bounded(text: str) -> str:
    """Words of the cluster's, for a sentence of ours."""
    return text[:TEXT_CHARS].strip().rstrip(".")
