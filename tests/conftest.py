"""Shared by every test: async tests run on asyncio; a run that is told to stop still tidies up."""

import gc
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from sandbox_pool.backends.process.backend import ProcessBackend
from sandbox_pool.spec import SandboxSpec
from tests.groups import group_of, place_of


def pytest_configure(config: pytest.Config) -> None:
    """SIGTERM ends a run as Ctrl-C does: fixtures end what they started.

    A shell lets what it starts in the background ignore Ctrl-C; what tests start would inherit that.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", None):
        # Importing the tests makes hardly any garbage, and collecting it takes a quarter of that time.
        gc.disable()


def pytest_collection_finish() -> None:
    """What has been imported stays; the garbage collector need not look at it again for each test."""
    gc.freeze()
    gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from tests.scheduling import GroupScheduling

    return GroupScheduling(config, log) if config.getoption("dist") == "loadgroup" else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: place_of(group_of(item.nodeid.partition("::")[0])))


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
def no_preload() -> Iterator[None]:
    """Sandboxes of the tests' servers start without numpy and pandas, which saves two fifths of their CPU time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CODEACT_SANDBOX_PRELOAD", "")
        yield


@pytest.fixture(scope="session", autouse=True)
def state_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What these tests leave for a moment is not removed by a server of this user, nor the other way round."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="session", autouse=True)
def one_trial_of_each_kind() -> Iterator[None]:
    """A backend tries a sandbox before it promises anything: here once for each kind, and not for each test."""
    tried = ProcessBackend._try
    worked = set()

    async def trial(backend: ProcessBackend, spec: SandboxSpec) -> None:
        kind = (backend._bubblewrap, backend._inodes, type(backend._groups), spec.python, spec.preload)
        if kind not in worked:
            await tried(backend, spec)
            worked.add(kind)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ProcessBackend, "_try", trial)
        yield
