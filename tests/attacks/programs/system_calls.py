# Asks Linux for what only its owner may do, and for what has let others out of sandboxes before.
import ctypes
import os

from attempts import attempt, syscall

zeros = ctypes.create_string_buffer(128)
SESSION_KEYRING = -3
attempt("acct", syscall, "acct", b"/workspace/acct")
attempt("add_key", syscall, "add_key", b"user", b"name", b"value", 5, SESSION_KEYRING)
attempt("bpf", syscall, "bpf", 0, zeros, 128)
attempt("clock_settime", syscall, "clock_settime", 0, zeros)
attempt("fanotify_init", syscall, "fanotify_init", 0, 0)
attempt("init_module", syscall, "init_module", zeros, 128, b"")
attempt("io_uring_setup", syscall, "io_uring_setup", 8, zeros)
attempt("iopl", syscall, "iopl", 3)
attempt("kcmp", syscall, "kcmp", os.getpid(), os.getpid(), 0, 0, 0)
attempt("kexec_load", syscall, "kexec_load", 0, 0, 0, 0)
attempt("keyctl", syscall, "keyctl", 0, SESSION_KEYRING, 1)
attempt("memfd_secret", syscall, "memfd_secret", 0)
attempt("name_to_handle_at", syscall, "name_to_handle_at", -100, b"/", zeros, zeros, 0)
attempt("open_by_handle_at", syscall, "open_by_handle_at", 3, zeros, 0)
attempt("perf_event_open", syscall, "perf_event_open", zeros, 0, -1, -1, 0)
attempt("personality", syscall, "personality", 0x0400000)
attempt("pidfd_getfd", syscall, "pidfd_getfd", os.pidfd_open(os.getpid()), 0, 0)
attempt("process_vm_readv", syscall, "process_vm_readv", os.getppid(), zeros, 0, zeros, 0, 0)
attempt("ptrace", syscall, "ptrace", 16, os.getppid(), 0, 0)
attempt("quotactl", syscall, "quotactl", 0, 0, 0, 0)
attempt("reboot", syscall, "reboot", 0xFEE1DEAD, 672274793, 0, 0)
attempt("request_key", syscall, "request_key", b"user", b"name", 0, SESSION_KEYRING)
attempt("sethostname", syscall, "sethostname", b"mine", 4)
attempt("swapon", syscall, "swapon", b"/workspace/swap", 0)
attempt("syslog", syscall, "syslog", 10, 0, 0)
attempt("userfaultfd", syscall, "userfaultfd", 1)
