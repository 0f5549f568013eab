"""Libraries are imported in a thread, and the event loop runs on meanwhile."""

import ast
import subprocess
import sys
import threading
from pathlib import Path

import anyio
import pytest

from codeact.thread_imports import import_in_thread

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[2]


async def test_the_loop_runs_on_while_several_callers_wait_for_one_import(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    monkeypatch.setattr(threading, "of_the_test", (begun, go_on), raising=False)
    (tmp_path / "slow_to_import.py").write_text(
        "import threading\nbegun, go_on = threading.of_the_test\n"
        "thread = threading.current_thread()\nbegun.set()\nassert go_on.wait(60)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    imported = []

    async def wait() -> None:
        await import_in_thread("slow_to_import")
        imported.append("slow_to_import" in sys.modules)

    async with anyio.create_task_group() as callers:
        callers.start_soon(wait)
        assert await anyio.to_thread.run_sync(begun.wait, 60)
        callers.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        assert not imported
        go_on.set()
    assert imported == [True, True]
    assert sys.modules.pop("slow_to_import").thread is not threading.current_thread()


def test_what_a_sign_in_imports_is_imported_beforehand() -> None:
    """Imports what its functions import, in a process that has imported nothing but `LIBRARIES`."""
    needed = set()
    for path in (ROOT / "server" / "login").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom) and node.col_offset:
                needed |= {node.module or ""} if isinstance(node, ast.ImportFrom) else {one.name for one in node.names}
    assert "authlib.common.errors" in needed
    code = f"""
import sys
from importlib import import_module
from codeact.server.login.provider import LIBRARIES
for name in LIBRARIES:
    import_module(name)
print(*(name for name in {sorted(needed)} if name not in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_a_server_starts_without_the_libraries_that_its_parts_import_later() -> None:
    later = ("aiohttp", "kubernetes_asyncio", "litellm", "mcp", "openai")
    code = f"import sys, codeact.server.app; print([name for name in {later} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
