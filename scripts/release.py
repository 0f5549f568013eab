"""Makes a release of this checkout: a commit, a tag, a wheel, images and the site.

    python scripts/release.py 0.2.0 --dry-run    shows what would change and run; changes nothing
    python scripts/release.py 0.2.0              does it, and says which commands publish it

It publishes nothing, so that somebody can check the result first (docs/releasing.md). It needs a clean checkout of the
branch `main`, notes below [Unreleased] in CHANGELOG.md, and a version that is not tagged yet.
"""

import argparse
import difflib
import re
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)(?:(a|b|rc)(\d+))?")
HEADING = "## [Unreleased]"
IMAGES = ("codeact", "codeact-dashboard")


class Refused(Exception):
    """The release cannot be made; the message says why, and what to do."""


@dataclass(frozen=True)
class Edit:
    """A change of one file: its path from the root, its old text and its new text."""

    path: str
    before: str
    after: str

    def diff(self) -> str:
        lines = (self.before.splitlines(), self.after.splitlines())
        return "\n".join(difflib.unified_diff(*lines, self.path, self.path, lineterm="", n=1))


def parsed(version: str) -> tuple[int, int, int, str, int]:
    """Parses a version so that versions compare in order: 0.2.0rc1 comes before 0.2.0. Raises `Refused`."""
    found = VERSION.fullmatch(version)
    if found is None:
        raise Refused(f"'{version}' is no version. Say 1.2.3, or 1.2.3rc1 for a pre-release.")
    major, minor, patch, stage, number = found.groups()
    return int(major), int(minor), int(patch), stage or "z", int(number or 0)


def with_version(project: str, version: str) -> str:
    """pyproject.toml with the new version. Raises `Refused` if that is older than the current one."""
    found = re.search(r'^version = "(.+)"$', project, re.MULTILINE)
    if found is None:
        raise Refused("pyproject.toml has no line `version = …`.")
    if parsed(version) < parsed(found[1]):
        raise Refused(f"{version} is older than {found[1]}, which pyproject.toml has.")
    return project[: found.start(1)] + version + project[found.end(1) :]


def with_section(changelog: str, version: str, day: date) -> str:
    """CHANGELOG.md with the notes below [Unreleased] as a section of the version. Raises `Refused`."""
    before, heading, rest = changelog.partition(f"{HEADING}\n")
    notes = rest.partition("\n## [")[0]
    if not heading or not re.search(r"^- ", notes, re.MULTILINE):
        raise Refused(f"CHANGELOG.md has nothing below '{HEADING}'. Say there what changed, one line for each change.")
    return f"{before}{heading}\n## [{version}] - {day.isoformat()}\n{rest}"


def with_banner(readme: str, version: str) -> str:
    """README.md with the version in its picture of a terminal."""
    return re.sub(r"^(    codeact )\S+(?=  http)", rf"\g<1>{version}", readme, flags=re.MULTILINE)


def edits(root: Path, version: str, day: date) -> list[Edit]:
    """All changes of files for the release. Raises `Refused`."""
    texts = {path: (root / path).read_text("utf-8") for path in ("pyproject.toml", "CHANGELOG.md", "README.md")}
    return [
        Edit("pyproject.toml", texts["pyproject.toml"], with_version(texts["pyproject.toml"], version)),
        Edit("CHANGELOG.md", texts["CHANGELOG.md"], with_section(texts["CHANGELOG.md"], version, day)),
        Edit("README.md", texts["README.md"], with_banner(texts["README.md"], version)),
    ]


def commands(version: str) -> list[list[str]]:
    """The commands to run after the files are changed, in order. The tag is last, so that it covers everything."""
    return [
        ["make", "check"],
        ["make", "test"],
        ["make", "docs"],
        ["make", "wheel"],
        ["make", "image-dashboard", f"IMAGE={IMAGES[0]}"],
        *(["docker", "tag", f"{image}:latest", f"{image}:{version}"] for image in IMAGES),
        ["git", "commit", "--all", "--message", f"Release {version}"],
        ["git", "tag", "--annotate", f"v{version}", "--message", f"codeact {version}"],
    ]


def publishing(version: str) -> list[str]:
    """The commands that publish the release. Run them after checking dist/ and site/."""
    return [
        f"git push origin main v{version}",
        "uv publish dist/*",
        *(f"docker push REGISTRY/{image}:{version}" for image in IMAGES),
    ]


def check_checkout(root: Path, version: str) -> None:
    """Raises `Refused` unless the checkout is a clean main and the version is not tagged yet."""
    if _git(root, "status", "--porcelain"):
        raise Refused("The checkout has changes. Commit or stash them.")
    if (branch := _git(root, "branch", "--show-current")) != "main":
        raise Refused(f"Releases are made from main, not from '{branch}'.")
    if _git(root, "tag", "--list", f"v{version}"):
        raise Refused(f"The tag v{version} exists. Choose a new version: a tag is never moved.")


def release(root: Path, version: str, *, dry_run: bool, day: date) -> None:
    """Prints and runs each step. If a step fails, restores the files and raises `Refused`."""
    parsed(version)
    check_checkout(root, version)
    changes = edits(root, version, day)
    for change in changes:
        print(change.diff())
    if not dry_run:
        for change in changes:
            (root / change.path).write_text(change.after, "utf-8")
    for command in commands(version):
        print("$", " ".join(command), flush=True)
        if not dry_run and subprocess.run(command, cwd=root, check=False).returncode != 0:  # noqa: S603
            for change in changes:
                (root / change.path).write_text(change.before, "utf-8")
            raise Refused(f"'{' '.join(command)}' failed. Nothing is tagged, and the files are as they were.")
    print("\nNothing was changed." if dry_run else "\nThe release is made. To publish it:")
    for line in () if dry_run else publishing(version):
        print(f"    {line}")


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True)  # noqa: S603, S607
    return done.stdout.strip()


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Make a release of this checkout.")
    parser.add_argument("version", help="such as 0.2.0 or 0.2.0rc1")
    parser.add_argument("--dry-run", action="store_true", help="show what would change and run; change nothing")
    given = parser.parse_args(arguments)
    root = Path(__file__).parent.parent
    try:
        release(root, given.version, dry_run=given.dry_run, day=datetime.now(UTC).date())
    except Refused as refused:
        print(refused, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
