"""Provides the images of sandboxes and of the egress proxy: builds or pulls them if the engine does not have them.

Every function blocks. Call them in a worker thread of anyio: cancelling then ends a build or a pull.
"""

import hashlib
import io
import tarfile
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import docker
from anyio import from_thread

from sandbox_pool.backends.docker.errors import translated
from sandbox_pool.backends.shared.kernel_process import KERNEL
from sandbox_pool.errors import ImageUnavailable

__all__ = ["LOCAL_BASE", "built_name", "digest_of", "ensure_image", "ensure_proxy_image"]

LOCAL_BASE = "codeact-sandbox-base:latest"
"""The preferred base image, if it exists. `docker/debian-base.sh` builds it on machines that cannot pull images."""

PUBLIC_BASE = "python:3.12-slim"
DOCKERFILE = "docker/sandbox.Dockerfile"
PROXY_DOCKERFILE = "docker/egress.Dockerfile"
PROXY_SOURCES = (PROXY_DOCKERFILE, "docker/egress.conf")
SOURCES = (DOCKERFILE, "docker/sandbox_fonts.py", *(f"sandbox_pool/guest/{name}" for name in KERNEL))
REQUIREMENTS = "sandbox-requirements"
MINIMAL = "minimal"
"""Used instead of an image's name, for the smaller image, which has only numpy, pandas and matplotlib."""
CHECKOUT = Path(__file__).parents[3]
PACKED = Path(__file__).parents[2] / "packed"
"""The files of the checkout that a wheel includes (hatch_build.py)."""
DIGEST = "sha256:"
SILENCE_S = 300.0
"""How long a build may produce no output."""

SHOWN = ("Step ", "Collecting ", "Installing ")
"""The prefixes of build output that shows progress."""
CHATTER = (" --->", "Removing ")
"""The prefixes of build output that is not useful."""

Progress = Callable[[str], None]


def ensure_image(client: docker.APIClient, image: str | None, progress: Progress) -> str:
    """Returns the name of a local image whose entrypoint is a kernel.

    `image` is the name of an image, which is pulled if necessary. None means the image of `docker/sandbox.Dockerfile`
    and `minimal` its small variant; they are built if necessary. Raises `ImageUnavailable`.
    """
    built = image in (None, MINIMAL)
    requirements = "sandbox-minimal-requirements" if image == MINIMAL else REQUIREMENTS
    sources = _read_sources((*SOURCES, f"docker/{requirements}.txt")) if built else {}
    name = built_name(sources) if image is None or built else image
    with translated(ImageUnavailable):
        if not _is_local(client, name):
            if name.startswith(DIGEST):
                raise ImageUnavailable(f"The engine no longer has the image {name}, and a digest cannot be pulled.")
            if sources:
                _build(client, name, DOCKERFILE, sources, progress, {"REQUIREMENTS": requirements})
            else:
                _pull(client, name, progress, "Pull it by hand, or name another in CODEACT_SANDBOX_IMAGE.")
        labels = client.inspect_image(name)["Config"]["Labels"] or {}
    if "codeact.kernel" not in labels:
        raise ImageUnavailable(
            f"The image {name} has no kernel for us. Build one with docker/sandbox.Dockerfile, from a base of "
            "your own (--build-arg BASE_IMAGE=…) or as the base of yours, and name it in CODEACT_SANDBOX_IMAGE."
        )
    return name


def digest_of(client: docker.APIClient, name: str) -> str:
    """Returns the digest of a local image, by which it can be named. Raises `ImageUnavailable`."""
    with translated(ImageUnavailable):
        return str(client.inspect_image(name)["Id"])


def ensure_proxy_image(client: docker.APIClient, progress: Progress) -> str:
    """Returns the name of the egress proxy's image, and builds it if necessary. Raises `ImageUnavailable`."""
    sources = _read_sources(PROXY_SOURCES)
    name = built_name(sources).replace("sandbox", "egress")
    with translated(ImageUnavailable):
        if not _is_local(client, name):
            _build(client, name, PROXY_DOCKERFILE, sources, progress)
    return name


