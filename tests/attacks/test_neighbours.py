"""What hostile code must not reach in other sandboxes: files, processes, sockets, memory, their kernels' keys."""

import secrets

import pytest

from sandbox_pool.backends.base import Backend
from sandbox_pool.sandbox.sandbox import Sandbox
from tests.attacks.conftest import assert_answers, assert_refused, attack
from tests.differences import kind_of
from tests.sandbox_pool.backends.test_process_backend import marked

pytestmark = pytest.mark.anyio


async def test_nothing_of_another_sandbox_can_be_found_read_or_signalled(
    attacker: Sandbox, neighbour: Sandbox, backend: Backend
) -> None:
    mark = secrets.token_hex(16)
    await attack(neighbour, "marks", mark=mark)
    connection = neighbour._lifecycle.kernel._connection
    pids = marked(neighbour.id)
    directory = connection["ip"].rpartition("/")[0]
    # In a pod that is a directory of its own: everybody's has the same name.
    places = [directory, f"{directory}/connection.json"] if kind_of(backend) != "kubernetes" else []
    outcomes, _ = await attack(
        attacker,
        "neighbours",
        mark=mark,
        key=connection["key"],
        names=[neighbour.id, neighbour.id[-12:]],
        paths=[*places, *(f"/proc/{pid}/environ" for pid in pids)],
    )
    assert len(outcomes) >= 7 + len(places)
    # Whom it could signal was its own; the neighbour still answers.
    for name in ("stop them all", "end them all"):
        assert outcomes.pop(name) in ("ESRCH", "EPERM", "REACHED 'its own'")
    assert_refused(outcomes, "ECONNREFUSED")
    await assert_answers(neighbour)
