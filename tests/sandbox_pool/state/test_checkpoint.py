"""Checkpoints and restorations of real kernels."""

import pytest

from sandbox_pool.checkpoint import StateLimits, encode_manifest, to_manifest
from sandbox_pool.errors import SandboxBusy
from sandbox_pool.sandbox.sandbox import Sandbox
from tests.sandbox_pool.conftest import StartSandbox, value
from tests.sandbox_pool.state.parts import Parts

pytestmark = pytest.mark.anyio

BLOCK = """
import os, random, threading
import numpy as np
random.seed(3); np.random.seed(4)
shared = [1, 2]
holder = {"shared": shared}
array = np.arange(10_000.0)
view = array[10:20]
count = 0
def add(number):
    global count
    count += number
    return count
class Point:
    def __init__(self, x): self.x = x
    def doubled(self): return Point(self.x * 2)
point = Point(4)
def counter():
    number = 0
    def up():
        nonlocal number
        number += 1
        return number
    def read(): return number
    return up, read
up, read = counter()
up()
lock = threading.Lock()
lazy = (each for each in range(3))
os.makedirs("sub")
open("sub/a.txt", "w").write("hello")
file = open("sub/a.txt")
os.environ["COLOUR"] = "blue"
os.chdir("sub")
"""
LOOK = """
array[12] = -1
print(holder["shared"] is shared, view[2], array.sum(), add(3), count, point.doubled().x, type(point) is Point,
      up(), read(), os.path.basename(os.getcwd()), open("a.txt").read(), os.environ["COLOUR"], random.random(),
      np.random.rand())
"""


async def test_a_kernel_goes_on_in_another_sandbox(start: StartSandbox) -> None:
    one, other = await start(), await start()
    _, result = await one.run(BLOCK)
    assert result.status == "ok"
    parts = Parts()
    checkpoint = await one.checkpoint(parts.store)
    assert to_manifest(encode_manifest(checkpoint.manifest)) == checkpoint.manifest
    reasons = {each.name: each.reason for each in checkpoint.manifest.unsaved}
    assert reasons.keys() == {"file"}
    assert reasons["file"] == "an open file"
    again = await one.checkpoint(parts.store, since=checkpoint.manifest)
    assert again.new_bytes < 20_000

    restored = await other.restore(checkpoint.manifest, parts.fetch)
    assert set(restored.names) == {name.name for name in checkpoint.manifest.names()}
    assert restored.files == ("sub/a.txt",)
    assert restored.rerun == ("lock", "lazy")
    assert {each.name for each in restored.unsaved} == reasons.keys()
    assert (await one.run(LOOK))[0] == (await other.run(LOOK))[0]


async def test_a_checkpoint_is_refused_while_code_runs(shared: Sandbox) -> None:
    async with shared.execute("while True: pass") as execution:
        with pytest.raises(SandboxBusy):
            await shared.checkpoint(Parts().store)
        await execution.aclose()
    assert await value(shared, "1 + 1") == "2"


CHANGES = """
import math, collections, json
math.pi = 3
math.root = lambda x: x + 1
collections.Counter.best = lambda self: 2
setattr(math, "answer", 42)
del math.tau
json.mine = [1]
def patch():
    import string as s
    s.digits = "x"
patch()
"""
MADE = """
import queue, threading, time
def numbers(n):
    yield from range(n)
with open("a.txt", "w") as _: _.write("hello")
lock, kept = threading.Lock(), []
lock = threading.Lock()
event = threading.Event()
fresh = numbers(3)
squares = (n * n for n in range(4))
work = queue.Queue()
file = open("a.txt")
begun, again, given = numbers(3), numbers(3), numbers(3)
begun = numbers(3)
again = numbers(3)
given = numbers(len(kept))
filled = queue.Queue()
read = open("a.txt")
held = threading.Lock()
written = open("b.txt", "w")
drawn = numbers(int(time.time()))
"""
USED = """
with lock: pass
next(begun)
filled.put(1)
read.read(2)
held.acquire()
def use(): return next(again)
"""


