"""Reads a pod as the cluster's API gives it: what keeps it from starting, and why it ended. Pure."""

import re
from typing import Any

from sandbox_pool.backends.base import Death
from sandbox_pool.backends.shared.kernel_process import exit_sentence
from sandbox_pool.errors import AtCapacity, ImageUnavailable, SandboxError, SandboxStartFailed
from sandbox_pool.spec import Limits

__all__ = ["address_of", "death_of", "is_over", "memory_death", "notice_of", "obstacle", "unschedulable"]

Pod = dict[str, Any]
IMAGE_REASONS = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError"}
START_REASONS = {
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "PreCreateHookError",
    "PostStartHookError",
}
DISRUPTIONS = {
    "PreemptionByScheduler": "A pod of a higher priority took its place on the node.",
    "DeletionByTaintManager": "Its node was lost or tainted, and Kubernetes removed its pods.",
    "EvictionByEvictionAPI": "Its node is being drained: the pod was evicted.",
    "DeletionByPodGC": "Its node is gone from the cluster.",
    "TerminationByKubelet": "Its node ran short of resources, or shut down.",
}
"""By the reason of the condition DisruptionTarget (Kubernetes 1.26 and later)."""
VOLUMES = {"workspace": "workspace_mb", "tmp": "tmp_mb", "dev-shm": "shm_mb"}
TEXT_CHARS = 500


def obstacle(pod: Pod) -> SandboxError | None:
    """Why this pod will not start, however long one waits."""
    status = pod.get("status") or {}
    waiting = (_container(pod).get("state") or {}).get("waiting") or {}
    reason, message = waiting.get("reason", ""), _text(waiting.get("message"))
    if reason in IMAGE_REASONS:
        image = pod["spec"]["containers"][0]["image"]
        return ImageUnavailable(
            f"The cluster cannot pull the image {image} ({reason}{': ' + message if message else ''}). Push it where"
            " the nodes can pull it, name it right in CODEACT_SANDBOX_IMAGE, and name the secrets of a private registry"
            " in CODEACT_KUBERNETES_PULL_SECRETS."
        )
    if reason in START_REASONS:
        return SandboxStartFailed(f"The node cannot start the sandbox's container ({reason}): {message}.")
    if pod.get("gone") or (pod.get("metadata") or {}).get("deletionTimestamp"):
        return SandboxStartFailed("The sandbox's pod was deleted while it started.")
    if status.get("phase") in ("Failed", "Succeeded"):
        terminated = (_container(pod).get("state") or {}).get("terminated") or {}
        words = (status.get("reason"), status.get("message"), terminated.get("message"))
        said = " ".join(filter(None, map(_text, words)))
        code = terminated.get("exitCode")
        ended = exit_sentence(int(code)) if isinstance(code, int) else "It has no container any more."
        return SandboxStartFailed(f"The sandbox's pod ended while it started. {said} {ended}".replace("  ", " "))
    return None


def unschedulable(pod: Pod) -> AtCapacity | None:
    """That no node has room for this pod now."""
    for condition in (pod.get("status") or {}).get("conditions") or ():
        if (condition.get("type"), condition.get("status")) == ("PodScheduled", "False"):
            return AtCapacity(
                f"No node of the cluster has room for a sandbox: {_text(condition.get('message'))}", retry_after_s=5.0
            )
    return None


def address_of(pod: Pod) -> str | None:
    """Its address, once its container runs."""
    running = (_container(pod).get("state") or {}).get("running")
    return (pod.get("status") or {}).get("podIP") if running else None


def is_over(pod: Pod) -> bool:
    """Whether the pod runs nothing any more, or is about to."""
    metadata, status = pod.get("metadata") or {}, pod.get("status") or {}
    return bool(pod.get("gone") or metadata.get("deletionTimestamp")) or status.get("phase") in ("Failed", "Succeeded")


def notice_of(pod: Pod) -> str | None:
    """Why a sandbox of this pod cannot be used, as a sentence."""
    death = death_of(pod, Limits())
    return death.detail if death is not None else None


def memory_death(limits: Limits) -> Death:
    text = f"The kernel was killed: the code used more than its {limits.memory_mb} MB of memory."
    return Death(text, "memory_mb")


def death_of(pod: Pod, limits: Limits) -> Death | None:
    """Why the pod is over; None while the cluster says nothing of it."""
    status = pod.get("status") or {}
    message = _text(status.get("message"))
    if status.get("reason") == "Evicted":
        volume = re.search(r'EmptyDir volume "([a-z-]+)"', message)
        limit = VOLUMES.get(volume[1]) if volume else None
        return Death(f"The node evicted the sandbox's pod. {message}".strip(), limit)
    terminated = (_container(pod).get("state") or {}).get("terminated") or {}
    if terminated.get("reason") == "OOMKilled":
        return memory_death(limits)
    for condition in status.get("conditions") or ():
        if condition.get("type") == "DisruptionTarget" and condition.get("status") == "True":
            return Death(DISRUPTIONS.get(condition.get("reason", ""), f"The pod was disrupted: {message}"))
    if status.get("reason") == "NodeLost":
        return Death("Its node does not answer any more.")
    code = terminated.get("exitCode")
    if isinstance(code, int):
        return Death(exit_sentence(code))
    if pod.get("gone") or (pod.get("metadata") or {}).get("deletionTimestamp"):
        return Death("The sandbox's pod was deleted: by somebody, or since its node was drained or lost.")
    if status.get("phase") in ("Failed", "Succeeded"):
        return Death(f"The sandbox's pod ended. {_text(status.get('reason'))} {message}".strip())
    if not _is_ready(status) and (_container(pod).get("state") or {}).get("running"):
        return Death("The sandbox's pod does not answer, and the cluster says that it is not ready: its node is lost.")
    return None


def _is_ready(status: dict[str, Any]) -> bool:
    found = [each for each in status.get("conditions") or () if each.get("type") == "Ready"]
    return not found or found[0].get("status") == "True"


def _container(pod: Pod) -> dict[str, Any]:
    statuses = (pod.get("status") or {}).get("containerStatuses") or [{}]
    first: dict[str, Any] = statuses[0]
    return first


def _text(value: Any) -> str:
    """Words of the cluster's, of a bounded length."""
    return str(value or "")[:TEXT_CHARS].strip().rstrip(".")
