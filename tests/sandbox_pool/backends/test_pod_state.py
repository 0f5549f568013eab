"""What a pod's state means: why it does not start, and why it ended."""

from typing import Any

import pytest

from sandbox_pool.backends.kubernetes.pod_state import address_of, death_of, is_over, obstacle, unschedulable
from sandbox_pool.errors import ImageUnavailable, SandboxStartFailed
from sandbox_pool.spec import Limits

LIMITS = Limits(memory_mb=256)


def pod(container: dict[str, Any] | None = None, **status: Any) -> dict[str, Any]:
    statuses = [{"name": "kernel", "state": container}] if container is not None else []
    found = {"containerStatuses": statuses, **status}
    return {"metadata": {"name": "p"}, "spec": {"containers": [{"image": "registry/sandbox:1"}]}, "status": found}


RUNNING = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}


@pytest.mark.parametrize("reason", ["ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"])
def test_an_image_that_cannot_be_pulled_is_named_with_its_remedies(reason: str) -> None:
    found = obstacle(pod({"waiting": {"reason": reason, "message": "no such host"}}))
    assert isinstance(found, ImageUnavailable)
    for part in ("registry/sandbox:1", reason, "no such host", "CODEACT_KUBERNETES_PULL_SECRETS"):
        assert part in found.message


def test_a_container_that_cannot_be_made_and_a_pod_that_has_ended_fail_the_start() -> None:
    wrong = pod({"waiting": {"reason": "CreateContainerConfigError", "message": "image will run as root"}})
    assert isinstance(obstacle(wrong), SandboxStartFailed)
    ended = pod({"terminated": {"exitCode": 1, "message": "No module named ipykernel"}}, phase="Failed")
    found = obstacle(ended)
    assert isinstance(found, SandboxStartFailed)
    assert "No module named ipykernel" in found.message
    assert isinstance(obstacle({**pod(), "gone": True}), SandboxStartFailed)


def test_what_is_on_its_way_has_no_obstacle() -> None:
    assert obstacle(pod(phase="Pending")) is None
    assert obstacle(pod({"waiting": {"reason": "ContainerCreating"}}, phase="Pending")) is None
    assert address_of(pod({"waiting": {"reason": "ContainerCreating"}}, podIP="10.0.0.1")) is None
    assert address_of(pod(RUNNING, podIP="10.0.0.1", phase="Running")) == "10.0.0.1"


def test_no_room_on_any_node_is_capacity_in_the_schedulers_words() -> None:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes: memory"}
    found = unschedulable(pod(conditions=[condition], phase="Pending"))
    assert found is not None
    assert "0/3 nodes: memory" in found.message
    assert found.retry_after_s > 0
    assert unschedulable(pod(conditions=[{"type": "PodScheduled", "status": "True"}])) is None


@pytest.mark.parametrize(
    ("state", "words", "limit"),
    [
        (pod({"terminated": {"exitCode": 137, "reason": "OOMKilled"}}, phase="Failed"), "256 MB", "memory_mb"),
        (pod({"terminated": {"exitCode": 3}}, phase="Failed"), "status 3", None),
        (pod({"terminated": {"exitCode": 137}}, phase="Failed"), "SIGKILL", None),
        (pod(phase="Failed", reason="Evicted", message="The node was low on memory."), "low on memory", None),
        (
            pod(
                phase="Failed",
                reason="Evicted",
                message='Usage of EmptyDir volume "workspace" exceeds the limit "16Mi".',
            ),
            "evicted",
            "workspace_mb",
        ),
        (
            pod(
                RUNNING, conditions=[{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}]
            ),
            "higher priority",
            None,
        ),
        (
            pod(
                RUNNING, conditions=[{"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager"}]
            ),
            "node was lost",
            None,
        ),
        (pod(RUNNING, conditions=[{"type": "Ready", "status": "False"}]), "node is lost", None),
        ({**pod(RUNNING), "gone": True}, "deleted", None),
        (pod(phase="Failed", reason="Shutdown", message="Node is shutting down"), "shutting down", None),
    ],
)
def test_why_a_pod_ended_is_told_by_name(state: dict[str, Any], words: str, limit: str | None) -> None:
    death = death_of(state, LIMITS)
    assert death is not None
    assert words in death.detail
    assert death.limit == limit


def test_a_pod_that_runs_is_not_over() -> None:
    running = pod(RUNNING, phase="Running", conditions=[{"type": "Ready", "status": "True"}])
    assert not is_over(running)
    assert death_of(running, LIMITS) is None


def test_words_of_the_cluster_are_bounded() -> None:
    death = death_of(pod(phase="Failed", reason="Evicted", message="x" * 1_000_000), LIMITS)
    assert death is not None
    assert len(death.detail) < 1_000
