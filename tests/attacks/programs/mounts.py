# Mounts, unmounts and moves file systems, to uncover what lies below or to make what is read-only writable.
import ctypes
import os

from attempts import attempt, syscall

BIND, REMOUNT, MOVE, DETACH = 4096, 32, 8192, 2
os.makedirs("/tmp/there", exist_ok=True)


def mount(source, target, kind, flags):
    syscall("mount", source, target, kind, flags, None)


attempt("tmpfs", mount, b"none", b"/tmp/there", b"tmpfs", 0)
attempt("proc", mount, b"none", b"/tmp/there", b"proc", 0)
attempt("sysfs", mount, b"none", b"/tmp/there", b"sysfs", 0)
attempt("cgroup", mount, b"none", b"/tmp/there", b"cgroup", 0)
attempt("overlay", mount, b"none", b"/tmp/there", b"overlay", 0)
attempt("bind", mount, b"/", b"/tmp/there", None, BIND)
attempt("move", mount, b"/proc", b"/tmp/there", None, MOVE)
attempt("root writable", mount, None, b"/", None, REMOUNT | BIND)
attempt("proc writable", mount, None, b"/proc", None, REMOUNT | BIND)
for path in (b"/proc", b"/proc/sys", b"/proc/keys", b"/workspace", b"/usr", b"/"):
    attempt(f"unmount {path.decode()}", syscall, "umount2", path, DETACH)
attempt("chroot", syscall, "chroot", b"/tmp/there")
attempt("pivot_root", syscall, "pivot_root", b"/tmp/there", b"/tmp/there")
attempt("fsopen", syscall, "fsopen", b"tmpfs", 0)
attempt("open_tree", syscall, "open_tree", -100, b"/", 1)
attempt("move_mount", syscall, "move_mount", -100, b"/proc", -100, b"/tmp/there", 0)
attempt("mount_setattr", syscall, "mount_setattr", -100, b"/", 0, ctypes.create_string_buffer(32), 32)
