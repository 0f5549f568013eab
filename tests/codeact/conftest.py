"""Shared by the tests of the agent's parts."""

import socket

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """litellm silences these itself, once, at import; pytest forgets that with the test that imported it."""
    for message in (
        ".*conflict with protected namespace",
        "Accessing the .* on the instance",
        ".*`ReadOnly` qualifier",
    ):
        config.addinivalue_line("filterwarnings", f"ignore:{message}")


@pytest.fixture
def free_port() -> int:
    """A port of loopback where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
