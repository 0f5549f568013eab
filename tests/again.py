"""Repeats, alone, the few tests that failed in the last `make test`; `.ci/run` calls this.

A test that fails beside others and passes alone needs a less busy machine. It is named as such, so that somebody can
mend its cause. The exit status is 0 only if the last run went to its end, at most `MAX_FAILED` tests had failed, and
all of them pass now.

The suite has 6,300 tests, most of them of real parts: kernels, databases, engines and browsers, three at once on two
processors. A machine that is busy with other work as well can make a dozen of them fail for want of processor time
alone. More than `MAX_FAILED` mean that something is broken.
"""

import json
import subprocess
import sys
from pathlib import Path

MAX_FAILED = 20
ROOT = Path(__file__).parent.parent
CACHE = ROOT / ".pytest_cache"
UNFINISHED = CACHE / "unfinished"
"""`make test` makes this file when it begins, and removes it once each of its parts has run to the end."""
PARTS = {CACHE: ".venv", CACHE / "dashboard": ".venv-dashboard"}
"""The cache directory of each part of `make test`, and the environment that the part runs in."""


def failed_in(cache: Path) -> list[str]:
    file = cache / "v" / "cache" / "lastfailed"
    return sorted(json.loads(file.read_text())) if file.exists() else []


def main() -> int:
    if UNFINISHED.exists():
        print("== not repeated: the last run of the tests did not reach its end")
        return 1
    failed = {cache: failed_in(cache) for cache in PARTS}
    count = sum(map(len, failed.values()))
    if not 0 < count <= MAX_FAILED:
        print(f"== not repeated: {count} tests failed, and only 1 to {MAX_FAILED} are")
        return 1
    status = 0
    for cache, names in failed.items():
        if names:
            python = ROOT / PARTS[cache] / "bin" / "python"
            run = [python, "-m", "pytest", "-o", f"cache_dir={cache}", *names]
            status = status or subprocess.run(run, cwd=ROOT, check=False).returncode
    if status == 0:
        print("== these tests failed beside others and passed alone; mend their causes:")
        print(*(f"   {name}" for names in failed.values() for name in names), sep="\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
