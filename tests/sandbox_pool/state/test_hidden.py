"""What a kernel has besides its variables comes back from a checkpoint, or is named as not saved."""

import pytest

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
