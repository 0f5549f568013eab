"""Describes a SandboxClaim to agent-sandbox, and reads what its controller says about it. Pure.

A claim is an object of `extensions.agents.x-k8s.io/v1beta1`, see docs/api.md of kubernetes-sigs/agent-sandbox. The
controller gives it a pod of a SandboxWarmPool, and reports by the conditions Ready and Finished.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sandbox_pool.backends.kubernetes.answers import bounded
from sandbox_pool.backends.kubernetes.manifest import INSTANCE, OURS, SANDBOX, owner_references
from sandbox_pool.errors import AtCapacity, EngineUnavailable, SandboxError, SandboxStartFailed
from sandbox_pool.spec import PodOptions

__all__ = ["FINAL", "GROUP", "VERSION", "claim", "ending", "is_expired", "lifecycle", "pod_of", "refusal", "slowness"]

GROUP, VERSION = "extensions.agents.x-k8s.io", "v1beta1"
RETRY_AFTER_S = 5.0

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Final:
    """A reason with which the controller gives a claim up: the error of a start, and a sentence for the user."""

    error: type[SandboxError]
    sentence: str


_CHANGED = "Something in the cluster, such as an admission webhook, adds {} to the claim: exempt claims with the label"
_CHANGED += " app.kubernetes.io/managed-by=codeact."

FINAL = {
    "InvalidMetadata": _Final(EngineUnavailable, _CHANGED.format("labels or annotations that agent-sandbox forbids")),
    "EnvVarsInjectionRejected": _Final(EngineUnavailable, _CHANGED.format("environment variables")),
    "VolumeClaimTemplatesError": _Final(EngineUnavailable, _CHANGED.format("volumes")),
    "ClaimExpired": _Final(
        SandboxStartFailed,
        "The claim of the sandbox expired: the server could not renew it in time. Compare the clocks of the server and"
        " of the cluster.",
    ),
    "SandboxExpired": _Final(SandboxStartFailed, "The Sandbox object reached a shutdown time that is not ours."),
    "PodFailed": _Final(SandboxStartFailed, "The sandbox's pod failed."),
    "PodSucceeded": _Final(SandboxStartFailed, "The sandbox's pod has ended."),
}
"""The reasons after which the controller does nothing more for a claim. It tries again after all others."""
MISSING = {
    "WarmPoolNotFound": "Create the SandboxWarmPool, or name another one in CODEACT_KUBERNETES_WARM_POOL",
    "TemplateNotFound": "Create the SandboxTemplate that the SandboxWarmPool refers to",
}
DELETED = "The claim of the sandbox was deleted: by somebody, or because the server could not renew it in time."


def claim(name: str, sandbox_id: str, instance: str, options: PodOptions, *, lease_s: float) -> Object:
    """Returns the claim of one sandbox on the warm pool of the options. It expires after `lease_s`.

    It has neither variables nor volumes nor labels for the pod, because these would exclude warm pods.
    """
    metadata = {"name": name, "labels": {OURS: "codeact", INSTANCE: instance, SANDBOX: sandbox_id}}
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "SandboxClaim",
        "metadata": metadata | owner_references(options),
        "spec": {
            "warmPoolRef": {"name": options.warm_pool},
            "lifecycle": {**lifecycle(lease_s), "shutdownPolicy": "Delete"},
        },
    }


def lifecycle(lease_s: float) -> dict[str, str]:
    """Returns the part of a claim's `lifecycle` that a renewal patches."""
    return {"shutdownTime": (datetime.now(UTC) + timedelta(seconds=lease_s)).strftime("%Y-%m-%dT%H:%M:%SZ")}


def pod_of(found: Object) -> tuple[str, str] | None:
    """Returns the name and the address of the pod that a claim has got; None if it has none yet."""
    sandbox = (found.get("status") or {}).get("sandbox") or {}
    addresses = sandbox.get("podIPs") or []
    ready = _condition(found, "Ready")
    if ready.get("status") != "True" or not sandbox.get("name") or not addresses:
        return None
    return str(sandbox["name"]), str(addresses[0])


def ending(found: Object) -> str | None:
    """Returns why the sandbox of a claim cannot be used any more, as a sentence; None if it can, or may still start."""
    if reason := _final_reason(found):
        return FINAL[reason].sentence
    if found.get("gone") or (found.get("metadata") or {}).get("deletionTimestamp"):
        return DELETED
    return None


def refusal(found: Object) -> SandboxError | None:
    """Returns the error of a start whose claim has been given up; None if it can still succeed."""
    if not (reason := _final_reason(found)):
        return SandboxStartFailed(DELETED) if ending(found) else None
    final = FINAL[reason]
    said = bounded(str(_condition(found, "Ready").get("message") or ""))
    return final.error(f"agent-sandbox gave up the claim of a sandbox ({reason}: {said}). {final.sentence}")


def slowness(found: Object | None, warm_pool: str | None, waited_s: float) -> SandboxError:
    """Returns the error of a start whose claim has got no pod for so long."""
    ready = _condition(found or {}, "Ready")
    reason, said = str(ready.get("reason") or ""), bounded(str(ready.get("message") or ""))
    if not reason:
        return EngineUnavailable(
            f"Nothing in the cluster answered the claim of a sandbox within {waited_s:g} s. Does the controller of"
            " agent-sandbox run? Without it, set CODEACT_KUBERNETES_PROVISIONER=pods."
        )
    if remedy := MISSING.get(reason):
        return EngineUnavailable(f"agent-sandbox has no sandbox for the claim ({reason}: {said}). {remedy}.")
    return AtCapacity(
        f"The warm pool {warm_pool} gave no sandbox within {waited_s:g} s ({reason}: {said}). Raise its replicas, or"
        " add nodes.",
        retry_after_s=RETRY_AFTER_S,
    )


def is_expired(found: Object, *, since_s: float) -> bool:
    """Whether a claim's shutdown time passed so long ago that its controller should have deleted it."""
    until = ((found.get("spec") or {}).get("lifecycle") or {}).get("shutdownTime")
    return until is not None and (datetime.now(UTC) - datetime.fromisoformat(until)).total_seconds() > since_s


def _final_reason(found: Object) -> str | None:
    ready, finished = _condition(found, "Ready"), _condition(found, "Finished")
    if finished.get("status") == "True" and finished.get("reason") in FINAL:
        return str(finished["reason"])
    if ready.get("status") == "False" and ready.get("reason") in FINAL:
        return str(ready["reason"])
    return None


def _condition(found: Object, kind: str) -> Object:
    conditions = (found.get("status") or {}).get("conditions") or ()
    return next((each for each in conditions if each.get("type") == kind), {})
