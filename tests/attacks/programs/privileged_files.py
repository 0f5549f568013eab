# Reads what the host keeps for its root, and writes to whatever in /proc, /sys and /dev takes it.
import os
import stat

from attempts import attempt, everything_below, read, write

for path in ("/proc/kcore", "/proc/kmsg", "/dev/kmsg", "/dev/mem", "/dev/kmem", "/dev/port", "/dev/vda", "/dev/sda",
             "/dev/kvm", "/dev/fuse", "/dev/net/tun", "/dev/vsock", "/dev/loop-control", "/proc/slabinfo",
             "/proc/kpagecount", "/proc/vmallocinfo", "/sys/firmware/acpi/tables/DSDT",
             "/proc/timer_list"):  # fmt: skip
    attempt(f"read {path}", lambda path: read(path) or os.strerror(0), path)
for path in ("/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/proc/sys/kernel/modprobe", "/proc/self/uid_map",
             "/proc/sys/kernel/randomize_va_space", "/proc/sys/vm/overcommit_memory", "/proc/sys/kernel/ns_last_pid",
             "/sys/kernel/uevent_helper", "/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory.max",
             "/sys/fs/cgroup/release_agent", "/sys/fs/cgroup/cgroup.procs"):  # fmt: skip
    attempt(f"write {path}", write, path, b"")
attempt("outlive others when memory is short", write, "/proc/self/oom_score_adj", b"-1000")
HARMLESS = {
    "/dev/full",
    "/dev/null",
    "/dev/random",
    "/dev/tty",
    "/dev/urandom",
    "/dev/zero",
    "/dev/ptmx",
    "/dev/pts/ptmx",
}
MASKS = os.stat("/dev/null").st_rdev
for path in everything_below("/proc", "/sys", "/dev"):
    try:
        found = os.lstat(path)
        if stat.S_ISLNK(found.st_mode) or stat.S_ISDIR(found.st_mode) or path in HARMLESS:
            continue
        if path.startswith(("/dev/shm/", "/proc/self/", "/proc/thread-self/", "/proc/pressure/")):
            continue
        os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
        if found.st_rdev != MASKS:
            print(f"{path}: REACHED")
    except OSError:
        pass
attempt("change /dev/null", os.chmod, "/dev/null", 0o666)
attempt("make a device", os.mknod, "/workspace/disk", stat.S_IFBLK | 0o600, os.makedev(254, 0))
attempt("make a device in memory", os.mknod, "/dev/shm/mem", stat.S_IFCHR | 0o600, os.makedev(1, 1))
