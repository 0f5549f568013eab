"""Builds the server's image from the files of the checkout, if there is none of their current content."""

import hashlib
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import docker

__all__ = ["ROOT", "built"]

ROOT = Path(__file__).parents[2]
REPOSITORY = "codeact-test-built"
SOURCES = (
    *("LICENSE", "Makefile", "README.md", "codeact", "docker", "hatch_build.py", "pyproject.toml", "requirements"),
    *("sandbox_pool", "scripts/links.py", "server", "streamlit_app", "web"),
)
"""The files that .dockerignore lets through, and those that define the build."""
MADE_HERE = {"static", "node_modules", "__pycache__", ".env"}
OLD_S = 24 * 3600


def built(engine: docker.APIClient) -> str:
    """Builds the images if necessary. Returns the name of the server's; the dashboard's ends in `-dashboard`.

    The images remain for the next run with the same files. Images of other files are removed after a day. The test
    fails if the build fails.
    """
    name = f"{REPOSITORY}:{_digest()}"
    there = {tag: image["Created"] for image in engine.images(REPOSITORY) for tag in image["RepoTags"] or ()}
    if not {name, f"{name}-dashboard"} <= there.keys():
        command = ["make", "--no-print-directory", "image-dashboard", f"IMAGE={name}", "BUILD_FLAGS=--force-rm"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    for tag, created_at in there.items():
        if not tag.startswith(name) and created_at < time.time() - OLD_S:
            with suppress(docker.errors.APIError):
                # Keep the layers for the next build.
                engine.remove_image(tag, noprune=True)
    return name


def _digest() -> str:
    digest = hashlib.sha256()
    for path in sorted(_files()):
        digest.update(f"{path.relative_to(ROOT)}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def _files() -> Iterator[Path]:
    for name in SOURCES:
        for path in (ROOT / name).rglob("*") if (ROOT / name).is_dir() else [ROOT / name]:
            if path.is_file() and not MADE_HERE & {*path.relative_to(ROOT).parts}:
                yield path


if __name__ == "__main__":
    with closing(docker.APIClient(version="auto", timeout=300, **docker.utils.kwargs_from_env())) as engine:
        built(engine)
