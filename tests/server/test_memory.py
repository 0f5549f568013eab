"""Memory that a large input took goes back to the system, and much of it costs no time of the garbage collector."""

import gc
import subprocess
import sys
from typing import get_args

import pytest

from codeact import events as e
from sandbox_pool.outputs import Output, Stream

CODE = """
import psutil, sys
from codeact.server.memory import give_memory_back
if sys.argv[1:] and not give_memory_back():
    print("unknown")
    raise SystemExit
rss = psutil.Process().memory_info
before = rss().rss
for size in (1_000_000, 9_000_000, 20_000_000):  # Each freed one raises the size from which glibc asks the system.
    bytes(size).hex()
held = []
for _ in range(6):
    blocks = [bytes(4_000_000).hex() for _ in range(4)]
    held.append("x" * 1_000)
    del blocks
print((rss().rss - before) // 1_000_000)
"""


def left_mb(*arguments: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", CODE, *arguments], check=True, capture_output=True, text=True, timeout=60
    ).stdout.strip()


def test_what_large_blocks_took_is_given_back() -> None:
    left = left_mb("give back")
    if left == "unknown":
        pytest.skip("the C library has no mallopt")
    assert int(left) <= 6


def test_what_code_shows_is_nothing_to_look_at_for_the_garbage_collector() -> None:
    """A block can make hundreds of thousands of outputs, and an event of each."""
    shown = Stream("stdout", "x")
    assert not gc.is_tracked(shown)
    assert not gc.is_tracked(e.CodeOutput(item_id="ci_1", output_index=0, output=shown))
    kinds = [*get_args(Output), *get_args(e.Event)]
    assert [kind for kind in kinds if kind.__struct_config__.gc] == []


def test_what_a_server_has_when_it_has_started_is_not_looked_at_again() -> None:
    code = """
import gc
import codeact.server.app
from codeact.server.memory import keep_startup_objects
keep_startup_objects()
print(gc.get_freeze_count(), len(gc.get_objects()))
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=120)
    frozen, watched = map(int, done.stdout.split())
    assert frozen > 10_000
    assert watched < 1_000
