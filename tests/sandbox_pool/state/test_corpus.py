"""Each object of the corpus comes back equal from a checkpoint, or is named as not saved. Every backend."""

import json

import pytest

from sandbox_pool.sandbox.sandbox import Sandbox
from tests.sandbox_pool.conftest import StartSandbox, text
from tests.sandbox_pool.state.corpus import LIBRARIES, NOT_SAVED, cases
from tests.sandbox_pool.state.parts import Parts

pytestmark = pytest.mark.anyio

LOOK = """
import json as _json
_found = {{}}
for _name, _look in _json.loads({looks!r}).items():
    try:
        _found[_name] = repr(eval(_look))
    except BaseException as _error:
        _found[_name] = f"!{{type(_error).__name__}}: {{_error}}"
print(_json.dumps(_found))
"""


async def installed(sandbox: Sandbox) -> list[str]:
    names = [name for name in LIBRARIES if name]
    outputs, _ = await sandbox.run(
        f"import importlib.util\nprint(*[name for name in {names} if importlib.util.find_spec(name)])"
    )
    return ["", *text(outputs).split()]


async def looks_of(sandbox: Sandbox, looks: dict[str, str]) -> dict[str, str]:
    outputs, result = await sandbox.run(LOOK.format(looks=json.dumps(looks)))
    assert result.status == "ok", outputs
    found: dict[str, str] = json.loads(text(outputs))
    return found


async def test_each_object_comes_back_equal_or_is_named(start: StartSandbox) -> None:
    one, other = await start(), await start()
    libraries = await installed(one)
    if absent := LIBRARIES.keys() - set(libraries):
        print("skipped, for want of the library:", *sorted(absent))
    looks: dict[str, str] = {}
    for library in libraries:
        found = cases(LIBRARIES[library])
        outputs, result = await one.run("\n".join(statement for statement, _ in found))
        assert result.status == "ok", outputs
        for statement, look in found:
            if look:
                looks[statement.split(" = ")[0].split(",")[0].strip()] = look
    parts = Parts()
    checkpoint = await one.checkpoint(parts.store)
    restored = await other.restore(checkpoint.manifest, parts.fetch)
    before, after = await looks_of(one, looks), await looks_of(other, looks)
    assert not [name for name, seen in before.items() if seen.startswith("!")]
    unsaved = {each.name: each.reason for each in restored.unsaved}
    wrong = {name: (seen, after[name]) for name, seen in before.items() if after[name] != seen and name not in unsaved}
    assert wrong == {}
    assert unsaved.keys() <= NOT_SAVED
    assert len(looks) >= 200
