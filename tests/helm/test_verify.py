"""`helm/verify.sh` without a cluster: its shell is sound, and what is missing is named."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

VERIFY = Path(__file__).parents[2] / "helm" / "verify.sh"
SHELLCHECK = shutil.which("shellcheck")


def run(*arguments: str, path: str = os.defpath) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([VERIFY, *arguments], env={"PATH": path}, capture_output=True, text=True, check=False)


@pytest.mark.skipif(SHELLCHECK is None, reason="shellcheck is not there: apt install shellcheck")
def test_shellcheck_has_no_complaint() -> None:
    assert SHELLCHECK is not None
    found = subprocess.run([SHELLCHECK, VERIFY], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, "")


def kubectl(tmp_path: Path, script: str) -> str:
    """A search path with a `kubectl` of this script."""
    program = tmp_path / "kubectl"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return f"{tmp_path}:{os.defpath}"


@pytest.mark.parametrize(
    ("arguments", "script", "words"),
    [
        (["-c", "many"], "exit 0", "-c takes a number"),
        (["-c", "0"], "exit 0", "-c takes a number"),
        ([], "echo connection refused; exit 1", "does not answer kubectl: connection refused"),
        (["-n", "none"], '[ "$2" != namespace ]', "no namespace none"),
        ([], "exit 0", "Name the sandboxes' image with -i"),
    ],
)
def test_what_is_missing_is_named_before_anything_is_created(
    tmp_path: Path, arguments: list[str], script: str, words: str
) -> None:
    record = tmp_path / "created"
    script = f'case "$*" in *create*) touch {record};; esac\n{script}'
    found = run(*arguments, path=kubectl(tmp_path, script))
    assert found.returncode == 2, found
    assert words in found.stderr
    assert not record.exists()
