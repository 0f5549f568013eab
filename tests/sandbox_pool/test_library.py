"""The library on its own, as its page describes it: the example runs, nothing is printed, and importing it is cheap."""

import os
import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "sandbox_pool.md"
HEAVY = ("docker", "jupyter_client", "structlog", "IPython", "litellm", "pymongo")


def run(script: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        # Without an engine it must work, and does not depend on what this machine has.
        "DOCKER_HOST": f"unix://{tmp_path}/none.sock",
    }
    return subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True, timeout=100
    )


def test_the_example_of_its_page_runs_and_prints_nothing_of_its_own(tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    ran = run(example, tmp_path)
    assert ran.stdout == "42\n"
    assert "backend found" not in ran.stderr
    assert "Traceback" not in ran.stderr


def test_with_logging_configured_it_tells_which_backend_it_found_and_why(tmp_path: Path) -> None:
    script = (
        "import anyio, logging\n"
        "logging.basicConfig(level='INFO')\n"
        "from sandbox_pool import SandboxPool\n"
        "async def main():\n"
        "    async with SandboxPool(min_size=0) as pool:\n"
        "        print(pool.backend.name)\n"
        "anyio.run(main)\n"
    )
    ran = run(script, tmp_path)
    assert ran.stdout == "process\n"
    assert (
        "INFO:sandbox_pool.pool.opening:backend found backend='process' why='no Docker engine can be used'"
        in ran.stderr
    )


def test_importing_it_loads_nothing_heavy(tmp_path: Path) -> None:
    ran = run(f"import sandbox_pool, sys; print([name for name in {HEAVY!r} if name in sys.modules])", tmp_path)
    assert ran.stdout == "[]\n"
