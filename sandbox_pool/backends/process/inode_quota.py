"""Limits how many files a running sandbox may create in its in-memory file systems.

bwrap can limit the bytes of these file systems but not the number of files, and each file takes memory in addition to
its content. See nsenter(1), tmpfs(5), ioctl_ns(2).
"""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

__all__ = ["Inodes", "NotLimited"]

NS_GET_USERNS = 0xB701
REMOUNT = 'set -e; for path; do mount -o "remount,nosuid,nodev,nr_inodes=$LIMIT" "$path"; done'
MOUNT_S = 10.0


class NotLimited(OSError):
    """This machine does not allow to set the limit."""


@dataclass(frozen=True, slots=True)
class Inodes:
    nsenter: str

    @classmethod
    def find(cls) -> "Inodes | None":
        nsenter = shutil.which("nsenter")
        return cls(nsenter) if nsenter and shutil.which("mount") else None

    def limit(self, pid: int, paths: Sequence[str], inodes: int) -> None:
        """Sets the limit in the namespaces of a process. Blocks. Raises `NotLimited`, or another `OSError`.

        Call it before the process runs untrusted code.
        """
        with ExitStack() as stack:
            mounts = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY)
            stack.callback(os.close, mounts)
            owner = fcntl.ioctl(mounts, NS_GET_USERNS)
            stack.callback(os.close, owner)
            command = [self.nsenter, f"--mount=/proc/self/fd/{mounts}"]
            if os.getuid() != 0:  # Root need not enter the user namespace.
                command += [f"--user=/proc/self/fd/{owner}", "--preserve-credentials"]
            command += ["--", "/bin/sh", "-c", REMOUNT, "sh", *paths]
            environment = {"PATH": os.defpath, "LIMIT": str(inodes)}
            try:
                mount = subprocess.run(  # noqa: S603
                    command,
                    env=environment,
                    cwd="/",
                    pass_fds=[mounts, owner],
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    timeout=MOUNT_S,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                raise NotLimited(f"workspace_inodes cannot be enforced: mount took over {MOUNT_S:g} s") from None
            if mount.returncode != 0:
                stderr = mount.stderr.decode(errors="replace").strip()
                raise NotLimited(f"workspace_inodes cannot be enforced: {stderr}")
