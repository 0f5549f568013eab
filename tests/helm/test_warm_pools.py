"""The chart's warm pools: their pods are those that the server would create, and servers may claim them."""

import json
from pathlib import Path
from typing import Any

import pytest

from sandbox_pool.backends.base import GUEST
from sandbox_pool.backends.kubernetes.claim_state import GROUP
from sandbox_pool.backends.kubernetes.claimed_pods import ClaimedPods
from sandbox_pool.backends.kubernetes.cluster import Right
from sandbox_pool.backends.kubernetes.manifest import manifest
from sandbox_pool.backends.shared import seccomp
from sandbox_pool.spec import Limits, PodOptions, SandboxSpec
from tests.agent_sandbox_schemas import faults
from tests.helm.test_chart import CHART, LEAST, PYTHON, ask, environment, objects

pytestmark = pytest.mark.skipif(not PYTHON.exists(), reason="the environment .venv-helm is not there: make install-dev")

LARGE = {"replicas": 1, "memoryMb": 4100, "cpus": 2.5, "image": "registry/large:1", "nodeSelector": {"disk": "ssd"}}
SANDBOX = {
    "image": "registry/sandbox:1",
    "memoryMb": 300,
    "cpus": 0.5,
    "tolerations": [{"key": "sandbox", "operator": "Exists"}],
    "pullSecrets": ["one", "two"],
    "priorityClass": "low",
    "runtimeClass": "gvisor",
}
VALUES: dict[str, dict[str, Any]] = {
    "one": {**LEAST, "sandbox": SANDBOX, "agentSandbox": {"enabled": True}},
    "large": {
        **LEAST,
        "sandbox": {**SANDBOX, "network": "open"},
        "settings": {"CODEACT_WORKSPACE_MB": 100, "CODEACT_SANDBOX_PRELOAD": "numpy"},
        "agentSandbox": {"enabled": True, "pool": "large", "pools": {"large": LARGE}},
    },
    "none of that name": {**LEAST, "agentSandbox": {"enabled": True, "pool": "small"}},
    "misspelt": {**LEAST, "agentSandbox": {"enabled": True, "pools": {"default": {"replicas": 1, "memory": 5}}}},
}
COMMON = {
    "tolerations": '[{"key": "sandbox", "operator": "Exists"}]',
    "pull_secrets": ("one", "two"),
    "priority_class": "low",
}
SPECS = {
    ("one", "codeact-default"): SandboxSpec(
        image="registry/sandbox:1",
        limits=Limits(memory_mb=300, cpus=0.5),
        runtime="gvisor",
        pods=PodOptions(**COMMON),
    ),
    ("large", "codeact-large"): SandboxSpec(
        image="registry/large:1",
        network="open",
        limits=Limits(memory_mb=4100, cpus=2.5, workspace_mb=100),
        runtime="gvisor",
        pods=PodOptions(**COMMON, node_selector=(("disk", "ssd"),)),
    ),
}


def test_the_programs_in_the_chart_are_the_servers() -> None:
    """A chart can read files of its own folder only, so it has copies."""
    programs = [*(GUEST / f"{name}.py" for name in ("pod_main", "pod_door", "pod_relay")), Path(seccomp.__file__)]
    different = [path for path in programs if (CHART / "files" / path.name).read_bytes() != path.read_bytes()]
    assert not different, f"cp {' '.join(map(str, different))} {CHART}/files/"


@pytest.fixture(scope="module")
def rendered() -> dict[str, Any]:
    return ask(VALUES, versions=["1.31"])


def template(rendered: dict[str, Any], name: str, pool: str) -> dict[str, Any]:
    found = {each["metadata"]["name"]: each for each in objects(rendered, name, "SandboxTemplate")}
    return found[pool]


@pytest.mark.parametrize(("name", "pool"), SPECS)
def test_the_pods_of_a_warm_pool_are_those_that_the_server_would_create(
    rendered: dict[str, Any], name: str, pool: str
) -> None:
    ours = manifest("name", "cntr_1", "abcd", SPECS[name, pool])
    theirs = template(rendered, name, pool)["spec"]["podTemplate"]
    assert ours["metadata"]["labels"].items() >= theirs["metadata"]["labels"].items()
    [own], [container] = ours["spec"].pop("containers"), theirs["spec"].pop("containers")
    for each in ("runAsUser", "runAsGroup", "fsGroup"):
        assert ours["spec"]["securityContext"].pop(each) >= 1_000_000
        assert theirs["spec"]["securityContext"].pop(each) == 1_000_000
    assert theirs["spec"] == ours["spec"]
    *command, program, configuration = container.pop("command")
    *own_command, _, own_configuration = own.pop("command")
    assert command == own_command
    expected = json.loads(own_configuration)
    for only_ours in ("pids", "filter", "machine"):
        del expected[only_ours]
    assert json.loads(configuration) == {**expected, "claimed": True}
    compile(program, "pod", "exec")
    assert "class Pod" in program
    assert container.pop("startupProbe")["tcpSocket"] == {"port": expected["port"]}
    preload = {"name": "CODEACT_PRELOAD", "value": "numpy" if name == "large" else "numpy,pandas"}
    container["env"].remove(preload)
    assert container == own


@pytest.mark.parametrize("name", ["one", "large"])
def test_each_object_is_what_agent_sandbox_takes(rendered: dict[str, Any], name: str) -> None:
    assert rendered[name]["lint"] == rendered[name]["wrong"] == []
    found = [each for kind in ("SandboxTemplate", "SandboxWarmPool") for each in objects(rendered, name, kind)]
    assert [faults(each) for each in found] == [[]] * len(found)
    for pool in objects(rendered, name, "SandboxWarmPool"):
        described = template(rendered, name, pool["spec"]["sandboxTemplateRef"]["name"])["spec"]
        # Policies add up: one of agent-sandbox's own would open what ours closes.
        assert described["networkPolicyManagement"] == "Unmanaged"


def test_servers_claim_from_the_pool_that_they_use_and_know_its_limits(rendered: dict[str, Any]) -> None:
    given = environment(rendered, "large")
    assert given["CODEACT_KUBERNETES_PROVISIONER"] == "agent-sandbox"
    assert given["CODEACT_KUBERNETES_WARM_POOL"] == "codeact-large"
    assert (given["CODEACT_MEMORY_MB"], given["CODEACT_CPUS"], given["CODEACT_POOL_MIN"]) == ("4100", "2.5", "0")
    [role] = objects(rendered, "large", "Role")
    granted = {
        Right(verb, resource, group)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert granted == {*ClaimedPods.rights, Right("get", "sandboxwarmpools", GROUP)}


def test_mistakes_are_named(rendered: dict[str, Any]) -> None:
    assert "agentSandbox.pool names none of agentSandbox.pools" in rendered["none of that name"]["error"]
    assert "memory" in rendered["misspelt"]["error"]
