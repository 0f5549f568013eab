"""Builds the bubblewrap command line that runs a kernel in its own namespaces.

The code can read the system's programs and libraries and the interpreter. It can write to its workspace, /tmp and
/dev/shm, which are in memory and have size limits. It has an empty loopback interface as its only network (unless the
network is open), sees only its own processes, and may use only the system calls that `seccomp.py` lists. See bwrap(1).
"""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from sandbox_pool.backends.base import READONLY
from sandbox_pool.backends.process.interpreter import ALONE, Interpreter
from sandbox_pool.backends.process.unprivileged_user import CAPABILITIES, Nobody
from sandbox_pool.spec import Limits

__all__ = ["CONNECTION_FILE", "FILES", "RUN", "SCRATCH", "WORKSPACE", "Bubblewrap"]

WORKSPACE = "/workspace"
ALIAS = "/mnt/data"
"""The workspace under the name that models know from other code interpreters."""
RUN = "/run/codeact"
UID = 1000
SCRATCH = ("/dev/shm", "/tmp", WORKSPACE, RUN)  # noqa: S108
"""The directories that the code can write to."""
RUN_BYTES = 1024 * 1024
SYSTEM_DIRECTORIES = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
CONFIGURATION = (
    "/etc/alternatives",
    "/etc/fonts",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/timezone",
)
RESOLUTION = ("/etc/hosts", "/etc/nsswitch.conf", "/etc/resolv.conf", "/etc/ssl/certs")
"""The files with which programs resolve names and verify certificates."""
HIDDEN = ("/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug", "/proc/timer_list")
"""Files that contain information about the host and its other users, if they exist."""
CONNECTION_FILE = f"{RUN}/connection.json"
FILES = {
    "/etc/passwd": f"sandbox:x:{UID}:{UID}::{WORKSPACE}:/bin/sh\n",
    "/etc/group": f"sandbox:x:{UID}:\n",
}


@dataclass(frozen=True, slots=True)
class Bubblewrap:
    """A bwrap program, and which newer options it supports. If the server runs as root, code runs as `nobody`."""

    executable: str
    sizes: bool
    nested_namespaces: bool
    nobody: Nobody | None

    @classmethod
    def find(cls) -> "Bubblewrap | None":
        """Finds bwrap on the PATH. Blocks."""
        executable = shutil.which("bwrap")
        if executable is None:
            return None
        text = subprocess.run([executable, "--help"], capture_output=True, text=True, check=False)  # noqa: S603
        options = text.stdout + text.stderr
        return cls(executable, "--size" in options, "--disable-userns" not in options, Nobody.find(UID))

    @property
    def simpler(self) -> "Bubblewrap | None":
        """A variant with fewer requirements, to try if this one does not work; None if there is none."""
        return replace(self, nobody=None) if self.nobody else None

    def command(
        self,
        interpreter: Interpreter,
        limits: Limits,
        programs: Sequence[Path],
        *,
        network: Literal["none", "open"],
        info_fd: int,
        block_fd: int,
        seccomp_fd: int | None,
        files: Mapping[str, int],
        readonly: Path,
        egress: Path | None = None,
    ) -> list[str]:
        """Returns the command line.

        `programs` are the files of the kernel. `files` maps paths in the sandbox to descriptors of their content.
        The code can read the directory `readonly` of this machine, at `READONLY`. `egress` is the socket at which the
        sandbox's egress proxy waits.
        `seccomp_fd` is the descriptor of the seccomp filter. bwrap writes the pid of its child to `info_fd`. With a
        `nobody`, it then waits until it can read from `block_fd`.
        """
        kernel = [interpreter.executable, *ALONE, f"{RUN}/kernel_main.py", CONNECTION_FILE, WORKSPACE]
        command = [self.executable, "--unshare-all", "--unshare-user", "--die-with-parent", "--new-session"]
        if network == "open":
            command.append("--share-net")
        command += ["--cap-drop", "ALL", "--hostname", "sandbox", "--info-fd", str(info_fd)]
        if self.nobody is None:
            command += ["--uid", str(UID), "--gid", str(UID)]
            if not self.nested_namespaces:
                command.append("--disable-userns")
        else:
            kernel = self.nobody.wrap(kernel)
            command += ["--uid", "0", "--gid", "0", "--userns-block-fd", str(block_fd)]
            for capability in CAPABILITIES:
                command += ["--cap-add", capability]
        if seccomp_fd is not None:
            command += ["--seccomp", str(seccomp_fd)]
        command += ["--proc", "/proc", "--dev", "/dev"]
        for path in filter(os.path.exists, HIDDEN):
            # Devices cannot be opened in /proc, so a bound /dev/null makes the file inaccessible.
            command += ["--ro-bind", "/dev/null", path]
        command += self._tmpfs("/dev/shm", limits.shm_mb * 1024 * 1024)  # noqa: S108
        command += self._tmpfs("/tmp", limits.tmp_mb * 1024 * 1024)  # noqa: S108
        command += self._tmpfs(WORKSPACE, limits.workspace_mb * 1024 * 1024)
        # bwrap would create the directory so that only root can enter it.
        command += ["--dir", str(Path(ALIAS).parent), "--symlink", WORKSPACE, ALIAS]
        command += ["--ro-bind", str(readonly), READONLY]
        command += self._tmpfs(RUN, RUN_BYTES)
        command += _system()
        if network == "open":
            for path in RESOLUTION:
                command += ["--ro-bind-try", path, path]
        for path in (*interpreter.prefixes, *interpreter.links):
            if not Path(path).is_relative_to("/usr"):
                for parent in reversed(Path(path).parents[:-1]):
                    # Without this, bwrap creates the directory so that only root can enter it.
                    command += ["--dir", str(parent)]
                command += ["--ro-bind", os.path.realpath(path), path]
        if egress is not None:
            command += ["--ro-bind", str(egress), f"{RUN}/{egress.name}"]
        for program in programs:
            command += ["--ro-bind", str(program), f"{RUN}/{program.name}"]
        # Without this, bwrap creates the directory so that only root can enter it, and each kernel compiles itself.
        command += ["--dir", f"{RUN}/__pycache__"]
        for cached in interpreter.cached:
            command += ["--ro-bind-try", cached, f"{RUN}/__pycache__/{Path(cached).name}"]
        for path, descriptor in files.items():
            command += ["--file", str(descriptor), path]
        # No size limit covers the rest of the root and /dev, which are in memory; /proc has settings of the host.
        for path in ("/proc", "/dev", "/"):
            command += ["--remount-ro", path]
        return [*command, "--", *kernel]

    def _tmpfs(self, path: str, size_bytes: int) -> list[str]:
        # With a `nobody`, root owns the directory, since bwrap runs as root in that namespace.
        mode = ["--perms", "0777"] if self.nobody else []
        return [*mode, *(["--size", str(size_bytes)] if self.sizes else []), "--tmpfs", path]


def _system() -> Sequence[str]:
    arguments = ["--ro-bind", "/usr", "/usr", "--dir", "/etc"]
    for directory in SYSTEM_DIRECTORIES:
        if os.path.islink(directory):
            arguments += ["--symlink", os.readlink(directory), directory]
        elif os.path.isdir(directory):
            arguments += ["--ro-bind", directory, directory]
    for path in CONFIGURATION:
        arguments += ["--ro-bind-try", path, path]
    return arguments
