"""What a kernel has besides its variables comes back from a checkpoint, or is named as not saved."""

import pytest

from sandbox_pool.checkpoint import StateLimits
from sandbox_pool.outputs import Stream
from tests.sandbox_pool.conftest import StartSandbox
from tests.sandbox_pool.state.hidden import CASES
from tests.sandbox_pool.state.parts import BACKENDS, Parts
from tests.sandbox_pool.state.test_corpus import looks_of

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("backend", BACKENDS, indirect=True)
async def test_what_a_kernel_has_besides_its_variables_comes_back_or_is_named(start: StartSandbox) -> None:
    one, other = await start(), await start()
    for code, _, _ in CASES:
        outputs, result = await one.run(code)
        assert result.status == "ok", (code, outputs)
    parts = Parts()
    checkpoint = await one.checkpoint(parts.store)
    restored = await other.restore(checkpoint.manifest, parts.fetch)
    unsaved = {each.name for each in restored.unsaved}
    looks = {str(number): look for number, (_, look, _) in enumerate(CASES)}
    before, after = await looks_of(one, looks), await looks_of(other, looks)
    wrong = {
        look: (before[str(number)], after[str(number)])
        for number, (_, look, name) in enumerate(CASES)
        if before[str(number)] != after[str(number)] and name not in unsaved
    }
    assert wrong == {}
    # What comes back is not named, and nothing else is: a person would believe that it is lost.
    assert unsaved == {name for _, _, name in CASES if name}


ACTING = """
class Log:
    def __init__(self, path):
        self.path = path
        open(path, "w").close()

    def __reduce__(self):
        return Log, (self.path,)

    def __del__(self):
        import os
        os.remove(self.path)

log = Log("log.txt")
with open("log.txt", "w") as file:
    _n = file.write("kept")
"""


@pytest.mark.parametrize("backend", BACKENDS[:1], indirect=True)
async def test_a_checkpoint_changes_no_file_by_methods_of_objects(start: StartSandbox) -> None:
    one = await start()
    await one.run(ACTING)
    checkpoint = await one.checkpoint(Parts().store)
    outputs, result = await one.run("print(open('log.txt').read())")
    assert result.status == "ok", outputs
    assert [output.text for output in outputs if isinstance(output, Stream)] == ["kept\n"]
    assert "log" in {each.name for each in checkpoint.manifest.names()}


BROKEN = """
import functools, logging, os, sys, threading, time, types, warnings
import numpy as np
class Meta(type):
    def __getattribute__(kind, name):
        if name in ("__module__", "__name__", "__qualname__"): raise ValueError("no name")
        return type.__getattribute__(kind, name)
class Nameless(metaclass=Meta): pass
class Proxy:
    @property
    def __class__(self): raise RuntimeError("working outside of a context")
proxy = types.ModuleType("math").__class__ and Proxy()
logging.current = Proxy()
class Slow:
    def __reduce__(self):
        while True: time.sleep(0.01)
slow = Slow()
class Thread(threading.Thread):
    @property
    def name(self): raise OSError("no name")
    @name.setter
    def name(self, value): pass
Thread(target=time.sleep, args=(600,), daemon=True).start()
class Bad(logging.Logger):
    handlers = property(lambda self: 1 / 0, lambda self, handlers: None)
logging.root.manager.loggerDict["bad"] = Bad("x")
fine = [1, 2]
also = np.arange(5)
def doubled(x): return 2 * x
open("kept.txt", "w").write("kept")
"""


@pytest.mark.parametrize("backend", BACKENDS[:1], indirect=True)
async def test_one_part_that_fails_or_hangs_is_named_and_the_rest_is_saved(start: StartSandbox) -> None:
    one, other = await start(), await start()
    outputs, result = await one.run(BROKEN)
    assert result.status == "ok", outputs
    parts = Parts()
    limits = StateLimits(group_s=0.2, deadline_s=60.0)
    restored = await other.restore((await one.checkpoint(parts.store, limits=limits)).manifest, parts.fetch)
    reasons = {each.name: each.reason for each in restored.unsaved}
    assert {"fine", "also", "doubled"} <= set(restored.names), str(reasons)
    assert restored.files == ("kept.txt",)
    assert reasons["slow"] == "it took too long"
    assert reasons["proxy"] == "RuntimeError: working outside of a context"
    assert reasons["threads and processes"] == "OSError: no name"
    assert "division by zero" in reasons["handlers of signals and of logging"]


LOOKS = (
    ("kernel_state_modules", "changed_attributes"),
    ("kernel_state_modules", "own_attributes"),
    ("kernel_state_imports", "added_modules"),
    ("kernel_state_process", "lasting_calls"),
    ("kernel_state_process", "filled_caches"),
    ("kernel_state_process", "running_beside"),
    ("kernel_state_files", "empty_directories"),
    ("kernel_state_classes", "order_of_subclasses"),
    ("kernel_state_settings", "mark_figures"),
    ("kernel_state_names", "containers_of_workspace"),
)
BREAK = """
import sys
def broken(*arguments): raise RuntimeError("broken")
for module, name in {looks!r}:
    held = sys.modules["kernel_state_save"]
    target = held if hasattr(held, name) else sys.modules[module]
    setattr(target, name, broken)
    setattr(sys.modules[module], name, broken)
kept = [1]
"""


@pytest.mark.parametrize("backend", BACKENDS[:1], indirect=True)
async def test_each_look_that_fails_is_named_and_the_rest_is_saved(start: StartSandbox) -> None:
    one = await start()
    outputs, result = await one.run(BREAK.format(looks=LOOKS))
    assert result.status == "ok", outputs
    manifest = (await one.checkpoint(Parts().store)).manifest
    assert {"broken", "kept"} <= {each.name for each in manifest.names()}
    failed = [each.name for each in manifest.unsaved if each.reason == "RuntimeError: broken"]
    assert len(failed) == len(LOOKS)
