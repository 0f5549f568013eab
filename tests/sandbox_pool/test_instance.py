"""What a dead process left is told from what a living one has, whatever way it died."""

import subprocess
import sys
from pathlib import Path

from sandbox_pool.backends.instance import Instance

DIES = """
import os, sys
from pathlib import Path
from sandbox_pool.backends.instance import Instance
print(Instance(Path(sys.argv[1])).create("left"), flush=True)
os.kill(os.getpid(), 9)
"""


def test_what_a_killed_process_had_is_left_over(tmp_path: Path) -> None:
    died = subprocess.run([sys.executable, "-c", DIES, tmp_path], stdout=subprocess.PIPE, text=True, timeout=30)
    ours = Instance(tmp_path)
    assert ours.leftovers() == [Path(died.stdout.strip())]
    ours.close()


def test_what_living_processes_have_is_never_left_over(tmp_path: Path) -> None:
    first, second = Instance(tmp_path), Instance(tmp_path)
    first.create("one")
    second.create("two")
    assert first.leftovers() == []
    assert second.leftovers() == []
    first.close()
    second.close()


def test_a_dead_process_that_had_nothing_leaves_no_trace(tmp_path: Path) -> None:
    died = subprocess.run([sys.executable, "-c", DIES, tmp_path], stdout=subprocess.PIPE, text=True, timeout=30)
    Path(died.stdout.strip()).rmdir()
    ours = Instance(tmp_path)
    assert ours.leftovers() == []
    assert list(tmp_path.iterdir()) == [ours.directory]
    ours.close()


def test_closing_leaves_nothing(tmp_path: Path) -> None:
    instance = Instance(tmp_path)
    assert instance.directory.stat().st_mode & 0o777 == 0o700
    instance.close()
    assert list(tmp_path.iterdir()) == []
