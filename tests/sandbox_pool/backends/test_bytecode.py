"""A local kernel compiles nothing: what it imports has bytecode, which it could not write itself."""

import json
import py_compile
import subprocess
import sys
from importlib.util import cache_from_source
from pathlib import Path

import pytest

from sandbox_pool.backends.base import Backend
from sandbox_pool.backends.process.interpreter import PROBE
from sandbox_pool.sandbox.sandbox import Sandbox
from tests.sandbox_pool.conftest import DEADLINE_S, SPEC, make_backend, new_id

LACKING = """
import os, sys
specs = [spec for module in list(sys.modules.values()) if (spec := getattr(module, "__spec__", None)) and spec.cached]
assert "kernel_shell" in [spec.name for spec in specs]
lacking = [spec.name for spec in specs if not os.path.exists(spec.cached)]
assert lacking == [], lacking
"""


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["process", "plain"])
async def test_every_module_of_a_kernel_has_bytecode(kind: str, tmp_path: Path) -> None:
    backend: Backend = await make_backend(kind, tmp_path)
    sandbox = await Sandbox.start(backend, new_id(), SPEC, deadline_s=DEADLINE_S)
    _, result = await sandbox.run(LACKING)
    await sandbox.close()
    await backend.close()
    assert result.status == "ok", result.error


def test_a_module_is_compiled_although_its_package_is_already(tmp_path: Path) -> None:
    """The server imports a part of the packages that a kernel imports."""
    package = tmp_path / "half_compiled"
    package.mkdir()
    for name in ("__init__", "leaf"):
        (package / f"{name}.py").write_text("")
    py_compile.compile(str(package / "__init__.py"))
    asked = json.dumps({"modules": ["half_compiled.leaf"], "programs": []})
    subprocess.run([sys.executable, "-c", PROBE, asked], env={"PYTHONPATH": str(tmp_path)}, check=True)
    assert Path(cache_from_source(str(package / "leaf.py"))).exists()
