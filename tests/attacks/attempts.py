"""The module `attempts` that hostile programs import in the sandbox, to try something and print the outcome.

Each line that a program prints is `name: outcome`. The outcome is the name of an error number, or REACHED.
"""

import ctypes
import errno
import os
import platform
import sys

given = {}
"""The values that the test passes to the program."""

libc = ctypes.CDLL(None, use_errno=True)

NUMBERS = {
    "x86_64": {
        "acct": 163, "add_key": 248, "bpf": 321, "chroot": 161, "clock_settime": 227, "clone": 56, "fanotify_init": 300,
        "init_module": 175, "io_uring_setup": 425, "iopl": 172, "kcmp": 312, "kexec_load": 246, "keyctl": 250,
        "memfd_secret": 447, "mount": 165, "name_to_handle_at": 303, "open_by_handle_at": 304, "perf_event_open": 298,
        "personality": 135, "pidfd_getfd": 438, "pivot_root": 155, "process_vm_readv": 310, "ptrace": 101,
        "quotactl": 179, "reboot": 169, "request_key": 249, "sethostname": 170, "setns": 308, "swapon": 167,
        "syslog": 103, "umount2": 166, "unshare": 272, "userfaultfd": 323,
    },
    "aarch64": {
        "acct": 89, "add_key": 217, "bpf": 280, "chroot": 51, "clock_settime": 112, "clone": 220, "fanotify_init": 262,
        "init_module": 105, "io_uring_setup": 425, "kcmp": 272, "kexec_load": 104, "keyctl": 219,
        "memfd_secret": 447, "mount": 40, "name_to_handle_at": 264, "open_by_handle_at": 265, "perf_event_open": 241,
        "personality": 92, "pidfd_getfd": 438, "pivot_root": 41, "process_vm_readv": 270, "ptrace": 117,
        "quotactl": 60, "reboot": 142, "request_key": 218, "sethostname": 161, "setns": 268, "swapon": 224,
        "syslog": 116, "umount2": 39, "unshare": 97, "userfaultfd": 282,
    },
}[platform.machine()]  # fmt: skip
NEW_NUMBERS = {"clone3": 435, "fsopen": 430, "mount_setattr": 442, "move_mount": 429, "open_tree": 428}
"""System calls whose numbers are the same on every architecture."""


def attempt(name, action, *arguments):
    """Calls the function and prints one line with the outcome."""
    try:
        result = action(*arguments)
    except OSError as error:
        outcome = errno.errorcode.get(error.errno, str(error))
    except ValueError as error:
        outcome = str(error)
    else:
        outcome = f"REACHED {result!r:.100}"
    print(f"{name}: {outcome}")


def syscall(name, *arguments):
    """Makes a system call directly, without the C library's wrapper. Raises `OSError`."""
    numbers = {**NUMBERS, **NEW_NUMBERS}
    if name not in numbers:
        raise OSError(errno.ENOSYS, name)
    pointers = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result = libc.syscall(ctypes.c_long(numbers[name]), *pointers)
    if result < 0:
        raise OSError(ctypes.get_errno(), name)
    return result


def read(path, size=64):
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        return os.read(descriptor, size)
    finally:
        os.close(descriptor)


def write(path, content=b"x"):
    descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    try:
        return os.write(descriptor, content)
    finally:
        os.close(descriptor)


def everything_below(*tops):
    """Yields the paths of everything below these directories, except for processes in /proc."""
    for top in tops:
        for directory, directories, files in os.walk(top):
            if directory == "/proc":
                directories[:] = [name for name in directories if not name.isdigit()]
            for name in (*directories, *files):
                yield os.path.join(directory, name)


def in_child(action):
    """Runs a function in a forked child. Returns its exit status, negative for a signal."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        try:
            action()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