def built_name(sources: dict[str, bytes]) -> str:
    """Returns the name of the image built from these files (path to content). It contains a hash of them."""
    digest = hashlib.sha256()
    for path, content in sorted(sources.items()):
        digest.update(f"{path}\0{len(content)}\0".encode() + content)
    return f"codeact-sandbox:{digest.hexdigest()[:12]}"


def _read_sources(paths: tuple[str, ...]) -> dict[str, bytes]:
    found = {path: CHECKOUT / path if (CHECKOUT / path).exists() else PACKED / path for path in paths}
    try:
        return {path: file.read_bytes() for path, file in found.items()}
    except FileNotFoundError as error:
        raise ImageUnavailable(
            f"This installation lacks {error.filename}, of which the sandbox image is built. Install the package "
            f"anew, or build the image in a checkout, as {DOCKERFILE} tells in its first lines, and set "
            "CODEACT_SANDBOX_IMAGE=NAME."
        ) from None


def _is_local(client: docker.APIClient, name: str) -> bool:
    try:
        client.inspect_image(name)
    except docker.errors.ImageNotFound:
        return False
    return True


def _build(
    client: docker.APIClient,
    name: str,
    dockerfile: str,
    sources: dict[str, bytes],
    progress: Progress,
    arguments: dict[str, str] | None = None,
) -> None:
    base = next((base for base in (LOCAL_BASE, PUBLIC_BASE) if _is_local(client, base)), None)
    if base is None:
        base = PUBLIC_BASE
        _pull(
            client,
            base,
            progress,
            "Where images cannot be pulled, `sudo docker/debian-base.sh` makes a base from Debian packages; "
            "or name an image that is there in CODEACT_SANDBOX_IMAGE.",
        )
    progress(f"Building the image {name} on {base}: once, a few minutes")
    messages = client.build(
        fileobj=_context(sources),
        custom_context=True,
        dockerfile=dockerfile,
        tag=name,
        buildargs={"BASE_IMAGE": base, **(arguments or {})},
        # On machines that cannot pull, the package index may be reachable only from the host's network.
        network_mode="host" if base == LOCAL_BASE else None,
        rm=True,
        forcerm=True,
        decode=True,
        timeout=SILENCE_S,
    )
    _follow(messages, progress, f"The image {name} could not be built")


def _context(sources: dict[str, bytes]) -> io.BytesIO:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for path, content in sources.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    archive.seek(0)
    return archive


def _pull(client: docker.APIClient, name: str, progress: Progress, remedy: str) -> None:
    progress(f"Pulling {name}")
    try:
        _follow(client.pull(name, stream=True, decode=True), progress, f"{name} could not be pulled")
    except docker.errors.APIError as error:
        raise ImageUnavailable(f"{name} could not be pulled: {error.explanation}. {remedy}") from error
    except ImageUnavailable as error:
        raise ImageUnavailable(f"{error.message} {remedy}") from error


def _follow(messages: Iterable[dict[str, Any]], progress: Progress, failure: str) -> None:
    """Reports the progress of a build or a pull until it is done. Raises `ImageUnavailable`."""
    latest: deque[str] = deque(maxlen=3)
    for message in messages:
        from_thread.check_cancelled()
        if "error" in message:
            raise ImageUnavailable(f"{failure}: {message['error']}. Before that: {' | '.join(latest) or 'nothing'}")
        if message.get("progressDetail"):
            continue
        text = message.get("stream") or " ".join(filter(None, (message.get("id"), message.get("status"))))
        for line in text.splitlines():
            if not line.strip() or line.startswith(CHATTER):
                continue
            latest.append(line.strip()[:300])
            if "status" in message or line.startswith(SHOWN):
                progress(line.partition(" (from ")[0][:100])
