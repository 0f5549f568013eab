"""The list of system calls in both kinds of filters. tests/attacks shows that the filters work."""

import json

import pytest

from sandbox_pool.backends.shared.seccomp import ALLOWED, docker_profile, filter_program

REFUSED_NAMES = """
    acct add_key adjtimex bpf chroot clock_settime clone3 delete_module finit_module fsconfig fsmount fsopen
    get_mempolicy init_module io_uring_enter io_uring_register io_uring_setup ioperm iopl kcmp kexec_file_load
    kexec_load keyctl lookup_dcookie mbind memfd_secret modify_ldt mount mount_setattr move_mount move_pages
    name_to_handle_at open_by_handle_at open_tree perf_event_open pidfd_getfd pivot_root process_madvise
    process_vm_readv process_vm_writev ptrace quotactl reboot request_key set_mempolicy setdomainname sethostname setns
    settimeofday swapoff swapon syslog umount2 unshare userfaultfd uselib vhangup
"""


def test_no_dangerous_call_is_allowed_and_none_twice() -> None:
    assert not set(REFUSED_NAMES.split()) & set(ALLOWED)
    assert len(ALLOWED) == len(set(ALLOWED))


@pytest.mark.parametrize("name", ["socket", "socketpair", "clone", "personality"])
def test_what_depends_on_an_argument_is_allowed_only_with_it(name: str) -> None:
    rules = [rule for rule in json.loads(docker_profile())["syscalls"] if name in rule["names"]]
    assert rules
    assert all(rule["args"] for rule in rules)


def test_a_thread_can_start_where_flags_cannot_be_read() -> None:
    assert {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38} in json.loads(docker_profile())["syscalls"]


def test_the_program_is_made_of_whole_instructions() -> None:
    program = filter_program()
    if program is None:
        pytest.skip("libseccomp is not installed")
    assert program
    assert len(program) % 8 == 0
