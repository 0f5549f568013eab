"""Maps the code of a server that root runs to a user who has no rights on the host.

Without that the code would be the host's root, who owns its devices and may read what it keeps for itself,
although without any capability. See user_namespaces(7), "User and group ID mappings"; setpriv(1).
"""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["CAPABILITIES", "HOST_UID", "Nobody", "is_root"]

HOST_UID = 10001
"""As in Docker containers: on the host it is nobody's."""
CAPABILITIES = ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP")
"""What it takes, inside of the namespace, to become that user and to give up becoming another."""


def is_root() -> bool:
    """Whether our user is root, of this machine or of a container that has other users too."""
    if os.getuid() != 0:
        return False
    ranges = [line.split() for line in Path("/proc/self/uid_map").read_text().splitlines()]
    return any(int(first) <= HOST_UID < int(first) + int(count) for first, _, count in ranges)


@dataclass(frozen=True, slots=True)
class Nobody:
    """`uid` is what the user is called inside."""

    setpriv: str
    uid: int

    @classmethod
    def find(cls, uid: int) -> "Nobody | None":
        """None where nothing has to be done, or nothing can be."""
        setpriv = shutil.which("setpriv")
        return cls(setpriv, uid) if setpriv and is_root() else None

    def wrap(self, command: Sequence[str]) -> list[str]:
        """The command line that becomes this user for good, and then this command."""
        user = (f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups")
        return [self.setpriv, *user, "--inh-caps=-all", "--bounding-set=-all", "--", *command]

    def introduce(self, pid: int) -> None:
        """Makes the user known to the new user namespace of this process, beside root. Raises `OSError`."""
        for kind in ("uid_map", "gid_map"):
            Path(f"/proc/{pid}/{kind}").write_text(f"0 0 1\n{self.uid} {HOST_UID} 1\n")
