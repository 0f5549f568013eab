"""Hooks and fixtures of all tests. Asynchronous tests run on asyncio; a stopped run still cleans up."""

import gc
import inspect
import logging
import signal
import sys
import weakref
from collections.abc import Generator, Iterator, Sequence
from typing import Any

import httpx
import pytest
import structlog
from httpx._transports import default

from sandbox_pool.backends.process.backend import ProcessBackend
from sandbox_pool.backends.process.interpreter import Interpreter
from sandbox_pool.pool import warm_pool
from sandbox_pool.sandbox import sandbox as sandbox_module
from tests import trials
from tests.groups import group_of, place_of
from tests.patience import be_patient
from tests.tls import shared_context
from tests.warm import only_the_minimum

GRACES_S = sandbox_module.INTERRUPT_GRACES_S
YOUNG_OBJECTS = 20_000
"""How many objects more than before there must be until the garbage collector looks at those."""
MANY_MODULES = 200
kept_modules = [0]
HTTP_CALLS = ("request", "stream", "get", "options", "head", "post", "put", "patch", "delete")


def pytest_configure(config: pytest.Config) -> None:
    """Makes SIGTERM end a run as Ctrl-C does, so that fixtures clean up.

    It also sets the handler of SIGINT: a shell ignores that in background processes, and their children inherit it.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", None):
        # Importing the tests creates hardly any garbage, and collecting it takes a quarter of that time.
        gc.disable()


def pytest_collection_finish() -> None:
    """Makes garbage collection rare. By default it takes an eighth of the processor's time."""
    gc.enable()
    gc.set_threshold(YOUNG_OBJECTS, 20, 20)
    exclude_modules_from_garbage_collection()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Generator[None, object, object]:
    done = yield
    if len(sys.modules) > kept_modules[0] + MANY_MODULES:  # The first test that needs litellm imports 1,600.
        exclude_modules_from_garbage_collection()
    return done


def exclude_modules_from_garbage_collection() -> None:
    """They stay for the whole run."""
    gc.collect()
    gc.freeze()
    kept_modules[0] = len(sys.modules)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, Any]:
    """Collects no garbage while a failure is described: a finalizer that runs within `ast.parse` can make Python 3.11
    raise `SystemError` there, which would end the whole run.
    """
    gc.disable()
    try:
        return (yield)
    finally:
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


@pytest.fixture(autouse=True)
def own_logging() -> Iterator[None]:
    """Undoes what a test changed in the process's logging.

    A command that runs inside a test logs to the test's stderr, which is closed afterwards.
    """
    configured, config = structlog.is_configured(), structlog.get_config()
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    if structlog.is_configured() != configured or structlog.get_config() != config:
        structlog.reset_defaults()
        if configured:
            structlog.configure(**config)
        logging.captureWarnings(False)
        root.handlers[:] = handlers
        root.setLevel(level)


@pytest.fixture(scope="session", autouse=True)
def patient_http() -> Iterator[None]:
    """Gives each request without a timeout of its own a minute instead of httpx's 5 s, which a busy machine exceeds."""
    with pytest.MonkeyPatch.context() as patch:
        for call in (httpx.Client.__init__, httpx.AsyncClient.__init__, *(getattr(httpx, name) for name in HTTP_CALLS)):
            patch.setitem(inspect.unwrap(call).__kwdefaults__, "timeout", httpx.Timeout(60))
        yield


@pytest.fixture(scope="session", autouse=True)
def patience() -> Iterator[None]:
    """Lengthens the product's deadlines that nothing but a busy machine exceeds."""
    with pytest.MonkeyPatch.context() as patch:
        be_patient(patch.setattr)
        yield


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets code that cannot be interrupted be killed as soon as outside of tests, for tests that have such code."""
    monkeypatch.setattr(sandbox_module, "INTERRUPT_GRACES_S", GRACES_S)


@pytest.fixture(scope="session", autouse=True)
def one_tls_context() -> Iterator[None]:
    """Makes clients of httpx cheap: each would otherwise read the certificates of all authorities."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(default, "create_ssl_context", shared_context)
        yield


@pytest.fixture(scope="session", autouse=True)
def no_preload() -> Iterator[None]:
    """Starts sandboxes without numpy and pandas, which saves two fifths of the CPU time of their start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CODEACT_SANDBOX_PRELOAD", "")
        yield


@pytest.fixture(scope="session", autouse=True)
def pools_do_not_follow_demand() -> Iterator[None]:
    """Lets pools keep only their minimum warm, none for an agent: tests would never use most of the others.

    The tests of pools undo this (`tests/sandbox_pool/pool/conftest.py`).
    """
    from codeact.api import async_agent

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(warm_pool, "target_size", only_the_minimum)
        patch.setitem(async_agent.OWN_POOL, "pool_min", 0)
        yield


@pytest.fixture(scope="session", autouse=True)
def watchdogs_look_less_often() -> Iterator[None]:
    """Lets the watchdog of each server beat once a second: ten beats take half a percent of a processor.

    The tests of watchdogs undo this.
    """
    from codeact.server import watchdog

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(watchdog, "BEAT_S", 1.0)
        yield


@pytest.fixture(scope="session", autouse=True)
def state_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Gives the tests their own state directory, so that they and this user's servers keep apart."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="session", autouse=True)
def one_trial_of_each_kind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Lets a backend start its trial sandbox only once for each kind of backend, instead of in each test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(trials.DIRECTORY, str(tmp_path_factory.mktemp("trials")))
        patch.setattr(ProcessBackend, "_try", trials.once_of_each_kind())
        yield


@pytest.fixture(scope="session", autouse=True)
def one_probe_of_each_interpreter() -> Iterator[None]:
    """Lets backends examine an interpreter only once, which takes a tenth of a second, instead of in each test."""
    probe = Interpreter.probe.__func__  # type: ignore[attr-defined]
    probed: dict[tuple[str | None, tuple[str, ...]], Interpreter] = {}

    def probe_once(cls: type[Interpreter], executable: str | None, modules: Sequence[str] = ()) -> Interpreter:
        key = (executable, tuple(modules))
        if key not in probed:
            probed[key] = probe(cls, executable, modules)
        return probed[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Interpreter, "probe", classmethod(probe_once))
        yield


@pytest.fixture(scope="session", autouse=True)
def document_classes_are_used_again() -> Iterator[None]:
    """Gives each store the document classes of one that is gone, since making them takes a sixth of a second."""
    from codeact.store.documents.documents import Documents

    make = Documents.__init__
    free: list[dict[str, Any]] = []

    def take(documents: Documents) -> None:
        if free:
            vars(documents).update(free.pop())
        else:
            make(documents)
        weakref.finalize(documents, free.append, dict(vars(documents))).atexit = False

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Documents, "__init__", take)
        yield
