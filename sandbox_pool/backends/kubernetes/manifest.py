"""Describes a sandbox's pod to the cluster. Pure: nothing here speaks to a cluster."""

import base64
import json
import math
import platform
import secrets
from typing import Any

from sandbox_pool.backends.base import GUEST
from sandbox_pool.backends.shared.seccomp import filter_program
from sandbox_pool.errors import EngineUnavailable, ImageUnavailable
from sandbox_pool.spec import PodOptions, SandboxSpec

__all__ = [
    "CONTAINER",
    "INSTANCE",
    "OURS",
    "PLACES",
    "PORT",
    "PYTHON",
    "SANDBOX",
    "WORKSPACE",
    "check_network",
    "image_of",
    "manifest",
    "owner_references",
]

MODULES = {name: (GUEST / f"{name}.py").read_text() for name in ("pod_door", "pod_relay")}
POD_MAIN = f"""
import sys, types
for name, source in {MODULES!r}.items():
    module = sys.modules[name] = types.ModuleType(name)
    exec(compile(source, name, "exec"), vars(module))
{(GUEST / "pod_main.py").read_text()}"""
"""The pod's first program and what it imports, in one: an image may be older than the server."""
PYTHON = "/opt/kernel/bin/python"
"""Of an image from docker/sandbox.Dockerfile."""
CONTAINER = "kernel"
PORT = 8899
PLACES = "/run/kernel"
WORKSPACE = "/workspace"
OURS = "app.kubernetes.io/managed-by"
INSTANCE = "codeact/instance"
SANDBOX = "codeact/sandbox"
NETWORK = "codeact/network"
"""Labels of a pod: that it is ours, whose of our servers, which sandbox, and what its network policy is to allow."""
LOWEST_UID, HIGHEST_UID = 1_000_000, 2_000_000_000
SCRATCH_MB = 64
"""Of the node's disk: nothing that the code can write is on it, so this is room for logs of the container runtime."""
REQUEST_SHARE = 4
"""A pod asks for this part of what it may use: most sandboxes wait for their users most of the time."""


def check_network(spec: SandboxSpec) -> None:
    """Raises `EngineUnavailable` for a network that pods cannot have."""
    if spec.network == "internal":
        raise EngineUnavailable(
            "CODEACT_SANDBOX_NETWORK=internal is not there for Kubernetes sandboxes: allow hosts by an egress policy of"
            " your network plugin for pods with the label codeact/network=open, and set CODEACT_SANDBOX_NETWORK=open."
        )


def image_of(spec: SandboxSpec) -> str:
    """Returns the name of the image. Raises `ImageUnavailable` if the settings name none."""
    if spec.image is None:
        raise ImageUnavailable(
            "A cluster pulls the image of its sandboxes: build it from docker/sandbox.Dockerfile, push it to a registry"
            " that the cluster's nodes can pull from, and name it in CODEACT_SANDBOX_IMAGE."
        )
    return spec.image


def manifest(name: str, sandbox_id: str, instance: str, spec: SandboxSpec) -> dict[str, Any]:
    """The pod of one sandbox. Raises `EngineUnavailable` or `ImageUnavailable` for what pods cannot do.

    Its user is nobody else's on its node, by chance over a large range: Linux counts processes, watches and locked
    memory by user, so that each pod has a count of its own.
    """
    check_network(spec)
    limits, pods = spec.limits, spec.pods
    uid = LOWEST_UID + secrets.randbelow(HIGHEST_UID - LOWEST_UID)
    configuration = {
        "port": PORT,
        "workspace": WORKSPACE,
        "places": PLACES,
        "pids": limits.pids,
        "filter": base64.b64encode(filter_program() or b"").decode(),
        "machine": platform.machine(),
    }
    sizes = {WORKSPACE: limits.workspace_mb, "/tmp": limits.tmp_mb, "/dev/shm": limits.shm_mb, PLACES: 1}  # noqa: S108
    volumes = {path.strip("/").replace("/", "-"): (path, size) for path, size in sizes.items()}
    threads = str(max(1, math.ceil(limits.cpus)))
    container = {
        "name": CONTAINER,
        "image": image_of(spec),
        "imagePullPolicy": "IfNotPresent",
        "command": [PYTHON, "-I", "-S", "-X", "utf8", "-c", POD_MAIN, json.dumps(configuration)],
        "workingDir": WORKSPACE,
        # A file on the node's disk without a limit, which anyone may write: put where the code's user cannot come.
        "terminationMessagePath": "/root/termination-log",
        # What the first process says when there was no kernel; it is all that is ever in the log.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "env": [
            # Numeric libraries count the node's cores, not the share of them that we give.
            {"name": "OMP_NUM_THREADS", "value": threads},
            # The order of a set of texts would otherwise be another one in each sandbox.
            {"name": "PYTHONHASHSEED", "value": "0"},
            {"name": "USER", "value": "sandbox"},
            {"name": "LOGNAME", "value": "sandbox"},
            {"name": "CODEACT_NETWORK", "value": spec.network},
        ],
        "ports": [{"name": "kernel", "containerPort": PORT}],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "resources": {
            "limits": {
                "memory": f"{limits.memory_mb}Mi",
                "cpu": f"{round(limits.cpus * 1000)}m",
                "ephemeral-storage": f"{SCRATCH_MB}Mi",
            },
            "requests": {
                "memory": f"{math.ceil(limits.memory_mb / REQUEST_SHARE)}Mi",
                "cpu": f"{max(1, round(limits.cpus * 1000 / REQUEST_SHARE))}m",
                "ephemeral-storage": f"{SCRATCH_MB}Mi",
            },
        },
        "volumeMounts": [{"name": volume, "mountPath": path} for volume, (path, _) in volumes.items()],
    }
    described: dict[str, Any] = {
        "restartPolicy": "Never",
        "hostname": "sandbox",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 1,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": uid,
            "runAsGroup": uid,
            "fsGroup": uid,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [
            # In memory, which counts as the pod's own.
            {"name": volume, "emptyDir": {"medium": "Memory", "sizeLimit": f"{size}Mi"}}
            for volume, (_, size) in volumes.items()
        ],
        "nodeSelector": dict(pods.node_selector),
        "tolerations": list(pods.parsed_tolerations),
        "imagePullSecrets": [{"name": secret} for secret in pods.pull_secrets],
    }
    if spec.network == "none":
        # Names are nobody's business there; an address that answers at once that nobody listens.
        described |= {"dnsPolicy": "None", "dnsConfig": {"nameservers": ["127.0.0.1"]}}
    if spec.runtime is not None:
        described["runtimeClassName"] = spec.runtime
    if pods.priority_class is not None:
        described["priorityClassName"] = pods.priority_class
    metadata: dict[str, Any] = {
        "name": name,
        "labels": {OURS: "codeact", INSTANCE: instance, SANDBOX: sandbox_id, NETWORK: spec.network},
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata | owner_references(pods), "spec": described}


def owner_references(options: PodOptions) -> dict[str, Any]:
    """Returns the part of an object's metadata with which the cluster removes it after the server's pod is gone."""
    if options.owner is None:
        return {}
    name, uid = options.owner
    return {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid}]}
