"""What a dead process left behind is distinguished from what a live one has, however it died."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox_pool.backends.shared import instance
from sandbox_pool.backends.shared.instance import Instance

DIES = """
import os, sys
from pathlib import Path
from sandbox_pool.backends.shared.instance import Instance
print(Instance(Path(sys.argv[1]), "process").create("left"), flush=True)
os.kill(os.getpid(), 9)
"""


def test_what_a_killed_process_had_is_left_over(tmp_path: Path) -> None:
    died = subprocess.run([sys.executable, "-c", DIES, tmp_path], stdout=subprocess.PIPE, text=True, timeout=30)
    ours = Instance(tmp_path, "process")
    assert ours.leftovers() == [Path(died.stdout.strip())]
    ours.close()


def test_what_living_processes_have_is_never_left_over(tmp_path: Path) -> None:
    first, second = Instance(tmp_path, "process"), Instance(tmp_path, "process")
    first.create("one")
    second.create("two")
    assert first.leftovers() == []
    assert second.leftovers() == []
    first.close()
    second.close()


def test_a_dead_process_that_had_nothing_leaves_no_trace(tmp_path: Path) -> None:
    died = subprocess.run([sys.executable, "-c", DIES, tmp_path], stdout=subprocess.PIPE, text=True, timeout=30)
    Path(died.stdout.strip()).rmdir()
    ours = Instance(tmp_path, "process")
    assert ours.leftovers() == []
    assert list(tmp_path.iterdir()) == [ours.directory]
    ours.close()


def test_what_a_killed_process_had_in_another_state_directory_is_left_over_once_it_is_still(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    died = subprocess.run([sys.executable, "-c", DIES, tmp_path / "a"], stdout=subprocess.PIPE, text=True, timeout=30)
    alive = Instance(tmp_path / "b", "process")
    alive.create("one")
    ours = Instance(tmp_path / "c", "process")
    assert ours.leftovers() == []  # not yet: it may only just have begun
    monkeypatch.setattr(instance, "STILL_S", -1.0)
    left = Path(died.stdout.strip())
    assert ours.leftovers() == [left]
    assert Instance(tmp_path / "d", "docker").leftovers() == []  # those of the other kind
    left.rmdir()
    assert ours.leftovers() == []
    assert ours.dead() == []
    assert not left.parent.exists()


def test_a_state_directory_that_was_deleted_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(instance, "STILL_S", -1.0)
    subprocess.run([sys.executable, "-c", DIES, tmp_path / "a"], stdout=subprocess.PIPE, check=False, timeout=30)
    shutil.rmtree(tmp_path / "a")
    ours = Instance(tmp_path / "b", "process")
    assert len(ours.dead()) == 1
    assert ours.leftovers() == []
    assert ours.dead() == []


def test_closing_leaves_nothing(tmp_path: Path) -> None:
    ours = Instance(tmp_path, "process")
    assert ours.directory.stat().st_mode & 0o777 == 0o700
    ours.close()
    assert list(tmp_path.iterdir()) == []
