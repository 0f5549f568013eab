"""What is stored of an evaluation: one line of JSON for each attempt, and one file about the whole run."""

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import msgspec

from codeact.errors import ConfigurationError

__all__ = [
    "ATTEMPTS",
    "Attempt",
    "Key",
    "Plan",
    "Setup",
    "Step",
    "add_spent",
    "append",
    "by_task",
    "ordered",
    "read_attempts",
    "read_plan",
    "write_plan",
    "writing",
]

ATTEMPTS, PLAN = "attempts.jsonl", "run.json"
LINE_BYTES = 20_000_000
"""A longer line of a file of attempts is not read."""

Key = tuple[str, str, int]
"""The task, the setup's label and the number of the repetition: what names an attempt in its run."""


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """One way to answer the tasks. `dialect` is None where the model's profile decides, `eager` where the setting does.

    `format` is `code`, or for a comparison `json` or `text`: the model calls the task's functions one at a time.
    """

    model: str
    dialect: str | None = None
    format: str = "code"
    eager: bool | None = None

    @property
    def label(self) -> str:
        eager = None if self.eager is None else "eager" if self.eager else "not eager"
        parts = [self.model, self.dialect, eager, self.format if self.format != "code" else None]
        return " · ".join(part for part in parts if part)


class Step(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One step of a transcript. `kind` is `question`, `answer`, `reasoning`, `code`, `call` or `error`."""

    kind: str
    text: str = ""
    output: str = ""
    images: list[str] = []
    failed: bool = False


class Attempt(msgspec.Struct, kw_only=True):
    """One attempt at one task. Times are in seconds.

    `failure` is None if the task was solved, else its kind: `wrong`, `timeout`, `checker_failed`, `max_turns`, or the
    code of the error that ended the answer. `attempts_before` counts those that the infrastructure spoilt; their tokens
    and costs are in this one's. `seed` is what the model got.
    """

    task: str
    setup: Setup
    repeat: int
    seed: int | None
    passed: bool
    failure: str | None = None
    score: float
    reason: str = ""
    answer: str = ""
    blocks: int = 0
    failed_blocks: int = 0
    calls: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = None
    total_s: float = 0.0
    first_token_s: float | None = None
    code_detected_s: float | None = None
    first_output_s: float | None = None
    sandbox_wait_s: float | None = None
    attempts_before: int = 0
    started_at: float = 0.0
    tags: list[str] = []
    transcript: list[Step] = []

    @property
    def key(self) -> Key:
        return self.task, self.setup.label, self.repeat

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens


class Plan(msgspec.Struct, kw_only=True):
    """What a run consists of: every task in every setup, `repeat` times. `stopped` says which budget ended it early.

    `not_asked` has the tasks that a setup cannot be asked, by its label.
    """

    suite: str
    tasks: list[str]
    setups: list[Setup]
    repeat: int = 1
    seed: int | None = None
    started_at: float = 0.0
    stopped: str | None = None
    version: str = ""
    sandbox: str = ""
    not_asked: dict[str, list[str]] = {}

    @property
    def size(self) -> int:
        """How many attempts that are."""
        pairs = len(self.tasks) * len(self.setups) - sum(len(tasks) for tasks in self.not_asked.values())
        return pairs * self.repeat


@contextmanager
def writing(directory: Path) -> Iterator[None]:
    """Lets nobody else write attempts to the directory meanwhile. Removes a line that a crash has cut off.

    Raises `ConfigurationError` if another run writes there.
    """
    with (directory / ATTEMPTS).open("ab+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigurationError(
                f"Another `codeact eval` writes to {directory}. Wait for its end, or choose another --out."
            ) from None
        file.truncate(_whole_lines(file))
        yield


def _whole_lines(file: BinaryIO) -> int:
    """The size of the file without a last line that has no end."""
    at = whole = file.seek(0)
    for piece in iter(lambda: file.readline(LINE_BYTES), b""):
        at += len(piece)
        whole = at if piece.endswith(b"\n") else whole
    return whole


def add_spent(attempt: Attempt, before: Attempt) -> None:
    """Adds to an attempt what the one before it has cost, which the infrastructure had spoilt."""
    attempt.input_tokens += before.input_tokens
    attempt.cached_tokens += before.cached_tokens
    attempt.output_tokens += before.output_tokens
    costs = [cost for cost in (attempt.cost_usd, before.cost_usd) if cost is not None]
    attempt.cost_usd = sum(costs) if costs else None


def append(directory: Path, attempt: Attempt) -> None:
    """Appends the attempt to the directory's file, and waits until it is on the disk."""
    with (directory / ATTEMPTS).open("ab") as file:
        file.write(msgspec.json.encode(attempt) + b"\n")
        file.flush()
        os.fsync(file.fileno())


def read_attempts(directory: Path) -> list[Attempt]:
    """Returns the stored attempts; the last one of each key.

    A last line without an end is passed over: it is being written, or a crash has cut it off.
    Raises `ConfigurationError` for a line that is not an attempt.
    """
    path = directory / ATTEMPTS
    if not path.exists():
        return []
    found: dict[Key, Attempt] = {}
    with path.open("rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(LINE_BYTES), b""), start=1):
            if not line.endswith(b"\n"):
                if len(line) >= LINE_BYTES:
                    raise ConfigurationError(f"Line {number} of {path} is longer than {LINE_BYTES:,} bytes.")
                break
            try:
                attempt = msgspec.json.decode(line, type=Attempt)
            except (msgspec.DecodeError, RecursionError) as error:
                raise ConfigurationError(f"Line {number} of {path} is not an attempt: {error}") from None
            found[attempt.key] = attempt
    return list(found.values())


def write_plan(directory: Path, plan: Plan) -> None:
    """Writes the file about the run, at once as a whole."""
    new = directory / f"{PLAN}.new"
    new.write_bytes(msgspec.json.format(msgspec.json.encode(plan)) + b"\n")
    new.replace(directory / PLAN)


def read_plan(directory: Path) -> Plan:
    """Returns the run of this directory. Raises `ConfigurationError` if there is none, or one that cannot be read."""
    try:
        return msgspec.json.decode((directory / PLAN).read_bytes(), type=Plan)
    except (OSError, msgspec.DecodeError, RecursionError) as error:
        raise ConfigurationError(f"{directory} has no results of `codeact eval`: {error}") from None


def ordered(plan: Plan, attempts: Iterable[Attempt]) -> list[Attempt]:
    """Returns the attempts in the order of the plan, whichever of them ended first."""
    tasks = {task: index for index, task in enumerate(plan.tasks)}
    setups = {setup.label: index for index, setup in enumerate(plan.setups)}

    def place(one: Attempt) -> tuple[int, int, int]:
        return tasks.get(one.task, len(tasks)), setups.get(one.setup.label, len(setups)), one.repeat

    return sorted(attempts, key=place)


def by_task(attempts: Iterable[Attempt]) -> dict[str, list[Attempt]]:
    """Groups the attempts by their task, in the order in which the tasks come first."""
    groups: dict[str, list[Attempt]] = {}
    for attempt in attempts:
        groups.setdefault(attempt.task, []).append(attempt)
    return groups
