"""Prints the path of an installed Python that is newer than this one and supported by codeact, or why there is none."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

NEWEST = 13


def candidates() -> list[str]:
    """Returns possible paths of newer Pythons, the newest first: those in PATH before those of pyenv."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found: list[str] = []
    for minor in range(NEWEST, sys.version_info.minor, -1):
        named = shutil.which(f"python3.{minor}")
        installed = sorted(pyenv.glob(f"3.{minor}.*/bin/python3.{minor}"))
        found += [named] if named else []
        found += map(str, installed[::-1])
    return found


def works(python: str) -> bool:
    """Returns whether this Python runs and has `venv`. A launcher of pyenv may exist without its Python."""
    code = f"import sys, venv; sys.exit(not {sys.version_info[:2]} < sys.version_info[:2] <= (3, {NEWEST}))"
    return subprocess.run([python, "-c", code], capture_output=True, check=False).returncode == 0


def main() -> int:
    found = next(filter(works, candidates()), None)
    if found is None:
        here = f"{sys.version_info.major}.{sys.version_info.minor}"
        print(f"skipped: no Python newer than {here}, up to 3.{NEWEST}, is in PATH or in pyenv", file=sys.stderr)
        return 1
    print(found)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
