"""What hostile code must not do to the server over its kernel's own connections."""

import secrets
from pathlib import Path

import pytest

from sandbox_pool.backends.base import Backend
from sandbox_pool.outputs import Stream
from tests.attacks.conftest import ISOLATED_BACKENDS, REFUSALS, StartSandbox, assert_answers, attack, memory_within
from tests.differences import kind_of, needs_promise

pytestmark = [pytest.mark.anyio, ISOLATED_BACKENDS]

IOPUB, SHELL, CONTROL = 2, 1, 4
SOCKETS = {
    "docker": {"directory": "/run/kernel", "prefix": "k"},
    "kubernetes": {"directory": "/run/kernel", "prefix": "k"},
    "process": {"directory": "/run/codeact", "prefix": "kernel"},
    "plain": {"directory": "/run/codeact", "prefix": "kernel"},
}
"""Where a kernel has its sockets, by kind of backend."""
GROWTH_MB = 150.0
"""The temporary memory for a message of the largest allowed size, several times over."""


async def test_forged_messages_touch_nothing_and_show_nothing(start: StartSandbox) -> None:
    sandbox = await start()
    outcomes, result = await attack(sandbox, "forged_messages", other=f"{secrets.token_hex(8)}_1_1")
    assert outcomes == {"sent": "yes"}
    assert (result.status, result.kernel_alive) == ("ok", True)
    outputs, _ = await sandbox.run("print('next')")
    assert outputs == [Stream("stdout", "next\n")]


@pytest.mark.parametrize(
    "what",
    [
        "garbage",
        "a size that is not there",
        "a message without an end",
        "a message of tiny parts",
        "large parts",
        "pings that ask for answers",
        "unknown commands",
    ],
)
async def test_no_bytes_on_a_connection_harm_the_server_or_fill_its_memory(start: StartSandbox, what: str) -> None:
    sandbox = await start()
    with memory_within(GROWTH_MB):
        await attack(sandbox, "raw_bytes", what=what, channel=IOPUB, timeout_s=3)


@pytest.mark.parametrize("channel", [SHELL, CONTROL])
async def test_the_other_channels_stand_it_as_well(start: StartSandbox, channel: int) -> None:
    sandbox = await start()
    with memory_within(GROWTH_MB):
        await attack(sandbox, "raw_bytes", what="a message without an end", channel=channel, timeout_s=3)


async def test_sockets_put_in_place_of_the_kernel_s_are_never_followed(
    start: StartSandbox, backend: Backend, tmp_path: Path
) -> None:
    needs_promise(backend, "isolation")
    canary = tmp_path / "canary"
    canary.write_text("untouched")
    given = SOCKETS[kind_of(backend)]
    sandbox = await start()
    outcomes, _ = await attack(sandbox, "replaced_sockets", canary=str(canary), **given)
    if kind_of(backend) == "docker":
        assert len(outcomes) == 7
        assert set(outcomes.values()) <= REFUSALS
    # In its own memory it may; connections are never opened again.
    await assert_answers(sandbox)
    assert canary.read_text() == "untouched"


async def test_a_flood_of_clients_of_its_own_harms_only_its_own_kernel(start: StartSandbox, backend: Backend) -> None:
    needs_promise(backend, "isolation")
    given = SOCKETS[kind_of(backend)]
    sandbox = await start()
    with memory_within(GROWTH_MB):
        outcomes, _ = await attack(sandbox, "own_channels", timeout_s=60, **given)
    assert int(outcomes["clients"]) > 0


async def test_what_is_written_past_the_kernel_s_streams_fills_nothing(start: StartSandbox) -> None:
    sandbox = await start()
    with memory_within(GROWTH_MB):
        await attack(sandbox, "standard_pipes", timeout_s=10)


async def test_a_kernel_that_stops_itself_is_destroyed_in_time(start: StartSandbox) -> None:
    sandbox = await start()
    _, result = await attack(sandbox, "stop_itself", timeout_s=0.5)
    assert (result.status, result.limit, result.kernel_alive) == ("timeout", "execution_timeout_s", False)
    assert result.duration_s < 60
