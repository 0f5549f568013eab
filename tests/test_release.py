"""The release script, with the test's own small repository, whose `make` only records its calls."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "release.py"
PROJECT = '[project]\nname = "codeact"\nversion = "0.1.0"\n\n[tool.other]\nversion = "7"\n'
CHANGELOG = "# Changelog\n\n## [Unreleased]\n\n### Added\n- Sandboxes.\n\n## [0.0.9] - 2026-01-01\n- First.\n"
README = "# codeact\n\n    codeact 0.1.0  http://localhost:8000\n"
MAKEFILE = "check test docs wheel image-dashboard:\n\t@echo $@ $(IMAGE) >> made\n"

Release = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "repository"
    (root / "scripts").mkdir(parents=True)
    files = {"pyproject.toml": PROJECT, "CHANGELOG.md": CHANGELOG, "README.md": README, "Makefile": MAKEFILE}
    for name, text in {**files, ".gitignore": "made\n", "scripts/release.py": SCRIPT.read_text()}.items():
        (root / name).write_text(text)
    for command in (("init", "-q", "-b", "main"), ("add", "."), ("commit", "-qm", "Begin")):
        git(root, *command)
    return root


@pytest.fixture
def release(repository: Path, tmp_path: Path) -> Release:
    """Runs the script; `docker` only records that it was called."""
    (tmp_path / "bin").mkdir()
    docker = tmp_path / "bin" / "docker"
    docker.write_text('#!/bin/sh\necho "docker $*" >> made\n')
    docker.chmod(0o755)

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        environment = {"PATH": f"{docker.parent}:/usr/bin:/bin", **IDENTITY}
        command = [sys.executable, repository / "scripts" / "release.py", *arguments]
        return subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True, check=False)

    return run


IDENTITY = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "Test"), ("EMAIL", "test@example.org"))
}


def git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, env={"PATH": "/usr/bin:/bin", **IDENTITY}, capture_output=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode().strip()


def test_a_release_has_its_version_its_notes_its_artifacts_and_its_tag(repository: Path, release: Release) -> None:
    done = release("0.2.0")
    assert done.returncode == 0, done.stderr
    assert 'version = "0.2.0"\n\n[tool.other]\nversion = "7"' in (repository / "pyproject.toml").read_text()
    changelog = (repository / "CHANGELOG.md").read_text()
    assert changelog.index("## [Unreleased]\n\n## [0.2.0] - 20") < changelog.index("- Sandboxes.")
    assert "    codeact 0.2.0  http" in (repository / "README.md").read_text()
    made = (repository / "made").read_text().splitlines()
    assert [line.split()[0] for line in made] == ["check", "test", "docs", "wheel", "image-dashboard", *["docker"] * 2]
    assert git(repository, "describe") == "v0.2.0"
    assert git(repository, "log", "-1", "--format=%s") == "Release 0.2.0"
    assert git(repository, "status", "--porcelain") == ""
    assert "git push origin main v0.2.0" in done.stdout


def test_a_dry_run_shows_every_step_and_changes_nothing(repository: Path, release: Release) -> None:
    done = release("0.2.0", "--dry-run")
    assert done.returncode == 0, done.stderr
    for shown in ('+version = "0.2.0"', "+## [0.2.0] - ", "$ make test", "$ git tag --annotate v0.2.0", "Nothing was"):
        assert shown in done.stdout
    assert git(repository, "status", "--porcelain") == git(repository, "tag") == ""
    assert not (repository / "made").exists()


def test_a_step_that_fails_leaves_no_tag_and_puts_the_files_back(repository: Path, release: Release) -> None:
    (repository / "Makefile").write_text(f"{MAKEFILE}\t@test $@ != wheel\n")
    git(repository, "commit", "-qam", "Break the wheel")
    done = release("0.2.0")
    assert (done.returncode, "'make wheel' failed" in done.stderr) == (1, True)
    assert git(repository, "status", "--porcelain") == git(repository, "tag") == ""


@pytest.mark.parametrize(
    ("version", "reason"), [("two", "is no version"), ("0.0.9", "older than 0.1.0"), ("0.1.0rc1", "older than 0.1.0")]
)
def test_a_version_that_cannot_be_is_refused(release: Release, version: str, reason: str) -> None:
    done = release(version)
    assert (done.returncode, reason in done.stderr) == (1, True)


def test_the_version_that_stands_there_can_be_the_first_release(repository: Path, release: Release) -> None:
    assert release("0.1.0").returncode == 0
    again = release("0.1.0")
    assert (again.returncode, "The tag v0.1.0 exists" in again.stderr) == (1, True)


def test_a_checkout_that_is_not_main_as_it_stands_is_refused(repository: Path, release: Release) -> None:
    (repository / "new").touch()
    assert "has changes" in release("0.2.0").stderr
    (repository / "new").unlink()
    git(repository, "switch", "-qc", "other")
    assert "not from 'other'" in release("0.2.0").stderr


def test_a_release_without_notes_is_refused(repository: Path, release: Release) -> None:
    (repository / "CHANGELOG.md").write_text(CHANGELOG.replace("- Sandboxes.\n", ""))
    git(repository, "commit", "-qam", "Say nothing")
    assert "nothing below '## [Unreleased]'" in release("0.2.0").stderr


def test_this_repository_is_as_the_script_expects(tmp_path: Path) -> None:
    """Its files have the lines that the script changes, and its Makefile has the targets."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("release", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["release"] = module
    spec.loader.exec_module(module)
    root = SCRIPT.parents[1]
    edits = module.edits(root, "99.0.0", module.date(2099, 1, 1))
    assert [edit.path for edit in edits if edit.before != edit.after] == ["pyproject.toml", "CHANGELOG.md", "README.md"]
    targets = {command[1] for command in module.commands("99.0.0") if command[0] == "make"}
    made = subprocess.run(["make", "-n", *targets], cwd=root, capture_output=True, text=True, check=False)
    assert "No rule to make target" not in made.stderr
