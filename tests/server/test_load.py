"""Many answers at once, requested like in `benchmarks.flood`: all end, in order and complete, and the server stays
healthy.

Cancelling an operation inside PyMongo once stopped a server permanently under this load (on Python 3.11).
"""

import anyio
import pytest

from benchmarks import flood
from tests.needs import LONG

pytestmark = [pytest.mark.anyio, pytest.mark.long, pytest.mark.timeout(600), pytest.mark.xdist_group("kill")]

STREAMS = 100
SOCKETS = 300 if LONG else 150
TOKENS = 2_000 if LONG else 500


async def test_answers_at_once_all_end_although_the_database_stops_for_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flood, "WITHIN_S", 240.0)
    monkeypatch.setattr(flood, "STALL_AFTER_S", (0.3, 2.0))
    with anyio.fail_after(500):
        figures = await flood.run("process", rounds=2, streams=STREAMS, tokens=TOKENS)
    assert figures["completed_rounds"] == 2
    assert figures["stalled_rounds"] == 1
    assert (figures["lost_streams"], figures["lost_events"], figures["false_alarms"]) == (0, 0, 0)
    assert figures["stop_s"] < 30


async def test_sockets_beyond_the_places_wait_in_line() -> None:
    with anyio.fail_after(500):
        figures = await flood.run(
            "process",
            rounds=1,
            streams=SOCKETS,
            tokens=20,
            stalls=False,
            settings={"CODEACT_MAX_CONCURRENT_RUNS": "20", "CODEACT_MAX_QUEUED_RUNS": f"{SOCKETS - 20}"},
        )
    assert (figures["completed_rounds"], figures["lost_streams"]) == (1, 0)
