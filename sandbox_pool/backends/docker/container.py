"""Computes the options of a sandbox's container, and explains from a container's state why its kernel ended.

This module makes no requests to an engine.
"""

import math
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import docker

from sandbox_pool.backends.base import READONLY, READONLY_MB, Death
from sandbox_pool.backends.docker.network import Link
from sandbox_pool.backends.shared.kernel_process import exit_sentence
from sandbox_pool.backends.shared.priority import CPU_PERIOD_US, CPU_SHARES, cpu_quota_us
from sandbox_pool.backends.shared.seccomp import docker_profile
from sandbox_pool.errors import EngineUnavailable
from sandbox_pool.spec import Limits, SandboxSpec

__all__ = [
    "SOCKETS",
    "WORKSPACE",
    "check_spec",
    "container_arguments",
    "explain_death",
    "missing_promises",
    "shares_sockets",
]

SOCKETS = "/run/kernel"
WORKSPACE = "/workspace"
BOOT = f'printf %s "$1" > {SOCKETS}/connection.json; ln -s /dev/stdout {SOCKETS}/output; shift; exec "$@"'
"""Runs before the image's own entrypoint if no directory can be shared."""
ORDINARY_RUNTIMES = ("runc", "crun", "youki", "io.containerd.runc.v2")
UID = 10001
"""The user of the kernel. It exists in the image (docker/sandbox.Dockerfile), and not on the host."""


def container_arguments(
    client: docker.APIClient,
    info: dict[str, Any],
    image: str,
    spec: SandboxSpec,
    link: Link,
    *,
    sockets: Path | None,
    connection: str,
    entrypoint: Sequence[str],
) -> dict[str, Any]:
    """Returns the arguments of `APIClient.create_container`.

    `info` is the engine's description of itself, and `entrypoint` that of the image. `sockets` is the directory to
    share, which has the connection file in it. If it is None, the container creates that file from `connection`, and
    writes its output to stdout.
    """
    limits = spec.limits
    scratch = f"rw,exec,nosuid,nodev,mode=0700,uid={UID},gid={UID},nr_inodes={limits.workspace_inodes}"
    shared = f"rw,noexec,nosuid,nodev,mode=1777,nr_inodes={limits.workspace_inodes}"
    mounts, places, boot = [], {}, {}
    if sockets is not None:
        mounts.append(docker.types.Mount(SOCKETS, str(sockets), type="bind"))
    else:
        places[SOCKETS] = f"rw,noexec,nosuid,nodev,mode=0700,uid={UID},gid={UID},size=1m,nr_inodes=64"
        boot["entrypoint"] = ["/bin/sh", "-c", BOOT, "sh", connection, *entrypoint]
    host_config = client.create_host_config(
        network_mode=link.mode,
        dns=list(link.name_servers) or None,
        dns_opt=["timeout:1", "attempts:1"] if link.name_servers else None,
        runtime=spec.runtime,
        mounts=mounts,
        read_only=True,
        tmpfs={
            **places,
            WORKSPACE: f"{scratch},size={limits.workspace_mb}m",
            "/tmp": f"{scratch},size={limits.tmp_mb}m",  # noqa: S108
            "/dev/shm": f"{shared},size={limits.shm_mb}m",  # noqa: S108
            READONLY: f"rw,exec,nosuid,nodev,mode=0755,size={READONLY_MB}m,nr_inodes=10000",
        },
        mem_limit=f"{limits.memory_mb}m",
        # This limits memory and swap together: with the same value, there is no swap.
        memswap_limit=f"{limits.memory_mb}m",
        cpu_period=CPU_PERIOD_US,
        cpu_quota=cpu_quota_us(limits.cpus),
        cpu_shares=CPU_SHARES,
        pids_limit=limits.pids,
        cap_drop=["ALL"],
        security_opt=["no-new-privileges", *_filter(info)],
        ulimits=[
            docker.types.Ulimit(name="nofile", soft=4096, hard=4096),
            docker.types.Ulimit(name="core", soft=0, hard=0),
        ],
        # When the host runs out of memory, the system kills sandboxes first.
        oom_score_adj=500,
        # It reaps orphaned processes, and makes the kernel a group leader so that an interrupt reaches its children.
        init=_has_init(info),
        # The engine would write the container's output to the host's disk, and could fill it.
        log_config=docker.types.LogConfig(type="none"),
    )
    return {
        "image": image,
        "command": [f"{SOCKETS}/connection.json", WORKSPACE],
        "user": f"{UID}:{UID}",
        "working_dir": WORKSPACE,
        "hostname": "sandbox",
        # Numeric libraries would use one thread per core of the host, not per core of the sandbox.
        # Without a fixed hash seed, the order of a set of texts would be another one in each sandbox.
        "environment": {
            "OMP_NUM_THREADS": str(max(1, math.ceil(limits.cpus))),
            "PYTHONHASHSEED": "0",
            **link.environment,
        },
        "network_disabled": link.mode == "none",
        # The address of the host's proxy may contain a password.
        "use_config_proxy": False,
        "host_config": host_config,
        **boot,
    }


def check_spec(spec: SandboxSpec, info: dict[str, Any]) -> None:
    """Raises `EngineUnavailable` if this engine does not have the spec's runtime. The message lists those it has."""
    known = sorted(info.get("Runtimes") or {})
    if spec.runtime is not None and spec.runtime not in known:
        raise EngineUnavailable(
            f"CODEACT_SANDBOX_RUNTIME={spec.runtime}, and this Docker engine has no such runtime: it has "
            f"{', '.join(known) or 'none that it names'}. Install it, and name it in /etc/docker/daemon.json."
        )


def shares_sockets(spec: SandboxSpec, info: dict[str, Any]) -> bool:
    """Whether the host can connect to a socket that the code binds in a shared directory. It cannot if the runtime
    has its own kernel, as gVisor and Kata do.
    """
    return (spec.runtime or info.get("DefaultRuntime", "runc")) in ORDINARY_RUNTIMES


def missing_promises(info: dict[str, Any]) -> tuple[str, ...]:
    """Returns a sentence on the limits that this engine does not enforce, or nothing."""
    switches = {"memory_mb": "MemoryLimit", "cpus": "CpuCfsQuota", "pids": "PidsLimit"}
    absent = [limit for limit, switch in switches.items() if not info.get(switch)]
    if not absent:
        return ()
    return (
        f"{', '.join(absent)} not enforced: this Docker engine has no control groups for it. See the warnings of "
        "`docker info`; a rootless engine needs cgroup v2 and a delegation of its controllers.",
    )


def explain_death(state: dict[str, Any], *, out_of_memory: bool, limits: Limits) -> Death:
    """Returns why a kernel ended. `state` is the state of its container."""
    if state["Running"]:
        return Death("The kernel does not answer.")
    code: int = state["ExitCode"]
    if out_of_memory and code == 128 + signal.SIGKILL:
        return Death(
            f"The kernel was killed: the code used more than its {limits.memory_mb} MB of memory.", "memory_mb"
        )
    return Death(exit_sentence(code))


def _filter(info: dict[str, Any]) -> list[str]:
    """Returns the option for our seccomp filter, unless the engine's administrator has configured one."""
    replaced = {"name=seccomp,profile=default", "name=seccomp,profile=builtin"}
    return [f"seccomp={docker_profile()}"] if replaced.intersection(info.get("SecurityOptions") or ()) else []


def _has_init(info: dict[str, Any]) -> bool:
    # The engine reports the version of docker-init, or N/A if it is not installed.
    return bool(info.get("InitCommit", {}).get("ID", "N/A") != "N/A")
