"""A KUBECONFIG that lies, is empty or is missing: one clear error each, which names the file and what to do."""

import os
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox_pool.backends.kubernetes import kubeconfig
from sandbox_pool.backends.kubernetes.cluster import Cluster, Right
from sandbox_pool.errors import EngineUnavailable

pytestmark = pytest.mark.anyio

GOOD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "here",
    "clusters": [{"name": "here", "cluster": {"server": "https://127.0.0.1:1"}}],
    "users": [{"name": "here", "user": {"token": "x"}}],
    "contexts": [{"name": "here", "context": {"cluster": "here", "user": "here", "namespace": "agents"}}],
}
NO_PROGRAM = {"exec": {"apiVersion": "client.authentication.k8s.io/v1beta1", "command": "no-such-program"}}
FAILING = {"exec": {"apiVersion": "client.authentication.k8s.io/v1beta1", "command": "false"}}


def but(change: Callable[[dict[str, Any]], Any]) -> str:
    """The good KUBECONFIG, changed."""
    described = deepcopy(GOOD)
    change(described)
    return yaml.safe_dump(described)


def with_cluster(**values: str) -> str:
    return but(lambda described: described["clusters"][0]["cluster"].update(values))


@pytest.fixture(autouse=True)
def _no_other_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    monkeypatch.setattr(kubeconfig, "ACCOUNT", tmp_path / "none")


async def ask() -> None:
    cluster = await Cluster.connect(None)
    try:
        await cluster.missing_rights([Right("get", "pods")])
    finally:
        await cluster.close()


async def refusal() -> str:
    """What is said when we connect and ask for our rights."""
    with pytest.raises(EngineUnavailable) as caught:
        await ask()
    return caught.value.message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is empty. Set KUBECONFIG"),
        ("# nothing but a comment", "is empty"),
        ("{", "is not YAML (line 1)"),
        ("a: " + "[" * 400, "is not YAML"),
        ("\0", "is not YAML"),
        ("[]", "not a KUBECONFIG: it has no lists clusters, contexts, users"),
        ("clusters: 5", "not a KUBECONFIG"),
        ("x" * 1_000_001, "at most 1,000,000 bytes"),
        (but(lambda described: described.pop("current-context")), "current-context"),
        (but(lambda described: described.update({"current-context": "other"})), "other"),
        (but(lambda described: described.update(users=[])), "user is missing"),
        (but(lambda described: described["contexts"][0].update(context=7)), "malformed"),
        (but(lambda described: described["users"][0].update(user=NO_PROGRAM)), "no-such-program"),
        (but(lambda described: described["users"][0].update(user=FAILING)), "returned 1"),
        (but(lambda described: described["contexts"][0]["context"].update(namespace="../x")), "name of a namespace"),
        (with_cluster(server="127.0.0.1:6443"), "begin with https://"),
        (with_cluster(**{"certificate-authority-data": "bm9uZQ=="}), "certificate or key"),
        (with_cluster(**{"certificate-authority": "/nowhere/ca"}), "/nowhere/ca"),
        (with_cluster(), "cannot be reached"),
    ],
)
async def test_a_file_that_cannot_be_used_is_named_with_what_is_wrong(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "config").write_text(content)
    message = await refusal()
    assert words in message
    assert len(message) < 1_500
    assert message.endswith((".", "…"))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("", "there is no ~/.kube/config"),
        ("/nowhere/config", "KUBECONFIG names /nowhere/config, which is not there"),
        (os.pathsep, "which is not there"),
        ("/", "is not a file"),
    ],
)
async def test_a_file_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, value: str, words: str) -> None:
    monkeypatch.setenv("KUBECONFIG", value)
    assert words in await refusal()


async def test_a_namespace_of_the_settings_is_checked(tmp_path: Path) -> None:
    (tmp_path / "config").write_text(yaml.safe_dump(GOOD))
    with pytest.raises(EngineUnavailable, match="CODEACT_KUBERNETES_NAMESPACE"):
        await Cluster.connect("kube-system/pods/x?")
