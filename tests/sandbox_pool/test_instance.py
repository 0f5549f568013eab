"""A process that lives is told from one that died, whatever way it died."""

import subprocess
import sys
from pathlib import Path

from sandbox_pool.backends.instance import Instance

DIES = """
import os, sys
from pathlib import Path
from sandbox_pool.backends.instance import Instance
instance = Instance(Path(sys.argv[1]))
print(instance.id, flush=True)
os.kill(os.getpid(), 9)
"""


def test_a_killed_process_leaves_a_directory_that_is_dead(tmp_path: Path) -> None:
    died = subprocess.run([sys.executable, "-c", DIES, tmp_path], stdout=subprocess.PIPE, text=True, timeout=30)
    ours = Instance(tmp_path)
    assert ours.dead() == [tmp_path / died.stdout.strip()]
    ours.close()


def test_living_instances_never_count_as_dead(tmp_path: Path) -> None:
    first, second = Instance(tmp_path), Instance(tmp_path)
    assert first.dead() == []
    assert second.dead() == []
    first.close()
    assert second.dead() == []
    second.close()


def test_closing_leaves_nothing(tmp_path: Path) -> None:
    instance = Instance(tmp_path)
    assert instance.directory.stat().st_mode & 0o777 == 0o700
    instance.close()
    instance.close()
    assert list(tmp_path.iterdir()) == []


def test_closing_with_a_sandbox_left_leaves_it_to_the_next_start(tmp_path: Path) -> None:
    instance = Instance(tmp_path)
    (instance.directory / "sandbox").mkdir()
    instance.close()
    assert Instance(tmp_path).dead() == [instance.directory]
