"""Every exception of the Docker SDK and its dependencies becomes a `SandboxError` with cause and remedy."""

import inspect
from types import ModuleType

import docker.errors
import pytest
import requests
import urllib3.exceptions

from sandbox_pool.backends.docker.errors import MEANINGS, REMEDIES, translated
from sandbox_pool.errors import EngineUnavailable, ImageUnavailable, SandboxError, SandboxStartFailed


def exceptions_of(module: ModuleType) -> list[type[Exception]]:
    return [
        kind
        for _, kind in inspect.getmembers(module, inspect.isclass)
        if issubclass(kind, Exception) and not issubclass(kind, Warning) and kind.__module__ == module.__name__
    ]


@pytest.mark.parametrize("kind", [*exceptions_of(docker.errors), *exceptions_of(requests.exceptions)])
def test_every_exception_of_the_sdk_has_a_meaning(kind: type[Exception]) -> None:
    assert issubclass(kind, tuple(MEANINGS))


def refusal(kind: type[docker.errors.APIError], status: int) -> docker.errors.APIError:
    response = requests.Response()
    response.status_code = status
    return kind("refused", response=response, explanation="no space left on device")


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (refusal(docker.errors.APIError, 500), SandboxStartFailed),
        (refusal(docker.errors.NotFound, 404), SandboxStartFailed),
        (refusal(docker.errors.ImageNotFound, 404), ImageUnavailable),
        (docker.errors.DockerException("nothing there"), EngineUnavailable),
        (requests.exceptions.ReadTimeout("slow"), EngineUnavailable),
        (requests.exceptions.ChunkedEncodingError("cut"), EngineUnavailable),
        (urllib3.exceptions.ProtocolError("cut while a stream was read"), EngineUnavailable),
        (docker.errors.StreamParseError("not json"), EngineUnavailable),
    ],
)
def test_an_error_means_what_was_being_done(error: Exception, meaning: type[SandboxError]) -> None:
    with pytest.raises(meaning) as caught, translated(SandboxStartFailed, sandbox_id="cntr_1"):
        raise error
    assert caught.value.sandbox_id == "cntr_1"
    assert caught.value.__cause__ is error


def test_a_refusal_is_told_in_the_engines_words() -> None:
    with pytest.raises(SandboxStartFailed, match="refused: no space left on device"), translated(SandboxStartFailed):
        raise refusal(docker.errors.APIError, 500)


@pytest.mark.parametrize("cause", REMEDIES)
def test_a_connection_that_fails_names_the_remedy_for_its_cause(cause: type[OSError]) -> None:
    error = docker.errors.DockerException("Error while fetching server API version")
    error.__cause__ = requests.exceptions.ConnectionError("aborted")
    error.__cause__.__context__ = cause()
    with pytest.raises(EngineUnavailable) as caught, translated(EngineUnavailable):
        raise error
    assert REMEDIES[cause] in caught.value.message


def test_a_python_error_of_ours_passes_through() -> None:
    with pytest.raises(KeyError), translated(EngineUnavailable):
        raise KeyError("ours")
