"""Every refusal of a cluster becomes one clear error that says what to do."""

import pytest

from sandbox_pool.backends.kubernetes.answers import meaning
from sandbox_pool.errors import AtCapacity, EngineUnavailable, SandboxError, SandboxStartFailed

FULL = 'pods "p" is forbidden: exceeded quota: few, requested: pods=1, used: pods=4, limited: pods=4'
NONE = 'pods "p" is forbidden: exceeded quota: none, requested: pods=1, used: pods=0, limited: pods=0'
SMALL = "exceeded quota: small, requested: limits.memory=1Gi, used: limits.memory=0, limited: limits.memory=512Mi"


@pytest.mark.parametrize(
    ("status", "message", "kind", "words"),
    [
        (403, FULL, AtCapacity, "CODEACT_POOL_MAX"),
        (403, NONE, EngineUnavailable, "no room for a single sandbox (pods)"),
        (403, SMALL, EngineUnavailable, "no room for a single sandbox (limits.memory)"),
        (400, 'admission webhook "policy.example" denied the request: no', EngineUnavailable, "policy.example"),
        (500, 'Internal error occurred: failed calling webhook "w": timeout', EngineUnavailable, "mend the webhook"),
        (403, 'pods "p" is forbidden: violates PodSecurity "restricted:latest": x', EngineUnavailable, "Pod Security"),
        (403, 'User "u" cannot create resource "pods" in API group ""', EngineUnavailable, "rbac.yaml"),
        (403, 'pod rejected: RuntimeClass "gvisor" not found', EngineUnavailable, 'RuntimeClass "gvisor"'),
        (401, "Unauthorized", EngineUnavailable, "expired"),
        (404, 'namespaces "nowhere" not found', EngineUnavailable, "CODEACT_KUBERNETES_NAMESPACE"),
        (422, "Pod is invalid: spec.nodeSelector", EngineUnavailable, "not valid"),
        (429, "too many requests", AtCapacity, "wait"),
        (503, "etcd is away", EngineUnavailable, "503"),
        (409, "already exists", SandboxStartFailed, "409"),
    ],
)
def test_a_refusal_has_a_meaning_and_keeps_the_clusters_words(
    status: int, message: str, kind: type[SandboxError], words: str
) -> None:
    found = meaning(status, message, SandboxStartFailed)
    assert type(found) is kind
    assert words in found.message


def test_how_long_to_wait_is_the_clusters_to_say() -> None:
    found = meaning(429, "slow down", SandboxStartFailed, "17")
    assert isinstance(found, AtCapacity)
    assert found.retry_after_s == 17


def test_words_of_the_cluster_are_bounded() -> None:
    assert len(meaning(500, "x" * 1_000_000, SandboxStartFailed).message) < 2_000
