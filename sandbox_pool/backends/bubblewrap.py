"""An interpreter and a spec enter, the command line that runs a kernel in namespaces of its own leaves.

What the code sees: the system's programs and libraries and the interpreter, read-only; a workspace, /tmp and
/dev/shm of its own in memory, capped; no network but an empty loopback; no process but its own. See bwrap(1).
"""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sandbox_pool.backends.interpreter import Interpreter
from sandbox_pool.spec import Limits

__all__ = ["CONNECTION_FILE", "FILES", "RUN", "WORKSPACE", "Bubblewrap"]

WORKSPACE = "/workspace"
RUN = "/run/codeact"
UID = 1000
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
CONNECTION_FILE = f"{RUN}/connection.json"
FILES = {
    "/etc/passwd": f"sandbox:x:{UID}:{UID}::{WORKSPACE}:/bin/sh\n",
    "/etc/group": f"sandbox:x:{UID}:\n",
}


@dataclass(frozen=True, slots=True)
class Bubblewrap:
    """A bwrap program and which of its newer options it knows."""

    executable: str
    sizes: bool
    nested_namespaces: bool

    @classmethod
    def find(cls) -> "Bubblewrap | None":
        """The one on the PATH. Blocks."""
        executable = shutil.which("bwrap")
        if executable is None:
            return None
        text = subprocess.run([executable, "--help"], capture_output=True, text=True, check=False)  # noqa: S603
        options = text.stdout + text.stderr
        return cls(executable, "--size" in options, "--disable-userns" not in options)

    def command(
        self,
        interpreter: Interpreter,
        limits: Limits,
        kernel_main: Path,
        *,
        info_fd: int,
        files: Mapping[str, int],
    ) -> list[str]:
        """The command line. `files` are descriptors of contents, by path; to `info_fd` it writes the pid."""
        command = [self.executable, "--unshare-all", "--unshare-user", "--die-with-parent", "--new-session"]
        if not self.nested_namespaces:
            command.append("--disable-userns")
        command += ["--uid", str(UID), "--gid", str(UID), "--cap-drop", "ALL", "--hostname", "sandbox"]
        command += ["--info-fd", str(info_fd)]
        command += ["--proc", "/proc", "--dev", "/dev"]
        workspace_bytes = limits.workspace_mb * 1024 * 1024
        command += self._tmpfs("/dev/shm", limits.shm_mb * 1024 * 1024)  # noqa: S108
        command += self._tmpfs("/tmp", workspace_bytes)  # noqa: S108
        command += self._tmpfs(WORKSPACE, workspace_bytes)
        command += self._tmpfs(RUN, RUN_BYTES)
        command += _system()
        for path in (*interpreter.prefixes, *interpreter.links):
            if not Path(path).is_relative_to("/usr"):
                command += ["--ro-bind", os.path.realpath(path), path]
        command += ["--ro-bind", str(kernel_main), f"{RUN}/kernel_main.py"]
        for path, descriptor in files.items():
            command += ["--file", str(descriptor), path]
        # The rest of the root, and /dev, are memory that no limit on sizes would cover.
        command += ["--remount-ro", "/dev", "--remount-ro", "/"]
        command += ["--", interpreter.executable, "-I", f"{RUN}/kernel_main.py", CONNECTION_FILE, WORKSPACE]
        return command

    def _tmpfs(self, path: str, size_bytes: int) -> list[str]:
        return [*(["--size", str(size_bytes)] if self.sizes else []), "--tmpfs", path]


def _system() -> Sequence[str]:
    arguments = ["--ro-bind", "/usr", "/usr"]
    for directory in SYSTEM_DIRECTORIES:
        if os.path.islink(directory):
            arguments += ["--symlink", os.readlink(directory), directory]
        elif os.path.isdir(directory):
            arguments += ["--ro-bind", directory, directory]
    for path in CONFIGURATION:
        arguments += ["--ro-bind-try", path, path]
    return arguments
