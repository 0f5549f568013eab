"""The watchdog: a stuck loop is noticed while it is stuck, reported once, and remembered for the next probe."""

import gc
import threading
import time

import anyio
import httpx
import pytest
from anyio import to_thread
from structlog.testing import capture_logs

from codeact.server import watchdog as watchdog_module
from codeact.server.loop_time import LoopTime
from codeact.server.watchdog import Watchdog
from tests.server.conftest import Running

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def ten_beats_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undoes what `tests/conftest.py` sets for all other tests."""
    monkeypatch.setattr(watchdog_module, "BEAT_S", 0.1)


async def test_a_stuck_loop_is_noticed_while_it_is_stuck_and_its_stacks_are_dumped(
    capfd: pytest.CaptureFixture[str],
) -> None:
    watchdog, seen = Watchdog(stuck_s=0.3), threading.Event()

    def look() -> None:
        while not watchdog.is_stuck:
            seen.wait(0.01)
        seen.set()

    async with watchdog.watching():
        await anyio.sleep(0.2)
        assert not watchdog.is_stuck
        thread = threading.Thread(target=look)
        thread.start()
        until = time.monotonic() + 60
        while not seen.is_set() and time.monotonic() < until:
            pass  # the loop is stuck here
        assert seen.is_set()
        thread.join()
        while watchdog.stalls == 0 and time.monotonic() < until:
            pass
        await anyio.sleep(0.3)
        assert watchdog.is_stuck  # for a while longer, so that a probe hears of it
        assert watchdog.stalls == 1
        assert watchdog.lag_s >= 0.3
    assert "test_a_stuck_loop_is_noticed" in capfd.readouterr().err


async def test_a_late_loop_is_reported_with_its_causes() -> None:
    with capture_logs() as logs:
        async with Watchdog().watching():
            with anyio.fail_after(60):
                # On a busy machine, the loop may also be late without having computed anything.
                while not any(each["computed_ms"] >= 50 and "test_a_late_loop_is" in each["stack"] for each in logs):
                    compute(0.4)
                    await anyio.sleep(0.15)
    for report in logs:
        assert report["event"] == "event loop was late"
        assert report["lag_ms"] >= 100


async def test_garbage_collections_and_other_threads_count_apart() -> None:
    loop_time = LoopTime()
    with loop_time.measuring():
        before = loop_time.spent()
        cycles = [[] for _ in range(300_000)]
        for cycle in cycles:
            cycle.append(cycle)
        del cycle, cycles
        gc.collect()
        await to_thread.run_sync(compute, 0.2)
        spent = loop_time.spent().since(before)
    assert spent.collected_s > 0
    assert spent.others_s >= 0.15


def compute(seconds: float) -> None:
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


async def test_what_is_long_ago_is_forgotten() -> None:
    watchdog = Watchdog(stuck_s=0.3, remembered_s=0.3)
    async with watchdog.watching():
        while not watchdog.is_stuck:
            time.sleep(0.05)  # noqa: ASYNC251 - the loop is stuck here
        with anyio.fail_after(60):
            while watchdog.is_stuck:  # noqa: ASYNC110 - a thread's finding has no event here
                await anyio.sleep(0.01)


def test_healthz_fails_after_a_stall_and_metrics_show_the_lag(demo: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    assert httpx.get(f"{demo.url}/healthz", trust_env=False).json()["status"] == "ok"
    monkeypatch.setattr(demo.state.watchdog, "_pending_s", 7.0)
    monkeypatch.setattr(demo.state.watchdog, "stuck_s", 0.0)
    answer = httpx.get(f"{demo.url}/healthz", trust_env=False)
    assert (answer.status_code, answer.json()["status"]) == (503, "stuck")
    text = httpx.get(f"{demo.url}/metrics", trust_env=False).text
    assert "codeact_event_loop_lag_seconds" in text
    assert "codeact_failing_tasks 0.0" in text
