"""Servers are killed while they answer: whatever a client received is stored, and the next server continues."""

import json
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.asking import frame
from tests.needs import LONG
from tests.server.processes import ServerProcess, sandboxes_of, serving

pytestmark = pytest.mark.xdist_group("kill")

Event = dict[str, Any]

KILLS = 50 if LONG else 6
SIDE_BY_SIDE = 2
QUESTION = "Make a mistake, then fix it"
LIVE_OUTPUT = "Count to 100, live"
SEED = 20_250_601
ENDS = ("response.completed", "response.incomplete", "response.failed", "error")


def ask(server: ServerProcess, body: Event, *, kill_at: int | None = None) -> list[Event]:
    """The events of an answer. The server is killed after this many events, or with 0 as soon as it was asked."""
    events: list[Event] = []
    with connect(server.ws_url, max_size=None, open_timeout=30) as socket:
        socket.send(frame({"type": "response.create", **body}))
        if kill_at == 0:
            server.kill()
        try:
            while not events or events[-1]["type"] not in ENDS:
                events.append(json.loads(socket.recv(timeout=60)))
                if len(events) == kill_at:
                    server.kill()
        except ConnectionClosed:
            pass
    return events


def text_of(events: list[Event], item_id: str, kind: str) -> str:
    return "".join(event["delta"] for event in events if event["type"] == kind and event["item_id"] == item_id)


def check(told: list[Event], stored: Event, log: list[Event]) -> str:
    """Checks that everything that a client received is stored; returns how the response ended."""
    assert stored["status"] in ("failed", "completed"), stored
    if stored["status"] == "failed":
        assert stored["error"]["code"] == "server_restarted"
    else:
        assert told[-1]["type"] == "response.completed" or log[-1]["type"] == "response.completed"
    items = {item["id"]: item for item in stored["output"]}
    for event in told:
        if event["type"] == "response.output_item.done":
            assert items[event["item"]["id"]] == event["item"], "an item's end was told, and it is not as it was told"
    if told[-1]["type"] == "response.completed":
        assert stored == told[-1]["response"]
    numbers = [event["sequence_number"] for event in log]
    assert numbers == sorted(set(numbers))
    common = [event for event in told if event["sequence_number"] in set(numbers)]
    assert common == log[: len(common)], "the log has other events under numbers that were told"
    seen = told[-1]["sequence_number"]
    assert all(number > seen for number in numbers[len(common) :]), "a number was given twice"
    assert sum(event["type"] in ENDS for event in log) == 1
    assert log[-1]["type"] in ENDS
    for item in stored["output"]:
        if item["type"] == "message":
            written = text_of(log, item["id"], "response.output_text.delta")
            assert item["content"][0]["text"].startswith(written)
    return str(stored["status"])


def resumed(server: ServerProcess, response_id: str, after: int) -> list[Event]:
    answer = server.get(f"/v1/responses/{response_id}?stream=true&include=codeact:events&starting_after={after}")
    lines = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


class Victims:
    """Kills servers of one data directory, one after the other, each according to a plan."""

    def __init__(self, data_dir: Path, plan: list[tuple[str, int]]) -> None:
        self.data_dir = data_dir
        self.plan = plan
        self.ends: Counter[str] = Counter()
        self.most_lost = 0
        self._conversation: str | None = None

    def run(self) -> None:
        told: list[Event] = []
        for question, kill_at in [*self.plan, (QUESTION, None)]:
            with serving(self.data_dir) as server:
                if told:
                    self._check(server, told)
                body = {"input": question}
                if self._conversation is not None:
                    body["conversation"] = self._conversation
                told = ask(server, body, kill_at=kill_at)
                if told:
                    assert told[0]["type"] == "response.created", told
                    self._conversation = told[0]["response"]["conversation"]["id"]
                else:
                    self.ends["nothing told"] += 1
        assert told[-1]["type"] == "response.completed", "after all of that the conversation goes on"
        assert sandboxes_of(self.data_dir) == []

    def _check(self, server: ServerProcess, told: list[Event]) -> None:
        response_id = told[0]["response"]["id"]
        stored = server.get(f"/v1/responses/{response_id}").json()
        log = resumed(server, response_id, -1)
        kept = {event["sequence_number"] for event in log}
        self.most_lost = max(self.most_lost, sum(event["sequence_number"] not in kept for event in told))
        self.ends[check(told, stored, log)] += 1
        seen = told[-1]["sequence_number"]
        assert resumed(server, response_id, seen) == [event for event in log if event["sequence_number"] > seen]


@pytest.mark.long
@pytest.mark.timeout(60 + 20 * KILLS)
def test_kills_at_random_points_lose_nothing_that_was_told(tmp_path: Path) -> None:
    with serving(tmp_path / "rehearsal") as server:
        length = len(ask(server, {"input": QUESTION}))
    dice = random.Random(SEED)
    plan = [(QUESTION, dice.randint(0, length)) for _ in range(KILLS)]
    plan[::5] = [(LIVE_OUTPUT, dice.randint(10, length)) for _ in plan[::5]]
    victims = [Victims(tmp_path / str(pair), plan[pair::SIDE_BY_SIDE]) for pair in range(SIDE_BY_SIDE)]
    with ThreadPoolExecutor(SIDE_BY_SIDE) as threads:
        for done in [threads.submit(victim.run) for victim in victims]:
            done.result()
    ends = sum((victim.ends for victim in victims), Counter[str]())
    most_lost = max(victim.most_lost for victim in victims)
    print(f"{KILLS} kills within {length} events: {dict(ends)}; at most {most_lost} deltas of the last moment lost")
    assert ends.total() == KILLS
    assert ends["failed"] >= KILLS / 2
