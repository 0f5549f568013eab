"""The repetition of failed tests, with the caches that pytest leaves."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests import again


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of the first part; that of the dashboard's tests is beside it."""
    first, second = tmp_path / "one", tmp_path / "two"
    monkeypatch.setattr(again, "UNFINISHED", tmp_path / "unfinished")
    monkeypatch.setattr(again, "PARTS", {first: ".venv", second: ".venv-dashboard"})
    return first


def fail(cache: Path, *names: str) -> None:
    (cache / "v" / "cache").mkdir(parents=True)
    (cache / "v" / "cache" / "lastfailed").write_text(json.dumps(dict.fromkeys(names, True)))


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[list[Any]]:
    """The commands that are run. A test passes unless its name has "broken"."""
    made: list[list[Any]] = []

    def run(command: list[Any], **more: Any) -> Any:
        made.append(command)
        return subprocess.CompletedProcess(command, int(any("broken" in str(part) for part in command)))

    monkeypatch.setattr(subprocess, "run", run)
    return made


def test_failed_tests_of_both_parts_are_repeated_and_named(
    cache: Path, runs: list[list[Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"tests/test_a.py::test_{number}" for number in range(again.MAX_FAILED - 1)]
    fail(cache, *names)
    fail(cache.with_name("two"), "tests/test_b.py::test_b")
    assert again.main() == 0
    assert [run[-1] for run in runs] == [sorted(names)[-1], "tests/test_b.py::test_b"]
    assert ".venv-dashboard" in str(runs[1][0])
    said = capsys.readouterr().out
    assert all(name in said for name in (*names, "tests/test_b.py::test_b"))


def test_one_that_fails_again_fails_the_run(cache: Path, runs: list[list[Any]]) -> None:
    fail(cache, "tests/test_a.py::test_broken")
    assert again.main() == 1
    assert len(runs) == 1


def test_too_many_none_and_an_unfinished_run_are_not_repeated(cache: Path, runs: list[list[Any]]) -> None:
    assert again.main() == 1
    fail(cache, *(f"tests/test_a.py::test_{number}" for number in range(again.MAX_FAILED + 1)))
    assert again.main() == 1
    fail(cache.with_name("two"), "tests/test_b.py::test_b")
    again.UNFINISHED.touch()
    assert again.main() == 1
    assert runs == []
