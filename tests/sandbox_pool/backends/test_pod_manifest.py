"""The pod of a sandbox: its restrictions, and where each setting appears."""

import json
from dataclasses import replace
from typing import Any

import pytest

from codeact.errors import ConfigurationError
from codeact.settings import Settings
from sandbox_pool.backends.kubernetes.manifest import manifest
from sandbox_pool.errors import EngineUnavailable, ImageUnavailable
from sandbox_pool.spec import Limits, PodOptions, SandboxSpec

SPEC = SandboxSpec(image="registry/sandbox:1")


def pod(spec: SandboxSpec = SPEC) -> dict[str, Any]:
    return manifest("codeact-abcd-cntr-1", "cntr_1", "abcd", spec)


def test_the_code_has_no_privileges_no_account_and_a_root_that_is_read_only() -> None:
    described = pod()["spec"]
    [container] = described["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert described["securityContext"]["runAsNonRoot"]
    assert described["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not described["automountServiceAccountToken"]
    assert not described["enableServiceLinks"]
    assert not {"hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace", "serviceAccountName"} & described.keys()
    assert all(list(volume) == ["name", "emptyDir"] for volume in described["volumes"])


def test_every_limit_is_in_the_pod() -> None:
    limits = Limits(memory_mb=300, cpus=0.5, pids=40, workspace_mb=10, tmp_mb=11, shm_mb=12)
    described = pod(replace(SPEC, limits=limits))["spec"]
    [container] = described["containers"]
    assert container["resources"]["limits"] == {"memory": "300Mi", "cpu": "500m", "ephemeral-storage": "64Mi"}
    assert json.loads(container["command"][-1])["pids"] == 40
    sizes = {volume["name"]: volume["emptyDir"] for volume in described["volumes"]}
    assert {name: sizes[name]["sizeLimit"] for name in ("workspace", "tmp", "dev-shm")} == {
        "workspace": "10Mi",
        "tmp": "11Mi",
        "dev-shm": "12Mi",
    }
    assert all(volume["medium"] == "Memory" for volume in sizes.values())


def test_two_pods_have_users_of_their_own() -> None:
    users = {pod()["spec"]["securityContext"]["runAsUser"] for _ in range(50)}
    assert len(users) == 50
    assert min(users) >= 1_000_000


def test_settings_reach_the_pod() -> None:
    settings = Settings.load(
        sandbox_image="registry/sandbox:1",
        sandbox_runtime="gvisor",
        kubernetes_namespace="boxes",
        kubernetes_owner="codeact-0/1234",
        kubernetes_node_selector="pool=sandboxes,disk=",
        kubernetes_tolerations='[{"key": "sandbox", "operator": "Exists"}]',
        kubernetes_pull_secrets="one,two",
        kubernetes_priority_class="low",
    )
    assert settings.sandbox_spec.pods.namespace == "boxes"
    found = pod(settings.sandbox_spec)
    described = found["spec"]
    assert described["runtimeClassName"] == "gvisor"
    assert described["nodeSelector"] == {"pool": "sandboxes", "disk": ""}
    assert described["tolerations"] == [{"key": "sandbox", "operator": "Exists"}]
    assert described["imagePullSecrets"] == [{"name": "one"}, {"name": "two"}]
    assert described["priorityClassName"] == "low"
    [owner] = found["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"]) == ("Pod", "codeact-0", "1234")


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("kubernetes_node_selector", "pool", "LABEL=VALUE"),
        ("kubernetes_tolerations", "sandbox", "a JSON list"),
        ("kubernetes_tolerations", "[1]", "a JSON list"),
        ("kubernetes_tolerations", "[" * 50_000, "a JSON list"),
        ("kubernetes_owner", "codeact-0", "NAME/UID"),
    ],
)
def test_a_setting_that_cannot_be_read_is_refused_with_its_form(name: str, value: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"CODEACT_KUBERNETES_.*{reason}"):
        Settings.load(**{name: value})


def test_the_network_is_a_label_for_policies_and_names_are_not_looked_up_without_one() -> None:
    closed, opened = pod(), pod(replace(SPEC, network="open"))
    assert closed["metadata"]["labels"]["codeact/network"] == "none"
    assert closed["spec"]["dnsConfig"] == {"nameservers": ["127.0.0.1"]}
    assert opened["metadata"]["labels"]["codeact/network"] == "open"
    assert "dnsPolicy" not in opened["spec"]


def test_what_pods_cannot_do_is_refused_with_a_remedy() -> None:
    with pytest.raises(ImageUnavailable, match="CODEACT_SANDBOX_IMAGE"):
        pod(SandboxSpec())
    with pytest.raises(EngineUnavailable, match="egress policy"):
        pod(replace(SPEC, network="internal", allowed_hosts=("packages.example",)))


def test_options_of_pods_make_another_spec() -> None:
    assert replace(SPEC, pods=PodOptions(priority_class="low")) != SPEC
