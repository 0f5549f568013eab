# Makes, enters and leaves namespaces: a user namespace of its own would make it root, if only there.
import ctypes
import os
import subprocess

from attempts import attempt, syscall, write

FLAGS = {"mount": 0x20000, "cgroup": 0x2000000, "uts": 0x4000000, "ipc": 0x8000000, "user": 0x10000000,
         "pid": 0x20000000, "net": 0x40000000}  # fmt: skip
SIGCHLD = 17
for name, flag in FLAGS.items():
    attempt(f"unshare {name}", syscall, "unshare", flag)
    attempt(f"unshare {name} with user", syscall, "unshare", flag | FLAGS["user"])


def clone(flags):
    pid = syscall("clone", flags | SIGCHLD, 0, 0, 0, 0)
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return pid


for name, flag in FLAGS.items():
    attempt(f"clone {name}", clone, flag)
    arguments = (ctypes.c_uint64 * 11)(flag, 0, 0, 0, SIGCHLD)
    attempt(f"clone3 {name}", syscall, "clone3", ctypes.byref(arguments), ctypes.sizeof(arguments))
for name in ("mnt", "net", "pid", "user", "uts", "ipc", "cgroup"):
    for process in ("self", "1"):
        attempt(
            f"enter {name} of {process}",
            lambda path: syscall("setns", os.open(path, os.O_RDONLY), 0),
            f"/proc/{process}/ns/{name}",
        )
attempt("write uid_map", write, "/proc/self/uid_map", b"0 0 1")
for command in (["unshare", "--user", "true"], ["nsenter", "-t1", "-n", "true"], ["bwrap", "--bind", "/", "/", "true"]):
    try:
        status = subprocess.run(command, capture_output=True).returncode
    except FileNotFoundError:
        status = 127
    print(f"{command[0]}: {'REACHED' if status == 0 else 'EPERM'}")
