"""A sandbox as a container: limits enter, arguments for the engine leave; a dead one's state enters, why leaves.

Nothing here speaks to an engine.
"""

import math
import signal
from pathlib import Path
from typing import Any

import docker

from sandbox_pool.backends import Death
from sandbox_pool.backends.kernel_process import exit_sentence
from sandbox_pool.backends.seccomp import docker_profile
from sandbox_pool.spec import Limits

__all__ = ["SOCKETS", "WORKSPACE", "container_arguments", "explain_death", "missing_promises"]

SOCKETS = "/run/kernel"
WORKSPACE = "/workspace"
UID = 10001
"""Of the kernel: a user of the image (docker/sandbox.Dockerfile), and nobody on the host."""


def container_arguments(
    client: docker.APIClient, info: dict[str, Any], image: str, directory: Path, limits: Limits
) -> dict[str, Any]:
    """Of `APIClient.create_container`. `info` is what the engine says about itself."""
    scratch = f"rw,exec,nosuid,nodev,mode=0700,uid={UID},gid={UID},nr_inodes={limits.workspace_inodes}"
    shared = f"rw,noexec,nosuid,nodev,mode=1777,nr_inodes={limits.workspace_inodes}"
    host_config = client.create_host_config(
        network_mode="none",
        mounts=[docker.types.Mount(SOCKETS, str(directory), type="bind")],
        read_only=True,
        tmpfs={
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
        "environment": {"OMP_NUM_THREADS": str(max(1, math.ceil(limits.cpus)))},
        "network_disabled": True,
        # A proxy of the host may have a password in its address.
        "use_config_proxy": False,
        "host_config": host_config,
    }


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
    """Of system calls: ours instead of the engine's own, but not of one that its administrator has chosen."""
    replaced = {"name=seccomp,profile=default", "name=seccomp,profile=builtin"}
    return [f"seccomp={docker_profile()}"] if replaced.intersection(info.get("SecurityOptions") or ()) else []


def _has_init(info: dict[str, Any]) -> bool:
    # The engine asks docker-init for its version whenever it describes itself; N/A: there is none.
    return bool(info.get("InitCommit", {}).get("ID", "N/A") != "N/A")
