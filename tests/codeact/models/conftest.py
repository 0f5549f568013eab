"""A scripted model server for each module; every test gets it without requests and replies of earlier tests."""

from collections.abc import Iterator

import pytest

from tests.model_server import ModelServer


@pytest.fixture(scope="module")
def one_server() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture
def server(one_server: ModelServer) -> ModelServer:
    one_server.reset()
    return one_server
