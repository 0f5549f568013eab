"""Control groups of both versions: which files are written, and how a kill for memory is recognised.

A machine has one version; the other is tested on files of its layout.
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sandbox_pool.backends.process.cgroup import FORGOTTEN_S, Cgroup, Cgroups
from sandbox_pool.spec import Limits

LIMITS = Limits(memory_mb=300, pids=77, cpus=0.5)
SETTINGS = {
    "version 1": {
        "memory.limit_in_bytes": "314572800",
        "memory.memsw.limit_in_bytes": "314572800",
        "pids.max": "77",
        "cpu.cfs_period_us": "20000",
        "cpu.cfs_quota_us": "10000",
        "cpu.shares": "256",
    },
    "version 2": {
        "memory.max": "314572800",
        "memory.swap.max": "0",
        "pids.max": "77",
        "cpu.max": "10000 20000",
        "cpu.weight": "25",
    },
}


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A /proc/self and a mount of version 2, with our own group two levels down."""
    (tmp_path / "cgroup").write_text("0::/user/server\n")
    (tmp_path / "mountinfo").write_text(f"30 1 0:26 / {tmp_path}/fs rw shared:4 - cgroup2 cgroup2 rw,nsdelegate\n")
    own = tmp_path / "fs" / "user" / "server"
    own.mkdir(parents=True)
    (own / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    (own / "cgroup.procs").write_text("")
    return tmp_path


@pytest.mark.parametrize("version", SETTINGS)
def test_the_limits_are_written_to_the_files_that_there_are(
    tmp_path: Path, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = Path.mkdir

    def make_group(directory: Path) -> None:
        """Like the kernel: a new group has its files at once."""
        make(directory)
        for name in SETTINGS[version]:
            (directory / name).touch()

    monkeypatch.setattr(Path, "mkdir", make_group)
    Cgroups(dict.fromkeys(("memory", "pids", "cpu"), tmp_path)).create("sandbox", LIMITS)
    assert {file.name: file.read_text() for file in (tmp_path / "codeact-sandbox").iterdir()} == SETTINGS[version]


def test_our_own_group_of_version_2_is_divided(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sandbox_pool.backends.process.cgroup._is_ours", lambda group: True)
    own = machine / "fs" / "user" / "server"
    groups = Cgroups.find(machine)
    assert groups is not None
    assert groups.parents == dict.fromkeys(("memory", "pids", "cpu"), own)
    assert (own / "cgroup.subtree_control").read_text() == "+memory +pids +cpu"
    assert (own / "codeact-server").is_dir()


def test_a_group_of_version_2_that_is_not_ours_is_left_alone(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sandbox_pool.backends.process.cgroup._is_ours", lambda group: False)
    assert Cgroups.find(machine) is None
    assert not (machine / "fs" / "user" / "server" / "codeact-server").exists()


@pytest.mark.parametrize(
    ("file", "text", "killed"),
    [
        ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n", True),
        ("memory.oom_control", "oom_kill_disable 0\nunder_oom 1\noom_kill 0\n", False),
        ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\n", False),
        ("memory.events", "low 0\nhigh 0\nmax 61\noom 2\noom_kill 2\noom_group_kill 0\n", True),
        ("memory.events", "low 0\nhigh 0\nmax 61\noom 0\noom_kill 0\n", False),
    ],
)
def test_a_kill_for_memory_is_read_from_the_counters(tmp_path: Path, file: str, text: str, killed: bool) -> None:
    (tmp_path / file).write_text(text)
    assert Cgroup({"memory": tmp_path}).oom_killed() is killed


def test_a_group_without_counters_tells_of_no_kill(tmp_path: Path) -> None:
    assert not Cgroup({"memory": tmp_path / "gone"}).oom_killed()
    assert not Cgroup({"pids": tmp_path}).oom_killed()


# ---- what is left ------------------------------------------------------------------------------------


def test_forgotten_groups_are_swept_and_neither_new_nor_used_ones(tmp_path: Path) -> None:
    for name in ("codeact-old", "codeact-used", "codeact-new", "codeact-server", "of-others"):
        (tmp_path / name).mkdir()
        if name != "codeact-new":
            os.utime(tmp_path / name, (time.time() - 2 * FORGOTTEN_S,) * 2)
    (tmp_path / "codeact-used" / "cgroup.procs").write_text("1\n")
    os.utime(tmp_path / "codeact-used", (time.time() - 2 * FORGOTTEN_S,) * 2)
    Cgroups({"pids": tmp_path}).sweep()
    left = {directory.name for directory in tmp_path.iterdir()}
    assert left == {"codeact-used", "codeact-new", "codeact-server", "of-others"}


def test_a_group_that_cannot_be_removed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sandbox_pool.backends.process.cgroup.REMOVE_S", 0.05)
    group = Cgroup({"pids": tmp_path / "group"})
    (tmp_path / "group" / "child").mkdir(parents=True)
    with pytest.raises(OSError, match="not empty"):
        group.remove()
    shutil.rmtree(tmp_path / "group")
    group.remove()


REAL = """
import subprocess, sys
from pathlib import Path
from sandbox_pool.backends.process.cgroup import Cgroups
from sandbox_pool.spec import Limits

group = Cgroups(dict.fromkeys(("memory", "pids", "cpu"), Path(sys.argv[1]))).create(sys.argv[2], Limits())
[directory] = group._unique()
command, environment = group.wrap(["sh", "-c", "setsid sleep 1000 & echo started; wait"], {"PATH": "/usr/bin:/bin"})
process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
process.stdout.readline()
members = [int(pid) for pid in (directory / "cgroup.procs").read_text().split()]
print(process.pid in members, len(members), group.oom_killed())
group.remove()
print(process.wait(), directory.exists())
group.remove()
"""


@pytest.mark.skipif(sys.platform != "linux" or os.getuid() != 0, reason="it takes root to mount a file system")
def test_processes_join_a_real_group_of_version_2_and_end_with_it(tmp_path: Path) -> None:
    """In its own mount namespace. Version 1 may have all controllers, so limits are not checked."""
    assert shutil.which("unshare")
    mount = f'mount -t cgroup2 none "{tmp_path}" && exec "$@"'
    script = [sys.executable, "-c", REAL, str(tmp_path), f"test-{os.getpid()}"]
    command = ["unshare", "--mount", "sh", "-c", mount, "sh", *script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if "mount:" in done.stderr:
        pytest.skip(done.stderr)
    assert done.stdout == "True 2 False\n-9 False\n", done.stderr
