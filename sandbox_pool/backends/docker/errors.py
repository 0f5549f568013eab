"""Translates exceptions of the Docker SDK into `SandboxError`s."""

from collections.abc import Iterator
from contextlib import contextmanager

import docker.errors
import requests.exceptions
import urllib3.exceptions

from sandbox_pool.errors import EngineUnavailable, ImageUnavailable, SandboxError

__all__ = ["MEANINGS", "REMEDIES", "translated"]

MEANINGS: dict[type[Exception], type[SandboxError] | None] = {
    docker.errors.ImageNotFound: ImageUnavailable,
    docker.errors.BuildError: ImageUnavailable,
    docker.errors.ImageLoadError: ImageUnavailable,
    docker.errors.APIError: None,
    docker.errors.StreamParseError: EngineUnavailable,
    docker.errors.DockerException: EngineUnavailable,
    requests.exceptions.RequestException: EngineUnavailable,
    # Streams (build, pull, events) are read past requests.
    urllib3.exceptions.HTTPError: EngineUnavailable,
    OSError: EngineUnavailable,
}
"""Maps exceptions of the SDK to ours. The first class in an exception's MRO that has an entry counts. None means that
the engine refused a request; the caller of `translated` chooses the error for that."""

REMEDIES: dict[type[BaseException], str] = {
    FileNotFoundError: "its socket does not exist. Install and start an engine (Debian, Ubuntu: sudo apt-get "
    "install docker.io), or name its socket in DOCKER_HOST. A container has it by -v "
    "/var/run/docker.sock:/var/run/docker.sock",
    PermissionError: "permission to use its socket is denied. Join its group: sudo usermod -aG docker $USER, "
    "then log in again. A container joins it by --group-add $(stat -c %g /var/run/docker.sock)",
    ConnectionRefusedError: "nothing listens on its socket. Start it: sudo systemctl start docker",
    TimeoutError: "it did not answer in time. Look at its log: sudo journalctl -u docker",
}
"""Maps the operating system's error that caused an exception to its remedy."""


@contextmanager
def translated(refused: type[SandboxError], *, sandbox_id: str | None = None) -> Iterator[None]:
    """Translates exceptions of the SDK into `SandboxError`s; into `refused` if the engine answered with an error."""
    try:
        yield
    except tuple(MEANINGS) as error:
        meaning = next(MEANINGS[kind] for kind in type(error).__mro__ if kind in MEANINGS)
        raise (meaning or refused)(_explain(error), sandbox_id=sandbox_id) from error


def _explain(error: BaseException) -> str:
    if isinstance(error, docker.errors.APIError):
        return f"The Docker engine refused: {error.explanation or error}."
    cause: BaseException | None = error
    while cause is not None:
        if remedy := REMEDIES.get(type(cause)):
            return f"No Docker engine answers: {remedy}."
        cause = cause.__cause__ or cause.__context__
    return f"The Docker engine cannot be used: {error}."