@pytest.mark.parametrize("backend", ["process"], indirect=True)
async def test_what_code_puts_into_modules_comes_back_or_is_named(start: StartSandbox) -> None:
    one, other = await start(), await start()
    await one.run(CHANGES)
    parts = Parts()
    manifest = (await one.checkpoint(parts.store)).manifest
    await other.restore(manifest, parts.fetch)
    look = "math.pi, math.root(1), collections.Counter().best(), math.answer, __import__('string').digits"
    assert await value(other, look) == "3 2 2 42 x"
    assert {each.name for each in manifest.unsaved} == {"math.tau", "json.mine"}
    # The next checkpoint knows them, although the blocks that changed them ran in another kernel.
    again = (await other.checkpoint(parts.store, since=manifest)).manifest
    settings = [
        name.name for unit in again.units if unit.kind == "settings" for group in unit.groups for name in group.names
    ]
    assert {"attribute math.pi", "attribute string.digits", "attribute math.answer"} <= set(settings)


@pytest.mark.parametrize("backend", ["process"], indirect=True)
async def test_what_one_statement_certainly_makes_again_is_made_again_and_the_rest_is_named(
    start: StartSandbox,
) -> None:
    one, other = await start(), await start()
    for block in (MADE, USED):
        assert (await one.run(block))[1].status == "ok"
    parts = Parts()
    manifest = (await one.checkpoint(parts.store)).manifest
    restored = await other.restore(manifest, parts.fetch)
    assert set(restored.rerun) == {"lock", "event", "fresh", "squares", "work", "file"}
    not_certain = {"begun", "again", "given", "filled", "read", "held", "written", "drawn"}
    assert {each.name for each in restored.unsaved} == not_certain
    look = "list(fresh), list(squares), work.qsize(), file.read(), lock.locked(), event.is_set()"
    assert await value(other, look) == "[0, 1, 2] [0, 1, 4, 9] 0 hello False False"
    # Once they are used, they are named.
    used = (await other.checkpoint(parts.store)).manifest
    assert {each.name for each in used.unsaved} == {"fresh", "squares", "work", "file"}


@pytest.mark.parametrize("code", ["x = eval('lazy')", "globals()['lazy']", "from math import *", "y = lazy"])
@pytest.mark.parametrize("backend", ["process"], indirect=True)
async def test_code_that_may_have_used_a_value_leaves_it_named(shared: Sandbox, code: str) -> None:
    assert (await shared.run(f"lazy = (n for n in range(3))\n{code}"))[1].status == "ok"
    manifest = (await shared.checkpoint(Parts().store)).manifest
    assert "lazy" in {each.name for each in manifest.unsaved}


@pytest.mark.parametrize(
    ("blocks", "name"),
    [
        # The last block fails before its statement that binds the name.
        (["import threading\nx = threading.Event()", "x.set()", "1 / 0\nx = threading.Event()"], "x"),
        (["import queue\nq = queue.Queue()", "q.put(1)", "q2 = 1\nexit()\nq = queue.Queue()"], "q"),
        (["g = (q.put(n) for n in range(3))\nimport queue\nq = queue.Queue()", "next(g)"], "q"),
        (["import queue\na = queue.Queue()\na.put(1)\nq = queue.Queue()", "match a:\n  case q: pass"], "q"),
        (["import threading\na = threading.Lock()\nb = threading.Lock()", "exec('b = a')"], "b"),
        (["import queue\nclass Queue: __reduce__ = None\nqueue.Queue = Queue", "x = queue.Queue()"], "x"),
    ],
)
@pytest.mark.parametrize("backend", ["process"], indirect=True)
async def test_what_a_statement_does_not_certainly_make_again_is_named(
    start: StartSandbox, blocks: list[str], name: str
) -> None:
    one, other = await start(), await start()
    for block in blocks:
        await one.run(block)
    parts = Parts()
    restored = await other.restore((await one.checkpoint(parts.store)).manifest, parts.fetch)
    assert name in {each.name for each in restored.unsaved}


