"""Runs sandboxed code as a user without rights on the host, if the server runs as root.

Otherwise the code would run as the host's root: without capabilities, but as the owner of devices and of files that
only root may read. See user_namespaces(7), "User and group ID mappings"; setpriv(1).
"""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["CAPABILITIES", "HOST_UID", "Nobody", "is_root"]

HOST_UID = 10001
"""The uid of the code on the host, the same as in Docker containers. No user of the host has it."""
CAPABILITIES = ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP")
"""The capabilities, within the namespace, to become that user and to drop all other rights."""


def is_root() -> bool:
    """Whether this process runs as root, of this machine or of a container whose user namespace has `HOST_UID`."""
    if os.getuid() != 0:
        return False
    ranges = [line.split() for line in Path("/proc/self/uid_map").read_text().splitlines()]
    return any(int(first) <= HOST_UID < int(first) + int(count) for first, _, count in ranges)


@dataclass(frozen=True, slots=True)
class Nobody:
    """The unprivileged user. `uid` is its id inside of the namespace."""

    setpriv: str
    uid: int

    @classmethod
    def find(cls, uid: int) -> "Nobody | None":
        """Returns None if the server does not run as root, or if setpriv is not installed."""
        setpriv = shutil.which("setpriv")
        return cls(setpriv, uid) if setpriv and is_root() else None

    def wrap(self, command: Sequence[str]) -> list[str]:
        """Returns a command line that switches to this user permanently and then executes the given command."""
        user = (f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups")
        return [self.setpriv, *user, "--inh-caps=-all", "--bounding-set=-all", "--", *command]

    def introduce(self, pid: int) -> None:
        """Maps root and this user in the new user namespace of a process. Raises `OSError`."""

        for kind in ("uid_map", "gid_map"):
            Path(f"/proc/{pid}/{kind}").write_text(f"0 0 1\n{self.uid} {HOST_UID} 1\n")
