"""Builds the seccomp filter for sandboxed code from one list of system calls: as BPF for bwrap, as JSON for Docker.

Docker's own profile is not used because it changes with Docker's version. The list also omits calls that ordinary
Python programs do not need: ptrace and similar calls, io_uring, userfaultfd, memfd_secret, file handles, and sockets of
other families than Internet, Unix and netlink. See seccomp(2), https://docs.docker.com/engine/security/seccomp/
"""

import ctypes
import errno
import functools
import json
import os
import socket
from dataclasses import dataclass

__all__ = ["docker_profile", "filter_program"]

LIBRARY = "libseccomp.so.2"
ALLOW = 0x7FFF0000
REFUSE = 0x00050000
"""Actions of libseccomp. The error number is added to `REFUSE`."""
MASKED_EQUAL = 7

FILES = """
    access chdir chmod chown close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2 fadvise64
    fallocate fchdir fchmod fchmodat fchmodat2 fchown fchownat fcntl fdatasync fgetxattr flistxattr flock
    fremovexattr fsetxattr fstat fstatfs fsync ftruncate futimesat getcwd getdents getdents64 getxattr
    inotify_add_watch inotify_init inotify_init1 inotify_rm_watch ioctl lchown lgetxattr link linkat listxattr
    llistxattr lremovexattr lseek lsetxattr lstat mkdir mkdirat mknod mknodat newfstatat open openat openat2 pipe
    pipe2 pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv removexattr
    rename renameat renameat2 rmdir sendfile setxattr splice stat statfs statx symlink symlinkat sync
    sync_file_range syncfs tee truncate umask unlink unlinkat utime utimensat utimes vmsplice write writev
"""
WAITING = """
    epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd
    eventfd2 io_cancel io_destroy io_getevents io_pgetevents io_setup io_submit poll ppoll pselect6 select signalfd
    signalfd4
"""
MEMORY = """
    brk madvise membarrier memfd_create mincore mlock mlock2 mlockall mmap mprotect mremap mseal msync munlock
    munlockall munmap pkey_alloc pkey_free pkey_mprotect remap_file_pages
"""
PROCESSES = """
    alarm arch_prctl capget capset execve execveat exit exit_group fork futex futex_requeue futex_wait futex_waitv
    futex_wake get_robust_list get_thread_area getcpu getegid geteuid getgid getgroups getitimer getpgid getpgrp getpid
    getppid getpriority getrandom getresgid getresuid getrlimit getrusage getsid gettid getuid ioprio_get ioprio_set
    kill landlock_add_rule landlock_create_ruleset landlock_restrict_self pause pidfd_open pidfd_send_signal prctl
    prlimit64 restart_syscall rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn
    rt_sigsuspend rt_sigtimedwait rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min sched_getaffinity
    sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval sched_setaffinity sched_setattr
    sched_setparam sched_setscheduler sched_yield seccomp set_robust_list set_thread_area set_tid_address setfsgid
    setfsuid setgid setgroups setitimer setpgid setpriority setregid setresgid setresuid setreuid setrlimit setsid
    setuid sigaltstack sysinfo tgkill time times tkill uname vfork wait4 waitid
"""
CLOCKS = """
    clock_getres clock_gettime clock_nanosleep gettimeofday nanosleep timer_create timer_delete timer_getoverrun
    timer_gettime timer_settime timerfd_create timerfd_gettime timerfd_settime
"""
COMMUNICATION = """
    accept accept4 bind connect getpeername getsockname getsockopt listen mq_getsetattr mq_notify mq_open
    mq_timedreceive mq_timedsend mq_unlink msgctl msgget msgrcv msgsnd recvfrom recvmmsg recvmsg semctl semget semop
    semtimedop sendmmsg sendmsg sendto setsockopt shmat shmctl shmdt shmget shutdown
"""
ALLOWED = (FILES + WAITING + MEMORY + PROCESSES + CLOCKS + COMMUNICATION).split()

NETLINK = 16
"""The address family with which libraries list network interfaces. Python names it on Linux only."""
NEW_NAMESPACES = 0x7E02_0000
"""The flags of clone(2) that create namespaces. clone3 is not allowed, since a filter cannot read its flags."""
SAME_PERSONALITY = 0xFFFF_FFFF
"""The argument of personality(2) that only reads the current value."""


@dataclass(frozen=True, slots=True)
class _Allowed:
    """A system call that is allowed only if one of its arguments, after applying the mask, has this value."""

    name: str
    argument: int
    value: int
    mask: int = 0xFFFF_FFFF


CONDITIONAL = (
    *(_Allowed("socket", 0, family) for family in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, NETLINK)),
    _Allowed("socketpair", 0, socket.AF_UNIX),
    _Allowed("clone", 0, 0, mask=NEW_NAMESPACES),
    *(_Allowed("personality", 0, value) for value in (0, SAME_PERSONALITY)),
)


def docker_profile() -> str:
    """Returns the profile for `--security-opt seccomp=`. Other calls fail with EPERM, except that clone3 fails with
    ENOSYS: the C library then uses clone.
    """
    rules: list[dict[str, object]] = [
        {"names": ALLOWED, "action": "SCMP_ACT_ALLOW"},
        {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno.ENOSYS},
    ]
    for call in CONDITIONAL:
        condition = {"index": call.argument, "op": "SCMP_CMP_MASKED_EQ", "value": call.mask, "valueTwo": call.value}
        rules.append({"names": [call.name], "action": "SCMP_ACT_ALLOW", "args": [condition]})
    return json.dumps({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules})


@functools.cache
def filter_program() -> bytes | None:
    """Returns the program for `bwrap --seccomp`, or None if libseccomp is not installed. Blocks for milliseconds.

    Other calls fail with ENOSYS, so that programs use older calls instead, as on an older Linux.
    """
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError:
        return None
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(REFUSE + errno.ENOSYS)))
    try:
        for name in ALLOWED:
            _allow(library, context, name)
        for call in CONDITIONAL:
            _allow(library, context, call.name, _Comparison(call.argument, MASKED_EQUAL, call.mask, call.value))
        return _exported(library, context)
    finally:
        library.seccomp_release(context)


class _Comparison(ctypes.Structure):
    """libseccomp's `struct scmp_arg_cmp`: for `MASKED_EQUAL`, `a` is the mask and `b` the value."""

    _fields_ = (("argument", ctypes.c_uint), ("kind", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


def _allow(library: ctypes.CDLL, context: ctypes.c_void_p, name: str, *comparisons: _Comparison) -> None:
    number = library.seccomp_syscall_resolve_name(name.encode())
    # The number is negative if this architecture, or an older libseccomp, does not have the call.
    if number >= 0:
        array = (_Comparison * len(comparisons))(*comparisons)
        _check(library.seccomp_rule_add_array(context, ctypes.c_uint32(ALLOW), number, len(comparisons), array))


def _exported(library: ctypes.CDLL, context: ctypes.c_void_p) -> bytes:
    descriptor = os.memfd_create("seccomp")
    try:
        _check(library.seccomp_export_bpf(context, descriptor))
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    finally:
        os.close(descriptor)


def _check(result: int) -> None:
    if result < 0:
        raise OSError(-result, f"libseccomp: {os.strerror(-result)}")