DEFINED = """
import random, threading
class Fine:
    limit: int = 3
    lock = threading.Lock()
    def f(self, by=2): return by
class Counted(Fine):
    number = 0
    lock = threading.Lock()
    def f(self): return 1
class Drawn:
    number, lock = random.random(), threading.Lock()
    def f(self): return 1
class Patched:
    lock = threading.Lock()
    def f(self): return 1
class Called:
    lock = threading.Lock()
    def f(self): return 1
def fine(lock=threading.Lock(), by=2): return by
def marked(lock=threading.Lock()): return 1
def held(lock=threading.Lock()): return 1
def full(lock=threading.Lock(), found=[]): return found
Counted.number = 5
Patched.f = lambda self: 2
Called.__call__ = lambda self: 2
marked.calls = 1
held.__defaults__[0].acquire()
full().append(1)
"""


@pytest.mark.parametrize("backend", ["process"], indirect=True)
async def test_definitions_come_back_by_their_source_only_if_nothing_has_changed_them(start: StartSandbox) -> None:
    one, other = await start(), await start()
    await one.run(DEFINED)
    parts = Parts()
    restored = await other.restore((await one.checkpoint(parts.store)).manifest, parts.fetch)
    assert set(restored.rerun) == {"Fine", "fine"}
    assert {each.name for each in restored.unsaved} == {
        "Counted",
        "Drawn",
        "Patched",
        "Called",
        "marked",
        "held",
        "full",
    }
    assert await value(other, "Fine().f(), Fine.limit, fine()") == "2 3 2"


@pytest.mark.parametrize("backend", ["process"], indirect=True)
async def test_what_ran_before_a_block_failed_is_made_again(start: StartSandbox) -> None:
    one, other = await start(), await start()
    await one.run("import threading\nlock = threading.RLock()\nlazy = (n for n in range(3))\n1 / 0")
    parts = Parts()
    restored = await other.restore((await one.checkpoint(parts.store)).manifest, parts.fetch)
    assert (set(restored.rerun), restored.unsaved) == ({"lock", "lazy"}, ())


@pytest.mark.parametrize("backend", ["process"], indirect=True)
async def test_names_that_ipython_uses_come_back_if_the_code_has_bound_them(start: StartSandbox) -> None:
    one, other = await start(), await start()
    await one.run(
        "import warnings\nwarnings.warn('noted')\ndel warnings\n"
        "def open(path): return 'mine'\nquit = 3\n__version__ = '1.2'\nnumber: int = 1\nnumber"
    )
    parts = Parts()
    manifest = (await one.checkpoint(parts.store)).manifest
    restored = await other.restore(manifest, parts.fetch)
    assert (sorted(restored.names), restored.unsaved) == (["__version__", "number", "open", "quit"], ())
    assert await value(other, "open('x'), quit, __version__") == "mine 3 1.2"


async def test_files_and_names_for_which_there_is_no_room_are_named(start: StartSandbox) -> None:
    sandbox = await start()
    await sandbox.run(
        "import os\nopen('large.bin', 'wb').write(os.urandom(900_000))\nopen('small.txt', 'w').write('hello')\n"
        "globals().update({f'n{number}': number for number in range(25_000)})"
    )
    manifest = (await sandbox.checkpoint(Parts().store, limits=StateLimits(total_bytes=800_000))).manifest
    assert [file.path for file in manifest.files] == ["small.txt"]
    assert len(manifest.names()) > 1_000
    reasons = {each.name: each.reason for each in manifest.unsaved}
    assert reasons["large.bin"] == "the checkpoint would have more than 800,000 bytes"
    assert len(reasons) > 1_000


FORK = """
import os, signal
child = os.fork()
if child == 0:
    signal.pause()
"""


