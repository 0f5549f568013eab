"""Describes a sandbox's container to the engine, and explains from a dead container's state why it ended.

Nothing here speaks to an engine.
"""

import math
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import docker

from sandbox_pool.backends.base import Death
from sandbox_pool.backends.docker.network import Link
from sandbox_pool.backends.shared.kernel_process import exit_sentence
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
"""Before the image's own entrypoint, where no directory can be shared."""
ORDINARY_RUNTIMES = ("runc", "crun", "youki", "io.containerd.runc.v2")
UID = 10001
"""Of the kernel: a user of the image (docker/sandbox.Dockerfile), and nobody on the host."""


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
    """Arguments for `APIClient.create_container`. `info` is the engine's own description, `entrypoint` the image's.

    `sockets` is the directory to share, with the connection file in it; where None can be shared, that file is made
    inside from `connection`, and what goes to the output goes to stdout.
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
        },
        mem_limit=f"{limits.memory_mb}m",
        # Memory and swap together: no swap on top.
        memswap_limit=f"{limits.memory_mb}m",
        nano_cpus=int(limits.cpus * 1e9),
        pids_limit=limits.pids,
        cap_drop=["ALL"],
        security_opt=["no-new-privileges", *_filter(info)],
        ulimits=[
            docker.types.Ulimit(name="nofile", soft=4096, hard=4096),
            docker.types.Ulimit(name="core", soft=0, hard=0),
        ],
        # When the host runs out of memory, sandboxes go before anything else.
        oom_score_adj=500,
        # Reaps orphans and makes the kernel lead a process group, so that an interrupt reaches its children.
        init=_has_init(info),
        # What goes past the kernel's own streams must not fill the host's disk.
        log_config=docker.types.LogConfig(type="none"),
    )
    return {
        "image": image,
        "command": [f"{SOCKETS}/connection.json", WORKSPACE],
        "user": f"{UID}:{UID}",
        "working_dir": WORKSPACE,
        "hostname": "sandbox",
        # Numeric libraries count the host's cores, not the share of them that we give.
        "environment": {"OMP_NUM_THREADS": str(max(1, math.ceil(limits.cpus))), **link.environment},
        "network_disabled": link.mode == "none",
        # A proxy of the host may have a password in its address.
        "use_config_proxy": False,
        "host_config": host_config,
        **boot,
    }


def check_spec(spec: SandboxSpec, info: dict[str, Any]) -> None:
    """Raises `EngineUnavailable` for what this engine cannot do, with the names of what it can."""
    known = sorted(info.get("Runtimes") or {})
    if spec.runtime is not None and spec.runtime not in known:
        raise EngineUnavailable(
            f"CODEACT_SANDBOX_RUNTIME={spec.runtime}, and this Docker engine has no such runtime: it has "
            f"{', '.join(known) or 'none that it names'}. Install it, and name it in /etc/docker/daemon.json."
        )


def shares_sockets(spec: SandboxSpec, info: dict[str, Any]) -> bool:
    """Whether a socket that the code binds in a shared directory is one of the host's too: the host's kernel must be
    the code's, as it is not with gVisor or Kata.
    """
    return (spec.runtime or info.get("DefaultRuntime", "runc")) in ORDINARY_RUNTIMES


def missing_promises(info: dict[str, Any]) -> tuple[str, ...]:
    """A sentence on the limits that this engine does not enforce, if there are any."""
    switches = {"memory_mb": "MemoryLimit", "cpus": "CpuCfsQuota", "pids": "PidsLimit"}
    absent = [limit for limit, switch in switches.items() if not info.get(switch)]
    if not absent:
        return ()
    return (
        f"{', '.join(absent)} not enforced: this Docker engine has no control groups for it. See the warnings of "
        "`docker info`; a rootless engine needs cgroup v2 and a delegation of its controllers.",
    )


def explain_death(state: dict[str, Any], *, out_of_memory: bool, limits: Limits) -> Death:
    """Why a kernel is gone. `state` is its container's."""
    if state["Running"]:
        return Death("The kernel does not answer.")
    code: int = state["ExitCode"]
    if out_of_memory and code == 128 + signal.SIGKILL:
        return Death(
            f"The kernel was killed: the code used more than its {limits.memory_mb} MB of memory.", "memory_mb"
        )
    return Death(exit_sentence(code))


def _filter(info: dict[str, Any]) -> list[str]:
    """The filter of system calls: ours instead of the engine's default, unless its administrator has chosen one."""
    replaced = {"name=seccomp,profile=default", "name=seccomp,profile=builtin"}
    return [f"seccomp={docker_profile()}"] if replaced.intersection(info.get("SecurityOptions") or ()) else []


def _has_init(info: dict[str, Any]) -> bool:
    # The engine asks docker-init for its version whenever it describes itself; N/A: there is none.
    return bool(info.get("InitCommit", {}).get("ID", "N/A") != "N/A")