@pytest.mark.parametrize("backend", ["process"], indirect=True)
async def test_only_the_changed_parts_of_large_arrays_are_sent(start: StartSandbox) -> None:
    one, other = await start(), await start()
    await one.run("import numpy as np\nlarge = np.arange(5_000_000.0)")
    parts = Parts()
    manifest = (await one.checkpoint(parts.store)).manifest
    for index, before in ((7, ""), (2_500_000, ""), (4_999_999, FORK)):
        await one.run(f"{before}\nlarge[{index}] = -{index}")
        changed = await one.checkpoint(parts.store, since=manifest)
        manifest = changed.manifest
        assert 0 < changed.new_bytes < 600_000
    await one.run("os.kill(child, 9)\n_ = os.waitpid(child, 0)")
    await other.restore(manifest, parts.fetch)
    look = "float(large.sum()), float(large[7]), float(large[2_500_000]), float(large[-1])"
    assert await value(other, look) == await value(one, look)


@pytest.mark.parametrize("backend", ["process"], indirect=True)
async def test_an_array_of_zeros_in_the_memory_of_another_one_is_no_unchanged_part(start: StartSandbox) -> None:
    one, other = await start(), await start()
    # As on machines where pages are never huge: fresh memory that is only read consists of the system's page of zeros.
    await one.run("import ctypes\nassert ctypes.CDLL(None).prctl(41, 1, 0, 0, 0) == 0  # PR_SET_THP_DISABLE")
    await one.run("import numpy as np\nlarge = np.ones(5_000_000)\nplace = large.ctypes.data")
    parts = Parts()
    manifest = (await one.checkpoint(parts.store)).manifest
    await one.run("del large\nzeros = np.zeros(5_000_000)\ntotal = zeros.sum()")
    manifest = (await one.checkpoint(parts.store, since=manifest)).manifest
    await other.restore(manifest, parts.fetch)
    assert await value(one, "place == zeros.ctypes.data") == "True"  # Else this test shows nothing.
    assert await value(other, "zeros.sum() == total == 0") == "True"


@pytest.mark.parametrize("backend", ["process"], indirect=True)
async def test_an_array_that_was_moved_into_the_memory_of_another_one_is_no_unchanged_part(start: StartSandbox) -> None:
    one, other = await start(), await start()
    # Linux moves the memory of arrays of this size; that of larger ones is copied.
    await one.run(
        "import ctypes, numpy as np\nctypes.CDLL(None).mallopt(-3, 1_000_000)  # M_MMAP_THRESHOLD\n"
        "rest, moved, large = np.ones(6_000_000), np.arange(200_000), np.ones(400_000)\nplace = large.ctypes.data"
    )
    parts = Parts()
    manifest = (await one.checkpoint(parts.store)).manifest
    await one.run("del large\nmoved.resize(400_000, refcheck=False)")
    assert await value(one, "place == moved.ctypes.data") == "True"  # Else this test shows nothing.
    manifest = (await one.checkpoint(parts.store, since=manifest)).manifest
    await other.restore(manifest, parts.fetch)
    assert await value(other, "moved[5], moved.sum()") == await value(one, "moved[5], moved.sum()")


@pytest.mark.parametrize("backend", ["process"], indirect=True)
async def test_a_directory_that_is_nested_too_deeply_is_named(shared: Sandbox) -> None:
    await shared.run("import os\nos.makedirs('/'.join('d' * 40))\nopen('/'.join('d' * 40) + '/a.txt', 'w').close()")
    manifest = (await shared.checkpoint(Parts().store)).manifest
    assert "directories are nested more than 32 deep" in {each.reason for each in manifest.unsaved}
    await shared.run("import shutil\nshutil.rmtree('d')")


@pytest.mark.parametrize("backend", ["process"], indirect=True)
async def test_a_variable_of_the_environment_that_is_too_long_is_named(shared: Sandbox) -> None:
    await shared.run("import os\nos.environ['LONG'] = 'x' * 30_000")
    manifest = (await shared.checkpoint(Parts().store)).manifest
    assert "LONG" in {each.name for each in manifest.unsaved}
    await shared.run("del os.environ['LONG']")
